// HTML character references (HTML standard, 13.2.5.72 and following; Python's html.unescape where the two differ).
#include "data/text/html_entities.h"

#include <algorithm>
#include <cstdint>

#include "data/text/characters.h"

namespace triptych {
namespace {

struct Entity {
  std::string_view name, text;  // the name with its semicolon, where it has one
};

constexpr Entity kEntities[] = {
#include "data/text/html_entities.inc"
};

constexpr std::size_t kLongestName = 32;  // characters of a word that is looked up, the semicolon apart

const Entity* find(std::string_view name) {
  const auto* end = std::end(kEntities);
  const auto* at = std::lower_bound(std::begin(kEntities), end, name,
                                    [](const Entity& e, std::string_view n) { return e.name < n; });
  return at != end && at->name == name ? at : nullptr;
}

// Characters that a number cannot stand for: controls but tab, line feed, form feed and return, and noncharacters.
bool vanishes(char32_t code) {
  const bool control = (code >= 1 && code <= 8) || code == 0xb || (code >= 0xe && code <= 0x1f) || code == 0x7f;
  return control || (code >= 0xfdd0 && code <= 0xfdef) || (code & 0xfffe) == 0xfffe;
}

void append_number(char32_t code, std::string& out) {
  if (code >= 0x80 && code <= 0x9f && kWindows1252[code - 0x80] != 0) code = kWindows1252[code - 0x80];
  if (code == 0 || (code >= 0xd800 && code <= 0xdfff) || code > 0x10ffff) return append_utf8(0xfffd, out);
  if (!vanishes(code)) append_utf8(code, out);
}

int digit(char c, int base) {
  if (c >= '0' && c <= '9') return c - '0';
  if (base == 16 && c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (base == 16 && c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// `text` begins after `&#`. Bytes used; 0 = no number.
std::size_t unescape_number(std::string_view text, std::string& out) {
  const int base = !text.empty() && (text[0] == 'x' || text[0] == 'X') ? 16 : 10;
  std::size_t used = base == 16 ? 1 : 0;
  const std::size_t first = used;
  char32_t code = 0;
  for (; used < text.size() && digit(text[used], base) >= 0; ++used)
    code = std::min<char32_t>(code * static_cast<char32_t>(base) + static_cast<char32_t>(digit(text[used], base)),
                              0x110000);
  if (used == first) return 0;
  append_number(code, out);
  return used < text.size() && text[used] == ';' ? used + 1 : used;
}

// The word after `&`: at most 32 characters, and a semicolon if one follows.
std::string_view reference_word(std::string_view text) {
  constexpr std::string_view kEnds = "\t\n\f <&#;";
  std::size_t bytes = 0, characters = 0;
  for (; bytes < text.size() && kEnds.find(text[bytes]) == std::string_view::npos; ++bytes) {
    const bool continued = (static_cast<unsigned char>(text[bytes]) & 0xc0) == 0x80;
    if (!continued && ++characters > kLongestName) break;
  }
  if (bytes > 0 && bytes < text.size() && text[bytes] == ';') ++bytes;
  return text.substr(0, bytes);
}

// `text` begins after `&`. Bytes used; 0 = no name.
std::size_t unescape_name(std::string_view text, std::string& out) {
  const std::string_view word = reference_word(text);
  for (std::size_t length = word.size(); length >= 2; --length) {
    const Entity* entity = find(word.substr(0, length));
    if (!entity) continue;
    out += entity->text;
    return length;
  }
  return 0;
}

}  // namespace

std::string html_unescape(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const std::size_t plain = std::min(text.find('&'), text.size());
    out += text.substr(0, plain);
    text.remove_prefix(plain);
    if (text.empty()) break;
    text.remove_prefix(1);
    const bool number = text.starts_with('#');
    const std::size_t used = number ? unescape_number(text.substr(1), out) : unescape_name(text, out);
    if (used == 0) out += '&';
    text.remove_prefix(used == 0 ? 0 : used + (number ? 1 : 0));
  }
  return out;
}

}  // namespace triptych
