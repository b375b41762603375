// A text as characters that remember the bytes they came from, so that what is found in a cleaned text can be pointed
// at in the raw one. Internal to data/text and to the tools that map spans.
#pragma once
#include <array>
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

/// Windows-1252 at 0x80 to 0x9f; 0 where it has no character and the byte stands for the control of its number.
inline constexpr std::array<char32_t, 32> kWindows1252 = {
    0x20ac, 0,      0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160,
    0x2039, 0x0152, 0,      0x017d, 0,      0,      0x2018, 0x2019, 0x201c, 0x201d, 0x2022,
    0x2013, 0x2014, 0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0,      0x017e, 0x0178};

/// Python's str.isspace: Unicode's White_Space and the four separators of ASCII.
bool is_python_space(char32_t code);

}  // namespace triptych
