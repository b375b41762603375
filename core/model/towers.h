// What every image encoder and every text encoder offers. To add one: a file beside vit.h, a section in model_config.h
// and a line in model_factory.cpp.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "core/module/forward_scope.h"
#include "core/module/module.h"

namespace triptych {

/// What a tower makes of pictures as a whole and of the cells of its last grid, row by row.
struct ImageStates {
  at::Tensor feature_nd;  ///< [n, feature_width()], as features() gives it
  at::Tensor cell_nkd;    ///< [n, grid * grid, feature_width()]
};

class ImageTower : public Module {
 public:
  /// Normalised pictures [n, 3, size, size] -> one feature row each, [n, feature_width()], before any projection.
  virtual at::Tensor features(const at::Tensor& pixels, const ForwardScope& scope) const = 0;
  /// [n, feature_width()] -> [n, embed_dim], not yet of unit length. Only for towers made with a projection.
  virtual at::Tensor project(const at::Tensor& features) const = 0;
  virtual std::int64_t feature_width() const = 0;

  /// In two steps, for games whose players are cells: side of the last grid; 0: the tower has none, and what follows
  /// throws c10::Error.
  virtual std::int64_t grid() const { return 0; }
  /// Tokens before the first block, after position and norm: [n, tokens, width].
  virtual at::Tensor embedded(const at::Tensor& pixels, const ForwardScope& scope) const;
  /// The same with the tokens of absent cells times 0. keep_nk: bool [n, grid * grid]; either may have one row for all.
  virtual at::Tensor with_cells(const at::Tensor& embedded, const at::Tensor& keep_nk) const;
  virtual ImageStates encoded(const at::Tensor& embedded, const ForwardScope& scope) const;
};

class TextTower : public Module {
 public:
  /// Token ids int64 [n, context] -> [n, embed_dim], not yet of unit length.
  virtual at::Tensor forward(const at::Tensor& tokens, const ForwardScope& scope = {}) const = 0;
};

}  // namespace triptych
