// The three forms against their equations target by target, padding, finite differences, and a task that each learns.
#include "core/model/unsil.h"

#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "core/base/errors.h"
#include "core/module/autocast.h"
#include "core/module/meta_kernels.h"
#include "tests/support/tensors.h"

namespace triptych {
namespace {

constexpr std::int64_t kUnsilWidth = 8, kUnsilCells = 9, kUnsilWords = 11;

/// A region (the game of tokens), or a pair of region and phrase.
enum class Game { kTokens, kPairs };

UnsilShape unsil_shape(Game game) {
  return {.width = kUnsilWidth,
          .target_width = game == Game::kTokens ? kUnsilWidth : 2 * kUnsilWidth,
          .image_tokens = kUnsilCells,
          .text_tokens = kUnsilWords + 4,
          .heads = 2};
}

/// t targets in fp64 with texts of 1 to kUnsilWords words, some with a gap.
UnsilInputs unsil_inputs(Game game, std::int64_t t, std::uint64_t key) {
  UnsilInputs in;
  in.image_tcd = draw({key, 1}, {t, kUnsilCells, kUnsilWidth});
  in.text_tld = draw({key, 2}, {t, kUnsilWords, kUnsilWidth});
  in.text_valid_tl = at::zeros({t, kUnsilWords}, at::kBool);
  for (std::int64_t i = 0; i < t; ++i) in.text_valid_tl[i].narrow(0, 0, 1 + i * 3 % kUnsilWords).fill_(true);
  for (std::int64_t i = 3; i < t; i += 4) in.text_valid_tl[i][i % 5 + 1].fill_(false);
  in.image_member_tc = draw({key, 3}, {t, kUnsilCells}) > 0.3;
  in.image_member_tc.select(1, 4).fill_(true);
  const at::Tensor member = in.image_member_tc.to(at::kDouble);
  in.target_tq = at::bmm((member / member.sum(1, true)).unsqueeze(1), in.image_tcd).squeeze(1);
  if (game == Game::kPairs) {
    in.text_member_tl = at::zeros({t, kUnsilWords}, at::kBool);
    in.text_member_tl.select(1, 0).fill_(true);
    in.target_tq = at::cat({in.target_tq, in.text_tld.select(1, 0)}, 1);
  }
  return in;
}

/// In fp64, with biases that are not 0.
std::unique_ptr<Unsil> make_shaken(const std::string& form, Game game) {
  auto unsil = make_unsil(form, unsil_shape(game), Initializer(4));
  unsil->to(at::kCPU, at::kDouble);
  const c10::NoGradGuard no_grad;
  std::uint64_t key = 0;
  for (auto& [name, tensor] : unsil->parameters()) tensor.add_(draw({70, key++}, tensor.sizes()), 0.2);
  return unsil;
}

using ByName = std::map<std::string, at::Tensor>;

ByName by_name(const Unsil& unsil) {
  ByName p;
  for (const auto& [name, tensor] : unsil.parameters()) p[name] = tensor.detach();
  return p;
}

at::Tensor apply(const ByName& p, const std::string& name, const at::Tensor& x) {
  const at::Tensor y = x.matmul(p.at(name + ".weight").t());
  return p.contains(name + ".bias") ? y + p.at(name + ".bias") : y;
}

double head_of(const ByName& p, const std::string& name, at::Tensor x, int depth) {
  for (int i = 0; i < depth; ++i) x = apply(p, name + "." + std::to_string(i), i == 0 ? x : at::gelu(x));
  return x.item<double>();
}

/// Equation 27 for one side of one target: x [l, d] has its padding at the end; gaps are 0.
at::Tensor plain_convolution(const ByName& p, const std::string& side, at::Tensor x, const at::Tensor& h) {
  if (x.size(0) == 0) return at::zeros({kUnsilWidth}, at::kDouble);
  at::Tensor f = apply(p, side + ".target", h) * apply(p, side + ".context", x);
  if (f.size(0) < 4) f = at::cat({f, at::zeros({4 - f.size(0), kUnsilWidth}, at::kDouble)});
  at::Tensor most = at::full({kUnsilWidth}, -std::numeric_limits<double>::infinity(), at::kDouble);
  for (std::int64_t first = 0; first + 4 <= f.size(0); first += 2) {
    at::Tensor place = p.at(side + ".conv.bias").clone();
    for (std::int64_t k = 0; k < 4; ++k) place += p.at(side + ".conv.weight").select(2, k).matmul(f[first + k]);
    most = at::maximum(most, place);
  }
  return most;
}

/// Equations 28 to 30, on valid tokens alone.
at::Tensor plain_attention(const ByName& p, const std::string& side, const at::Tensor& x, const at::Tensor& h) {
  std::vector<double> scores;
  double sum = 0;
  for (std::int64_t j = 0; j < x.size(0); ++j) {
    const at::Tensor hidden = at::tanh(apply(p, side + ".target", h) + apply(p, side + ".context", x[j]));
    scores.push_back(std::exp(apply(p, side + ".score", hidden).item<double>()));
    sum += scores.back();
  }
  at::Tensor e = at::zeros({kUnsilWidth}, at::kDouble);
  for (std::int64_t j = 0; j < x.size(0); ++j) e += x[j] * (scores[static_cast<std::size_t>(j)] / sum);
  return e;
}

/// One of BERT's layers on rows [l, d], all of which see each other.
at::Tensor plain_layer(const ByName& p, const std::string& name, const at::Tensor& x, std::int64_t heads) {
  const auto norm = [&](const at::Tensor& y, const std::string& which) {
    return at::layer_norm(y, {kUnsilWidth}, p.at(name + which + ".weight"), p.at(name + which + ".bias"), 1e-12);
  };
  const at::Tensor q = apply(p, name + ".attention.self.query", x), k = apply(p, name + ".attention.self.key", x),
                   v = apply(p, name + ".attention.self.value", x);
  const std::int64_t width = kUnsilWidth / heads;
  std::vector<at::Tensor> mixed;
  for (std::int64_t h = 0; h < heads; ++h) {
    const auto part = [&](const at::Tensor& y) { return y.narrow(1, h * width, width); };
    const at::Tensor scores = part(q).matmul(part(k).t()) / std::sqrt(static_cast<double>(width));
    mixed.push_back(scores.softmax(1).matmul(part(v)));
  }
  const at::Tensor seen =
      norm(apply(p, name + ".attention.output.dense", at::cat(mixed, 1)) + x, ".attention.output.LayerNorm");
  const at::Tensor hidden = at::gelu(apply(p, name + ".intermediate.dense", seen));
  return norm(apply(p, name + ".output.dense", hidden) + seen, ".output.LayerNorm");
}

/// [CLS] after three layers over image and valid text of target i.
at::Tensor plain_transformer(const ByName& p, const UnsilInputs& in, std::int64_t i) {
  std::vector<at::Tensor> rows = {p.at("class_embedding")};
  const auto add = [&](const at::Tensor& x, std::int64_t place, std::int64_t type) {
    rows.push_back(x + p.at("positions.weight")[place] + p.at("types.weight")[type]);
  };
  for (std::int64_t c = 0; c < kUnsilCells; ++c)
    add(in.image_tcd[i][c], c, in.image_member_tc[i][c].item<bool>() ? 2 : 1);
  for (std::int64_t l = 0; l < in.text_tld.size(1); ++l) {
    if (!in.text_valid_tl[i][l].item<bool>()) continue;
    const bool member = in.text_member_tl.defined() && in.text_member_tl[i][l].item<bool>();
    add(in.text_tld[i][l], kUnsilCells + l, member ? 2 : 0);
  }
  at::Tensor x = at::layer_norm(at::stack(rows), {kUnsilWidth}, p.at("norm.weight"), p.at("norm.bias"), 1e-12);
  for (const char* layer : {"layers.0", "layers.1", "layers.2"}) x = plain_layer(p, layer, x, 2);
  return x[0];
}

/// What the heads see of target i, by the equations.
at::Tensor plain_features(const std::string& form, const ByName& p, const UnsilInputs& in, std::int64_t i) {
  if (form == "transformer") return plain_transformer(p, in, i);
  const at::Tensor h = in.target_tq[i], valid = in.text_valid_tl[i];
  if (form == "attention")
    return at::cat({plain_attention(p, "image", in.image_tcd[i], h),
                    plain_attention(p, "text", in.text_tld[i].index({valid}), h), h});
  std::int64_t length = 0;
  for (std::int64_t l = 0; l < valid.size(0); ++l)
    if (valid[l].item<bool>()) length = l + 1;
  const at::Tensor text = (in.text_tld[i] * valid.to(at::kDouble).unsqueeze(1)).narrow(0, 0, length);
  return at::cat({plain_convolution(p, "image", in.image_tcd[i], h), plain_convolution(p, "text", text, h), h});
}

class UnsilForms : public testing::TestWithParam<std::string> {};

INSTANTIATE_TEST_SUITE_P(All, UnsilForms, testing::Values("attention", "conv", "transformer"),
                         [](const auto& tested) { return tested.param; });

TEST(Unsil, KnowsItsFormsAndRefusesOthers) {
  EXPECT_EQ(unsil_forms(), (std::vector<std::string>{"attention", "conv", "transformer"}));
  try {
    make_unsil("mlp", unsil_shape(Game::kTokens), Initializer(1));
    FAIL();
  } catch (const ConfigError& e) {
    EXPECT_STREQ(e.what(), "unknown form of UNSIL 'mlp'; known: attention, conv, transformer");
  }
  UnsilShape odd = unsil_shape(Game::kTokens);
  odd.heads = 3;
  EXPECT_THROW(make_unsil("transformer", odd, Initializer(1)), ConfigError);
}

TEST_P(UnsilForms, AreTheEquations) {
  const std::string form = GetParam();
  for (const auto game : {Game::kTokens, Game::kPairs}) {
    const auto unsil = make_shaken(form, game);
    const ByName p = by_name(*unsil);
    const UnsilInputs in = unsil_inputs(game, 12, 30);
    const UnsilOutput out = unsil->forward(in);
    ASSERT_EQ(out.value_t.sizes(), std::vector<std::int64_t>{12});
    ASSERT_EQ(out.sigma_t.sizes(), std::vector<std::int64_t>{12});
    const int depth = form == "attention" ? 3 : 1;
    for (std::int64_t i = 0; i < 12; ++i) {
      const at::Tensor features = plain_features(form, p, in, i);
      EXPECT_NEAR(out.value_t[i].item<double>(), head_of(p, "value", features, depth), 1e-12) << i;
      EXPECT_NEAR(out.sigma_t[i].item<double>(), 1 / (1 + std::exp(-head_of(p, "sigma", features, depth))), 1e-12);
    }
    EXPECT_GT(out.value_t.std().item<double>(), 0.05);  // targets differ
    EXPECT_GT(out.sigma_t.std().item<double>(), 0.01);
  }
}

TEST_P(UnsilForms, PaddingChangesNothing) {
  const auto unsil = make_shaken(GetParam(), Game::kPairs);
  const UnsilInputs in = unsil_inputs(Game::kPairs, 12, 31);
  const UnsilOutput expected = unsil->forward(in);
  const auto agrees = [&](const UnsilInputs& other, std::int64_t t) {
    const UnsilOutput out = unsil->forward(other);
    return std::max(difference(out.value_t, expected.value_t.narrow(0, 0, t)),
                    difference(out.sigma_t, expected.sigma_t.narrow(0, 0, t)));
  };
  UnsilInputs other = in;  // anything at all at what is padding
  const double nan = std::numeric_limits<double>::quiet_NaN();
  other.text_tld = in.text_tld.masked_fill(~in.text_valid_tl.unsqueeze(2), nan);
  other.text_member_tl = in.text_member_tl.logical_or(~in.text_valid_tl);
  EXPECT_LT(agrees(other, 12), 1e-14);

  for (const std::int64_t more : {1, 2, 3, 4}) {
    other.text_tld = at::constant_pad_nd(in.text_tld, {0, 0, 0, more}, 5);
    other.text_valid_tl = at::constant_pad_nd(in.text_valid_tl, {0, more});
    other.text_member_tl = at::constant_pad_nd(in.text_member_tl, {0, more}, 1);
    EXPECT_LT(agrees(other, 12), 1e-13) << more;
  }

  for (const std::int64_t one : {0, 1, 2, 6}) {  // alone, without any padding
    const std::int64_t length = 1 + one * 3 % kUnsilWords;
    const UnsilInputs alone = {in.image_tcd.narrow(0, one, 1),
                               in.text_tld.narrow(0, one, 1).narrow(1, 0, length),
                               in.text_valid_tl.narrow(0, one, 1).narrow(1, 0, length),
                               in.target_tq.narrow(0, one, 1),
                               in.image_member_tc.narrow(0, one, 1),
                               in.text_member_tl.narrow(0, one, 1).narrow(1, 0, length)};
    EXPECT_LT(difference(unsil->forward(alone).value_t, expected.value_t.narrow(0, one, 1)), 1e-13) << one;
  }

  other = in;  // the control: as if the padding were words
  other.text_valid_tl = at::ones_like(in.text_valid_tl);
  EXPECT_GT(agrees(other, 12), 1e-3);
}

TEST_P(UnsilForms, ReadTheTargetInTheirOwnWay) {
  const auto unsil = make_shaken(GetParam(), Game::kPairs);
  const UnsilInputs in = unsil_inputs(Game::kPairs, 6, 32);
  const at::Tensor expected = unsil->forward(in).value_t;
  UnsilInputs members = in, phrase = in, features = in;
  members.image_member_tc = ~in.image_member_tc;
  phrase.text_member_tl = at::Tensor();
  features.target_tq = in.target_tq + 1;
  const bool by_members = GetParam() == "transformer";
  const auto moved = [&](const UnsilInputs& other) {
    return difference(unsil->forward(other).value_t, expected) > 1e-3;
  };
  EXPECT_EQ(moved(members), by_members);
  EXPECT_EQ(moved(phrase), by_members);
  EXPECT_EQ(moved(features), !by_members);
}

TEST_P(UnsilForms, TargetsWithoutTextHaveTextFeaturesOfZero) {
  const auto unsil = make_shaken(GetParam(), Game::kTokens);
  UnsilInputs in = unsil_inputs(Game::kTokens, 5, 33);
  in.text_valid_tl[2].fill_(false);
  const UnsilOutput out = unsil->forward(in);
  (out.value_t + out.sigma_t).sum().backward();
  for (const auto& [name, tensor] : unsil->parameters())
    EXPECT_TRUE(tensor.grad().isfinite().all().item<bool>()) << name;
  const ByName p = by_name(*unsil);
  const at::Tensor features = plain_features(GetParam(), p, in, 2);
  const double expected = head_of(p, "value", features, GetParam() == "attention" ? 3 : 1);
  EXPECT_NEAR(out.value_t[2].item<double>(), expected, 1e-12);
  UnsilInputs none = in;  // no columns of text at all
  none.text_tld = in.text_tld.narrow(1, 0, 0);
  none.text_valid_tl = in.text_valid_tl.narrow(1, 0, 0);
  EXPECT_NEAR(unsil->forward(none).value_t[2].item<double>(), expected, 1e-12);
}

/// Of some entries of every parameter.
TEST_P(UnsilForms, GradientsAreFiniteDifferences) {
  const auto unsil = make_shaken(GetParam(), Game::kPairs);
  const UnsilInputs in = unsil_inputs(Game::kPairs, 7, 34);
  const at::Tensor by_value = draw({35, 1}, {7}), by_sigma = draw({35, 2}, {7});
  const auto value = [&] {
    const UnsilOutput out = unsil->forward(in);
    return (out.value_t * by_value + out.sigma_t * by_sigma).sum();
  };
  value().backward();
  constexpr double kStep = 1e-5;
  const c10::NoGradGuard no_grad;
  for (auto& [name, tensor] : unsil->parameters()) {
    const at::Tensor flat = tensor.view(-1), gradient = tensor.grad().view(-1);
    const bool idle = name.ends_with("self.key.bias");  // moves all scores of a query alike
    EXPECT_TRUE(idle || gradient.abs().max().item<double>() > 1e-6) << name;
    for (std::int64_t i = 0; i < flat.size(0); i += 1 + flat.size(0) / 5) {
      at::Tensor entry = flat[i];
      entry.add_(kStep);
      const double above = value().item<double>();
      entry.sub_(2 * kStep);
      const double below = value().item<double>();
      entry.add_(kStep);
      EXPECT_NEAR(gradient[i].item<double>(), (above - below) / (2 * kStep), 1e-7) << name << " " << i;
    }
  }
}

TEST_P(UnsilForms, NoTargetsGiveNothingAndGradientsOfZero) {
  const auto unsil = make_shaken(GetParam(), Game::kTokens);
  UnsilInputs in = unsil_inputs(Game::kTokens, 4, 36);
  for (at::Tensor* x : {&in.image_tcd, &in.text_tld, &in.text_valid_tl, &in.target_tq, &in.image_member_tc})
    *x = x->narrow(0, 0, 0);
  const UnsilOutput out = unsil->forward(in);
  EXPECT_EQ(out.value_t.sizes(), std::vector<std::int64_t>{0});
  EXPECT_EQ(out.sigma_t.sizes(), std::vector<std::int64_t>{0});
  (out.value_t.sum() + out.sigma_t.sum()).backward();
  for (const auto& [name, tensor] : unsil->parameters()) {
    ASSERT_TRUE(tensor.grad().defined()) << name;
    EXPECT_EQ(tensor.grad().abs().max().item<double>(), 0) << name;
  }
}

TEST_P(UnsilForms, GiveNoGradientToTheEncoders) {
  const auto unsil = make_shaken(GetParam(), Game::kTokens);
  UnsilInputs in = unsil_inputs(Game::kTokens, 4, 37);
  for (at::Tensor* x : {&in.image_tcd, &in.text_tld, &in.target_tq}) *x = leaf(*x);
  unsil->forward(in).value_t.sum().backward();
  EXPECT_FALSE(in.image_tcd.grad().defined());
  EXPECT_FALSE(in.text_tld.grad().defined());
  EXPECT_FALSE(in.target_tq.grad().defined());
}

TEST_P(UnsilForms, NamesAreUniqueAndInitialValuesFollowFromThem) {
  const auto unsil = make_unsil(GetParam(), unsil_shape(Game::kTokens), Initializer(4));
  std::set<std::string> names;
  for (const auto& [name, tensor] : unsil->parameters()) {
    EXPECT_TRUE(names.insert(name).second) << name;
    EXPECT_EQ(tensor.scalar_type(), at::kFloat);
  }
  EXPECT_TRUE(names.contains("value.0.weight") && names.contains("sigma.0.bias"));
  const auto again = make_unsil(GetParam(), unsil_shape(Game::kTokens), Initializer(4));
  std::vector<at::Tensor> drawn;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const at::Tensor one = unsil->parameters()[i].tensor;
    EXPECT_TRUE(at::equal(one, again->parameters()[i].tensor));
    if ((one == one.flatten()[0]).all().item<bool>()) continue;  // a bias or a norm
    for (const auto& other : drawn) EXPECT_FALSE(one.sizes() == other.sizes() && at::equal(one, other));
    drawn.push_back(one);
  }
}

TEST_P(UnsilForms, RunUnderAutocast) {
  const auto unsil = make_unsil(GetParam(), unsil_shape(Game::kTokens), Initializer(4));
  UnsilInputs in = unsil_inputs(Game::kTokens, 6, 38);
  for (at::Tensor* x : {&in.image_tcd, &in.text_tld, &in.target_tq}) *x = x->to(at::kFloat);
  const at::Tensor exact = unsil->forward(in).value_t;
  UnsilOutput out;
  {
    const AutocastScope autocast(at::kCPU, at::kFloat, at::kBFloat16);
    out = unsil->forward(in);
  }
  EXPECT_EQ(out.value_t.scalar_type(), at::kFloat);
  EXPECT_EQ(out.sigma_t.scalar_type(), at::kFloat);
  EXPECT_LT(difference(out.value_t, exact), 0.1);
  (out.value_t + out.sigma_t).sum().backward();
}

/// For plans of a run.
TEST_P(UnsilForms, RunOnMetaTensors) {
  register_meta_kernels();
  const ShapesOnly shapes_only;
  const auto unsil = make_unsil(GetParam(), unsil_shape(Game::kTokens), Initializer(4, "", at::kMeta));
  UnsilInputs in = unsil_inputs(Game::kTokens, 6, 38);
  for (at::Tensor* x : {&in.image_tcd, &in.text_tld, &in.target_tq}) *x = x->to(at::kFloat).to(at::kMeta);
  for (at::Tensor* x : {&in.text_valid_tl, &in.image_member_tc}) *x = x->to(at::kMeta);
  const UnsilOutput out = unsil->forward(in);
  EXPECT_EQ(out.sigma_t.sizes(), std::vector<std::int64_t>{6});
  (out.value_t + out.sigma_t).sum().backward();
}

TEST_P(UnsilForms, RefuseOtherShapes) {
  const auto unsil = make_shaken(GetParam(), Game::kTokens);
  const UnsilInputs good = unsil_inputs(Game::kTokens, 4, 39);
  EXPECT_NO_THROW(unsil->forward(good));
  const auto refuses = [&](auto&& spoil) {
    UnsilInputs bad = good;
    spoil(bad);
    EXPECT_THROW(unsil->forward(bad), c10::Error);
  };
  refuses([](UnsilInputs& in) { in.image_tcd = in.image_tcd.narrow(1, 0, 8); });
  refuses([](UnsilInputs& in) { in.text_tld = in.text_tld.narrow(2, 0, 7); });
  refuses([](UnsilInputs& in) { in.text_valid_tl = in.text_valid_tl.to(at::kDouble); });
  refuses([](UnsilInputs& in) { in.image_member_tc = at::Tensor(); });
  refuses([](UnsilInputs& in) { in.target_tq = in.target_tq.narrow(0, 0, 3); });
  refuses([](UnsilInputs& in) {
    in.text_tld = at::constant_pad_nd(in.text_tld, {0, 0, 0, 5});
    in.text_valid_tl = at::constant_pad_nd(in.text_valid_tl, {0, 5});
  });
}

double correlation(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor x = a.detach() - a.detach().mean(), y = b - b.mean();
  return ((x * y).sum() / (x.norm() * y.norm())).item<double>();
}

/// Targets in fp32 whose tokens are normalised as a tower's last layer leaves them: a transformer's first norm then
/// takes nothing away.
UnsilInputs learnable_inputs(std::int64_t t, std::uint64_t key) {
  UnsilInputs in = unsil_inputs(Game::kTokens, t, key);
  in.image_tcd = at::layer_norm(in.image_tcd.to(at::kFloat), {kUnsilWidth});
  in.text_tld = at::layer_norm(in.text_tld.to(at::kFloat), {kUnsilWidth});
  const at::Tensor member = in.image_member_tc.to(at::kFloat);
  in.target_tq = at::bmm((member / member.sum(1, true)).unsqueeze(1), in.image_tcd).squeeze(1);
  return in;
}

/// One channel of the region's mean and a little of the words' mean.
at::Tensor simple_interaction(const UnsilInputs& in) {
  const at::Tensor valid = in.text_valid_tl.to(in.text_tld.scalar_type()).unsqueeze(2);
  const at::Tensor text_td = (in.text_tld * valid).sum(1) / valid.sum(1);
  return in.target_tq.select(1, 0) + 0.25 * text_td.select(1, 1);
}

/// Adam (Kingma and Ba, arXiv:1412.6980) in plain words.
class PlainAdam {
 public:
  explicit PlainAdam(const Module& module) {
    for (const auto& [name, tensor] : module.parameters())
      slots_.push_back({tensor, at::zeros_like(tensor), at::zeros_like(tensor)});
  }
  void step(double rate) {
    const c10::NoGradGuard no_grad;
    ++steps_;
    for (auto& [x, mean, square] : slots_) {
      mean.mul_(0.9).add_(x.grad(), 0.1);
      square.mul_(0.999).addcmul_(x.grad(), x.grad(), 0.001);
      const at::Tensor size = (square / (1 - std::pow(0.999, steps_))).sqrt() + 1e-8;
      x.sub_(rate / (1 - std::pow(0.9, steps_)) * mean / size);
      x.mutable_grad() = at::Tensor();
    }
  }

 private:
  struct Slot {
    at::Tensor x, mean, square;
  };
  std::vector<Slot> slots_;
  int steps_ = 0;
};

using UnsilLabels = std::function<at::Tensor(const UnsilInputs& in, std::uint64_t step)>;

/// After 300 steps on new targets each. Values by squares; the uncertainty by LOUPE's equation 12 with both weights 1,
/// whose gradient to the value is left out.
std::unique_ptr<Unsil> trained(const std::string& form, const UnsilLabels& labels) {
  auto unsil = make_unsil(form, unsil_shape(Game::kTokens), Initializer(8));
  PlainAdam adam(*unsil);
  constexpr int kSteps = 300;
  for (int i = 0; i < kSteps; ++i) {
    const auto step = static_cast<std::uint64_t>(i);
    const UnsilInputs in = learnable_inputs(32, 100 + step);
    const UnsilOutput out = unsil->forward(in);
    const at::Tensor wrong = (out.value_t - labels(in, step)).square();
    (wrong + wrong.detach() / out.sigma_t.clamp_min(1e-3) + out.sigma_t).mean().backward();
    adam.step(0.02 * (1 - static_cast<double>(i) / kSteps));
  }
  return unsil;
}

TEST_P(UnsilForms, LearnASimpleInteraction) {
  const UnsilInputs fresh = learnable_inputs(200, 41);
  const at::Tensor expected = simple_interaction(fresh);
  const auto unsil = trained(GetParam(), [](const UnsilInputs& in, std::uint64_t) { return simple_interaction(in); });
  EXPECT_GT(correlation(unsil->forward(fresh).value_t, expected), 0.9);
  const auto untrained = make_unsil(GetParam(), unsil_shape(Game::kTokens), Initializer(8));
  EXPECT_LT(correlation(untrained->forward(fresh).value_t, expected), 0.7);
}

/// The control: labels of other targets teach nothing.
TEST(Unsil, DoesNotLearnFromTheLabelsOfOthers) {
  const UnsilInputs fresh = learnable_inputs(200, 41);
  const auto unsil =
      trained("attention", [](const UnsilInputs& in, std::uint64_t) { return simple_interaction(in).flip(0); });
  EXPECT_LT(std::abs(correlation(unsil->forward(fresh).value_t, simple_interaction(fresh))), 0.6);
}

TEST(Unsil, IsUncertainWhereLabelsAreNoise) {
  const auto noisy = [](const UnsilInputs& in) { return in.target_tq.select(1, 2) > 0; };
  const auto unsil = trained("attention", [&](const UnsilInputs& in, std::uint64_t step) {
    const at::Tensor noise = draw({90, step}, {in.target_tq.size(0)}).to(at::kFloat);
    return simple_interaction(in) + noise * noisy(in);
  });
  const UnsilInputs fresh = learnable_inputs(200, 41);
  const at::Tensor sigma = unsil->forward(fresh).sigma_t.detach(), where = noisy(fresh);
  EXPECT_GT(sigma.index({where}).mean().item<double>(), 2 * sigma.index({~where}).mean().item<double>());
}

}  // namespace
}  // namespace triptych
