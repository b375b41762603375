// An allocator for the meta device that hands out nothing and remembers how much.
#include "core/module/memory_meter.h"

#include <ATen/ATen.h>
#include <c10/core/Allocator.h>

#include <algorithm>
#include <atomic>
#include <stdexcept>

namespace triptych {

/// Tensors may end on another thread than the one that made them.
struct MemoryMeter::Counts {
  std::atomic<std::int64_t> live = 0, peak = 0;
};

namespace {

using Counts = std::shared_ptr<MemoryMeter::Counts>;

Counts& current() {
  thread_local Counts counts;
  return counts;
}

/// What stands behind one storage.
struct Piece {
  Counts counts;
  std::int64_t bytes;
  ~Piece() { counts->live -= bytes; }
};

void forget(void* piece) {
  delete static_cast<Piece*>(piece);
}

class CountingAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(std::size_t bytes) override {
    const auto& counts = current();
    if (!counts) return {nullptr, nullptr, &forget, at::Device(at::kMeta)};
    counts->live += static_cast<std::int64_t>(bytes);
    counts->peak = std::max(counts->peak.load(), counts->live.load());
    return {nullptr, new Piece{counts, static_cast<std::int64_t>(bytes)}, &forget, at::Device(at::kMeta)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &forget; }
  void copy_data(void*, const void*, std::size_t) const override {}
};

void install() {
  static CountingAllocator allocator;
  static const bool done = [] {
    c10::SetAllocator(at::kMeta, &allocator, /*priority=*/1);
    return true;
  }();
  (void)done;
}

}  // namespace

MemoryMeter::MemoryMeter() : counts_(std::make_shared<Counts>()) {
  if (current()) throw std::logic_error("MemoryMeter: another one counts on this thread");
  install();
  current() = counts_;
}

MemoryMeter::~MemoryMeter() {
  current().reset();
}

std::int64_t MemoryMeter::live() const {
  return counts_->live;
}

std::int64_t MemoryMeter::peak() const {
  return counts_->peak;
}

}  // namespace triptych
