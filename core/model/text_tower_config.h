// `model.text`: the text towers by type.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <variant>

#include "core/base/config.h"

namespace triptych {

struct CausalTransformerConfig {
  static constexpr const char* kTagKey = "type";
  static constexpr const char* kTag = "causal_transformer";
  std::string tokenizer = "clip_bpe", clean = "none";
  std::int64_t context = 77, width = 512, depth = 12, heads = 8;
  std::int64_t vocabulary = 0;  ///< rows of the word table; no key: 0 = what `tokenizer` has, tests take fewer
  double mlp_ratio = 4;
  std::string activation = "gelu";
  double norm_eps = 1e-5;
  bool trim = true;
  std::int64_t length_groups = 0;
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
    field("trim", c.trim,
          "leave out what follows the end of the longest text; changes no embedding, as attention is causal");
    field("length_groups", c.length_groups,
          "rows that go through together after ordering by length, each group cut to its longest text; 0: 32 on "
          "processors, all rows on GPUs",
          at_least(0));
  }
  void validate() const;
};

/// Ids that `config.tokenizer` gives.
std::int64_t vocabulary_size(const CausalTransformerConfig& config);
/// The id that ends a text, whose state the tower reads. Nothing: the largest id of the row (CLIP's end token is the
/// last of its vocabulary).
std::optional<std::int64_t> end_token(const CausalTransformerConfig& config);

struct BertConfig {
  static constexpr const char* kTagKey = "type";
  static constexpr const char* kTag = "bert";
  std::string clean = "none";
  std::int64_t context = 32, width = 768, depth = 12, heads = 12;
  std::int64_t vocabulary = 30522;  ///< rows of the word table; no key: tests take fewer
  double mlp_ratio = 4, dropout = 0.1;
  std::int64_t positions = 512;
  bool end_token = true;
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("clean", c.clean,
          "what happens to captions and prompts before the tokenizer, in training and evaluation; tcl_*: TCL's rules, "
          "30 words",
          one_of({"none", "tcl_caption", "tcl_question"}));
    field("context", c.context, "tokens of a row", between(2, 4096));
    field("width", c.width, "channels", at_least(1));
    field("depth", c.depth, "layers", at_least(1));
    field("heads", c.heads, "attention heads; divides width", at_least(1));
    field("mlp_ratio", c.mlp_ratio, "hidden width of a layer's MLP over width", positive());
    field("dropout", c.dropout, "probability of dropout, of hidden states and of attention", between(0, 0.99));
    field("positions", c.positions, "rows of the position table; at least context. Published weights have 512",
          at_least(2));
    field("end_token", c.end_token, "end a text with [SEP]; TCL does not");
  }
  void validate() const;
};

struct LabelEmbeddingConfig {
  static constexpr const char* kTagKey = "type";
  static constexpr const char* kTag = "label_embedding";
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    (void)c;
    (void)field;
  }
};

using TextTowerConfig = std::variant<CausalTransformerConfig, BertConfig, LabelEmbeddingConfig>;

}  // namespace triptych
