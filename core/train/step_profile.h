// log.profile: a trace of every tensor operator of some steps, for chrome://tracing or ui.perfetto.dev.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>

#include "core/train/log_config.h"

namespace triptych {

/// Traces the steps of its range. One at a time per process.
class StepProfile {
 public:
  StepProfile(const ProfileConfig& config, std::filesystem::path file);
  ~StepProfile();  ///< writes nothing
  StepProfile(const StepProfile&) = delete;
  StepProfile& operator=(const StepProfile&) = delete;
  /// A run of `steps` steps that goes on after the range, or ends before it, traces nothing: says so.
  void warn_if_missed(std::int64_t steps_done, std::int64_t steps) const;
  /// `step` is about to begin: starts before the first of the range, writes the file behind the last. Throws
  /// StorageError.
  void before_step(std::int64_t step);
  /// The run ends: writes what there is of the range.
  void end();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace triptych
