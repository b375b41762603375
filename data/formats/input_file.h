// A file open for reading, by position: shards are never mapped, because a shard that shrinks would kill the process.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace triptych {

/// Throws StorageError naming the limit when `error_number` says that this process or machine can open no more files.
void check_file_limit(const std::string& path, int error_number);

class InputFile {
 public:
  /// Throws DataError when the file cannot be opened, StorageError when the process has no file descriptors left.
  explicit InputFile(const std::string& path);
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  const std::string& path() const { return path_; }
  std::int64_t size() const { return size_; }          ///< when it was opened
  std::int64_t modified() const { return modified_; }  ///< when it was last written, in ns since 1970
  /// Bytes read at `offset`: out.size(), or less where the file ends. Thread safe. Errors that may pass (EIO,
  /// ETIMEDOUT, ESTALE, EAGAIN) are tried again for about 3 s with one warning in the log; then throws DataError.
  std::size_t read_at(std::int64_t offset, std::span<unsigned char> out) const;
  /// The whole file; throws DataError when it is larger than `limit` bytes.
  std::string read_all(std::int64_t limit) const;

 private:
  std::string path_;
  int descriptor_ = -1;
  std::int64_t size_ = 0, modified_ = 0;
};

/// At most `capacity` open files, least recently used out first. A file in use stays open until its user lets go.
class OpenFiles {
 public:
  explicit OpenFiles(std::size_t capacity);
  ~OpenFiles();
  /// Thread safe. Throws as InputFile does.
  std::shared_ptr<const InputFile> open(const std::string& path);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// How many files a corpus may hold open: an eighth of the process's limit, between 4 and 256.
std::size_t open_file_budget();

}  // namespace triptych
