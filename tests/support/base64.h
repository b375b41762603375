// Base64 as tests write it.
#pragma once
#include <string>
#include <string_view>

namespace triptych {

inline std::string to_base64(std::string_view bytes) {
  constexpr std::string_view kLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    unsigned word = 0;
    for (std::size_t k = i; k < i + 3; ++k)
      word = word << 8 | (k < bytes.size() ? static_cast<unsigned char>(bytes[k]) : 0);
    for (int k = 0; k < 4; ++k) text += kLetters[word >> (18 - 6 * k) & 63];
  }
  for (std::size_t missing = (3 - bytes.size() % 3) % 3; missing > 0; --missing) text[text.size() - missing] = '=';
  return text;
}

}  // namespace triptych
