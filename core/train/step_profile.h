// log.profile: a trace of every tensor operator of some steps, for chrome://tracing or ui.perfetto.dev.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>

namespace triptych {

/// Records while it lives; stop() (or the destructor, which swallows errors) writes the file. One at a time per
/// process.
class StepProfile {
 public:
  StepProfile(std::filesystem::path file, int rank);
  ~StepProfile();
  StepProfile(const StepProfile&) = delete;
  StepProfile& operator=(const StepProfile&) = delete;
  void stop();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace triptych
