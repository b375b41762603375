// The loss over keys without gradient against the plain formula with its whole matrix, finite differences, the numbers
// of TCL's own code, and mistakes that must show.
#include "losses/queue_contrast.h"

#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/types/batch.h"
#include "tests/support/tensors.h"
#include "tests/support/thread_ranks.h"

namespace triptych {
namespace {

/// All ranks' rows at once. Query i and row i of `keys` are one pair; the queue comes after the keys.
struct QueueCase {
  at::Tensor query_Bd, key_Bd, queue_kd, teacher_Bd;
  at::Tensor labels_B, queue_labels_k;  // undefined: none
  double temperature = 0.1, alpha = 0;
};

QueueCase draw_case(std::int64_t rows, std::int64_t queue, std::int64_t d, bool labels, double alpha) {
  QueueCase c{unit(draw({1}, {rows, d})),
              unit(draw({2}, {rows, d})),
              unit(draw({3}, {queue, d})),
              unit(draw({4}, {rows, d})),
              {},
              {},
              0.1,
              alpha};
  if (labels) {  // classes across batch and queue; every third row has none
    const at::Tensor row = at::arange(rows, at::kLong), key = at::arange(queue, at::kLong);
    c.labels_B = at::where(row % 3 == 0, at::full_like(row, kNoLabel), row % 7);
    c.queue_labels_k = at::where(key % 3 == 1, at::full_like(key, kNoLabel), key % 11);
  }
  return c;
}

struct QueueResult {
  at::Tensor loss, query, temperature;
};

/// The formula of the header, matrix by matrix.
QueueResult plain_queue(const QueueCase& c) {
  const at::Tensor query = leaf(c.query_Bd), temperature = leaf(at::scalar_tensor(c.temperature, query.options()));
  const at::Tensor keys = at::cat({c.key_Bd, c.queue_kd});
  const std::int64_t rows = query.size(0);
  at::Tensor positive = at::zeros({rows, keys.size(0)}, at::kBool);
  if (c.labels_B.defined()) {
    const at::Tensor labels = at::cat({c.labels_B, c.queue_labels_k});
    positive = (c.labels_B.unsqueeze(1) == labels.unsqueeze(0)).logical_and((c.labels_B != kNoLabel).unsqueeze(1));
  }
  positive.narrow(1, 0, rows).diagonal().fill_(true);
  const at::Tensor hard = positive.to(query.scalar_type());
  const at::Tensor soft = (c.teacher_Bd.matmul(keys.t()) / temperature.detach()).softmax(1);
  const at::Tensor target = c.alpha * soft + (1 - c.alpha) * hard / hard.sum(1, true);
  const at::Tensor s = query.matmul(keys.t()) / temperature;
  const at::Tensor loss = -(target * s.log_softmax(1)).sum(1).mean();
  loss.backward();
  return {loss.detach(), query.grad(), temperature.grad()};
}

/// One rank's loss, given where its own pairs lie among the gathered keys.
at::Tensor loss_of(const QueueCase& c, const at::Tensor& query_bd, const at::Tensor& teacher_bd, const at::Tensor& keys,
                   std::int64_t own, const at::Tensor& temperature, ProductType products = {}) {
  KeyClasses classes;
  if (c.labels_B.defined()) classes = key_classes(c.labels_B, c.queue_labels_k, own, query_bd.size(0));
  return queue_contrast_loss(query_bd, {keys, own, c.queue_kd, classes}, temperature, {teacher_bd, c.alpha}, products);
}

/// Every rank with its own queries against all ranks' keys; gradients of the mean over ranks.
QueueResult queue_on_ranks(int ranks, const QueueCase& c, ProductType products = {}) {
  const auto size = static_cast<std::size_t>(ranks);
  std::vector<at::Tensor> loss(size), query(size), temperature(size);
  run_ranks(ranks, [&](Collectives& comm) {
    const std::int64_t b = c.query_Bd.size(0) / ranks, first = comm.rank() * b;
    const auto rank = static_cast<std::size_t>(comm.rank());
    const at::Tensor own = leaf(c.query_Bd.narrow(0, first, b)),
                     t = leaf(at::scalar_tensor(c.temperature, own.options()));
    const at::Tensor keys = comm.all_gather(c.key_Bd.narrow(0, first, b));
    const at::Tensor value = loss_of(c, own, c.teacher_Bd.narrow(0, first, b), keys, first, t, products);
    value.backward();
    loss[rank] = value.detach();
    query[rank] = own.grad();
    temperature[rank] = t.grad();
  });
  return {at::stack(loss).mean(), at::cat(query) / ranks, at::stack(temperature).mean()};
}

TEST(QueueContrast, IsThePlainFormulaOnOneToThreeRanks) {
  struct Size {
    std::int64_t rows, queue, d;
  };
  // One row; parts of tiles; several tiles of queries, of keys, of both; no queue.
  for (const auto& [rows, queue, d] : {Size{1, 0, 3}, Size{1, 5, 3}, Size{6, 0, 5}, Size{12, 50, 7}, Size{1038, 70, 9},
                                       Size{60, 2500, 9}, Size{1200, 1100, 6}}) {
    for (const bool labels : {false, true}) {
      for (const double alpha : {0.0, 0.4, 1.0}) {
        const QueueCase c = draw_case(rows, queue, d, labels, alpha);
        const QueueResult expected = plain_queue(c);
        for (const int ranks : {1, 2, 3}) {
          if (rows % ranks != 0) continue;
          SCOPED_TRACE(std::to_string(rows) + " rows, queue " + std::to_string(queue) + ", alpha " +
                       std::to_string(alpha) + (labels ? ", labels, " : ", ") + std::to_string(ranks) + " ranks");
          const QueueResult got = queue_on_ranks(ranks, c);
          EXPECT_LT(difference(got.loss, expected.loss), 1e-12);
          EXPECT_LT(difference(got.query, expected.query), 1e-12);
          EXPECT_LT(difference(got.temperature, expected.temperature), 1e-11);
        }
      }
    }
  }
}

TEST(QueueContrast, FiniteDifferences) {
  QueueCase c = draw_case(4, 6, 3, true, 0.4);
  const QueueResult r = queue_on_ranks(1, c);
  const double step = 1e-6;
  const auto value = [&](double temperature) {
    return loss_of(c, c.query_Bd, c.teacher_Bd, c.key_Bd, 0, at::scalar_tensor(temperature, at::kDouble))
        .item<double>();
  };
  auto* element = c.query_Bd.data_ptr<double>();
  for (std::int64_t i = 0; i < c.query_Bd.numel(); ++i) {
    const double kept = element[i];
    element[i] = kept + step;
    const double above = value(c.temperature);
    element[i] = kept - step;
    const double below = value(c.temperature);
    element[i] = kept;
    EXPECT_NEAR((above - below) / (2 * step), r.query.flatten()[i].item<double>(), 1e-7);
  }
  c.alpha = 0;  // with a teacher the target moves with the temperature, which takes no gradient there
  const double slope = (value(c.temperature + step) - value(c.temperature - step)) / (2 * step);
  EXPECT_NEAR(slope, queue_on_ranks(1, c).temperature.item<double>(), 1e-6);
}

double relative_error(const at::Tensor& a, const at::Tensor& b) {
  return difference(a, b) / b.abs().max().item<double>();
}

TEST(QueueContrast, SinglePrecisionAndHalfProducts) {
  for (const double alpha : {0.0, 0.4}) {
    QueueCase c = draw_case(600, 1300, 65, true, alpha);
    c.query_Bd = unit(c.key_Bd + 0.3 * c.query_Bd);
    const QueueResult exact = plain_queue(c);
    QueueCase single = c, rounded = c;
    for (auto* rows : {&single.query_Bd, &single.key_Bd, &single.queue_kd, &single.teacher_Bd})
      *rows = rows->to(at::kFloat);
    const QueueResult matrix = plain_queue(single), got = queue_on_ranks(2, single);
    EXPECT_LT(relative_error(got.loss, exact.loss), 1e-6) << alpha;
    EXPECT_LT(relative_error(got.query, exact.query), 1.5 * relative_error(matrix.query, exact.query)) << alpha;
    EXPECT_LT(relative_error(got.temperature, exact.temperature), 1e-5) << alpha;
    // The same rows rounded, and then the exact formula: what bfloat16 products come to but for the gradients'
    // rounding.
    for (auto* rows : {&rounded.query_Bd, &rounded.key_Bd, &rounded.queue_kd, &rounded.teacher_Bd}) {
      *rows = rows->to(at::kBFloat16).to(at::kDouble);
    }
    const QueueResult half = queue_on_ranks(2, single, at::kBFloat16), of_rounded = plain_queue(rounded);
    EXPECT_LT(relative_error(half.loss, of_rounded.loss), 1e-6) << alpha;
    EXPECT_LT(relative_error(half.query, of_rounded.query), 1.0 / 256) << alpha;
    EXPECT_GT(relative_error(half.query, exact.query), 1e-4) << alpha;  // rounded they are
  }
}

TEST(QueueContrast, GoldenLossesOfTcl) {
  const Golden file("tcl_pretrain_step");
  for (const std::string step : {"step1.", "step2."}) {
    const auto number = [&](const std::string& name) { return file[step + name].to(at::kDouble).squeeze(); };
    const auto rows = [&](const std::string& name) { return file[step + "mid." + name].to(at::kDouble); };
    const std::string before = step == "step1." ? "init." : "step1.";  // the queues as the step met them
    const auto queue = [&](const std::string& name) { return file[before + name].t().to(at::kDouble).contiguous(); };
    const QueueKeys images{rows("image_feat_m"), 0, queue("image_queue")},
        texts{rows("text_feat_m"), 0, queue("text_queue")};
    const auto loss = [&](const std::string& query, const QueueKeys& keys, bool taught) {
      const QueueTeacher teacher{rows(query + "_m"), taught ? number("alpha").item<double>() : 0};
      return queue_contrast_loss(rows(query), keys, number("temp_used"), teacher);
    };
    const auto error = [&](const at::Tensor& got, const std::string& name) {
      return relative_error(got, number("loss." + name));
    };
    // fp32 of the official code: 2.2e-6 at the worst, of losses above 1
    EXPECT_LT(error(loss("image_feat", texts, true), "i2t"), 2e-6) << step;
    EXPECT_LT(error(loss("text_feat", images, true), "t2i"), 2e-6) << step;
    EXPECT_LT(error(loss("image_feat", images, false), "i2i"), 2e-6) << step;
    EXPECT_LT(error(loss("text_feat", texts, false), "t2t"), 2e-6) << step;
    EXPECT_GT(error(loss("image_feat", texts, false), "i2t"), 1e-3) << step;  // the teacher counts
  }
}

/// One numbering serves all losses of a step; without any label it is the one that is made without labels, to the bit.
TEST(QueueContrast, ClassesAreNumberedOnce) {
  const QueueCase c = draw_case(12, 50, 7, true, 0.4);
  const KeyClasses classes = key_classes(c.labels_B, c.queue_labels_k, 0, 12);
  const at::Tensor labels = at::cat({c.labels_B, c.queue_labels_k}), first = classes.number_N;
  for (std::int64_t i = 0; i < 12; ++i) {
    const at::Tensor same = first == first[i];
    EXPECT_EQ(same.sum().item<double>(), classes.positives_b[i].item<double>());
    EXPECT_TRUE(same[i].item<bool>());
    const at::Tensor of_label =
        c.labels_B[i].item<std::int64_t>() == kNoLabel ? at::arange(62, at::kLong) == i : labels == c.labels_B[i];
    EXPECT_TRUE(at::equal(same, of_label)) << i;
  }
  QueueCase none = c, undefined = c;
  none.labels_B = at::full_like(c.labels_B, kNoLabel);
  none.queue_labels_k = at::full_like(c.queue_labels_k, kNoLabel);
  undefined.labels_B = undefined.queue_labels_k = at::Tensor();
  const QueueResult a = queue_on_ranks(2, none), b = queue_on_ranks(2, undefined);
  EXPECT_TRUE(at::equal(a.loss, b.loss) && at::equal(a.query, b.query) && at::equal(a.temperature, b.temperature));
}

TEST(QueueContrast, NothingIsRememberedWithoutGradients) {
  const QueueCase c = draw_case(6, 8, 4, false, 0.4);
  const c10::NoGradGuard no_grad;
  const at::Tensor query = leaf(c.query_Bd), t = leaf(at::scalar_tensor(0.1, at::kDouble));
  EXPECT_FALSE(loss_of(c, query, c.teacher_Bd, c.key_Bd, 0, t).requires_grad());
}

// --- Mistakes that the comparisons above must be able to see.

TEST(QueueContrastMistake, WrongPairsLabelsAndTeachersAreSeen) {
  const QueueCase c = draw_case(12, 50, 7, true, 0.4);
  const QueueResult expected = plain_queue(c);
  const auto error = [&](const QueueCase& wrong) { return difference(queue_on_ranks(2, wrong).loss, expected.loss); };
  EXPECT_LT(error(c), 1e-12);
  QueueCase rolled = c;
  rolled.key_Bd = c.key_Bd.roll(1, 0);
  EXPECT_GT(error(rolled), 1e-3);
  QueueCase unlabelled = c;
  unlabelled.queue_labels_k = at::full_like(c.queue_labels_k, kNoLabel);
  EXPECT_GT(error(unlabelled), 1e-3);
  QueueCase own_teacher = c;
  own_teacher.teacher_Bd = c.query_Bd;
  EXPECT_GT(error(own_teacher), 1e-3);
  QueueCase without_queue = c;
  without_queue.queue_kd = c.queue_kd.narrow(0, 0, 49);
  without_queue.queue_labels_k = c.queue_labels_k.narrow(0, 0, 49);
  EXPECT_GT(error(without_queue), 1e-4);
}

TEST(QueueContrast, RefusesWhatDoesNotFit) {
  const QueueCase c = draw_case(6, 8, 4, true, 0.4);
  const at::Tensor t = at::scalar_tensor(0.1, at::kDouble);
  const auto refused = [&](const QueueCase& wrong, std::int64_t own, const at::Tensor& temperature) {
    EXPECT_THROW(loss_of(wrong, wrong.query_Bd, wrong.teacher_Bd, wrong.key_Bd, own, temperature), c10::Error);
  };
  refused(c, 1, t);  // the last own pair lies behind the batch
  refused(c, -1, t);
  refused(c, 0, at::scalar_tensor(0.0, at::kDouble));
  QueueCase wrong = c;
  wrong.alpha = 1.5;
  refused(wrong, 0, t);
  wrong = c;
  wrong.teacher_Bd = at::Tensor();
  refused(wrong, 0, t);
  wrong = c;
  wrong.queue_kd = c.queue_kd.to(at::kFloat);
  refused(wrong, 0, t);
  wrong = c;
  wrong.queue_labels_k = at::Tensor();
  refused(wrong, 0, t);
  wrong = c;
  wrong.labels_B = c.labels_B.to(at::kInt);
  refused(wrong, 0, t);
  wrong = c;
  wrong.labels_B = at::full_like(c.labels_B, kNoLabel - 1);
  refused(wrong, 0, t);
  const KeyClasses of_fewer = key_classes(c.labels_B.narrow(0, 0, 5), c.queue_labels_k, 0, 5);
  EXPECT_THROW(queue_contrast_loss(c.query_Bd, {c.key_Bd, 0, c.queue_kd, of_fewer}, t, {c.teacher_Bd, 0.4}),
               c10::Error);
}

}  // namespace
}  // namespace triptych
