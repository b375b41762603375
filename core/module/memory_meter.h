// How much memory tensors would take: counts those of the meta device, which take none.
#pragma once
#include <cstdint>
#include <memory>

namespace triptych {

/// Counts the bytes of the meta tensors that this thread makes while it lives, from their making to their end. One at a
/// time per thread.
class MemoryMeter {
 public:
  MemoryMeter();
  ~MemoryMeter();
  MemoryMeter(const MemoryMeter&) = delete;
  MemoryMeter& operator=(const MemoryMeter&) = delete;

  std::int64_t live() const;  ///< bytes now
  std::int64_t peak() const;  ///< the most at any time

  struct Counts;

 private:
  std::shared_ptr<Counts> counts_;
};

}  // namespace triptych
