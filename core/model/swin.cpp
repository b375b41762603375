// Windows, shifts, merging. Initial values follow UniCL's release: deviation 0.02 for products and tables.
#include "core/model/swin.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "core/model/patches.h"
#include "core/module/attention.h"
#include "core/module/keyed_random.h"
#include "core/module/recompute.h"

namespace triptych {
namespace {

constexpr double kDeviation = 0.02;
constexpr double kApart = -100;  // added to the scores of tokens of different regions, as published

Linear linear(const Initializer& init, std::int64_t out, std::int64_t in, bool bias = true) {
  return Linear(init.truncated_normal("weight", {out, in}, kDeviation), bias);
}

/// For each pair of a window's tokens, the row of the bias table: (dy + w - 1)(2 w - 1) + dx + w - 1.
at::Tensor relative_places(std::int64_t window) {
  const at::Tensor along = at::arange(window), y = along.repeat_interleave(window), x = along.repeat({window});
  const auto apart = [&](const at::Tensor& t) { return t.unsqueeze(1) - t.unsqueeze(0) + window - 1; };
  return (apart(y) * (2 * window - 1) + apart(x)).flatten();
}

/// [n, grid, grid, c] -> [n, windows, window * window, c].
at::Tensor cut_windows(const at::Tensor& x, std::int64_t window) {
  const auto n = x.size(0), side = x.size(1) / window, c = x.size(3);
  return x.view({n, side, window, side, window, c})
      .permute({0, 1, 3, 2, 4, 5})
      .reshape({n, side * side, window * window, c});
}

/// After a cyclic shift a window may hold tokens of up to four regions that do not touch.
at::Tensor region_mask(const SwinBlockShape& shape) {
  const at::Tensor place = at::arange(shape.grid);
  const at::Tensor band = (place >= shape.grid - shape.window).to(at::kLong) + (place >= shape.grid - shape.shift);
  const at::Tensor region = (band.unsqueeze(1) * 3 + band.unsqueeze(0)).view({1, shape.grid, shape.grid, 1});
  const at::Tensor of_token = cut_windows(region, shape.window).squeeze(3).squeeze(0);  // [windows, tokens]
  const at::Tensor differ = of_token.unsqueeze(1) != of_token.unsqueeze(2);
  return differ.to(at::kFloat).mul(kApart).unsqueeze(1);
}

}  // namespace

WindowAttention::WindowAttention(const SwinBlockShape& shape, const Initializer& init)
    : heads_(shape.heads),
      qkv_(linear(init / "qkv", 3 * shape.width, shape.width)),
      proj_(linear(init / "proj", shape.width, shape.width)),
      index_(constant(relative_places(shape.window))) {
  const std::int64_t places = (2 * shape.window - 1) * (2 * shape.window - 1);
  table_ = parameter("relative_position_bias_table",
                     init.truncated_normal("relative_position_bias_table", {places, shape.heads}, kDeviation));
  child("qkv", qkv_);
  child("proj", proj_);
}

at::Tensor WindowAttention::forward(const at::Tensor& x, const at::Tensor& mask, const ForwardScope& scope) const {
  const auto n = x.size(0), windows = x.size(1), tokens = x.size(2), width = x.size(3);
  const at::Tensor packed = qkv_.forward(x).view({n, windows, tokens, 3, heads_, width / heads_});
  const auto heads = packed.permute({3, 0, 1, 4, 2, 5}).unbind(0);  // [n, windows, heads, tokens, width / heads]
  at::Tensor bias = table_.index_select(0, index_).view({tokens, tokens, heads_}).permute({2, 0, 1}).unsqueeze(0);
  if (mask.defined()) bias = bias + mask;
  const at::Tensor mixed = attend(heads[0], heads[1], heads[2], {.bias = bias, .learnt_bias = true}, scope);
  return proj_.forward(mixed.transpose(2, 3).reshape({n, windows, tokens, width}));
}

SwinMlp::SwinMlp(std::int64_t width, double ratio, const Initializer& init)
    : fc1_(linear(init / "fc1", std::llround(static_cast<double>(width) * ratio), width)),
      fc2_(linear(init / "fc2", width, std::llround(static_cast<double>(width) * ratio))) {
  child("fc1", fc1_);
  child("fc2", fc2_);
}

at::Tensor SwinMlp::forward(const at::Tensor& x) const {
  return fc2_.forward(at::gelu(fc1_.forward(x)));
}

SwinBlock::SwinBlock(const SwinBlockShape& shape, const Initializer& init)
    : shape_(shape),
      norm1_(shape.width),
      attn_(shape, init / "attn"),
      norm2_(shape.width),
      mlp_(shape.width, shape.mlp_ratio, init / "mlp") {
  if (shape.shift > 0) mask_ = constant(region_mask(shape));
  child("norm1", norm1_);
  child("attn", attn_);
  child("norm2", norm2_);
  child("mlp", mlp_);
}

at::Tensor SwinBlock::windows(const at::Tensor& x_nhwc) const {
  const bool shifted = shape_.shift > 0;
  return cut_windows(shifted ? x_nhwc.roll({-shape_.shift, -shape_.shift}, {1, 2}) : x_nhwc, shape_.window);
}

at::Tensor SwinBlock::whole(const at::Tensor& x_windows) const {
  const auto n = x_windows.size(0), window = shape_.window, side = shape_.grid / window;
  const at::Tensor x = x_windows.view({n, side, side, window, window, shape_.width})
                           .permute({0, 1, 3, 2, 4, 5})
                           .reshape({n, shape_.grid, shape_.grid, shape_.width});
  return shape_.shift > 0 ? x.roll({shape_.shift, shape_.shift}, {1, 2}) : x;
}

at::Tensor SwinBlock::forward(const at::Tensor& x_nld, const ForwardScope& scope) const {
  const double drop = training() ? shape_.drop_path : 0;
  const at::Tensor grid = norm1_.forward(x_nld).view({x_nld.size(0), shape_.grid, shape_.grid, shape_.width});
  const at::Tensor mixed = whole(attn_.forward(windows(grid), mask_, scope)).flatten(1, 2);
  const at::Tensor seen = x_nld + drop_path(mixed, drop, scope.draws);
  return seen + drop_path(mlp_.forward(norm2_.forward(seen)), drop, scope.draws);
}

PatchMerging::PatchMerging(std::int64_t width, std::int64_t grid, const Initializer& init)
    : grid_(grid), norm_(4 * width), reduction_(linear(init / "reduction", 2 * width, 4 * width, /*bias=*/false)) {
  child("norm", norm_);
  child("reduction", reduction_);
}

at::Tensor PatchMerging::forward(const at::Tensor& x_nld) const {
  const auto n = x_nld.size(0), half = grid_ / 2, width = x_nld.size(2);
  // The neighbours' order is (row, column) 00, 10, 01, 11: columns outside, rows inside.
  const at::Tensor four = x_nld.view({n, half, 2, half, 2, width}).permute({0, 1, 3, 4, 2, 5});
  return reduction_.forward(norm_.forward(four.reshape({n, half * half, 4 * width})));
}

SwinTransformer::Stage SwinTransformer::make_stage(const SwinConfig& config, std::size_t index,
                                                   const Initializer& init) {
  const std::int64_t grid = config.image_size / config.patch_size >> index;
  const auto before = std::accumulate(config.depths.begin(), config.depths.begin() + static_cast<std::ptrdiff_t>(index),
                                      std::int64_t{0});
  const auto all = std::accumulate(config.depths.begin(), config.depths.end(), std::int64_t{0});
  const bool one_window = grid <= config.window;
  SwinBlockShape shape{.width = config.width << index,
                       .heads = config.heads[index],
                       .grid = grid,
                       .window = one_window ? grid : config.window,
                       .shift = 0,
                       .mlp_ratio = config.mlp_ratio,
                       .drop_path = 0};
  const std::string name = "layers." + std::to_string(index);
  Stage stage;
  for (std::int64_t i = 0; i < config.depths[index]; ++i) {
    const std::string block = name + ".blocks." + std::to_string(i);
    shape.shift = i % 2 == 1 && !one_window ? shape.window / 2 : 0;
    shape.drop_path = config.drop_path * static_cast<double>(before + i) / std::max(1.0, static_cast<double>(all - 1));
    stage.blocks.push_back(std::make_unique<SwinBlock>(shape, init / block));
    child(block, *stage.blocks.back());
  }
  if (index + 1 == config.depths.size()) return stage;
  stage.downsample = std::make_unique<PatchMerging>(shape.width, grid, init / (name + ".downsample"));
  child(name + ".downsample", *stage.downsample);
  return stage;
}

SwinTransformer::SwinTransformer(const SwinConfig& config, std::optional<std::int64_t> embed_dim,
                                 const Initializer& init)
    : image_size_(config.image_size),
      width_(config.width << (config.depths.size() - 1)),
      grid_(config.image_size / config.patch_size >> (config.depths.size() - 1)),
      patch_norm_(config.width),
      norm_(width_) {
  const std::int64_t patch = config.patch_size;
  const double bound = 1 / std::sqrt(3.0 * static_cast<double>(patch * patch));
  if (embed_dim) proj_ = parameter("proj", init.truncated_normal("proj", {width_, *embed_dim}, kDeviation));
  patch_weight_ = parameter("patch_embed.proj.weight",
                            init.uniform("patch_embed.proj.weight", {config.width, 3, patch, patch}, bound));
  patch_bias_ = parameter("patch_embed.proj.bias", init.uniform("patch_embed.proj.bias", {config.width}, bound));
  child("patch_embed.norm", patch_norm_);
  for (std::size_t i = 0; i < config.depths.size(); ++i) stages_.push_back(make_stage(config, i, init));
  child("norm", norm_);
}

at::Tensor SwinTransformer::features(const at::Tensor& pixels, const ForwardScope& scope) const {
  return encoded(embedded(pixels, scope), scope).feature_nd;
}

at::Tensor SwinTransformer::embedded(const at::Tensor& pixels, const ForwardScope&) const {
  check_pictures(pixels, image_size_);
  // The residual stream stays in the parameters' type: on processors autocast would leave it narrow.
  return patch_norm_.forward(patch_tokens(pixels, patch_weight_, patch_bias_)).to(patch_weight_.scalar_type());
}

at::Tensor SwinTransformer::with_cells(const at::Tensor& embedded, const at::Tensor& keep_nk) const {
  const std::int64_t side = grid_ << (stages_.size() - 1), span = side / grid_;
  const at::Tensor patches = keep_nk.view({-1, grid_, 1, grid_, 1}).expand({-1, grid_, span, grid_, span});
  return embedded * patches.reshape({-1, side * side, 1}).to(embedded.scalar_type());
}

ImageStates SwinTransformer::encoded(const at::Tensor& embedded, const ForwardScope& scope) const {
  const auto type = patch_weight_.scalar_type();
  at::Tensor x_nld = embedded;
  for (const auto& stage : stages_) {
    for (const auto& block : stage.blocks) {
      x_nld = recomputed(*block, {x_nld}, scope, [&block = *block](const auto& inputs, const ForwardScope& inner) {
        return block.forward(inputs[0], inner);
      });
    }
    if (stage.downsample) x_nld = stage.downsample->forward(x_nld).to(type);
  }
  x_nld = norm_.forward(x_nld);
  return {x_nld.mean(1), x_nld};
}

at::Tensor SwinTransformer::project(const at::Tensor& features) const {
  TORCH_CHECK(proj_.defined(), "this Swin was made without a projection");
  return at::matmul(features, proj_);
}

}  // namespace triptych
