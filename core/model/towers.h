// What every image encoder and every text encoder offers. To add one: a file beside vit.h, a section in model_config.h
// and a line in model_factory.cpp.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "core/module/forward_scope.h"
#include "core/module/module.h"

namespace triptych {

class ImageTower : public Module {
 public:
  /// Normalised pictures [n, 3, size, size] -> one feature row each, [n, feature_width()], before any projection.
  virtual at::Tensor features(const at::Tensor& pixels, const ForwardScope& scope) const = 0;
  /// [n, feature_width()] -> [n, embed_dim], not yet of unit length. Only for towers made with a projection.
  virtual at::Tensor project(const at::Tensor& features) const = 0;
  virtual std::int64_t feature_width() const = 0;
};

class TextTower : public Module {
 public:
  /// Token ids int64 [n, context] -> [n, embed_dim], not yet of unit length.
  virtual at::Tensor forward(const at::Tensor& tokens, const ForwardScope& scope = {}) const = 0;
};

}  // namespace triptych
