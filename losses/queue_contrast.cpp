// Keys come in two blocks, batch and queue; softmaxes and gradients run over one after the other.
#include "losses/queue_contrast.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <vector>

#include "core/types/batch.h"
#include "losses/known_gradients.h"
#include "losses/tile_contrast.h"

namespace triptych {
namespace {

void check_shapes(const at::Tensor& query_bd, const QueueKeys& keys, const QueueTeacher& teacher) {
  const auto fits = [&](const at::Tensor& rows) {
    return rows.dim() == 2 && rows.size(1) == query_bd.size(1) && rows.scalar_type() == query_bd.scalar_type();
  };
  TORCH_CHECK(query_bd.dim() == 2 && query_bd.size(0) > 0, "queries must be [b > 0, d], got ", query_bd.sizes());
  TORCH_CHECK(fits(keys.batch_nd) && keys.own >= 0 && keys.own + query_bd.size(0) <= keys.batch_nd.size(0),
              "keys of the batch must be [n, d] with the own pairs of the ", query_bd.sizes(), " queries from row ",
              keys.own, " on, got ", keys.batch_nd.sizes(), " ", keys.batch_nd.scalar_type());
  TORCH_CHECK(!keys.queue_kd.defined() || fits(keys.queue_kd), "the queue must be [k, ", query_bd.size(1), "] ",
              query_bd.scalar_type());
  TORCH_CHECK(teacher.alpha >= 0 && teacher.alpha <= 1, "alpha must be in [0, 1], got ", teacher.alpha);
  TORCH_CHECK(teacher.alpha == 0 ||
                  (teacher.rows_bd.defined() && fits(teacher.rows_bd) && teacher.rows_bd.size(0) == query_bd.size(0)),
              "alpha ", teacher.alpha, " needs a teacher of shape ", query_bd.sizes());
  const std::int64_t all = keys.batch_nd.size(0) + (keys.queue_kd.defined() ? keys.queue_kd.size(0) : 0);
  TORCH_CHECK(!keys.classes.number_N.defined() ||
                  (keys.classes.number_N.size(0) == all && keys.classes.positives_b.size(0) == query_bd.size(0)),
              "classes must be of ", all, " keys and ", query_bd.size(0), " queries");
}

void check_labels(const at::Tensor& labels) {
  TORCH_CHECK(labels.defined() && labels.scalar_type() == at::kLong && labels.dim() == 1,
              "labels must be int64 [rows], of the batch and of the queue");
}

/// Query i and its own pair are class i + 1, all other keys class 0.
KeyClasses own_pairs(const QueueKeys& keys, std::int64_t all, std::int64_t b) {
  const auto options = keys.batch_nd.options().dtype(at::kInt);
  KeyClasses classes{at::zeros({all}, options), at::ones({b}, options.dtype(at::kDouble))};
  classes.number_N.narrow(0, keys.own, b).copy_(at::arange(1, b + 1, options));
  return classes;
}

/// Keys with class numbers, the queries' numbers, and how many positives each query has.
struct NumberedKeys {
  std::vector<TileSide> blocks;
  LabelColumns queries;
  at::Tensor positives;  ///< [b], fp64
};

NumberedKeys number(const QueueKeys& keys, std::int64_t b, ProductType products) {
  const at::Tensor queue_kd = keys.queue_kd.defined() ? keys.queue_kd : keys.batch_nd.narrow(0, 0, 0);
  const std::int64_t n = keys.batch_nd.size(0), k = queue_kd.size(0);
  const KeyClasses classes = keys.classes.number_N.defined() ? keys.classes : own_pairs(keys, n + k, b);
  NumberedKeys numbered;
  numbered.positives = classes.positives_b;
  numbered.queries = {classes.number_N.narrow(0, keys.own, b), {}, {}};
  numbered.blocks.push_back({rows_for_products(keys.batch_nd, products), {classes.number_N.narrow(0, 0, n), {}, {}}});
  if (k > 0)
    numbered.blocks.push_back({rows_for_products(queue_kd, products), {classes.number_N.narrow(0, n, k), {}, {}}});
  return numbered;
}

/// One side of the softmax (queries, or their teacher) against every block of keys.
struct Contrast {
  TileSide rows;
  double scale = 1;
  SoftmaxStats stats;

  PairSoftmax with(const TileSide& block) const { return {rows, block, scale}; }
  void sweep(const std::vector<TileSide>& blocks) {
    RunningSoftmax softmax(rows.rows_nd);
    for (const auto& block : blocks) softmax.add(with(block));
    stats = softmax.stats();
  }
  /// `factor` times its softmax less `targets` [b] at the positives.
  SideGradient side(double factor, const at::Tensor& targets) const {
    return {stats.most, stats.log_sum, factor, targets.to(stats.most.scalar_type())};
  }
};

struct Gradient {
  at::Tensor query_bd;
  at::Tensor expected;  ///< [b], fp64: factor times the mean raw product of a query under the teacher's softmax
};

/// dL/ds of every pair, times its key. The teacher's softmax is subtracted before anything is rounded or summed.
Gradient sweep(const Contrast& student, const Contrast& teacher, double alpha, const NumberedKeys& keys) {
  const double each = 1 / static_cast<double>(keys.positives.size(0));
  const SideGradient of_student = student.side(each, each * (1 - alpha) / keys.positives);
  Gradient total{{}, at::zeros_like(keys.positives)};
  for (const auto& block : keys.blocks) {
    const auto pairs = student.with(block);
    const SideGradient none{{}, {}, 0, at::zeros({block.rows_nd.size(0)}, sums_of(block.rows_nd))};
    GradientSums sums(pairs.query.rows_nd, block.rows_nd, /*with_keys=*/false);
    if (alpha == 0) {
      for_tiles(pairs.query.rows_nd, block.rows_nd, [&](at::Tensor& tile, const TilePlace& at) {
        turn_to_gradient(pairs, tile, at, of_student, none);
        sums.add(tile, at);
      });
    } else {
      const SideGradient of_teacher = teacher.side(each * alpha, at::zeros_like(keys.positives));
      for_tile_pairs(pairs.query.rows_nd, teacher.rows.rows_nd, block.rows_nd,
                     [&](at::Tensor& tile, at::Tensor& taught, const TilePlace& at) {
                       turn_to_gradient(teacher.with(block), taught, at, of_teacher, none);
                       total.expected.narrow(0, at.row, at.rows).add_((taught * tile).sum({1}, false, at::kDouble));
                       turn_to_gradient(pairs, tile, at, of_student, none);
                       tile.sub_(taught);
                       sums.add(tile, at);
                     });
    }
    const at::Tensor part = sums.take_query(student.scale);
    total.query_bd = total.query_bd.defined() ? total.query_bd.add_(part) : part;
  }
  return total;
}

/// The loss and its derivatives.
struct Derived {
  at::Tensor value, by_query_bd, by_scale;
};

Derived derive(const at::Tensor& query_bd, const QueueKeys& keys, double scale, const QueueTeacher& teacher,
               ProductType products) {
  const c10::NoGradGuard no_grad;
  const auto numbered = number(keys, query_bd.size(0), products);
  Contrast student{{rows_for_products(query_bd, products), numbered.queries}, scale, {}}, taught;
  student.sweep(numbered.blocks);
  if (teacher.alpha > 0) {
    taught = {{rows_for_products(teacher.rows_bd, products), numbered.queries}, scale, {}};
    taught.sweep(numbered.blocks);
  }
  const Gradient gradient = sweep(student, taught, teacher.alpha, numbered);
  const at::Tensor of_targets =  // sum_j y_ij raw_ij, mean over i
      gradient.expected.sum() + ((1 - teacher.alpha) * student.stats.positive / numbered.positives).mean();
  const auto type = query_bd.scalar_type();
  return {(student.stats.lse(scale).mean() - scale * of_targets).to(type), gradient.query_bd.to(type),
          student.stats.expected.mean() - of_targets};
}

}  // namespace

/// Class 0 is that of keys without label; own pairs without label have classes of their own, labels those after them.
KeyClasses key_classes(const at::Tensor& labels_n, const at::Tensor& labels_k, std::int64_t own, std::int64_t b) {
  check_labels(labels_n);
  check_labels(labels_k);
  TORCH_CHECK(b > 0 && own >= 0 && own + b <= labels_n.size(0), "own pairs of ", b, " queries from row ", own,
              " on are not within ", labels_n.size(0), " rows");
  const at::Tensor labels = at::cat({labels_n, labels_k});
  TORCH_CHECK(labels.ge(kNoLabel).all().item<bool>(), "labels must be >= 0, or kNoLabel");
  at::Tensor numbers = std::get<1>(at::_unique2(labels, /*sorted=*/true, /*return_inverse=*/true)) + (b + 1);
  numbers = at::where(labels == kNoLabel, at::zeros_like(numbers), numbers);
  at::Tensor queries = numbers.narrow(0, own, b);
  queries.copy_(at::where(queries == 0, at::arange(1, b + 1, queries.options()), queries));
  const at::Tensor counts = at::bincount(numbers).to(at::kDouble);
  return {numbers.to(at::kInt), counts.index_select(0, queries)};
}

at::Tensor queue_contrast_loss(const at::Tensor& query_bd, const QueueKeys& keys, const at::Tensor& temperature,
                               const QueueTeacher& teacher, ProductType products) {
  check_shapes(query_bd, keys, teacher);
  const at::Tensor scale = temperature.reciprocal();
  TORCH_CHECK(!(temperature.item<double>() <= 0), "the temperature must be above 0, got ",
              temperature.item<double>());  // NaN goes on
  const Derived d = derive(query_bd, keys, scale.item<double>(), teacher, products);
  return with_known_gradients(d.value, {{query_bd, d.by_query_bd}, {scale, d.by_scale.to(scale.scalar_type())}});
}

}  // namespace triptych
