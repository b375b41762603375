// POSIX ustar (IEEE Std 1003.1, pax: ustar interchange format).
#include "data/tools/tar_file.h"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <stdexcept>

namespace triptych {
namespace {

constexpr std::size_t kBlock = 512;
using Header = std::array<char, kBlock>;

/// `digits` octal digits and a NUL.
void put_octal(Header& header, std::size_t offset, int digits, std::uint64_t value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%0*llo", digits, static_cast<unsigned long long>(value));
  std::memcpy(&header[offset], text, static_cast<std::size_t>(digits) + 1);
}

Header make_header(std::string_view name, std::uint64_t size) {
  Header header{};
  std::memcpy(&header[0], name.data(), name.size());
  put_octal(header, 100, 7, 0644);  // mode
  put_octal(header, 108, 7, 0);     // owner
  put_octal(header, 116, 7, 0);     // group
  put_octal(header, 124, 11, size);
  put_octal(header, 136, 11, 0);  // time
  header[156] = '0';              // a regular file
  std::memcpy(&header[257], "ustar\00000", 8);
  std::fill_n(&header[148], 8, ' ');  // the checksum counts itself as blanks
  std::uint64_t sum = 0;
  for (const char c : header) sum += static_cast<unsigned char>(c);
  put_octal(header, 148, 6, sum);
  return header;
}

}  // namespace

TarFile::TarFile(std::filesystem::path path) : path_(std::move(path)), temporary_(path_.string() + ".tmp") {
  file_ = FileHandle(::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (file_.get() < 0) throw storage_error("cannot write", temporary_, errno);
}

void TarFile::write(const void* bytes, std::size_t size) {
  write_fully(file_.get(), bytes, size, temporary_);
}

void TarFile::add(std::string_view name, std::span<const unsigned char> bytes) {
  if (name.empty() || name.size() > 100 || bytes.size() >= std::size_t{1} << 33) {
    throw std::invalid_argument("TarFile: a name or size that ustar does not hold");
  }
  static constexpr std::array<char, kBlock> kZeros{};
  const auto header = make_header(name, bytes.size());
  write(header.data(), header.size());
  write(bytes.data(), bytes.size());
  write(kZeros.data(), (kBlock - bytes.size() % kBlock) % kBlock);
}

void TarFile::finish() {
  static constexpr std::array<char, 2 * kBlock> kEnd{};
  write(kEnd.data(), kEnd.size());
  if (!file_.close()) throw storage_error("cannot write", temporary_, errno);
  sync_file(temporary_);
  rename_durably(temporary_, path_);
}

}  // namespace triptych
