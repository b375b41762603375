// The `model` section: towers by type, and weights to start from.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <variant>

#include "core/base/config.h"

namespace triptych {

struct VitConfig {
  static constexpr const char* kTagKey = "type";
  static constexpr const char* kTag = "vit";
  std::int64_t image_size = 224, patch_size = 32, width = 768, depth = 12, heads = 12;
  double mlp_ratio = 4;
  std::string activation = "gelu";
  double drop_path = 0;
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("image_size", c.image_size, "height = width of the pictures, in pixels", between(1, 4096));
    field("patch_size", c.patch_size, "side of a patch, in pixels; divides image_size", at_least(1));
    field("width", c.width, "channels", at_least(1));
    field("depth", c.depth, "blocks", at_least(1));
    field("heads", c.heads, "attention heads; divides width", at_least(1));
    field("mlp_ratio", c.mlp_ratio, "hidden width of a block's MLP over width", positive());
    field("activation", c.activation, "of the MLPs", one_of({"gelu", "quick_gelu"}));
    field("drop_path", c.drop_path, "largest probability of dropping a residual branch; grows linearly with depth",
          between(0, 0.99));
  }
  void validate() const;
};

struct CausalTransformerConfig {
  static constexpr const char* kTagKey = "type";
  static constexpr const char* kTag = "causal_transformer";
  std::string tokenizer = "clip_bpe", clean = "none";
  std::int64_t context = 77, width = 512, depth = 12, heads = 8;
  std::int64_t vocabulary = 0;  ///< rows of the word table; no key: 0 = what `tokenizer` has, tests take fewer
  double mlp_ratio = 4;
  std::string activation = "gelu";
  double norm_eps = 1e-5;
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("tokenizer", c.tokenizer, "vocabulary; bert_wordpiece ends a text with [SEP]",
          one_of({"clip_bpe", "bert_wordpiece"}));
    field("clean", c.clean,
          "what happens to captions and prompts before the tokenizer, in training and evaluation; tcl_*: TCL's rules, "
          "30 words",
          one_of({"none", "tcl_caption", "tcl_question"}));
    field("context", c.context, "tokens of a row", between(2, 4096));
    field("width", c.width, "channels", at_least(1));
    field("depth", c.depth, "blocks", at_least(1));
    field("heads", c.heads, "attention heads; divides width", at_least(1));
    field("mlp_ratio", c.mlp_ratio, "hidden width of a block's MLP over width", positive());
    field("activation", c.activation, "of the MLPs", one_of({"gelu", "quick_gelu"}));
    field("norm_eps", c.norm_eps, "epsilon of the layer norms (UniCL's release: 1e-12)", positive());
  }
  void validate() const;
};

/// Ids that `config.tokenizer` gives.
std::int64_t vocabulary_size(const CausalTransformerConfig& config);
/// The id that ends a text, whose state the tower reads. Nothing: the largest id of the row (CLIP's end token is the
/// last of its vocabulary).
std::optional<std::int64_t> end_token(const CausalTransformerConfig& config);

/// Weights to start from, safetensors files with OpenCLIP's names. Empty: nothing.
struct InitConfig {
  std::string whole, image, text;
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("whole", c.whole, "safetensors file with the whole model");
    field("image", c.image, "safetensors file whose visual.* tensors start the image tower");
    field("text", c.text, "safetensors file whose text tensors start the text tower");
  }
  void validate() const;
};

struct ModelConfig {
  std::variant<VitConfig> image;
  std::variant<CausalTransformerConfig> text;
  std::int64_t embed_dim = 512;
  double init_logit_scale = 2.6592600369327781;
  InitConfig init_from;
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("image", c.image, "image tower");
    field("text", c.text, "text tower");
    field("embed_dim", c.embed_dim, "width of the shared embedding", at_least(1));
    field("init_logit_scale", c.init_logit_scale,
          "initial logarithm of the multiplier of cosine similarities; "
          "log(1/0.07) as CLIP; UniCL's release starts at 1.0",
          between(-10, 10));
    field("init_from", c.init_from, "weights to start from");
  }
};

}  // namespace triptych
