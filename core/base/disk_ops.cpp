// Checked calls over system calls, with the places where a plan lets them fail.
#include "core/base/disk_ops.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <system_error>
#include <vector>

#include "core/base/fault_plan.h"

namespace triptych {
namespace {

namespace fs = std::filesystem;

fs::path parent_of(const fs::path& path) {
  const auto folder = path.parent_path();
  return folder.empty() ? fs::path(".") : folder;
}

/// Calls until a signal no longer interrupts; a planned error takes the place of the call.
template <class Call>
int call_disk(FaultPoint point, Call&& call) {
  if (const auto order = fault_point(point, FaultServes::kDisk)) {
    errno = order.error_number();
    return -1;
  }
  int result = 0;
  while ((result = call()) < 0 && errno == EINTR) {
  }
  return result;
}

/// Some file systems cannot sync a folder and say EINVAL: their renames are as durable as they get.
bool cannot_sync_folders(int error_number) {
  return error_number == EINVAL || error_number == EROFS;
}

}  // namespace

FileHandle DiskOps::create(const fs::path& path) {
  FileHandle file(call_disk(FaultPoint::kCheckpointOpen, [&] { return do_create(path); }));
  if (file.get() < 0) throw storage_error("cannot create", path, errno);
  return file;
}

ssize_t DiskOps::write_some(int file, const void* data, std::size_t size) {
  const auto order = fault_point(FaultPoint::kCheckpointWrite, FaultServes::kDisk);
  if (!order) return do_write(file, data, size);
  const bool is_short = order.action == FaultAction::kShort;
  const auto part = std::min<std::size_t>(size, std::max<std::int64_t>(order.bytes, is_short ? 1 : 0));
  const auto written = part > 0 ? do_write(file, data, part) : 0;
  if (is_short || written < 0) return written;
  errno = order.error_number();
  return -1;
}

void DiskOps::write(const FileHandle& file, const void* data, std::size_t size, const fs::path& path) {
  const char* rest = static_cast<const char*>(data);
  while (size > 0) {
    const auto written = write_some(file.get(), rest, std::min<std::size_t>(size, 1 << 30));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) throw storage_error("cannot write", path, errno, size);
    rest += written;
    size -= static_cast<std::size_t>(written);
  }
}

void DiskOps::finish(FileHandle file, const fs::path& path) {
  if (call_disk(FaultPoint::kCheckpointSync, [&] { return do_sync(file.get()); }) != 0) {
    throw storage_error("cannot sync", path, errno);
  }
  if (!file.close()) throw storage_error("cannot close", path, errno);
}

void DiskOps::sync_file(const fs::path& path) {
  if (call_disk(FaultPoint::kCheckpointSync, [&] { return do_sync_path(path, false); }) != 0) {
    throw storage_error("cannot sync", path, errno);
  }
}

void DiskOps::sync_folder(const fs::path& path) {
  if (call_disk(FaultPoint::kCheckpointFolderSync, [&] { return do_sync_path(path, true); }) != 0 &&
      !cannot_sync_folders(errno)) {
    throw storage_error("cannot sync folder", path, errno);
  }
}

void DiskOps::make_folders(const fs::path& path) {
  if (call_disk(FaultPoint::kCheckpointOpen, [&] { return do_make_folder(path); }) == 0) return;
  if (errno == EEXIST && fs::is_directory(path)) return;
  if (errno != ENOENT || parent_of(path) == path) throw storage_error("cannot create", path, errno);
  make_folders(parent_of(path));
  if (do_make_folder(path) != 0) throw storage_error("cannot create", path, errno);
}

void DiskOps::rename_durably(const fs::path& from, const fs::path& to) {
  if (call_disk(FaultPoint::kCheckpointRename, [&] { return do_rename(from, to); }) != 0) {
    throw storage_error("cannot rename " + from.string() + " to", to, errno);
  }
  sync_folder(parent_of(to));
}

bool DiskOps::exchange_durably(const fs::path& a, const fs::path& b) {
  if (call_disk(FaultPoint::kCheckpointRename, [&] { return do_exchange(a, b); }) != 0) {
    if (errno == EINVAL || errno == ENOSYS || errno == ENOTSUP) return false;
    throw storage_error("cannot replace", b, errno);
  }
  sync_folder(parent_of(b));
  return true;
}

void DiskOps::remove_all(const fs::path& path) {
  std::error_code error;
  const auto kind = fs::symlink_status(path, error).type();
  if (kind == fs::file_type::not_found) return;
  const bool folder = kind == fs::file_type::directory;
  std::vector<fs::path> inside;
  if (folder) {
    for (const auto& entry : fs::directory_iterator(path, error)) inside.push_back(entry.path());
  }
  std::sort(inside.begin(), inside.end());
  for (const auto& entry : inside) remove_all(entry);
  const auto remove = [&] { return folder ? do_remove_folder(path) : do_unlink(path); };
  if (call_disk(FaultPoint::kCheckpointPrune, remove) != 0) throw storage_error("cannot remove", path, errno);
}

int SystemDisk::do_create(const fs::path& path) {
  return ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
}

ssize_t SystemDisk::do_write(int file, const void* data, std::size_t size) {
  return ::write(file, data, size);
}

int SystemDisk::do_sync(int file) {
  return ::fsync(file);
}

int SystemDisk::do_sync_path(const fs::path& path, bool folder) {
  const FileHandle file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | (folder ? O_DIRECTORY : 0)));
  if (file.get() < 0) return -1;
  return ::fsync(file.get());
}

int SystemDisk::do_make_folder(const fs::path& path) {
  return ::mkdir(path.c_str(), 0777);
}

int SystemDisk::do_rename(const fs::path& from, const fs::path& to) {
  return ::rename(from.c_str(), to.c_str());
}

int SystemDisk::do_exchange(const fs::path& a, const fs::path& b) {
  return ::renameat2(AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_EXCHANGE);
}

int SystemDisk::do_unlink(const fs::path& path) {
  return ::unlink(path.c_str());
}

int SystemDisk::do_remove_folder(const fs::path& path) {
  return ::rmdir(path.c_str());
}

DiskOps& system_disk() {
  static SystemDisk disk;
  return disk;
}

}  // namespace triptych
