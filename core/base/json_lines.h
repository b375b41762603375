// A file of one JSON object a line that only grows, and can be cut back to a recorded length: metrics, step records.
#pragma once
#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string_view>

#include "core/base/atomic_file.h"

namespace triptych {

/// Every line reaches the system in one write, so that a killed process leaves whole lines, but for the last at most. A
/// line that does not fit onto the disk is taken back whole: later ones may be written when there is room again. Errors
/// are StorageError. Not for use by several threads at once.
class JsonLines {
 public:
  /// Makes the file if it is absent; lines are appended.
  explicit JsonLines(std::filesystem::path path);
  /// Appends one line, keys in the order given. NaN and infinities become null, broken UTF-8 the replacement character.
  void write(const nlohmann::ordered_json& object);
  /// Appends a line that is JSON already (no newline inside).
  void write_text(std::string_view line);
  /// Bytes of the file: what a checkpoint records.
  std::int64_t length() const { return length_; }
  /// Cuts the file back to a recorded length. Throws StorageError if the file is shorter: lines were lost.
  void truncate_to(std::int64_t length);
  /// Puts all lines onto the disk.
  void sync();
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  FileHandle file_;
  std::int64_t length_ = 0;
};

}  // namespace triptych
