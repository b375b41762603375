// Atomic files by write, fsync, rename, fsync of the folder.
#include "core/base/atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <system_error>
#include <utility>

#include "core/base/strings.h"

namespace triptych {
namespace {

std::filesystem::path folder_of(const std::filesystem::path& path) {
  const auto folder = path.parent_path();
  return folder.empty() ? std::filesystem::path(".") : folder;
}

void sync_handle(int fd, const std::filesystem::path& path) {
  // Some file systems cannot sync a folder and say EINVAL: their renames are as durable as they get.
  while (::fsync(fd) != 0) {
    if (errno == EINVAL || errno == EROFS) return;
    if (errno != EINTR) throw storage_error("cannot sync", path, errno);
  }
}

/// A new file that is removed again unless it was renamed into place.
struct NewFile {
  std::filesystem::path path;
  FileHandle handle;
  bool kept = false;
  ~NewFile() {
    if (!kept) ::unlink(path.c_str());
  }
};

/// Makes a file beside `path` that no other process or thread uses, also if an earlier, killed one left its own behind.
void make_beside(const std::filesystem::path& path, std::size_t needed, NewFile& file) {
  static std::atomic<unsigned> counter{0};
  while (true) {
    file.path = path;
    file.path += ".tmp-" + std::to_string(::getpid()) + "-" + std::to_string(counter++);
    file.handle = FileHandle(::open(file.path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
    if (file.handle.get() >= 0) return;
    if (errno != EEXIST && errno != EINTR) {
      const int error_number = errno;
      file.kept = true;  // nothing to remove
      throw storage_error("cannot write", path, error_number, needed);
    }
  }
}

}  // namespace

FileHandle::~FileHandle() {
  if (fd_ >= 0) ::close(fd_);
}

FileHandle& FileHandle::operator=(FileHandle&& other) noexcept {
  if (this != &other) {
    if (fd_ >= 0) ::close(fd_);
    fd_ = other.release();
  }
  return *this;
}

int FileHandle::release() {
  return std::exchange(fd_, -1);
}

bool FileHandle::close() {
  return fd_ < 0 || ::close(release()) == 0 || errno == EINTR;
}

StorageError storage_error(const std::string& what, const std::filesystem::path& path, int error_number,
                           std::uint64_t needed) {
  std::string text = what + " " + path.string();
  struct statvfs disk {};
  if (needed > 0 && ::statvfs(folder_of(path).c_str(), &disk) == 0) {
    text +=
        " (needs " + human_size(needed) + ", " + human_size(std::uint64_t{disk.f_bavail} * disk.f_frsize) + " free)";
  }
  return StorageError(text + ": " + std::generic_category().message(error_number), error_number);
}

void write_fully(int fd, const void* data, std::size_t size, const std::filesystem::path& path) {
  const char* rest = static_cast<const char*>(data);
  std::size_t left = size;
  while (left > 0) {
    const auto written = ::write(fd, rest, std::min<std::size_t>(left, 1 << 30));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) throw storage_error("cannot write", path, errno, left);
    rest += written;
    left -= static_cast<std::size_t>(written);
  }
}

void write_file_atomically(const std::filesystem::path& path, std::string_view bytes) {
  NewFile file;
  make_beside(path, bytes.size(), file);
  write_fully(file.handle.get(), bytes.data(), bytes.size(), path);
  sync_handle(file.handle.get(), path);
  if (!file.handle.close()) throw storage_error("cannot write", path, errno, bytes.size());
  if (::rename(file.path.c_str(), path.c_str()) != 0) throw storage_error("cannot rename onto", path, errno);
  file.kept = true;
  sync_folder(folder_of(path));
}

void sync_file(const std::filesystem::path& path) {
  const FileHandle file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) throw storage_error("cannot open", path, errno);
  sync_handle(file.get(), path);
}

void sync_folder(const std::filesystem::path& path) {
  const FileHandle folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.get() < 0) throw storage_error("cannot open folder", path, errno);
  sync_handle(folder.get(), path);
}

void rename_durably(const std::filesystem::path& from, const std::filesystem::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) {
    throw storage_error("cannot rename " + from.string() + " to", to, errno);
  }
  sync_folder(folder_of(to));
  if (folder_of(from) != folder_of(to)) sync_folder(folder_of(from));
}

std::string read_file(const std::filesystem::path& path, std::uint64_t max_bytes) {
  const FileHandle file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) throw storage_error("cannot open", path, errno);
  std::string bytes;
  std::string piece(1 << 16, '\0');
  while (true) {
    const auto got = ::read(file.get(), piece.data(), piece.size());
    if (got == 0) return bytes;
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw storage_error("cannot read", path, errno);
    bytes.append(piece, 0, static_cast<std::size_t>(got));
    if (bytes.size() > max_bytes) {
      throw StorageError(path.string() + " is larger than the " + human_size(max_bytes) + " that such a file may have");
    }
  }
}

}  // namespace triptych
