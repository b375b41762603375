// UTF-8 to characters and back.
#include "data/text/characters.h"

#include <unicode/uchar.h>
#include <unicode/utf8.h>

#include <algorithm>
#include <limits>
#include <stdexcept>

namespace triptych {

Characters decode_utf8(std::string_view text) {
  if (text.size() > std::numeric_limits<std::uint32_t>::max()) throw std::length_error("a text of more than 4 GiB");
  Characters out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    UChar32 code = static_cast<unsigned char>(text[at]);
    std::int32_t used = 1;
    if (code >= 0x80) {
      const auto left = static_cast<std::int32_t>(std::min<std::size_t>(text.size() - at, U8_MAX_LENGTH));
      used = 0;
      U8_NEXT(text.data() + at, used, left, code);
      if (code < 0) code = 0xfffd;
    }
    const auto end = at + static_cast<std::size_t>(used);
    out.push_back({static_cast<char32_t>(code), {static_cast<std::uint32_t>(at), static_cast<std::uint32_t>(end)}});
    at = end;
  }
  return out;
}

void append_utf8(char32_t code, std::string& out) {
  if (code < 0x80) {
    out += static_cast<char>(code);
    return;
  }
  char bytes[U8_MAX_LENGTH];
  std::int32_t size = 0;
  U8_APPEND_UNSAFE(bytes, size, static_cast<UChar32>(code));
  out.append(bytes, static_cast<std::size_t>(size));
}

std::string encode_utf8(const Characters& text) {
  std::string out;
  out.reserve(text.size());
  for (const auto& character : text) append_utf8(character.code, out);
  return out;
}

bool is_python_space(char32_t code) {
  if (code < 0x80) return code == ' ' || (code >= 9 && code <= 13) || (code >= 0x1c && code <= 0x1f);
  return u_isUWhiteSpace(static_cast<UChar32>(code));
}

}  // namespace triptych
