// Memory for the pictures of batches. A batch has tens of MiB: from malloc it would be mapped anew each time, which
// costs a page fault every 4 KiB, or be cut from the heap, which then keeps gaps several times its size.
#pragma once
#include <ATen/core/Tensor.h>

#include <memory>

namespace triptych {

class PictureMemory {
 public:
  PictureMemory();
  /// uint8 of this shape, not set to anything. The memory comes back when the last tensor that shares it is gone, also
  /// after this object, and is given to the next of its size. Thread safe. Throws std::bad_alloc.
  at::Tensor take(at::IntArrayRef shape);

 private:
  struct Blocks;
  std::shared_ptr<Blocks> blocks_;
};

}  // namespace triptych
