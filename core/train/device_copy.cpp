// Pinned copies by torch's streams, whatever the accelerator.
#include "core/train/device_copy.h"

#include <ATen/ATen.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

namespace triptych {
namespace {

std::vector<at::Tensor*> tensors_of(Batch& batch) {
  return {&batch.images, &batch.tokens, &batch.labels, &batch.other_labels, &batch.mix_weights};
}

}  // namespace

DeviceCopy::DeviceCopy(at::Device device) : device_(device) {
  if (!device.is_cpu()) stream_ = c10::impl::VirtualGuardImpl(device.type()).getStreamFromGlobalPool(device);
}

void DeviceCopy::start(std::vector<Batch>& batches) {
  if (!stream_) return;
  pinned_.clear();
  const c10::StreamGuard guard(*stream_);
  for (auto& batch : batches) {
    for (at::Tensor* tensor : tensors_of(batch)) {
      if (!tensor->defined()) continue;
      pinned_.push_back(tensor->pin_memory());
      *tensor = pinned_.back().to(device_, /*non_blocking=*/true);
    }
  }
  copied_.emplace(device_.type());
  copied_->record(*stream_);
}

void DeviceCopy::finish(const std::vector<Batch>& batches) {
  if (!copied_) return;
  const c10::Stream current = c10::impl::VirtualGuardImpl(device_.type()).getStream(device_);
  copied_->block(current);
  for (auto batch : batches) {
    // Their memory belongs to the other stream: it must not be given away while this one still reads.
    for (at::Tensor* tensor : tensors_of(batch))
      if (tensor->defined()) tensor->record_stream(current);
  }
  copied_.reset();
}

}  // namespace triptych
