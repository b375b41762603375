// What a word is, for every tool that counts or compares captions.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace triptych {

/// The words of a text after Unicode case folding (NFKC): longest runs of letters, marks and digits, with apostrophes
/// inside. "A cat's T-shirt, 2nd." has the words a, cat's, t, shirt, 2nd. Invalid UTF-8 separates words.
std::vector<std::string> words_of(std::string_view text);

/// The words joined by single blanks: what captions and class names are compared by. A text without a word is given
/// back as it is.
std::string compared_text(std::string_view text);

}  // namespace triptych
