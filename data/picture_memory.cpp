// Blocks come from mmap and stay with the loader until it ends.
#include "data/picture_memory.h"

#include <ATen/ATen.h>
#include <sys/mman.h>

#include <cstddef>
#include <map>
#include <mutex>
#include <new>
#include <vector>

namespace triptych {

struct PictureMemory::Blocks {
  ~Blocks() {
    for (const auto& [bytes, blocks] : free)
      for (void* block : blocks) munmap(block, bytes);
  }
  void* take(std::size_t bytes) {
    {
      const std::lock_guard lock(mutex);
      if (auto& blocks = free[bytes]; !blocks.empty()) {
        void* block = blocks.back();
        blocks.pop_back();
        return block;
      }
    }
    void* block = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (block == MAP_FAILED) throw std::bad_alloc();
    madvise(block, bytes, MADV_HUGEPAGE);  // advice: without it pages are small, no more
    return block;
  }
  void give_back(void* block, std::size_t bytes) {
    const std::lock_guard lock(mutex);
    free[bytes].push_back(block);
  }

  std::mutex mutex;
  std::map<std::size_t, std::vector<void*>> free;  // by size
};

PictureMemory::PictureMemory() : blocks_(std::make_shared<Blocks>()) {}

at::Tensor PictureMemory::take(at::IntArrayRef shape) {
  std::size_t bytes = 1;
  for (const auto size : shape) bytes *= static_cast<std::size_t>(size);
  void* block = blocks_->take(bytes);
  return at::from_blob(
      block, shape, [blocks = blocks_, bytes](void* data) { blocks->give_back(data, bytes); },
      at::TensorOptions(at::kByte));
}

}  // namespace triptych
