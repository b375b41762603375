// A temporary folder that goes when its owner does.
#pragma once
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "core/base/atomic_file.h"
#include "core/base/errors.h"

namespace triptych {

class ScratchFolder {
 public:
  /// Throws StorageError.
  ScratchFolder() {
    auto name = (std::filesystem::temp_directory_path() / "triptych-bench-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw storage_error("cannot make", name, errno);
    path_ = name;
  }
  ~ScratchFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace triptych
