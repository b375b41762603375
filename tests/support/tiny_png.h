// A PNG of few pixels, made by hand: tests need pictures whose content they know.
#pragma once
#include <zlib.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace triptych {

/// width x height RGB; pixel (x, y) is (first + x, first + y, first), each modulo 256.
inline std::string tiny_png(int width, int height, int first) {
  const auto number = [](std::uint32_t n) {
    return std::string{static_cast<char>(n >> 24), static_cast<char>(n >> 16), static_cast<char>(n >> 8),
                       static_cast<char>(n)};
  };
  const auto chunk = [&](std::string_view type, const std::string& data) {
    const auto body = std::string(type) + data;
    const auto crc = crc32(0, reinterpret_cast<const Bytef*>(body.data()), static_cast<uInt>(body.size()));
    return number(static_cast<std::uint32_t>(data.size())) + body + number(static_cast<std::uint32_t>(crc));
  };
  std::string rows;
  for (int y = 0; y < height; ++y) {
    rows += '\0';
    for (int x = 0; x < width; ++x) {
      rows += {static_cast<char>(first + x), static_cast<char>(first + y), static_cast<char>(first)};
    }
  }
  auto size = compressBound(static_cast<uLong>(rows.size()));
  std::string packed(size, '\0');
  compress(reinterpret_cast<Bytef*>(packed.data()), &size, reinterpret_cast<const Bytef*>(rows.data()),
           static_cast<uLong>(rows.size()));
  packed.resize(size);
  const auto header = number(static_cast<std::uint32_t>(width)) + number(static_cast<std::uint32_t>(height)) +
                      std::string("\x08\x02\x00\x00\x00", 5);
  return "\x89PNG\r\n\x1A\n" + chunk("IHDR", header) + chunk("IDAT", packed) + chunk("IEND", "");
}

}  // namespace triptych
