// The table has 28 symbols a side: a .. z, * for any other letter, the blank. See scripts/make_english_trigrams.py.
#include "data/tools/english.h"

#include <unicode/uchar.h>
#include <unicode/utf8.h>

#include <array>
#include <cstdint>
#include <string_view>

namespace triptych {
namespace {

constexpr std::size_t kSymbols = 28;
constexpr std::uint8_t kOther = 26, kBlank = 27;
constexpr double kStepsOfANat = 8;
constexpr std::string_view kTable =
#include "data/tools/english_trigrams.inc"
    ;
static_assert(kTable.size() == kSymbols * kSymbols * kSymbols);

/// A character of the table as steps of log odds, -32 .. 31.
int steps(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A' - 32;
  if (c >= 'a' && c <= 'z') return c - 'a' - 6;
  if (c >= '0' && c <= '9') return c - '0' + 20;
  return c == '+' ? 30 : 31;
}

/// The letters of a word between two blanks; nothing when it has none.
std::vector<std::uint8_t> symbols(const std::string& word) {
  std::vector<std::uint8_t> out = {kBlank};
  const auto size = static_cast<std::int32_t>(word.size());
  for (std::int32_t i = 0; i < size;) {
    UChar32 c = 0;
    U8_NEXT(word.data(), i, size, c);
    if (c >= 'a' && c <= 'z') {
      out.push_back(static_cast<std::uint8_t>(c - 'a'));
    } else if (c > 0x7F && (U_GET_GC_MASK(c) & U_GC_L_MASK) != 0) {
      out.push_back(kOther);
    }
  }
  if (out.size() == 1) return {};
  out.push_back(kBlank);
  return out;
}

}  // namespace

double english_score(const std::vector<std::string>& words) {
  std::int64_t sum = 0, trigrams = 0;
  for (const auto& word : words) {
    const auto s = symbols(word);
    for (std::size_t i = 0; i + 2 < s.size(); ++i, ++trigrams) {
      sum += steps(kTable[(s[i] * kSymbols + s[i + 1]) * kSymbols + s[i + 2]]);
    }
  }
  return trigrams == 0 ? 0 : static_cast<double>(sum) / (kStepsOfANat * static_cast<double>(trigrams));
}

}  // namespace triptych
