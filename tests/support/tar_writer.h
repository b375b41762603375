// Writes tar archives by hand, sound and broken ones: every field of a header can be set.
#pragma once
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

namespace triptych {

/// One ustar header and its checksum.
class TarHeader {
 public:
  explicit TarHeader(std::string_view name, std::int64_t size, char type = '0') : bytes_(512, '\0') {
    text(0, name.substr(0, 100)).octal(100, 8, 0644).octal(108, 8, 0).octal(116, 8, 0);
    octal(124, 12, size).octal(136, 12, 1700000000).text(156, std::string(1, type));
    text(257, std::string_view("ustar\00000", 8));
  }
  /// Raw bytes at an offset; the checksum is made by bytes().
  TarHeader& text(std::size_t offset, std::string_view value) {
    bytes_.replace(offset, value.size(), value);
    return *this;
  }
  TarHeader& octal(std::size_t offset, int length, std::int64_t value) {
    char digits[32];
    std::snprintf(digits, sizeof(digits), "%0*llo", length - 1, static_cast<long long>(value));
    return text(offset, std::string_view(digits, static_cast<std::size_t>(length) - 1));
  }
  /// GNU base-256: a sign bit and big-endian two's complement.
  TarHeader& base256(std::size_t offset, std::size_t length, std::int64_t value) {
    std::string field(length, value < 0 ? '\xFF' : '\0');
    for (std::size_t i = 0; i < 8 && i < length; ++i) {
      field[length - 1 - i] = static_cast<char>(static_cast<std::uint64_t>(value) >> (8 * i));
    }
    field[0] = static_cast<char>(field[0] | 0x80);
    return text(offset, field);
  }
  /// The header with its checksum, `wrong_by` off.
  std::string bytes(int wrong_by = 0) const {
    auto out = bytes_;
    out.replace(148, 8, 8, ' ');
    std::int64_t sum = 0;
    for (const char c : out) sum += static_cast<unsigned char>(c);
    char digits[32];
    std::snprintf(digits, sizeof(digits), "%06llo", static_cast<long long>(sum + wrong_by));
    out.replace(148, 7, std::string_view(digits, 7));  // with its NUL
    out[155] = ' ';
    return out;
  }

 private:
  std::string bytes_;
};

class TarWriter {
 public:
  /// A sound member; names above 100 bytes need long_name or pax first.
  TarWriter& file(std::string_view name, std::string_view data) {
    return header(TarHeader(name, static_cast<std::int64_t>(data.size()))).data(data);
  }
  TarWriter& header(const TarHeader& header, int wrong_by = 0) {
    bytes_ += header.bytes(wrong_by);
    return *this;
  }
  /// Payload, padded to whole blocks.
  TarWriter& data(std::string_view data) {
    bytes_ += data;
    bytes_.resize((bytes_.size() + 511) / 512 * 512, '\0');
    return *this;
  }
  /// GNU: the name of the next member (type 'L') or its link target ('K').
  TarWriter& long_name(std::string_view name, char type = 'L') {
    const auto text = std::string(name) + '\0';
    return header(TarHeader("././@LongLink", static_cast<std::int64_t>(text.size()), type)).data(text);
  }
  /// PAX records for the next member ('x') or for all ('g').
  TarWriter& pax(std::string_view records, char type = 'x') {
    return header(TarHeader("PaxHeaders/x", static_cast<std::int64_t>(records.size()), type)).data(records);
  }
  /// "LENGTH key=value\n", where LENGTH counts itself.
  static std::string pax_record(std::string_view key, std::string_view value) {
    const auto rest = key.size() + value.size() + 3;
    auto length = rest + std::to_string(rest).size();
    length = rest + std::to_string(length).size();
    return std::to_string(length) + " " + std::string(key) + "=" + std::string(value) + "\n";
  }
  /// Anything.
  TarWriter& raw(std::string_view bytes) {
    bytes_ += bytes;
    return *this;
  }
  TarWriter& end() { return raw(std::string(1024, '\0')); }
  std::int64_t size() const { return static_cast<std::int64_t>(bytes_.size()); }
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

inline void write_test_file(const std::filesystem::path& path, std::string_view bytes) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

}  // namespace triptych
