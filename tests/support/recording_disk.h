// A disk that does what it is told and remembers it, for crash_states.h.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "core/base/disk_ops.h"

namespace triptych {

/// One system call that succeeded; paths are relative to the recorded folder.
struct DiskOp {
  enum class Kind { kMakeFolder, kCreate, kWrite, kSync, kSyncFolder, kRename, kExchange, kUnlink, kRemoveFolder };
  Kind kind;
  std::filesystem::path path, to = {};
  std::string bytes = {};
};

class RecordingDisk : public SystemDisk {
 public:
  explicit RecordingDisk(std::filesystem::path root) : root_(std::move(root)) {}
  const std::vector<DiskOp>& ops() const { return ops_; }

 protected:
  using Path = std::filesystem::path;
  int do_create(const Path& path) override {
    const int file = SystemDisk::do_create(path);
    if (file >= 0) open_[file] = path;
    note(file, DiskOp::Kind::kCreate, path);
    return file;
  }
  ssize_t do_write(int file, const void* data, std::size_t size) override {
    const auto written = SystemDisk::do_write(file, data, size);
    if (written > 0) {
      ops_.push_back({DiskOp::Kind::kWrite,
                      relative(open_.at(file)),
                      {},
                      std::string(static_cast<const char*>(data), static_cast<std::size_t>(written))});
    }
    return written;
  }
  int do_sync(int file) override { return note(SystemDisk::do_sync(file), DiskOp::Kind::kSync, open_.at(file)); }
  int do_sync_path(const Path& path, bool folder) override {
    const auto kind = folder ? DiskOp::Kind::kSyncFolder : DiskOp::Kind::kSync;
    return note(SystemDisk::do_sync_path(path, folder), kind, path);
  }
  int do_make_folder(const Path& path) override {
    return note(SystemDisk::do_make_folder(path), DiskOp::Kind::kMakeFolder, path);
  }
  int do_rename(const Path& from, const Path& to) override {
    return note(SystemDisk::do_rename(from, to), DiskOp::Kind::kRename, from, to);
  }
  int do_exchange(const Path& a, const Path& b) override {
    return note(SystemDisk::do_exchange(a, b), DiskOp::Kind::kExchange, a, b);
  }
  int do_unlink(const Path& path) override { return note(SystemDisk::do_unlink(path), DiskOp::Kind::kUnlink, path); }
  int do_remove_folder(const Path& path) override {
    return note(SystemDisk::do_remove_folder(path), DiskOp::Kind::kRemoveFolder, path);
  }

 private:
  Path relative(const Path& path) const { return path.lexically_relative(root_); }
  int note(int result, DiskOp::Kind kind, const Path& path, const Path& to = {}) {
    if (result >= 0) ops_.push_back({kind, relative(path), to.empty() ? Path() : relative(to), {}});
    return result;
  }
  Path root_;
  std::map<int, Path> open_;
  std::vector<DiskOp> ops_;
};

}  // namespace triptych
