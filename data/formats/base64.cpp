// Four letters to three bytes.
#include "data/formats/base64.h"

#include <array>
#include <cstdint>
#include <string>

#include "core/base/errors.h"
#include "data/formats/printable.h"

namespace triptych {
namespace {

constexpr std::uint8_t kNoDigit = 64;

constexpr std::array<std::uint8_t, 256> make_digits() {
  std::array<std::uint8_t, 256> digits{};
  digits.fill(kNoDigit);
  constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (std::size_t i = 0; i < kAlphabet.size(); ++i) {
    digits[static_cast<unsigned char>(kAlphabet[i])] = static_cast<std::uint8_t>(i);
  }
  return digits;
}
constexpr auto kDigits = make_digits();

[[noreturn]] void refuse(std::string_view text, std::size_t at) {
  throw DataError("not base64: '" + printable(text.substr(at, 1)) + "' at byte " + std::to_string(at));
}

}  // namespace

std::vector<unsigned char> decode_base64(std::string_view text) {
  const auto length = text.size();
  const auto end = text.find_last_not_of('=') + 1;  // 0 when there is nothing else
  if (end == 0) throw DataError("not base64: the text is empty");
  const auto filled = length - end;
  if (filled > 2 || (filled > 0 && length % 4 != 0) || end % 4 == 1) {
    throw DataError("not base64: " + std::to_string(length) + " letters, " + std::to_string(filled) +
                    " of them '=', cannot be whole bytes");
  }
  std::vector<unsigned char> bytes;
  bytes.reserve(end / 4 * 3 + 2);
  std::uint32_t word = 0;
  for (std::size_t i = 0; i < end; ++i) {
    const auto digit = kDigits[static_cast<unsigned char>(text[i])];
    if (digit == kNoDigit) refuse(text, i);
    word = word << 6 | digit;
    if (i % 4 == 3) {
      for (const int shift : {16, 8, 0}) bytes.push_back(static_cast<unsigned char>(word >> shift));
      word = 0;
    }
  }
  const auto rest = end % 4;  // 2 letters: one byte and 4 bits, 3 letters: two bytes and 2 bits
  if (rest >= 2) bytes.push_back(static_cast<unsigned char>(word >> (rest == 2 ? 4 : 10)));
  if (rest == 3) bytes.push_back(static_cast<unsigned char>(word >> 2));
  return bytes;
}

std::string encode_base64(std::string_view bytes) {
  constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const auto at = [&](std::size_t j) {
      return j < bytes.size() ? std::uint32_t{static_cast<unsigned char>(bytes[j])} : 0;
    };
    const auto group = at(i) << 16 | at(i + 1) << 8 | at(i + 2);
    out += kAlphabet[group >> 18];
    out += kAlphabet[group >> 12 & 63];
    out += i + 1 < bytes.size() ? kAlphabet[group >> 6 & 63] : '=';
    out += i + 2 < bytes.size() ? kAlphabet[group & 63] : '=';
  }
  return out;
}

}  // namespace triptych
