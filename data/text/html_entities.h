// Character references of HTML to text, with the rules of Python's html.unescape. Internal to data/text.
#pragma once
#include <string>
#include <string_view>

namespace triptych {

/// All 2,231 named references of the HTML standard, also those that may stand without a semicolon and as the beginning
/// of a longer word (`&ampere` is `&ere`); decimal and hexadecimal numbers, of which 0x80 to 0x9f are Windows-1252,
/// surrogates and numbers beyond Unicode U+FFFD, and control characters and noncharacters nothing. `text` is valid
/// UTF-8, so is the result.
std::string html_unescape(std::string_view text);

}  // namespace triptych
