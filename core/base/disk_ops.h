// All that checkpoints change on a disk goes through one class: what it may break is planned at one place
// (fault_plan.h), and a test records it and replays every state that a power cut can leave.
#pragma once
#include <sys/types.h>

#include <cstddef>
#include <filesystem>
#include <string_view>

#include "core/base/atomic_file.h"

namespace triptych {

/// The public functions throw StorageError and pass the fault points ckpt.open, write, fsync, rename, dirsync and
/// prune. The protected ones are the system calls: -1 with errno set where they fail.
class DiskOps {
 public:
  virtual ~DiskOps() = default;

  /// A new file, to be written; one that is there is an error.
  FileHandle create(const std::filesystem::path& path);
  /// All `size` bytes, retrying short writes.
  void write(const FileHandle& file, const void* data, std::size_t size, const std::filesystem::path& path);
  /// Puts the bytes onto the disk and closes: an error of either means that they may be lost.
  void finish(FileHandle file, const std::filesystem::path& path);
  /// Of a file that another handle has written.
  void sync_file(const std::filesystem::path& path);
  void sync_folder(const std::filesystem::path& path);
  /// The folder and those above it that are missing.
  void make_folders(const std::filesystem::path& path);
  /// Renames and syncs the folder.
  void rename_durably(const std::filesystem::path& from, const std::filesystem::path& to);
  /// Two names change places in one instant, and the folder is synced; false where the file system cannot do that.
  bool exchange_durably(const std::filesystem::path& a, const std::filesystem::path& b);
  /// A file, or a folder with all in it; nothing if it is not there.
  void remove_all(const std::filesystem::path& path);

 protected:
  virtual int do_create(const std::filesystem::path& path) = 0;
  virtual ssize_t do_write(int file, const void* data, std::size_t size) = 0;
  virtual int do_sync(int file) = 0;
  virtual int do_sync_path(const std::filesystem::path& path, bool folder) = 0;
  virtual int do_make_folder(const std::filesystem::path& path) = 0;
  virtual int do_rename(const std::filesystem::path& from, const std::filesystem::path& to) = 0;
  virtual int do_exchange(const std::filesystem::path& a, const std::filesystem::path& b) = 0;
  virtual int do_unlink(const std::filesystem::path& path) = 0;
  virtual int do_remove_folder(const std::filesystem::path& path) = 0;

 private:
  ssize_t write_some(int file, const void* data, std::size_t size);
};

/// The system's own.
class SystemDisk : public DiskOps {
 protected:
  int do_create(const std::filesystem::path& path) override;
  ssize_t do_write(int file, const void* data, std::size_t size) override;
  int do_sync(int file) override;
  int do_sync_path(const std::filesystem::path& path, bool folder) override;
  int do_make_folder(const std::filesystem::path& path) override;
  int do_rename(const std::filesystem::path& from, const std::filesystem::path& to) override;
  int do_exchange(const std::filesystem::path& a, const std::filesystem::path& b) override;
  int do_unlink(const std::filesystem::path& path) override;
  int do_remove_folder(const std::filesystem::path& path) override;
};

DiskOps& system_disk();

}  // namespace triptych
