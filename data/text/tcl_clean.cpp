// Each rule in the order in which it is published, on characters that keep their places.
#include "data/text/tcl_clean.h"

#include <unicode/uchar.h>

#include <algorithm>
#include <cstdint>

namespace triptych {
namespace {

bool has(char32_t code, UProperty property) {
  return u_hasBinaryProperty(static_cast<UChar32>(code), property);
}

// The Final_Sigma condition of the Unicode Standard, 3.13: a cased letter before, none after, case-ignorable characters
// apart.
bool ends_a_word(const Characters& text, std::size_t sigma) {
  auto before = sigma;
  while (before > 0 && has(text[before - 1].code, UCHAR_CASE_IGNORABLE)) --before;
  if (before == 0 || !has(text[before - 1].code, UCHAR_CASED)) return false;
  auto after = sigma + 1;
  while (after < text.size() && has(text[after].code, UCHAR_CASE_IGNORABLE)) ++after;
  return after == text.size() || !has(text[after].code, UCHAR_CASED);
}

Characters lower(const Characters& text) {
  Characters out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto [code, source] = text[i];
    if (code == U'Σ') {
      out.push_back({ends_a_word(text, i) ? U'ς' : U'σ', source});
    } else if (code == 0x130) {  // I with a dot: the only one whose lower case is two characters
      out.push_back({U'i', source});
      out.push_back({0x307, source});
    } else {
      out.push_back({static_cast<char32_t>(u_tolower(static_cast<UChar32>(code))), source});
    }
  }
  return out;
}

void drop_punctuation(Characters& text) {
  constexpr std::u32string_view kDropped = U",.'!?\"()*#:;~";
  std::erase_if(text, [&](const Character& c) { return kDropped.find(c.code) != kDropped.npos; });
  for (auto& c : text)
    if (c.code == '-' || c.code == '/') c.code = ' ';
}

// `<person>` to `person`.
void unwrap_person(Characters& text) {
  constexpr std::u32string_view kTag = U"<person>";
  const auto equal = [](const Character& c, char32_t code) { return c.code == code; };
  Characters out;
  out.reserve(text.size());
  for (auto at = text.begin(); at != text.end();) {
    const auto tag = std::search(at, text.end(), kTag.begin(), kTag.end(), equal);
    out.insert(out.end(), at, tag);
    at = tag;
    if (tag == text.end()) break;
    at += static_cast<std::ptrdiff_t>(kTag.size());
    out.insert(out.end(), tag + 1, at - 1);
  }
  text = std::move(out);
}

void collapse_runs(Characters& text) {
  Characters out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    auto last = i;
    while (last < text.size() && is_python_space(text[last].code)) ++last;
    if (last > i + 1) {
      out.push_back({U' ', {text[i].source.begin, text[last - 1].source.end}});
      i = last;
    } else {
      out.push_back(text[i++]);
    }
  }
  text = std::move(out);
}

void strip_end(Characters& text, char32_t code) {
  while (!text.empty() && text.back().code == code) text.pop_back();
}

void strip_begin(Characters& text, char32_t code) {
  const auto first = std::find_if(text.begin(), text.end(), [&](const Character& c) { return c.code != code; });
  text.erase(text.begin(), first);
}

void keep_words(Characters& text, std::size_t most_words) {
  std::size_t words = 0;
  const auto cut = std::find_if(text.begin(), text.end(),
                                [&](const Character& c) { return c.code == ' ' && ++words >= most_words; });
  text.erase(cut, text.end());
}

}  // namespace

Characters tcl_caption(std::string_view raw, std::size_t most_words) {
  auto text = lower(decode_utf8(raw));
  drop_punctuation(text);
  unwrap_person(text);
  collapse_runs(text);
  strip_end(text, U'\n');
  strip_end(text, U' ');
  strip_begin(text, U' ');
  keep_words(text, most_words);
  return text;
}

Characters tcl_question(std::string_view raw, std::size_t most_words) {
  auto text = lower(decode_utf8(raw));
  drop_punctuation(text);
  strip_end(text, U' ');
  keep_words(text, most_words);
  return text;
}

}  // namespace triptych
