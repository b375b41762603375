// Bottlenecks and pools. Initial values are torchvision's: normal, variance 2 / (out channels x kernel area).
#include "core/model/resnet.h"

#include <ATen/ATen.h>

#include <cmath>
#include <string>

#include "core/model/patches.h"
#include "core/module/attention.h"
#include "core/module/recompute.h"

namespace triptych {
namespace {

constexpr std::int64_t kExpansion = 4;
constexpr std::int64_t kReduction = 32;  // of a picture's side, by all strides

Convolution convolution(const Initializer& init, std::int64_t out, std::int64_t in, std::int64_t kernel,
                        std::int64_t stride = 1) {
  const double deviation = std::sqrt(2.0 / static_cast<double>(out * kernel * kernel));
  return Convolution(init.normal("weight", {out, in, kernel, kernel}, deviation), stride);
}

Linear square(const Initializer& init, std::int64_t out, std::int64_t in) {
  return Linear(init.normal("weight", {out, in}, 1 / std::sqrt(static_cast<double>(in))));
}

}  // namespace

Bottleneck::Bottleneck(const BottleneckShape& shape, const Initializer& init)
    : conv1_(convolution(init / "conv1", shape.inner, shape.in, 1)),
      conv2_(convolution(init / "conv2", shape.inner, shape.inner, 3, shape.stride)),
      conv3_(convolution(init / "conv3", kExpansion * shape.inner, shape.inner, 1)),
      bn1_(shape.inner, shape.frozen_norm),
      bn2_(shape.inner, shape.frozen_norm),
      bn3_(kExpansion * shape.inner, shape.frozen_norm) {
  child("conv1", conv1_);
  child("bn1", bn1_);
  child("conv2", conv2_);
  child("bn2", bn2_);
  child("conv3", conv3_);
  child("bn3", bn3_);
  if (shape.stride == 1 && shape.in == kExpansion * shape.inner) return;
  child("downsample.0", shortcut_.emplace((init / "downsample.0")
                                              .normal("weight", {kExpansion * shape.inner, shape.in, 1, 1},
                                                      std::sqrt(2.0 / static_cast<double>(kExpansion * shape.inner))),
                                          shape.stride));
  child("downsample.1", shortcut_norm_.emplace(kExpansion * shape.inner, shape.frozen_norm));
}

at::Tensor Bottleneck::forward(const at::Tensor& x_nchw, const ForwardScope& scope) const {
  at::Tensor y = bn1_.forward(conv1_.forward(x_nchw), scope).relu();
  y = bn2_.forward(conv2_.forward(y), scope).relu();
  y = bn3_.forward(conv3_.forward(y), scope);
  const at::Tensor carried = shortcut_ ? shortcut_norm_->forward(shortcut_->forward(x_nchw), scope) : x_nchw;
  return (y + carried).relu();
}

AttentionPool::AttentionPool(std::int64_t width, std::int64_t grid, std::int64_t heads,
                             std::optional<std::int64_t> embed_dim, const Initializer& init)
    : heads_(heads),
      positional_embedding_(parameter(
          "positional_embedding",
          init.normal("positional_embedding", {1 + grid * grid, width}, 1 / std::sqrt(static_cast<double>(width))))),
      q_proj_(square(init / "q_proj", width, width)),
      k_proj_(square(init / "k_proj", width, width)),
      v_proj_(square(init / "v_proj", width, width)) {
  child("q_proj", q_proj_);
  child("k_proj", k_proj_);
  child("v_proj", v_proj_);
  if (!embed_dim) return;
  child("c_proj",
        c_proj_.emplace(
            (init / "c_proj").normal("weight", {*embed_dim, width}, 1 / std::sqrt(static_cast<double>(width)))));
}

at::Tensor AttentionPool::forward(const at::Tensor& x_nchw, const ForwardScope& scope) const {
  const at::Tensor grid_nld = x_nchw.flatten(2).transpose(1, 2);
  const at::Tensor x_nld = at::cat({grid_nld.mean(1, /*keepdim=*/true), grid_nld}, 1) + positional_embedding_;
  const auto heads = [&](const at::Tensor& rows) {
    return rows.unflatten(2, {heads_, rows.size(2) / heads_}).transpose(1, 2);
  };
  const at::Tensor query = heads(q_proj_.forward(x_nld.narrow(1, 0, 1)));
  return attend(query, heads(k_proj_.forward(x_nld)), heads(v_proj_.forward(x_nld)), {}, scope).flatten(1);
}

at::Tensor AttentionPool::project(const at::Tensor& pooled) const {
  TORCH_CHECK(c_proj_.has_value(), "this attention pool was made without a projection");
  return c_proj_->forward(pooled);
}

ResNet::ResNet(const ResNetConfig& config, std::optional<std::int64_t> embed_dim, const Initializer& init)
    : config_(config),
      conv1_(convolution(init / "conv1", config.width, 3, 7, 2)),
      bn1_(config.width, config.batch_norm == "frozen") {
  const bool attention = config.pool == "attention";
  if (embed_dim && !attention) {
    const double deviation = 1 / std::sqrt(static_cast<double>(feature_width()));
    proj_ = parameter("proj", init.normal("proj", {feature_width(), *embed_dim}, deviation));
  }
  child("conv1", conv1_);
  child("bn1", bn1_);
  BottleneckShape shape{.in = config.width, .inner = config.width, .frozen_norm = config.batch_norm == "frozen"};
  for (std::size_t stage = 0; stage < config.depths.size(); ++stage) {
    for (std::int64_t i = 0; i < config.depths[stage]; ++i) {
      const std::string name = "layer" + std::to_string(stage + 1) + "." + std::to_string(i);
      shape.inner = config.width << stage;
      shape.stride = stage > 0 && i == 0 ? 2 : 1;
      blocks_.push_back(std::make_unique<Bottleneck>(shape, init / name));
      child(name, *blocks_.back());
      shape.in = kExpansion * shape.inner;
    }
  }
  if (!attention) return;
  attnpool_ = std::make_unique<AttentionPool>(feature_width(), config.image_size / kReduction, config.pool_heads,
                                              embed_dim, init / "attnpool");
  child("attnpool", *attnpool_);
}

at::Tensor ResNet::features(const at::Tensor& pixels, const ForwardScope& scope) const {
  check_pictures(pixels, config_.image_size);
  // Convolutions are quickest where the channels of a pixel lie together.
  at::Tensor x = bn1_.forward(conv1_.forward(pixels.contiguous(at::MemoryFormat::ChannelsLast)), scope).relu();
  x = at::max_pool2d(x, {3, 3}, {2, 2}, {1, 1});
  for (const auto& block : blocks_) {
    x = recomputed(*block, {x}, scope, [&block = *block](const auto& inputs, const ForwardScope& inner) {
      return block.forward(inputs[0], inner);
    });
  }
  return attnpool_ ? attnpool_->forward(x, scope) : x.mean({2, 3});
}

at::Tensor ResNet::project(const at::Tensor& features) const {
  if (attnpool_) return attnpool_->project(features);
  TORCH_CHECK(proj_.defined(), "this ResNet was made without a projection");
  return at::matmul(features, proj_);
}

}  // namespace triptych
