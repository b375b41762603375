// Zip archives written by hand, sound or with chosen damage.
#pragma once
#include <zlib.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace triptych {

/// What an entry is written with; the defaults make a sound one.
struct ZipOptions {
  bool deflate = false;
  std::uint16_t flags = 0;
  std::uint16_t method = 0xFFFF;  ///< 0xFFFF: the true one
  std::int64_t size = -1;         ///< in the directory; -1: the true one
  std::uint32_t crc_xor = 0;
  bool zip64 = false;  ///< sizes and offset in the Zip64 field of the directory
};

class ZipWriter {
 public:
  ZipWriter& file(std::string_view name, std::string_view data, const ZipOptions& options = {}) {
    const auto packed = options.deflate ? deflated(data) : std::string(data);
    const auto crc = static_cast<std::uint32_t>(
                         crc32(0, reinterpret_cast<const Bytef*>(data.data()), static_cast<uInt>(data.size()))) ^
                     options.crc_xor;
    const auto method = options.method != 0xFFFF ? options.method : static_cast<std::uint16_t>(options.deflate ? 8 : 0);
    const auto size = options.size >= 0 ? static_cast<std::uint64_t>(options.size) : data.size();
    const auto offset = bytes_.size();
    const auto local = number(20, 2) + number(options.flags, 2) + number(method, 2) + number(0, 4) + number(crc, 4) +
                       number(packed.size(), 4) + number(size, 4) + number(name.size(), 2) + number(0, 2);
    bytes_ += "PK\x03\x04" + local + std::string(name) + packed;
    std::string extra;
    if (options.zip64)
      extra = number(1, 2) + number(24, 2) + number(size, 8) + number(packed.size(), 8) + number(offset, 8);
    const auto in_32 = [&](std::uint64_t n) { return number(options.zip64 ? 0xFFFFFFFF : n, 4); };
    directory_ += std::string("PK\x01\x02") + number(20, 2) + number(20, 2) + number(options.flags, 2) +
                  number(method, 2) + number(0, 4) + number(crc, 4) + in_32(packed.size()) + in_32(size) +
                  number(name.size(), 2) + number(extra.size(), 2) + number(0, 2) + number(0, 2) + number(0, 2) +
                  number(0, 4) + in_32(offset) + std::string(name) + extra;
    ++entries_;
    return *this;
  }
  /// The archive; `end64`: with a Zip64 end record, and numbers in the old one that say to look there.
  std::string bytes(bool end64 = false, std::string_view comment = "") const {
    auto out = bytes_;
    const auto at = out.size();
    out += directory_;
    if (end64) {
      const auto record = out.size();
      out += "PK\x06\x06" + number(44, 8) + number(45, 2) + number(45, 2) + number(0, 4) + number(0, 4) +
             number(entries_, 8) + number(entries_, 8) + number(directory_.size(), 8) + number(at, 8);
      out += "PK\x06\x07" + number(0, 4) + number(record, 8) + number(1, 4);
    }
    out += "PK\x05\x06" + number(0, 2) + number(0, 2) + number(end64 ? 0xFFFF : entries_, 2) +
           number(end64 ? 0xFFFF : entries_, 2) + number(end64 ? 0xFFFFFFFF : directory_.size(), 4) +
           number(end64 ? 0xFFFFFFFF : at, 4) + number(comment.size(), 2) + std::string(comment);
    return out;
  }

  /// Little endian.
  static std::string number(std::uint64_t value, int bytes) {
    std::string out;
    for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i));
    return out;
  }
  /// A raw deflate stream.
  static std::string deflated(std::string_view data) {
    z_stream stream{};
    deflateInit2(&stream, 9, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
    std::string out(deflateBound(&stream, data.size()), '\0');
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(data.data()));
    stream.avail_in = static_cast<uInt>(data.size());
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
    ::deflate(&stream, Z_FINISH);
    out.resize(stream.total_out);
    deflateEnd(&stream);
    return out;
  }

 private:
  std::string bytes_, directory_;
  std::uint64_t entries_ = 0;
};

}  // namespace triptych
