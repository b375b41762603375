// Tar archives as `data pack` writes them: plain ustar, nothing in them but names and bytes.
#pragma once
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>

#include "core/base/atomic_file.h"

namespace triptych {

/// Writes PATH.tmp; finish() makes it PATH. Times, owners and modes are fixed, so that equal members give equal bytes.
/// All functions throw StorageError.
class TarFile {
 public:
  explicit TarFile(std::filesystem::path path);
  /// A regular file. `name` has 1 to 100 bytes and `bytes` less than 8 GiB: std::invalid_argument otherwise.
  void add(std::string_view name, std::span<const unsigned char> bytes);
  /// Ends the archive, puts it onto the disk and gives it its name. Without it the .tmp file is left behind.
  void finish();

 private:
  void write(const void* bytes, std::size_t size);

  std::filesystem::path path_, temporary_;
  FileHandle file_;
};

}  // namespace triptych
