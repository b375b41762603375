// Escaping of foreign names, and the UTF-8 check behind it.
#include "data/formats/printable.h"

#include <cstdint>

namespace triptych {

std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(text[i]); };
  if (text.empty()) return 0;
  const auto lead = byte(0);
  if (lead < 0x80) return 1;
  const std::size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  // Overlong forms, surrogates and what lies beyond U+10FFFF show in the second byte.
  const auto second = byte(1);
  if ((lead == 0xE0 && second < 0xA0) || (lead == 0xED && second > 0x9F)) return 0;
  if ((lead == 0xF0 && second < 0x90) || (lead == 0xF4 && second > 0x8F)) return 0;
  return length;
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const auto length = utf8_length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

namespace {

std::string escaped(std::string_view text, std::size_t longest, bool named_line_ends) {
  constexpr char kHex[] = "0123456789abcdef";
  std::string out;
  while (!text.empty()) {
    if (out.size() >= longest) return out + "...";
    const auto length = utf8_length(text);
    const auto byte = static_cast<std::uint8_t>(text[0]);
    // C1 controls (U+0080..U+009F) steer terminals too.
    const bool c1 = length == 2 && byte == 0xC2 && static_cast<std::uint8_t>(text[1]) < 0xA0;
    if (named_line_ends && byte == '\n') {
      out += "\\n";
      text.remove_prefix(1);
    } else if (length == 0 || byte < 0x20 || byte == 0x7F || c1) {
      out += {'\\', 'x', kHex[byte >> 4], kHex[byte & 15]};
      text.remove_prefix(1);
    } else {
      out += text.substr(0, length);
      text.remove_prefix(length);
    }
  }
  return out;
}

}  // namespace

std::string printable(std::string_view text) {
  return escaped(text, 200, false);
}

std::string printable_whole(std::string_view text) {
  return escaped(text, std::string_view::npos, true);
}

}  // namespace triptych
