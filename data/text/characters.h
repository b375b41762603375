// A text as characters that remember the bytes they came from, so that what is found in a cleaned text can be pointed
// at in the raw one. Internal to data/text and to the tools that map spans.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace triptych {

/// Bytes [begin, end) of a text.
struct ByteSpan {
  std::uint32_t begin = 0, end = 0;
  auto operator<=>(const ByteSpan&) const = default;
};

struct Character {
  char32_t code = 0;
  ByteSpan source;  ///< the bytes of the raw text that it stands for
};
using Characters = std::vector<Character>;

/// Each invalid sequence of bytes becomes one U+FFFD. Throws std::length_error above 4 GiB.
Characters decode_utf8(std::string_view text);
std::string encode_utf8(const Characters& text);
void append_utf8(char32_t code, std::string& out);

/// Python's str.isspace: Unicode's White_Space and the four separators of ASCII.
bool is_python_space(char32_t code);

}  // namespace triptych
