// Interactions predicted instead of sampled: uncertainty-aware neural Shapley interaction learning, UNSIL (LOUPE, Li et
// al., NeurIPS 2022, arXiv:2208.02515, section 3.5 and appendix). Three published forms, each for both of LOUPE's
// games.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/module/forward_scope.h"
#include "core/module/layers.h"

namespace triptych {

/// t targets and the players around each. In the game of tokens a target is a region among image tokens and words; in
/// the game of regions and phrases it is a pair of one of each.
struct UnsilInputs {
  at::Tensor image_tcd;      ///< [t, image tokens or regions, width]
  at::Tensor text_tld;       ///< [t, words or phrases, width]
  at::Tensor text_valid_tl;  ///< bool; what stands at the others does not matter, nor how many they are
  at::Tensor target_tq;      ///< the pooled region, or region and phrase side by side; `conv` and `attention` ask this
  at::Tensor image_member_tc;      ///< bool: belongs to the target; `transformer` asks this
  at::Tensor text_member_tl = {};  ///< bool, likewise: the pair's phrase. Undefined: none, as for a region
};

/// fp32, or fp64 for fp64 inputs.
struct UnsilOutput {
  at::Tensor value_t;  ///< the interaction, of no bound
  at::Tensor sigma_t;  ///< its uncertainty, in (0, 1)
};

struct UnsilShape {
  std::int64_t width = 0;         ///< of the players
  std::int64_t target_width = 0;  ///< of the target's features
  std::int64_t image_tokens = 0;  ///< of every picture
  std::int64_t text_tokens = 0;   ///< at most, with padding
  std::int64_t heads = 8;         ///< attention heads of `transformer`; divides width
};

/// `depth` linear layers with GELU between them, to one number a row. Names: 0, 1, ...
class UnsilHead : public Module {
 public:
  UnsilHead(std::int64_t in, std::int64_t hidden, std::int64_t depth, const Initializer& init);
  at::Tensor forward(at::Tensor x_tf) const;  ///< [t, in] -> [t], in full precision

 private:
  std::vector<std::unique_ptr<Linear>> layers_;
};

/// What a form finds out about targets, and one head each for value and uncertainty: value.*, sigma.*.
class Unsil : public Module {
 public:
  /// No gradient reaches the inputs: what is learnt here must not shape the encoders. t may be 0: then every parameter
  /// that is used gets a gradient of 0, which a step over several ranks needs. Throws c10::Error for other shapes.
  UnsilOutput forward(const UnsilInputs& inputs, const ForwardScope& scope = {}) const;

 protected:
  /// feature_width, head_depth: of what features() gives, and of the heads on it.
  Unsil(const UnsilShape& shape, std::int64_t feature_width, std::int64_t head_depth, const Initializer& init);
  /// Inputs are constants and their padding is 0 -> [t, feature_width].
  virtual at::Tensor features(const UnsilInputs& inputs, const ForwardScope& scope) const = 0;
  const UnsilShape& shape() const { return shape_; }

 private:
  void check(const UnsilInputs& inputs) const;

  UnsilShape shape_;
  UnsilHead value_, sigma_;
};

/// form: one of unsil_forms(); throws ConfigError for another, and for heads that do not divide the width.
///   conv         F = (W1 h 1') * (W2 X) for image and text, a convolution of kernel 4 and stride 2 along the tokens,
///                the maximum over places; heads of 1 layer (eq. 27). Each sequence is convolved up to its last valid
///                token, as if alone; one shorter than the kernel is filled up with zeros.
///   attention    a_j = W3 tanh(W4 h + W5 x_j), e = softmax(a)' X for image and text; heads of 3 layers on
///                [e_image, e_text, h] (eqs. 28 to 30). What the paper adopts.
///   transformer  3 joint layers (BERT's) on [CLS], image and text tokens, with positions and a type for words, for
///                the context's image tokens and for the target's; heads of 1 layer on [CLS].
/// A target without valid text has text features of 0.
std::unique_ptr<Unsil> make_unsil(const std::string& form, const UnsilShape& shape, const Initializer& init);

std::vector<std::string> unsil_forms();

}  // namespace triptych
