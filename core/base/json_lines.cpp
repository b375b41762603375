// Append-only JSON lines.
#include "core/base/json_lines.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

namespace triptych {

JsonLines::JsonLines(std::filesystem::path path) : path_(std::move(path)) {
  file_ = FileHandle(::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666));
  struct stat status {};
  if (file_.get() < 0 || ::fstat(file_.get(), &status) != 0) throw storage_error("cannot open", path_, errno);
  length_ = status.st_size;
}

void JsonLines::write(const nlohmann::ordered_json& object) {
  write_text(object.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
}

void JsonLines::write_text(std::string_view line) {
  std::string bytes(line);
  bytes += '\n';
  try {
    write_fully(file_.get(), bytes.data(), bytes.size(), path_);
  } catch (const StorageError&) {
    // Half a line would spoil the next one, should the disk have room again. If this fails too, the error stands.
    [[maybe_unused]] const int ignored = ::ftruncate(file_.get(), length_);
    throw;
  }
  length_ += static_cast<std::int64_t>(bytes.size());
}

void JsonLines::truncate_to(std::int64_t length) {
  struct stat status {};
  if (::fstat(file_.get(), &status) != 0) throw storage_error("cannot read the size of", path_, errno);
  if (length < 0 || status.st_size < length) {
    throw StorageError(path_.string() + " has " + std::to_string(status.st_size) +
                       " bytes, but the checkpoint counted " + std::to_string(length) +
                       ": lines were lost; put the file back or start a new run");
  }
  if (::ftruncate(file_.get(), length) != 0) throw storage_error("cannot cut back", path_, errno);
  length_ = length;
}

void JsonLines::sync() {
  while (::fsync(file_.get()) != 0) {
    if (errno == EINVAL) return;  // a pipe or device: nothing to sync
    if (errno != EINTR) throw storage_error("cannot sync", path_, errno);
  }
}

}  // namespace triptych
