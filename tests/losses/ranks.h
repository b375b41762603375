// Runs a pair loss on N ranks and collects what each hands to autograd, before any averaging.
#pragma once
#include <ATen/ATen.h>

#include <functional>
#include <vector>

#include "losses/loss_output.h"
#include "tests/support/tensors.h"
#include "tests/support/thread_ranks.h"

namespace triptych {

/// In rank order.
struct RankResults {
  std::vector<at::Tensor> loss, log_scale_grad;
  at::Tensor image_grad_Bd, text_grad_Bd;  ///< each rank's own rows, one below the other

  at::Tensor mean_loss() const { return at::stack(loss).mean(); }
  at::Tensor mean_log_scale_grad() const { return at::stack(log_scale_grad).mean(); }
};

using RankLoss = std::function<LossOutput(const at::Tensor& image_bd, const at::Tensor& text_bd,
                                          const at::Tensor& labels_b, const at::Tensor& scale, Collectives& comm)>;

/// text_Bd may have several rows an image.
inline RankResults on_ranks(int size, const at::Tensor& image_Bd, const at::Tensor& text_Bd, const at::Tensor& labels_B,
                            const at::Tensor& log_scale, const RankLoss& loss_of) {
  std::vector<at::Tensor> loss(size), scale_grad(size), image_grad(size), text_grad(size);
  run_ranks(size, [&](Collectives& comm) {
    const auto rank = static_cast<std::size_t>(comm.rank());
    const auto own = [&](const at::Tensor& all) {
      const std::int64_t b = all.size(0) / size;
      return all.narrow(0, comm.rank() * b, b);
    };
    const at::Tensor image = leaf(own(image_Bd)), text = leaf(own(text_Bd)), scale = leaf(log_scale);
    const LossOutput output = loss_of(image, text, own(labels_B), scale.exp(), comm);
    output.total.backward();
    loss[rank] = output.total.detach();
    scale_grad[rank] = scale.grad();
    image_grad[rank] = image.grad();
    text_grad[rank] = text.grad();
  });
  return {loss, scale_grad, at::cat(image_grad), at::cat(text_grad)};
}

}  // namespace triptych
