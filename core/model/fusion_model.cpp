// Composition of towers, fusion layers and heads.
#include "core/model/fusion_model.h"

#include <ATen/ATen.h>

#include <variant>

namespace triptych {

FusionBert::FusionBert(const BertConfig& config, std::int64_t fusion_depth, std::int64_t image_width,
                       const Initializer& init)
    : text_depth_(config.depth),
      encoder_(config, fusion_depth, image_width, init),
      transform_(bert_weight(init / "cls.predictions.transform.dense", config.width, config.width)),
      transform_norm_(config.width, kBertNormEps) {
  bias_ = parameter("cls.predictions.bias", at::zeros({config.vocabulary}));
  child("", encoder_);
  child("cls.predictions.transform.dense", transform_);
  child("cls.predictions.transform.LayerNorm", transform_norm_);
}

at::Tensor FusionBert::text(const at::Tensor& tokens, const ForwardScope& scope) const {
  const at::Tensor embedded = encoder_.embedded(tokens, scope);
  return encoder_.layers(0, text_depth_, embedded, bert_padding(tokens, embedded.scalar_type()), {}, scope);
}

at::Tensor FusionBert::fused(const at::Tensor& text_nld, const at::Tensor& tokens, const at::Tensor& image_nkc,
                             const ForwardScope& scope) const {
  TORCH_CHECK(text_nld.size(0) == image_nkc.size(0) && text_nld.size(0) == tokens.size(0), "fusion of ",
              text_nld.sizes(), " text states with ", image_nkc.sizes(), " image states of tokens ", tokens.sizes());
  return encoder_.layers(text_depth_, encoder_.depth(), text_nld, bert_padding(tokens, text_nld.scalar_type()),
                         image_nkc, scope);
}

at::Tensor FusionBert::word_logits(const at::Tensor& states_nd) const {
  const at::Tensor hidden = transform_norm_.forward(at::gelu(transform_.forward(states_nd)));
  return at::linear(hidden, encoder_.words(), bias_);
}

AlignedEncoders::AlignedEncoders(const ModelConfig& config, const Initializer& init)
    : visual_(std::get<VitConfig>(config.image), std::nullopt, init / "visual"),
      bert_(std::get<BertConfig>(config.text), config.fusion->depth, std::get<VitConfig>(config.image).width, init),
      vision_proj_(bert_weight(init / "vision_proj", config.embed_dim, std::get<VitConfig>(config.image).width)),
      text_proj_(bert_weight(init / "text_proj", config.embed_dim, std::get<BertConfig>(config.text).width)) {
  child("visual", visual_);
  child("", bert_);
  child("vision_proj", vision_proj_);
  child("text_proj", text_proj_);
}

FusionModel::FusionModel(const ModelConfig& config, double temperature, const Initializer& init)
    : encoders_(config, init),
      itm_head_(bert_weight(init / "itm_head", 2, std::get<BertConfig>(config.text).width)),
      temperature_(parameter("temperature", at::scalar_tensor(temperature, at::kFloat))) {
  child("", encoders_);
  child("itm_head", itm_head_);
}

}  // namespace triptych
