// The gathered block, or the ring's steps.
#include "losses/pair_exchange.h"

#include <ATen/ATen.h>

#include <utility>

#include "losses/gathered_pair.h"

namespace triptych {

PairExchange::PairExchange(at::Tensor image_bd, at::Tensor text_kd, Exchange exchange, Collectives& comm)
    : image_bd_(std::move(image_bd)), text_kd_(std::move(text_kd)), exchange_(exchange), comm_(&comm) {
  if (exchange == Exchange::kRing) return;
  const GatheredPair all = gather_pair(image_bd_, text_kd_, comm);
  all_ = {all.image_Bd.contiguous(), all.text_Kd.contiguous()};
}

void PairExchange::for_blocks(const std::function<void(const PairBlock&)>& use) const {
  if (exchange_ == Exchange::kGather) return use(all_);
  const int size = comm_->size();
  at::Tensor image = image_bd_, text = text_kd_;
  for (int step = 0; step < size; ++step) {
    const std::int64_t from = (comm_->rank() + size - step) % size;
    use({image, text, from * image.size(0), from * text.size(0)});
    if (step + 1 == size) break;
    image = comm_->pass_on(image);
    text = comm_->pass_on(text);
  }
}

}  // namespace triptych
