// Cleaning and splitting of text as OpenCLIP's SimpleTokenizer does it.
#include "data/text/clip_clean.h"

#include <unicode/locid.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>
#include <unicode/utf8.h>

#include <algorithm>
#include <cstdint>

#include "data/text/characters.h"
#include "data/text/fix_text.h"
#include "data/text/html_entities.h"

namespace triptych {
namespace {

enum class Kind { kSpace, kLetter, kNumber, kOther };

struct First {
  UChar32 code;
  std::size_t bytes;
};

// `text` is not empty; invalid bytes come one at a time with a negative code.
First first_character(std::string_view text) {
  const auto first = static_cast<unsigned char>(text[0]);
  if (first < 0x80) return {first, 1};
  std::int32_t at = 0;
  UChar32 code;
  const auto size = static_cast<std::int32_t>(std::min<std::size_t>(text.size(), U8_MAX_LENGTH));
  U8_NEXT(text.data(), at, size, code);
  return {code, static_cast<std::size_t>(at)};
}

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

Kind kind_of(UChar32 c) {
  if (c >= 'a' && c <= 'z') return Kind::kLetter;
  if (c == ' ') return Kind::kSpace;
  // The iota below (a mark) folds to a letter, so that a search that ignores case finds it in no class: OpenCLIP drops
  // it.
  if (c == 0x345) return Kind::kSpace;
  const auto category = U_GET_GC_MASK(c);
  if (category & U_GC_L_MASK) return Kind::kLetter;
  if (category & U_GC_N_MASK) return Kind::kNumber;
  return u_isUWhiteSpace(c) ? Kind::kSpace : Kind::kOther;
}

std::string replace_invalid(std::string_view text) {
  std::string valid;
  icu::UnicodeString::fromUTF8(icu::StringPiece(text.data(), static_cast<std::int32_t>(text.size())))
      .toUTF8String(valid);
  return valid;
}

std::string collapse_spaces(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  bool space = false;
  while (!text.empty()) {
    const auto c = first_character(text);
    if (is_python_space(static_cast<char32_t>(c.code))) {
      space = !out.empty();
    } else {
      if (space) out += ' ';
      space = false;
      out += text.substr(0, c.bytes);
    }
    text.remove_prefix(c.bytes);
  }
  return out;
}

void lower(std::string& text) {
  if (is_ascii(text)) {
    for (char& c : text) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
    return;
  }
  auto wide = icu::UnicodeString::fromUTF8(text);
  wide.toLower(icu::Locale::getRoot());
  text.clear();
  wide.toUTF8String(text);
}

// Bytes of `text` that equal `pattern` when the long s (U+017F) counts as s, as in a search that ignores case; else 0.
std::size_t match(std::string_view text, std::string_view pattern) {
  std::size_t used = 0;
  for (const char wanted : pattern) {
    const auto rest = text.substr(used);
    if (rest.starts_with(wanted))
      used += 1;
    else if (wanted == 's' && rest.starts_with("\xc5\xbf"))
      used += 2;
    else
      return 0;
  }
  return used;
}

std::size_t fixed_word(std::string_view text) {
  constexpr std::string_view kSpecial[] = {"<start_of_text>", "<end_of_text>"};
  constexpr std::string_view kContractions[] = {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"};
  if (text[0] == '<')
    for (const auto word : kSpecial)
      if (const auto bytes = match(text, word)) return bytes;
  if (text[0] == '\'')
    for (const auto word : kContractions)
      if (const auto bytes = match(text, word)) return bytes;
  return 0;
}

}  // namespace

std::string clip_clean(std::string_view text) {
  std::string clean = fix_text(is_ascii(text) ? std::string(text) : replace_invalid(text));
  for (int i = 0; i < 2 && clean.find('&') != std::string::npos; ++i) clean = html_unescape(clean);
  clean = collapse_spaces(clean);
  lower(clean);
  return clean;
}

std::string_view next_clip_word(std::string_view& text) {
  const auto take = [&](std::size_t bytes) {
    const auto word = text.substr(0, bytes);
    text.remove_prefix(bytes);
    return word;
  };
  while (!text.empty()) {
    if (const auto bytes = fixed_word(text)) return take(bytes);
    const auto first = first_character(text);
    const Kind kind = kind_of(first.code);
    if (kind == Kind::kNumber) return take(first.bytes);
    std::size_t bytes = first.bytes;
    while (kind != Kind::kSpace && bytes < text.size()) {
      const auto next = first_character(text.substr(bytes));
      if (kind_of(next.code) != kind) break;
      bytes += next.bytes;
    }
    const auto word = take(bytes);
    if (kind != Kind::kSpace) return word;
  }
  return {};
}

}  // namespace triptych
