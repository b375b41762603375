// Files that are complete or absent, and what is needed to make a folder of files so: handles, syncs, one error text.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "core/base/errors.h"

namespace triptych {

/// Owns a file descriptor.
class FileHandle {
 public:
  explicit FileHandle(int fd = -1) : fd_(fd) {}
  ~FileHandle();
  FileHandle(FileHandle&& other) noexcept : fd_(other.release()) {}
  FileHandle& operator=(FileHandle&& other) noexcept;
  int get() const { return fd_; }
  int release();
  /// Closes now; false with errno set if the system reports a lost write.
  bool close();

 private:
  int fd_;
};

/// "cannot write runs/a/config.yaml (needs 12.0 KiB, 0 B free): No space left on device". `needed` bytes and the free
/// space of the file's disk are named if `needed` > 0.
StorageError storage_error(const std::string& what, const std::filesystem::path& path, int error_number,
                           std::uint64_t needed = 0);

/// Writes all `size` bytes to `fd` (retrying short writes). Throws StorageError naming `path`.
void write_fully(int fd, const void* data, std::size_t size, const std::filesystem::path& path);

/// Replaces or makes the file `path` with these bytes: a reader, and a machine that loses power, sees the old file or
/// the whole new one. Writes a new file beside it, syncs it, renames it, syncs the folder. Throws StorageError.
void write_file_atomically(const std::filesystem::path& path, std::string_view bytes);

/// Puts a file's bytes, or a folder's names, onto the disk. Throws StorageError.
void sync_file(const std::filesystem::path& path);
void sync_folder(const std::filesystem::path& path);

/// Renames and syncs the folder(s) concerned. Throws StorageError.
void rename_durably(const std::filesystem::path& from, const std::filesystem::path& to);

/// The whole file. Throws StorageError, also if it is larger than `max_bytes`.
std::string read_file(const std::filesystem::path& path, std::uint64_t max_bytes = std::uint64_t{1} << 30);

}  // namespace triptych
