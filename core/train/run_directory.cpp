// Making, locking and describing the folder of a run.
#include "core/train/run_directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/base/errors.h"
#include "core/base/log.h"

namespace triptych {
namespace {

namespace fs = std::filesystem;

std::string owner_name() {
  char host[256] = "host";
  gethostname(host, sizeof(host) - 1);
  return std::string(host) + ":" + std::to_string(getpid());
}

std::string read_owner(int file) {
  char text[512];
  const auto count = pread(file, text, sizeof(text), 0);
  std::string owner(text, count > 0 ? static_cast<std::size_t>(count) : 0);
  while (!owner.empty() && owner.back() == '\n') owner.pop_back();
  return owner.empty() ? "an unknown process" : owner;
}

}  // namespace

RunDirectory::RunDirectory(fs::path path) : path_(std::move(path)) {
  std::error_code error;
  if (holds_run() && fs::file_size(path_ / "metrics.jsonl", error) > 0 && !error && !fs::exists(checkpoints(), error)) {
    throw CheckpointError(
        path_.string() + " holds a run, but its folder " + checkpoints().string() +
        " is gone; put it back, or choose another run.name: starting again here would empty its logs");
  }
  fs::create_directories(checkpoints(), error);
  if (error) throw storage_error("cannot create", checkpoints(), error.value());
  const auto file = path_ / "lock";
  lock_ = FileHandle(open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  if (lock_.get() < 0) throw storage_error("cannot open", file, errno);
  if (flock(lock_.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) {
      throw ConfigError("run directory " + path_.string() + " is locked by " + read_owner(lock_.get()) +
                        "; wait for that run, stop it, or choose another run.name");
    }
    log_warning("this file system cannot lock " + file.string() + " (" + std::strerror(errno) +
                "): make sure that no second run uses this directory");
  }
  const auto owner = owner_name() + "\n";
  if (ftruncate(lock_.get(), 0) != 0 ||
      pwrite(lock_.get(), owner.data(), owner.size(), 0) != static_cast<ssize_t>(owner.size())) {
    throw storage_error("cannot write", file, errno, owner.size());
  }
}

RunDirectory::~RunDirectory() {
  if (ftruncate(lock_.get(), 0) != 0) return;  // only the name is lost: closing the file ends the lock
}

bool RunDirectory::holds_run() const {
  std::error_code error;
  const auto file = path_ / "config.yaml";
  const bool there = fs::exists(file, error);
  if (error) throw storage_error("cannot look at", file, error.value());
  return there;
}

void RunDirectory::write_config(const std::string& yaml) const {
  write_file_atomically(path_ / "config.yaml", yaml);
}

void RunDirectory::write_environment(const std::string& json) const {
  write_file_atomically(path_ / "environment.json", json);
}

void RunDirectory::write_classes(const std::string& json) const {
  write_file_atomically(path_ / "classes.json", json);
}

}  // namespace triptych
