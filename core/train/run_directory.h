// The folder of a run, RUN.DIR/RUN.NAME: one process at a time owns it.
#pragma once
#include <filesystem>
#include <string>

#include "core/base/atomic_file.h"

namespace triptych {

class RunDirectory {
 public:
  /// Makes the folder where needed and locks it until the object or the process dies (flock on RUN/lock: a dead owner's
  /// lock is free at once, on any host). Throws ConfigError "locked by host:pid", StorageError if the folder cannot be
  /// written.
  explicit RunDirectory(std::filesystem::path path);
  ~RunDirectory();
  RunDirectory(const RunDirectory&) = delete;
  RunDirectory& operator=(const RunDirectory&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path checkpoints() const { return path_ / "checkpoints"; }
  /// A configuration was saved here before.
  bool holds_run() const;
  void write_config(const std::string& yaml) const;
  void write_environment(const std::string& json) const;
  /// classes.json: what the label ids of this run mean.
  void write_classes(const std::string& json) const;

 private:
  std::filesystem::path path_;
  FileHandle lock_;
};

}  // namespace triptych
