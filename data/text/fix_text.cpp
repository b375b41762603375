// ftfy decides whether a text is mojibake by a table of unlikely neighbours. Here a sequence that decodes is evidence
// unless it could be a word with punctuation behind it; texts without evidence stay as they are.
#include "data/text/fix_text.h"

#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>
#include <unicode/utf8.h>

#include <algorithm>
#include <array>
#include <optional>

#include "data/text/characters.h"
#include "data/text/html_entities.h"

namespace triptych {
namespace {

constexpr int kMostRounds = 16;  // ftfy has no bound; a text that was spoilt more often is not worth quadratic time

std::u32string wide_of(std::string_view text) {
  std::u32string wide;
  for (const auto& character : decode_utf8(text)) wide += character.code;
  return wide;
}

std::string narrow_of(std::u32string_view wide) {
  std::string text;
  for (const auto code : wide) append_utf8(code, text);
  return text;
}

/// The byte that was read as this character.
std::optional<unsigned char> byte_of(char32_t code) {
  if (code < 0x100) return static_cast<unsigned char>(code);
  const auto* found = std::find(kWindows1252.begin(), kWindows1252.end(), code);
  if (found == kWindows1252.end()) return std::nullopt;
  return static_cast<unsigned char>(0x80 + (found - kWindows1252.begin()));
}

/// Characters that were one character's bytes.
struct Sequence {
  std::size_t length = 0;  ///< 0: there is none
  char32_t code = 0;
};

Sequence sequence_at(std::u32string_view text, std::size_t at) {
  if (text[at] < 0xc2 || text[at] > 0xf4) return {};
  std::array<char, U8_MAX_LENGTH> bytes{};
  std::int32_t size = 0;
  for (; size < U8_MAX_LENGTH && at + static_cast<std::size_t>(size) < text.size(); ++size) {
    const auto byte = byte_of(text[at + static_cast<std::size_t>(size)]);
    if (!byte) break;
    bytes[static_cast<std::size_t>(size)] = static_cast<char>(*byte);
  }
  std::int32_t used = 0;
  UChar32 code = 0;
  U8_NEXT(bytes.data(), used, size, code);
  if (code < 0x80) return {};
  return {static_cast<std::size_t>(used), static_cast<char32_t>(code)};
}

/// What may follow a word that ends in an accented letter: quotes, dashes, signs, letters of Windows-1252.
bool is_ordinary(char32_t code) {
  constexpr std::u32string_view kOrdinary =
      U"\u00a0\u00a9\u00ab\u00ae\u00b0\u00b2\u00b3\u00b4\u00b7\u00b9\u00bb\u201a\u201e\u2018\u2019\u201c\u201d\u2022"
      U"\u2013\u2014\u2026\u2122\u0160\u0161\u0152\u0153\u017d\u017e\u0178\u0192";
  return kOrdinary.find(code) != kOrdinary.npos;
}

bool is_currency(char32_t code) {
  return code == 0x20ac || (code >= 0xa2 && code <= 0xa5);
}

/// Whether a sequence cannot well be meant as it stands.
bool is_evidence(std::u32string_view text, std::size_t at, std::size_t length) {
  const auto lead = text[at];
  const auto rest = text.substr(at + 1, length - 1);
  if (length == 2) {
    if (!is_ordinary(rest[0]) && !is_currency(rest[0])) return true;
    if (lead != 0xc2 && lead != 0xc3) return false;
    // A capital A with a hat is the usual lead, and rare in words; not so at the end of words in capitals.
    const bool in_capitals = at > 0 && u_isupper(static_cast<UChar32>(text[at - 1]));
    const bool word_goes_on = at + 2 < text.size() && u_isalpha(static_cast<UChar32>(text[at + 2]));
    return !in_capitals || word_goes_on;
  }
  if (rest[0] == 0xa0) return false;  // "d\u00e9j\u00e0 \u00bb" has a blank that does not break
  return !std::all_of(rest.begin(), rest.end(), is_ordinary);
}

struct Evidence {
  bool any = false;
  bool whole = true;  ///< all that is not ASCII belongs to sequences
};

Evidence look_for_mojibake(std::u32string_view text) {
  Evidence found;
  for (std::size_t at = 0; at < text.size();) {
    const auto sequence = sequence_at(text, at);
    if (sequence.length > 0) {
      found.any = found.any || is_evidence(text, at, sequence.length);
    } else if (text[at] >= 0x80 && !(text[at] == 0xc3 && text.substr(at + 1).starts_with(U' '))) {
      found.whole = false;
    }
    at += std::max<std::size_t>(sequence.length, 1);
  }
  return found;
}

/// One layer. Where a text has other characters too, only sequences that are evidence themselves are decoded.
std::u32string decode_mojibake(std::u32string_view text) {
  const auto evidence = look_for_mojibake(text);
  if (!evidence.any) return std::u32string(text);
  std::u32string out;
  for (std::size_t at = 0; at < text.size();) {
    const auto sequence = sequence_at(text, at);
    if (sequence.length > 0 && (evidence.whole || is_evidence(text, at, sequence.length))) {
      out += sequence.code;
      at += sequence.length;
      continue;
    }
    out += text[at++];
    // The second byte of "\u00e0" is a blank that does not break; programs make it a plain one, or one of two.
    const auto rest = text.substr(at);
    if (!evidence.whole || out.back() != 0xc3 || !rest.starts_with(U' ')) continue;
    out.back() = 0xe0;
    if (rest.starts_with(U"  ")) ++at;
  }
  return out;
}

std::u32string repair_encoding(std::u32string text) {
  for (int round = 0; round < kMostRounds; ++round) {
    auto next = decode_mojibake(text);
    if (next == text) break;
    text = std::move(next);
  }
  return text;
}

/// References that end in a semicolon; others may be meant, and CLIP's cleaning resolves them later.
std::string resolve_references(std::string_view text) {
  constexpr std::size_t kMostLetters = 24;
  std::string out;
  while (!text.empty()) {
    const auto begin = std::min(text.find('&'), text.size());
    out += text.substr(0, begin);
    text.remove_prefix(begin);
    std::size_t end = text.starts_with("&#") ? 2 : 1;
    const auto first = end;
    const auto is_alphanumeric = [](char c) {
      return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    };
    while (end < text.size() && end - first < kMostLetters && is_alphanumeric(text[end])) ++end;
    const bool whole = end < text.size() && end > first && text[end] == ';';
    const auto taken = whole ? text.substr(0, end + 1) : text.substr(0, std::min<std::size_t>(1, text.size()));
    const auto resolved = whole ? html_unescape(taken) : std::string(taken);
    // One that is known as the beginning of a longer word leaves its semicolon: it is not meant.
    out += resolved.ends_with(';') ? taken : std::string_view(resolved);
    text.remove_prefix(taken.size());
  }
  return out;
}

/// Compatibility forms that ftfy takes apart; others, such as superscripts, have a meaning of their own.
bool is_form(char32_t code) {
  const bool ligature = code == 0x132 || code == 0x133 || code == 0x149 || (code >= 0x1c4 && code <= 0x1cc) ||
                        (code >= 0x1f1 && code <= 0x1f3) || (code >= 0xfb00 && code <= 0xfb06);
  const bool width = code == 0x3000 || (code >= 0xff01 && code <= 0xffef);
  return ligature || width;
}

void append_plain_form(char32_t code, std::u32string& out) {
  if (code == 0xfb05) {  // ICU goes on and makes the long s a plain one
    out += U"\u017ft";
    return;
  }
  UErrorCode error = U_ZERO_ERROR;
  const auto* const forms = icu::Normalizer2::getNFKCInstance(error);
  const auto plain = forms->normalize(icu::UnicodeString(static_cast<UChar32>(code)), error);
  for (std::int32_t i = 0; i < plain.length(); i = plain.moveIndex32(i, 1))
    out += static_cast<char32_t>(plain.char32At(i));
}

/// Each character by itself: what it is replaced by, if it is replaced.
std::u32string replace_characters(std::u32string_view text) {
  std::u32string out;
  for (auto code : text) {
    if (code >= 0x80 && code < 0xa0 && kWindows1252[code - 0x80] != 0) code = kWindows1252[code - 0x80];
    const auto before = out.size();
    if (is_form(code)) {
      append_plain_form(code, out);
    } else {
      out += code;
    }
    for (auto at = before; at < out.size(); ++at) {
      auto& c = out[at];
      if (c == 0x2bc || (c >= 0x2018 && c <= 0x201b)) c = '\'';
      if (c >= 0x201c && c <= 0x201f) c = '"';
      if (c == '\r' || c == 0x2028 || c == 0x2029 || c == 0x85) c = '\n';
    }
  }
  return out;
}

bool is_removed_control(char32_t code) {
  return code < 9 || code == 0xb || (code >= 0xe && code < 0x20) || code == 0x7f ||
         (code >= 0x206a && code <= 0x206f) || code == 0xfeff || (code >= 0xfff9 && code <= 0xfffc);
}

/// Length of the colour code or cursor movement that `text` begins with: ESC [ digits letter.
std::size_t terminal_escape(std::u32string_view text) {
  if (!text.starts_with(U"\x1b[")) return 0;
  std::size_t end = 2;
  while (end < text.size() && ((text[end] >= '0' && text[end] <= '9') || text[end] == ';')) ++end;
  const bool letter = end < text.size() && ((text[end] | 0x20) >= 'a' && (text[end] | 0x20) <= 'z');
  return letter ? end + 1 : 0;
}

std::u32string drop_controls(std::u32string_view text) {
  std::u32string out;
  for (std::size_t at = 0; at < text.size();) {
    const auto escape = terminal_escape(text.substr(at));
    if (escape == 0 && !is_removed_control(text[at])) out += text[at];
    at += std::max<std::size_t>(escape, 1);
  }
  return out;
}

std::string compose(const std::string& text) {
  UErrorCode error = U_ZERO_ERROR;
  const auto* const composer = icu::Normalizer2::getNFCInstance(error);
  std::string out;
  icu::StringByteSink<std::string> sink(&out);
  composer->normalizeUTF8(0, text, sink, nullptr, error);
  return U_FAILURE(error) ? text : out;
}

/// Most captions: nothing in them could be changed, but for line breaks, which the caller collapses.
bool is_plain(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return (c >= ' ' && c < 0x7f && c != '&') || (c >= '\t' && c <= '\n'); });
}

std::string fix_line(std::string text, bool resolve) {
  for (int round = 0; round < kMostRounds && !is_plain(text); ++round) {
    auto wide = wide_of(resolve ? resolve_references(text) : text);
    auto next = compose(narrow_of(drop_controls(replace_characters(repair_encoding(std::move(wide))))));
    if (next == text) break;
    text = std::move(next);
  }
  return text;
}

}  // namespace

std::string fix_text(std::string_view text) {
  std::string out;
  bool resolve = true;
  while (!text.empty()) {
    const auto line = text.substr(0, std::min(text.find('\n'), text.size() - 1) + 1);
    // As ftfy guesses: from the first < on the text is HTML itself, whose references are meant.
    resolve = resolve && line.find('<') == line.npos;
    out += fix_line(std::string(line), resolve);
    text.remove_prefix(line.size());
  }
  return out;
}

}  // namespace triptych
