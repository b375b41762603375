// The three forms. Text may have padding, images have none.
#include "core/model/unsil.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>
#include <map>

#include "core/base/errors.h"
#include "core/base/strings.h"
#include "core/model/bert_layers.h"

namespace triptych {
namespace {

constexpr std::int64_t kKernel = 4, kStride = 2;
constexpr std::int64_t kJointLayers = 3;
constexpr std::int64_t kWordType = 0, kContextType = 1, kTargetType = 2, kTokenTypes = 3;

Linear unsil_linear(const Initializer& init, std::int64_t out, std::int64_t in, bool with_bias = true) {
  return Linear(init.xavier_uniform("weight", {out, in}), with_bias);
}

at::Tensor all_valid(const at::Tensor& x_tld) {
  return at::ones({x_tld.size(0), x_tld.size(1)}, x_tld.options().dtype(at::kBool));
}

/// Equation 27 for one side. The convolution's weight and bias have PyTorch's shapes.
class UnsilConvolution : public Module {
 public:
  UnsilConvolution(const UnsilShape& shape, const Initializer& init)
      : target_(unsil_linear(init / "target", shape.width, shape.target_width, false)),
        context_(unsil_linear(init / "context", shape.width, shape.width, false)),
        weight_(parameter("conv.weight", init.xavier_uniform("conv.weight", {shape.width, shape.width * kKernel})
                                             .view({shape.width, shape.width, kKernel}))),
        bias_(parameter("conv.bias", at::zeros({shape.width}))) {
    child("target", target_);
    child("context", context_);
  }

  /// x [t, l, d], 0 where not valid [t, l]; target [t, q] -> [t, d].
  at::Tensor forward(const at::Tensor& x_tld, const at::Tensor& valid_tl, const at::Tensor& target_tq) const {
    const std::int64_t missing = std::max<std::int64_t>(kKernel - x_tld.size(1), 0);
    const at::Tensor joint_tld = target_.forward(target_tq).unsqueeze(1) * context_.forward(x_tld);
    const at::Tensor filled_tld = at::constant_pad_nd(joint_tld, {0, 0, 0, missing});
    const at::Tensor places_twd = at::linear(windows(filled_tld), weight_.transpose(1, 2).flatten(1), bias_);
    const at::Tensor counts_tw = inside(at::constant_pad_nd(valid_tl, {0, missing}), places_twd.size(1));
    const double lowest = std::numeric_limits<float>::lowest();
    const at::Tensor most_td =
        places_twd.to(at::promote_types(places_twd.scalar_type(), at::kFloat)).masked_fill(~counts_tw, lowest).amax(1);
    return most_td.masked_fill(~valid_tl.any(1, /*keepdim=*/true), 0).to(places_twd.scalar_type());
  }

 private:
  /// What the kernel sees at each place side by side, [t, windows, kernel * d]: the convolution is one product then, on
  /// meta tensors too.
  static at::Tensor windows(const at::Tensor& x_tld) {
    const std::int64_t last = (x_tld.size(1) - kKernel) / kStride * kStride;
    std::vector<at::Tensor> seen;
    for (std::int64_t k = 0; k < kKernel; ++k) seen.push_back(x_tld.slice(1, k, last + k + 1, kStride));
    return at::cat(seen, 2);
  }

  /// bool [t, windows, 1]: those that end before the last valid token does, as in a sequence without padding.
  static at::Tensor inside(const at::Tensor& valid_tl, std::int64_t count) {
    const auto options = valid_tl.options().dtype(at::kLong);
    const at::Tensor length_t = (at::arange(1, valid_tl.size(1) + 1, options) * valid_tl).amax(1).clamp_min(kKernel);
    return (at::arange(count, options) * kStride + kKernel <= length_t.unsqueeze(1)).unsqueeze(2);
  }

  Linear target_, context_;
  at::Tensor weight_, bias_;
};

/// Equations 28 to 30 for one side.
class UnsilAttention : public Module {
 public:
  UnsilAttention(const UnsilShape& shape, const Initializer& init)
      : target_(unsil_linear(init / "target", shape.width, shape.target_width, false)),
        context_(unsil_linear(init / "context", shape.width, shape.width, false)),
        score_(unsil_linear(init / "score", 1, shape.width, false)) {
    child("target", target_);
    child("context", context_);
    child("score", score_);
  }

  /// x [t, l, d], 0 where not valid [t, l]; target [t, q] -> [t, d].
  at::Tensor forward(const at::Tensor& x_tld, const at::Tensor& valid_tl, const at::Tensor& target_tq) const {
    const at::Tensor hidden_tld = at::tanh(target_.forward(target_tq).unsqueeze(1) + context_.forward(x_tld));
    const at::Tensor score_tl = score_.forward(hidden_tld).squeeze(2);
    // Not -infinity: without any valid token the weights must stay finite, and then fall on zeros.
    const at::Tensor weight_tl = score_tl.to(at::promote_types(score_tl.scalar_type(), at::kFloat))
                                     .masked_fill(~valid_tl, std::numeric_limits<float>::lowest())
                                     .softmax(1);
    return at::bmm(weight_tl.unsqueeze(1).to(x_tld.scalar_type()), x_tld).squeeze(1);
  }

 private:
  Linear target_, context_, score_;
};

/// conv and attention: a side each, and the target.
template <class Side>
class TwoSides : public Unsil {
 public:
  TwoSides(const UnsilShape& shape, std::int64_t head_depth, const Initializer& init)
      : Unsil(shape, 2 * shape.width + shape.target_width, head_depth, init),
        image_(shape, init / "image"),
        text_(shape, init / "text") {
    child("image", image_);
    child("text", text_);
  }

 protected:
  at::Tensor features(const UnsilInputs& in, const ForwardScope&) const override {
    return at::cat({image_.forward(in.image_tcd, all_valid(in.image_tcd), in.target_tq),
                    text_.forward(in.text_tld, in.text_valid_tl, in.target_tq), in.target_tq},
                   1);
  }

 private:
  Side image_, text_;
};

struct ConvUnsil : TwoSides<UnsilConvolution> {
  ConvUnsil(const UnsilShape& shape, const Initializer& init) : TwoSides(shape, 1, init) {}
};

struct AttentionUnsil : TwoSides<UnsilAttention> {
  AttentionUnsil(const UnsilShape& shape, const Initializer& init) : TwoSides(shape, 3, init) {}
};

BertConfig joint_layer(const UnsilShape& shape) {
  BertConfig config;
  config.width = shape.width;
  config.heads = shape.heads;
  config.dropout = 0;  // of a network that regresses what is drawn once
  return config;
}

class TransformerUnsil : public Unsil {
 public:
  TransformerUnsil(const UnsilShape& shape, const Initializer& init)
      : Unsil(shape, shape.width, 1, init),
        class_(parameter("class_embedding", init.truncated_normal("class_embedding", {shape.width}, kDeviationOfRows))),
        positions_(bert_weight(init / "positions", shape.image_tokens + shape.text_tokens, shape.width)),
        types_(bert_weight(init / "types", kTokenTypes, shape.width)),
        norm_(shape.width, kBertNormEps) {
    if (shape.width % shape.heads != 0)
      throw ConfigError("the heads of an UNSIL transformer must divide its width: " + std::to_string(shape.heads) +
                        " heads for width " + std::to_string(shape.width));
    child("positions", positions_);
    child("types", types_);
    child("norm", norm_);
    for (std::int64_t i = 0; i < kJointLayers; ++i) {
      const std::string name = "layers." + std::to_string(i);
      layers_.push_back(std::make_unique<BertLayer>(joint_layer(shape), /*image_width=*/0, init / name));
      child(name, *layers_.back());
    }
  }

 protected:
  at::Tensor features(const UnsilInputs& in, const ForwardScope& scope) const override {
    const at::Tensor tokens_tsd = at::cat({in.image_tcd, in.text_tld}, 1) + places(in) + types_.forward(types(in));
    const at::Tensor class_t1d = class_.expand({tokens_tsd.size(0), 1, -1});
    at::Tensor x_tsd = norm_.forward(at::cat({class_t1d, tokens_tsd}, 1));
    const at::Tensor seen_ts = at::cat({all_valid(class_t1d), all_valid(in.image_tcd), in.text_valid_tl}, 1);
    const at::Tensor padding = at::zeros(seen_ts.sizes(), x_tsd.options())
                                   .masked_fill(~seen_ts, -std::numeric_limits<double>::infinity())
                                   .unsqueeze(1)
                                   .unsqueeze(1);
    for (const auto& layer : layers_) x_tsd = layer->forward(x_tsd, padding, {}, scope);
    return x_tsd.select(1, 0);
  }

 private:
  static constexpr double kDeviationOfRows = 0.02;

  /// Texts have places of their own, whatever the length of this batch.
  at::Tensor places(const UnsilInputs& in) const {
    return positions_.weight().narrow(0, 0, shape().image_tokens + in.text_tld.size(1));
  }
  static at::Tensor types(const UnsilInputs& in) {
    const auto either = [](const at::Tensor& member, std::int64_t other) {
      return member.to(at::kLong) * (kTargetType - other) + other;
    };
    const at::Tensor text = in.text_member_tl.defined() ? in.text_member_tl : at::zeros_like(in.text_valid_tl);
    return at::cat({either(in.image_member_tc, kContextType), either(text, kWordType)}, 1);
  }

  at::Tensor class_;
  Embedding positions_, types_;
  LayerNorm norm_;
  std::vector<std::unique_ptr<BertLayer>> layers_;
};

using UnsilMaker = std::unique_ptr<Unsil> (*)(const UnsilShape&, const Initializer&);

template <class Form>
std::unique_ptr<Unsil> unsil_of(const UnsilShape& shape, const Initializer& init) {
  return std::make_unique<Form>(shape, init);
}

const std::map<std::string, UnsilMaker>& unsil_table() {
  static const std::map<std::string, UnsilMaker> table = {{"attention", unsil_of<AttentionUnsil>},
                                                          {"conv", unsil_of<ConvUnsil>},
                                                          {"transformer", unsil_of<TransformerUnsil>}};
  return table;
}

}  // namespace

UnsilHead::UnsilHead(std::int64_t in, std::int64_t hidden, std::int64_t depth, const Initializer& init) {
  for (std::int64_t i = 0; i < depth; ++i) {
    const std::string name = std::to_string(i);
    const at::Tensor weight =
        (init / name).xavier_uniform("weight", {i + 1 == depth ? 1 : hidden, i == 0 ? in : hidden});
    layers_.push_back(std::make_unique<Linear>(weight));
    child(name, *layers_.back());
  }
}

at::Tensor UnsilHead::forward(at::Tensor x_tf) const {
  for (const auto& layer : layers_) x_tf = layer->forward(layer == layers_.front() ? x_tf : at::gelu(x_tf));
  const at::Tensor one_t = x_tf.squeeze(1);
  return one_t.to(at::promote_types(one_t.scalar_type(), at::kFloat));
}

Unsil::Unsil(const UnsilShape& shape, std::int64_t feature_width, std::int64_t head_depth, const Initializer& init)
    : shape_(shape),
      value_(feature_width, shape.width, head_depth, init / "value"),
      sigma_(feature_width, shape.width, head_depth, init / "sigma") {
  child("value", value_);
  child("sigma", sigma_);
}

void Unsil::check(const UnsilInputs& in) const {
  const auto is = [](const at::Tensor& x, at::IntArrayRef sizes) { return x.defined() && x.sizes() == sizes; };
  const auto is_mask = [&](const at::Tensor& x, at::IntArrayRef sizes) {
    return is(x, sizes) && x.scalar_type() == at::kBool;
  };
  const std::int64_t t = in.target_tq.size(0), words = in.text_tld.size(1);
  TORCH_CHECK(words <= shape_.text_tokens && is(in.image_tcd, {t, shape_.image_tokens, shape_.width}) &&
                  is(in.text_tld, {t, words, shape_.width}) && is(in.target_tq, {t, shape_.target_width}),
              "UNSIL takes image [t, ", shape_.image_tokens, ", ", shape_.width, "], text [t, up to ",
              shape_.text_tokens, ", ", shape_.width, "] and targets [t, ", shape_.target_width, "], got ",
              in.image_tcd.sizes(), ", ", in.text_tld.sizes(), " and ", in.target_tq.sizes());
  TORCH_CHECK(is_mask(in.text_valid_tl, {t, words}) && is_mask(in.image_member_tc, {t, shape_.image_tokens}) &&
                  (!in.text_member_tl.defined() || is_mask(in.text_member_tl, {t, words})),
              "UNSIL takes bool masks of the shapes of text [", t, ", ", words, "] and image [", t, ", ",
              shape_.image_tokens, "]");
}

UnsilOutput Unsil::forward(const UnsilInputs& inputs, const ForwardScope& scope) const {
  check(inputs);
  UnsilInputs in = inputs;
  in.image_tcd = in.image_tcd.detach();
  in.text_tld = in.text_tld.detach().masked_fill(~in.text_valid_tl.unsqueeze(2), 0);
  in.target_tq = in.target_tq.detach();
  const at::Tensor feature_tf = features(in, scope);
  return {value_.forward(feature_tf), sigma_.forward(feature_tf).sigmoid()};
}

std::unique_ptr<Unsil> make_unsil(const std::string& form, const UnsilShape& shape, const Initializer& init) {
  const auto found = unsil_table().find(form);
  if (found == unsil_table().end())
    throw ConfigError("unknown form of UNSIL '" + form + "'; known: " + join(unsil_forms(), ", "));
  return found->second(shape, init);
}

std::vector<std::string> unsil_forms() {
  std::vector<std::string> forms;
  for (const auto& [name, maker] : unsil_table()) forms.push_back(name);
  return forms;
}

}  // namespace triptych
