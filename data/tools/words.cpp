// ICU's NFKC case folding, then its character classes.
#include "data/tools/words.h"

#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>

#include <stdexcept>

#include "core/base/strings.h"

namespace triptych {
namespace {

icu::UnicodeString folded(std::string_view text) {
  UErrorCode status = U_ZERO_ERROR;
  const auto* folding = icu::Normalizer2::getNFKCCasefoldInstance(status);
  if (U_FAILURE(status)) throw std::runtime_error("ICU has no NFKC case folding data");
  const auto raw = icu::UnicodeString::fromUTF8({text.data(), static_cast<std::int32_t>(text.size())});
  return folding->normalize(raw, status);
}

bool in_word(UChar32 c) {
  constexpr auto kWord = U_GC_L_MASK | U_GC_M_MASK | U_GC_N_MASK;
  return (U_GET_GC_MASK(c) & kWord) != 0;
}

bool is_apostrophe(UChar32 c) {
  return c == '\'' || c == 0x2019;
}

}  // namespace

std::vector<std::string> words_of(std::string_view text) {
  const auto all = folded(text);
  std::vector<std::string> words;
  icu::UnicodeString word;
  const auto finish = [&] {
    if (word.isEmpty()) return;
    words.emplace_back();
    word.toUTF8String(words.back());
    word.remove();
  };
  for (std::int32_t i = 0; i < all.length(); i = all.moveIndex32(i, 1)) {
    const auto c = all.char32At(i);
    const auto next = all.moveIndex32(i, 1);
    const bool inside = !word.isEmpty() && next < all.length() && in_word(all.char32At(next));
    if (in_word(c)) {
      word.append(c);
    } else if (is_apostrophe(c) && inside) {
      word.append(u'\'');
    } else {
      finish();
    }
  }
  finish();
  return words;
}

std::string compared_text(std::string_view text) {
  const auto words = words_of(text);
  return words.empty() ? std::string(text) : join(words, " ");
}

}  // namespace triptych
