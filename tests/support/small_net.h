// Three linear layers with data of their own for every rank and step: enough parameters for several small buckets.
#pragma once
#include <ATen/ATen.h>

#include <string>
#include <vector>

#include "core/base/random_key.h"
#include "distributed/gradient_sync.h"

namespace triptych {

struct SmallNet {
  std::vector<std::string> names = {"first.weight", "first.bias", "middle.weight", "middle.bias",
                                    "last.weight",  "last.bias",  "scale"};
  std::vector<at::Tensor> parameters;
  bool skip_middle = false;  ///< the middle layer then gets no gradient

  explicit SmallNet(std::uint64_t seed) {
    const std::vector<std::vector<std::int64_t>> shapes = {{8, 6}, {8}, {8, 8}, {8}, {3, 8}, {3}, {}};
    for (std::size_t i = 0; i < shapes.size(); ++i) parameters.push_back(draw({seed, i}, shapes[i]).requires_grad_());
  }

  at::Tensor loss(int rank, int step, int micro_batch) const {
    const auto key = static_cast<std::uint64_t>((rank * 100 + step) * 100 + micro_batch);
    auto x = at::linear(draw({77, key}, {5, 6}), parameters[0], parameters[1]).tanh();
    if (!skip_middle) x = at::linear(x, parameters[2], parameters[3]).tanh();
    return (at::linear(x, parameters[4], parameters[5]) * parameters[6]).square().mean();
  }

  /// One step of averaged gradients over `micro_batches` backward passes.
  void step(GradientSync& sync, int rank, int step_number, int micro_batches) const {
    sync.zero_grad();
    sync.before_forward();
    for (int m = 0; m < micro_batches; ++m) {
      const auto value = loss(rank, step_number, m);
      if (m + 1 == micro_batches) sync.before_last_backward({value});
      value.backward();
    }
    sync.finish();
  }

 private:
  static at::Tensor draw(std::initializer_list<std::uint64_t> where, at::IntArrayRef sizes) {
    RandomStream stream(random_key(5, Purpose::kTest, where));
    auto values = at::empty(sizes);
    for (std::int64_t i = 0; i < values.numel(); ++i) values.data_ptr<float>()[i] = static_cast<float>(stream.normal());
    return values;
  }
};

}  // namespace triptych
