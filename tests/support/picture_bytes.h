// Picture files as bytes that a test changes: sound ones from tests/golden, and PNG files made chunk by chunk.
#pragma once
#include <zlib.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "tests/data/golden_file.h"

namespace triptych {

using Bytes = std::vector<unsigned char>;

inline Bytes bytes_of(std::string_view text) {
  return {text.begin(), text.end()};
}

/// The file that a golden set was decoded from.
inline Bytes golden_picture(const std::string& set, const std::string& name) {
  static std::map<std::string, GoldenFile> sets;
  const auto bytes = sets.try_emplace(set, set).first->second[name + ".file"].bytes;
  return {bytes.begin(), bytes.end()};
}
inline Bytes sound_jpeg() {
  return golden_picture("images", "jpeg420");
}
inline Bytes sound_png() {
  return golden_picture("images", "palette");
}
inline Bytes sound_webp() {
  return golden_picture("pictures", "webp_lossless");
}

inline std::size_t offset_of(const Bytes& file, std::string_view pattern, std::size_t from = 0) {
  const auto at = std::string_view(reinterpret_cast<const char*>(file.data()), file.size()).find(pattern, from);
  if (at == std::string_view::npos) throw std::runtime_error("the picture has no " + std::string(pattern));
  return at;
}

inline void put_big_endian(Bytes& file, std::size_t at, std::uint32_t value, int bytes = 4) {
  for (int i = 0; i < bytes; ++i)
    file.at(at + static_cast<std::size_t>(i)) = static_cast<unsigned char>(value >> 8 * (bytes - 1 - i));
}

// --- PNG by hand.
inline Bytes png_chunk(std::string_view type, const Bytes& data) {
  Bytes out(8);
  put_big_endian(out, 0, static_cast<std::uint32_t>(data.size()));
  std::copy(type.begin(), type.end(), out.begin() + 4);
  out.insert(out.end(), data.begin(), data.end());
  const auto checksum = crc32(0, out.data() + 4, static_cast<unsigned>(out.size() - 4));
  out.resize(out.size() + 4);
  put_big_endian(out, out.size() - 4, static_cast<std::uint32_t>(checksum));
  return out;
}

inline Bytes deflated(const Bytes& data) {
  Bytes out(compressBound(data.size()));
  uLongf size = out.size();
  if (compress(out.data(), &size, data.data(), data.size()) != Z_OK) throw std::runtime_error("zlib");
  out.resize(size);
  return out;
}

inline Bytes png_header(std::uint32_t width, std::uint32_t height, unsigned char bits, unsigned char color,
                        unsigned char interlace = 0) {
  Bytes data(13);
  put_big_endian(data, 0, width);
  put_big_endian(data, 4, height);
  data[8] = bits, data[9] = color, data[12] = interlace;
  return png_chunk("IHDR", data);
}

inline Bytes png_of(const std::vector<Bytes>& chunks) {
  Bytes file = bytes_of("\x89PNG\r\n\x1a\n");
  for (const auto& part : chunks) file.insert(file.end(), part.begin(), part.end());
  return file;
}

/// Rows of zeros for a grey 8-bit picture, each with filter type `filter`.
inline Bytes gray_rows(std::size_t width, std::size_t height, unsigned char filter = 0) {
  Bytes rows((width + 1) * height);
  for (std::size_t y = 0; y < height; ++y) rows[y * (width + 1)] = filter;
  return rows;
}

inline Bytes gray_png(std::uint32_t width, std::uint32_t height, const Bytes& data,
                      const std::vector<Bytes>& before_data = {}) {
  std::vector<Bytes> chunks = {png_header(width, height, 8, 0)};
  chunks.insert(chunks.end(), before_data.begin(), before_data.end());
  chunks.push_back(png_chunk("IDAT", data));
  chunks.push_back(png_chunk("IEND", {}));
  return png_of(chunks);
}

/// 4 x 3 pixels of a palette with two colours, one of which has the colour `index`.
inline Bytes palette_png(unsigned char index) {
  Bytes rows = gray_rows(4, 3);
  rows[2] = index;
  return png_of({png_header(4, 3, 8, 3), png_chunk("PLTE", Bytes(6, 9)), png_chunk("IDAT", deflated(rows)),
                 png_chunk("IEND", {})});
}

}  // namespace triptych
