// A file of a run that only grows, and that a resumed run cuts back to what its checkpoint knew.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "core/base/atomic_file.h"

namespace triptych {

/// Bytes that a full disk refuses wait in memory and are tried again with the next ones, so that a passing shortage
/// leaves no gap.
class AppendFile {
 public:
  /// Opens or creates `path` and cuts it to `length` bytes (a shorter file keeps its length). Throws StorageError.
  AppendFile(std::filesystem::path path, std::int64_t length);
  /// Hands the bytes to the kernel at once: kill -9 loses nothing. Throws StorageError when 64 MiB are waiting.
  void append(std::string_view bytes);
  /// Throws StorageError if bytes are still waiting.
  void flush();
  /// Of the file, without what waits.
  std::int64_t length() const { return length_; }
  const std::filesystem::path& path() const { return path_; }

 private:
  int write_waiting();  ///< 0, or the error number
  std::filesystem::path path_;
  FileHandle file_;
  std::int64_t length_ = 0;
  std::string waiting_;
};

}  // namespace triptych
