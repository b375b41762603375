// What tensors on the CPU really take.
#pragma once
#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>

#include <algorithm>
#include <cstdint>
#include <memory>

namespace triptych {

/// Counts the bytes of the CPU tensors that this thread makes while it lives, through the allocator's own reports.
class CpuBytes {
 public:
  CpuBytes() : reports_(std::make_shared<Reports>()), guard_(c10::DebugInfoKind::PROFILER_STATE, reports_) {}
  std::int64_t peak() const { return reports_->peak; }  ///< the most at any time

 private:
  struct Reports : c10::MemoryReportingInfoBase {
    std::int64_t live = 0, peak = 0;
    void reportMemoryUsage(void*, std::int64_t bytes, std::size_t, std::size_t, c10::Device) override {
      live += bytes;
      peak = std::max(peak, live);
    }
    bool memoryProfilingEnabled() const override { return true; }
  };
  std::shared_ptr<Reports> reports_;
  c10::DebugInfoGuard guard_;
};

}  // namespace triptych
