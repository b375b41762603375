// Scalars as TensorBoard reads them: events.out.tfevents.*, records of Event protocol buffers framed by masked CRC-32C.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "core/train/append_file.h"

namespace triptych {

class TensorBoardFile {
 public:
  /// Continues the event file of `folder` cut to `length`, or starts one when there is none or the length is 0.
  TensorBoardFile(const std::filesystem::path& folder, std::int64_t length);
  /// One event that holds all scalars of a step.
  void scalars(std::int64_t step, double wall_time, const std::vector<std::pair<std::string, double>>& values);
  void flush() { file_.flush(); }
  const std::filesystem::path& path() const { return file_.path(); }

 private:
  void record(const std::string& event);
  AppendFile file_;
};

/// CRC-32C (Castagnoli, reflected polynomial 0x82F63B78) of `bytes`.
std::uint32_t crc32c(std::string_view bytes);

}  // namespace triptych
