// The UniCL loss against golden numbers, the plain formula on 1 to 4 ranks, finite differences, and mistakes that must
// show.
#include "losses/unicl.h"

#include <gtest/gtest.h>

#include "distributed/gather_with_grad.h"
#include "losses/class_ids.h"
#include "losses/clip.h"
#include "tests/losses/plain_formulas.h"
#include "tests/losses/ranks.h"

namespace triptych {
namespace {

constexpr double kExact = 1e-12;

RankLoss unicl(UniclDirections directions = UniclDirections::kBoth) {
  return [directions](const auto& image, const auto& text, const auto& labels, const auto& scale, Collectives& comm) {
    return unicl_loss(image, text, labels, scale, comm, directions);
  };
}

struct GoldenBatch {
  Golden file{"unicl_loss"};
  at::Tensor image = file["main.image"], text = file["main.text"], log_scale = file["main.log_scale"].squeeze(0);
  at::Tensor labels = file["main.labels"] - 1;  // 0 means "no label" there
  at::Tensor number(const std::string& name) const { return file[name].squeeze(0); }
};

std::string split(int size, int rank, const std::string& name) {
  return "split" + std::to_string(size) + ".rank" + std::to_string(rank) + "." + name;
}

TEST(Unicl, GoldenBatchOnOneToFourRanks) {
  const GoldenBatch golden;
  for (const int size : {1, 2, 3, 4}) {
    const RankResults r = on_ranks(size, golden.image, golden.text, golden.labels, golden.log_scale, unicl());
    EXPECT_LT(difference(r.mean_loss(), golden.number("main.loss")), kExact) << size;
    EXPECT_LT(difference(r.mean_log_scale_grad(), golden.number("main.grad_log_scale")), kExact) << size;
    at::Tensor image_sum = at::zeros_like(golden.image), text_sum = at::zeros_like(golden.text);
    for (int rank = 0; rank < size; ++rank) {
      const auto i = static_cast<std::size_t>(rank);
      EXPECT_LT(difference(r.loss[i], golden.number(split(size, rank, "loss_local"))), kExact) << size;
      EXPECT_LT(difference(r.log_scale_grad[i], golden.number(split(size, rank, "grad_log_scale_local"))), kExact)
          << size;
      image_sum += golden.file[split(size, rank, "grad_image_gathered_local")];
      text_sum += golden.file[split(size, rank, "grad_text_gathered_local")];
    }
    // Contract: what a rank hands over is the gradient of the SUM over ranks of the local means.
    EXPECT_LT(difference(r.image_grad_Bd, image_sum), kExact) << size;
    EXPECT_LT(difference(r.text_grad_Bd, text_sum), kExact) << size;
    EXPECT_LT(difference(r.image_grad_Bd / size, golden.file["main.grad_image"]), kExact) << size;
    EXPECT_LT(difference(r.text_grad_Bd / size, golden.file["main.grad_text"]), kExact) << size;
  }
}

TEST(Unicl, GoldenDirectionsAndTerms) {
  const GoldenBatch golden;
  run_ranks(1, [&](Collectives& comm) {
    const auto run = [&](UniclDirections directions) {
      return unicl_loss(golden.image, golden.text, golden.labels, golden.log_scale.exp(), comm, directions);
    };
    const LossOutput both = run(UniclDirections::kBoth);
    ASSERT_EQ(both.terms.size(), 2U);
    EXPECT_EQ(both.terms[0].name, "rows");
    EXPECT_EQ(both.terms[1].name, "columns");
    EXPECT_LT(difference(both.terms[0].value, golden.number("main.loss_i2t")), kExact);
    EXPECT_LT(difference(both.terms[1].value, golden.number("main.loss_t2i")), kExact);
    EXPECT_LT(difference(run(UniclDirections::kRows).total, golden.number("main.loss_i2t")), kExact);
    EXPECT_LT(difference(run(UniclDirections::kColumns).total, golden.number("main.loss_t2i")), kExact);
  });
}

TEST(Unicl, GoldenSpecialCases) {
  const GoldenBatch golden;
  const auto expect_case = [&](const std::string& name, const at::Tensor& labels, const at::Tensor& log_scale,
                               double gradient) {
    for (const int size : {1, 3}) {
      const RankResults r = on_ranks(size, golden.image, golden.text, labels, log_scale, unicl());
      EXPECT_LT(difference(r.mean_loss(), golden.number(name + ".loss")), kExact) << name << size;
      EXPECT_LT(difference(r.image_grad_Bd / size, golden.file[name + ".grad_image"]), gradient) << name << size;
      EXPECT_LT(difference(r.text_grad_Bd / size, golden.file[name + ".grad_text"]), gradient) << name << size;
      EXPECT_LT(difference(r.mean_log_scale_grad(), golden.number(name + ".grad_log_scale")), gradient) << name << size;
    }
  };
  expect_case("clip_zeros", golden.file["clip_zeros.labels"] - 1, golden.log_scale, kExact);
  expect_case("clip_unique", golden.file["clip_unique.labels"] - 1, golden.log_scale, kExact);
  expect_case("one_class", at::zeros_like(golden.labels), golden.log_scale, kExact);
  expect_case("scale100", golden.labels, golden.number("scale100.log_scale"), 1e-11);
}

TEST(Unicl, RowsWithClassTextsAreCrossEntropy) {
  const Golden file("unicl_loss");
  const at::Tensor labels = file["ce.labels"] - 1;
  // Text tower = a linear classifier: the text of class k is (weight_k, bias_k), the picture is (x, 1), multiplier 1.
  const at::Tensor image = at::cat({file["ce.x"], at::ones({5, 1}, at::kDouble)}, 1);
  const at::Tensor text = at::cat({file["ce.weight"], file["ce.bias"].unsqueeze(1)}, 1).index_select(0, labels);
  const RankResults r = on_ranks(1, image, text, labels, at::zeros({}, at::kDouble), unicl(UniclDirections::kRows));
  EXPECT_LT(difference(r.mean_loss(), file["ce.loss"].squeeze(0)), kExact);
}

TEST(Unicl, FloatsAgreeWithGolden) {
  const GoldenBatch golden;
  const RankResults r = on_ranks(2, golden.image.to(at::kFloat), golden.text.to(at::kFloat), golden.labels,
                                 golden.log_scale.to(at::kFloat), unicl());
  const double loss = golden.number("main.loss").item<double>();
  EXPECT_LT(difference(r.mean_loss(), golden.number("main.loss")), 2e-6 * loss);
  EXPECT_LT(difference(r.image_grad_Bd / 2, golden.file["main.grad_image"]), 1e-6);
}

/// Labels of 12 rows with unlabelled ones on every rank of 1 to 4.
at::Tensor mixed_labels() {
  return at::tensor({-1, 2, 2, 0, -1, 2, 5, -1, 0, 5, 2, -1}, at::kLong);
}

TEST(Unicl, PlainFormulaOnOneToFourRanks) {
  const at::Tensor labels = mixed_labels();
  for (const auto directions : {UniclDirections::kBoth, UniclDirections::kRows, UniclDirections::kColumns}) {
    const at::Tensor image = leaf(unit(draw({1}, {12, 7}))), text = leaf(unit(draw({2}, {12, 7})));
    const at::Tensor log_scale = leaf(at::scalar_tensor(1.3, at::kDouble));
    const at::Tensor expected =
        plain_unicl(image, text, labels, log_scale.exp(), directions != UniclDirections::kColumns,
                    directions != UniclDirections::kRows);
    expected.backward();
    for (const int size : {1, 2, 3, 4}) {
      const RankResults r = on_ranks(size, image, text, labels, log_scale, unicl(directions));
      EXPECT_LT(difference(r.mean_loss(), expected), kExact);
      EXPECT_LT(difference(r.image_grad_Bd / size, image.grad()), kExact);
      EXPECT_LT(difference(r.text_grad_Bd / size, text.grad()), kExact);
      EXPECT_LT(difference(r.mean_log_scale_grad(), log_scale.grad()), kExact);
    }
  }
}

/// Several texts an image: all of them are its positives, and those of its class.
TEST(Unicl, SeveralTextsOnOneToFourRanks) {
  const at::Tensor labels = mixed_labels();
  for (const std::int64_t texts : {2, 3}) {
    for (const auto directions : {UniclDirections::kBoth, UniclDirections::kRows, UniclDirections::kColumns}) {
      const at::Tensor image = leaf(unit(draw({1}, {12, 7}))), text = leaf(unit(draw({2}, {12 * texts, 7})));
      const at::Tensor log_scale = leaf(at::scalar_tensor(1.3, at::kDouble));
      const at::Tensor expected =
          plain_unicl(image, text, labels, log_scale.exp(), directions != UniclDirections::kColumns,
                      directions != UniclDirections::kRows);
      expected.backward();
      for (const int size : {1, 2, 3, 4}) {
        const RankResults r = on_ranks(size, image, text, labels, log_scale, unicl(directions));
        EXPECT_LT(difference(r.mean_loss(), expected), kExact);
        EXPECT_LT(difference(r.image_grad_Bd / size, image.grad()), kExact);
        EXPECT_LT(difference(r.text_grad_Bd / size, text.grad()), kExact);
        EXPECT_LT(difference(r.mean_log_scale_grad(), log_scale.grad()), kExact);
      }
    }
  }
}

/// The same caption twice changes neither direction's gradient at the image; only the row normaliser grows by log 2.
TEST(Unicl, ARepeatedTextCountsTwice) {
  const at::Tensor image = unit(draw({1}, {12, 7})), text = unit(draw({2}, {12, 7})), labels = mixed_labels();
  const at::Tensor log_scale = at::scalar_tensor(1.3, at::kDouble);
  const RankResults one = on_ranks(2, image, text, labels, log_scale, unicl());
  const RankResults two = on_ranks(2, image, text.repeat_interleave(2, 0), labels, log_scale, unicl());
  EXPECT_NEAR(two.mean_loss().item<double>() - one.mean_loss().item<double>(), std::log(2.0) / 2, 1e-12);
  EXPECT_LT(difference(one.image_grad_Bd, two.image_grad_Bd), kExact);
  EXPECT_LT(difference(one.text_grad_Bd, two.text_grad_Bd.view({12, 2, 7}).sum(1)), kExact);
}

/// A text order that is not "the texts of an image one below the other" must not pass.
TEST(UniclMistake, TextsInRoundsAreSeen) {
  const at::Tensor image = unit(draw({1}, {12, 7})), text = unit(draw({2}, {24, 7})), labels = mixed_labels();
  const at::Tensor log_scale = at::scalar_tensor(1.3, at::kDouble);
  const at::Tensor rounds = text.view({12, 2, 7}).transpose(0, 1).reshape({24, 7});
  const RankResults r = on_ranks(1, image, rounds, labels, log_scale, unicl());
  EXPECT_GT(difference(r.mean_loss(), plain_unicl(image, text, labels, log_scale.exp())), 1e-3);
}

TEST(Unicl, FiniteDifferences) {
  const at::Tensor labels = mixed_labels().narrow(0, 0, 6), log_scale = at::scalar_tensor(0.8, at::kDouble);
  at::Tensor image = unit(draw({3}, {6, 4}));
  const at::Tensor text = unit(draw({4}, {6, 4}));
  const RankResults r = on_ranks(1, image, text, labels, log_scale, unicl());
  const double step = 1e-6;
  auto* element = image.data_ptr<double>();
  for (std::int64_t i = 0; i < image.numel(); ++i) {
    const double kept = element[i];
    element[i] = kept + step;
    const double above = on_ranks(1, image, text, labels, log_scale, unicl()).mean_loss().item<double>();
    element[i] = kept - step;
    const double below = on_ranks(1, image, text, labels, log_scale, unicl()).mean_loss().item<double>();
    element[i] = kept;
    EXPECT_NEAR((above - below) / (2 * step), r.image_grad_Bd.flatten()[i].item<double>(), 1e-8);
  }
}

TEST(Unicl, UniqueLabelsAreClip) {
  const at::Tensor image = unit(draw({5}, {12, 5})), text = unit(draw({6}, {12, 5}));
  const at::Tensor log_scale = at::scalar_tensor(2.0, at::kDouble);
  const RankLoss clip = [](const auto& i, const auto& t, const auto&, const auto& s, Collectives& comm) {
    return clip_loss(i, t, s, comm);
  };
  for (const int size : {1, 2, 3}) {
    const RankResults a = on_ranks(size, image, text, at::full({12}, kNoLabel, at::kLong), log_scale, unicl());
    const RankResults b = on_ranks(size, image, text, at::arange(12, at::kLong), log_scale, clip);
    EXPECT_LT(difference(a.mean_loss(), b.mean_loss()), kExact);
    EXPECT_LT(difference(a.image_grad_Bd, b.image_grad_Bd), kExact);
    EXPECT_LT(difference(a.text_grad_Bd, b.text_grad_Bd), kExact);
    EXPECT_LT(difference(a.mean_log_scale_grad(), b.mean_log_scale_grad()), kExact);
  }
}

// --- Mistakes that the comparisons above must be able to see.

/// Fresh ids before labels are gathered: each rank counts up from its own largest label.
at::Tensor ids_before_gather(const at::Tensor& labels_b) {
  at::Tensor ids = labels_b.clone();
  std::int64_t next = std::max<std::int64_t>(labels_b.max().item<std::int64_t>(), -1) + 1;
  for (std::int64_t i = 0; i < ids.size(0); ++i) {
    if (ids[i].item<std::int64_t>() == kNoLabel) ids[i] = next++;
  }
  return ids;
}

TEST(UniclMistake, IdsBeforeGatherGiveTheWrongGoldenValue) {
  const GoldenBatch golden;
  const RankLoss wrong = [](const auto& image, const auto& text, const auto& labels, const auto& scale,
                            Collectives& comm) {
    return unicl_loss(image, text, ids_before_gather(labels), scale, comm);
  };
  for (const int size : {2, 3, 4}) {
    const at::Tensor wrong_value = golden.number("split" + std::to_string(size) + ".loss_if_target_before_gather");
    const RankResults broken = on_ranks(size, golden.image, golden.text, golden.labels, golden.log_scale, wrong);
    EXPECT_LT(difference(broken.mean_loss(), wrong_value), kExact) << size;
    const RankResults r = on_ranks(size, golden.image, golden.text, golden.labels, golden.log_scale, unicl());
    EXPECT_GT(difference(r.mean_loss(), wrong_value), 1e-3) << size;
  }
}

/// The loss of one rank, with a gather that the caller breaks.
RankLoss with_gather(std::function<at::Tensor(const at::Tensor&, Collectives&)> gather) {
  return [gather](const auto& image, const auto& text, const auto& labels, const auto& scale, Collectives& comm) {
    const at::Tensor image_B = gather(image, comm), text_B = gather(text, comm), ids_B = gather_class_ids(labels, comm);
    const at::Tensor same = (local_rows(ids_B, comm).unsqueeze(1) == ids_B.unsqueeze(0)).to(at::kDouble);
    const auto direction = [&](const at::Tensor& query, const at::Tensor& key) {
      return -((scale * query.mm(key.t())).log_softmax(1) * same / same.sum(1, true)).sum(1).mean();
    };
    return LossOutput{(direction(image, text_B) + direction(text, image_B)) / 2, {}};
  };
}

TEST(UniclMistake, GradientsScaledOrDroppedAreSeen) {
  const GoldenBatch golden;
  const auto image_error = [&](int size, const RankLoss& loss) {
    const RankResults r = on_ranks(size, golden.image, golden.text, golden.labels, golden.log_scale, loss);
    EXPECT_LT(difference(r.mean_loss(), golden.number("main.loss")), kExact);  // the loss alone shows nothing
    return difference(r.image_grad_Bd / size, golden.file["main.grad_image"]);
  };
  for (const int size : {2, 3, 4}) {
    EXPECT_LT(image_error(size, with_gather(all_gather_with_grad)), kExact);
    EXPECT_GT(image_error(size, with_gather([](const at::Tensor& x, Collectives& comm) {
                            // gradient times size: x * size - (size - 1) * x.detach() is x with a gradient that is size
                            // times as large
                            const at::Tensor larger = x * comm.size() - (comm.size() - 1) * x.detach();
                            return all_gather_with_grad(larger, comm);
                          })),
              1e-3);
    EXPECT_GT(image_error(size, with_gather([](const at::Tensor& x, Collectives& comm) {
                            return comm.all_gather(x.detach());  // gradient dropped
                          })),
              1e-3);
  }
}

TEST(Unicl, RefusesShapesThatDoNotFit) {
  run_ranks(1, [](Collectives& comm) {
    const at::Tensor scale = at::ones({}, at::kDouble);
    EXPECT_THROW(unicl_loss(draw({1}, {4, 3}), draw({2}, {4, 2}), at::zeros({4}, at::kLong), scale, comm), c10::Error);
    EXPECT_THROW(unicl_loss(draw({1}, {4, 3}), draw({2}, {6, 3}), at::zeros({4}, at::kLong), scale, comm), c10::Error);
    EXPECT_THROW(clip_loss(draw({1}, {4, 3}), draw({2}, {8, 3}), scale, comm), c10::Error);
    EXPECT_THROW(unicl_loss(draw({1}, {4, 3}), draw({2}, {4, 3}), at::zeros({3}, at::kLong), scale, comm), c10::Error);
    EXPECT_THROW(unicl_loss(draw({1}, {4, 3}), draw({2}, {4, 3}), at::zeros({4}), scale, comm), c10::Error);
  });
}

// ---- rows mixed of two labels --------------------------------------------------------------------------------------

struct MixedBatch {
  at::Tensor image = unit(draw({81}, {12, 5})), text = unit(draw({82}, {12, 5})),
             log_scale = at::tensor(1.3, at::kDouble).squeeze(0);
  at::Tensor labels = at::tensor({4, 2, 2, 0, 1, 2, 5, 3, 0, 5, 2, 1}, at::kLong);
  at::Tensor other =
      at::tensor({2, 4, 2, 5, 0, 1, 3, 5, 1, 0, 2, 4}, at::kLong);  // rows 2 and 10: with their own class
  at::Tensor weight = (draw({83}, {12}).abs() / 4).clamp(0.05, 0.95);

  RankLoss loss(double shift = 0) const {
    return [this, shift](const auto& image_bd, const auto& text_bd, const auto& labels_b, const auto& scale,
                         Collectives& comm) {
      const RowLabels mixed(labels_b, local_rows(other, comm), local_rows(weight + shift, comm));
      return unicl_loss(image_bd, text_bd, mixed, scale, comm);
    };
  }
};

TEST(UniclMixed, PlainFormulaOnOneToFourRanks) {
  const MixedBatch batch;
  const at::Tensor target = plain_mixed_target(batch.labels, batch.other, batch.weight);
  const at::Tensor image = leaf(batch.image), text = leaf(batch.text), log_scale = leaf(batch.log_scale);
  const at::Tensor expected = plain_unicl(image, text, batch.labels, log_scale.exp(), true, true, target);
  expected.backward();
  for (const int size : {1, 2, 3, 4}) {
    const RankResults r = on_ranks(size, batch.image, batch.text, batch.labels, batch.log_scale, batch.loss());
    EXPECT_LT(difference(r.mean_loss(), expected), kExact) << size;
    EXPECT_LT(difference(r.mean_log_scale_grad(), log_scale.grad()), kExact) << size;
    EXPECT_LT(difference(r.image_grad_Bd / size, image.grad()), kExact) << size;
    EXPECT_LT(difference(r.text_grad_Bd / size, text.grad()), kExact) << size;
  }
  const RankResults wrong = on_ranks(2, batch.image, batch.text, batch.labels, batch.log_scale, batch.loss(0.02));
  EXPECT_GT(difference(wrong.mean_loss(), expected), 1e-5);
}

TEST(UniclMixed, WeightOneIsTheUnmixedLoss) {
  MixedBatch batch;
  batch.weight = at::ones({12}, at::kDouble);
  const RankResults mixed = on_ranks(2, batch.image, batch.text, batch.labels, batch.log_scale, batch.loss());
  const RankResults plain = on_ranks(2, batch.image, batch.text, batch.labels, batch.log_scale, unicl());
  EXPECT_LT(difference(mixed.mean_loss(), plain.mean_loss()), kExact);
  EXPECT_LT(difference(mixed.image_grad_Bd, plain.image_grad_Bd), kExact);
}

TEST(UniclMixed, RowsWithoutLabelAreRefused) {
  MixedBatch batch;
  batch.labels[3] = kNoLabel;
  EXPECT_THROW(on_ranks(1, batch.image, batch.text, batch.labels, batch.log_scale, batch.loss()), c10::Error);
}

}  // namespace
}  // namespace triptych
