// Newton's method on all rows. W and b are one matrix: the features have a last column of ones, which is not penalised.
#include "core/eval/logistic_regression.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>

namespace triptych {
namespace {

constexpr int kMostNewtonSteps = 100, kMostConjugateSteps = 500, kMostHalvings = 40;

/// The loss at one point, and what its derivatives need. D = d + 1.
struct Point {
  at::Tensor parameters_CD, probability_nC, gradient_CD;
  double loss = 0;
};

class Problem {
 public:
  Problem(const LogisticRows& rows, double l2)
      : x_nD_(at::cat({rows.features_nd, at::ones({rows.features_nd.size(0), 1}, rows.features_nd.options())}, 1)),
        class_n1_(rows.class_n.unsqueeze(1)),
        classes_(rows.classes),
        l2_(l2),
        penalty_D_(at::full({x_nD_.size(1)}, l2, x_nD_.options())) {
    penalty_D_.slice(0, -1).zero_();
    std::tie(moment_D_, axes_DD_) = at::linalg_eigh(x_nD_.t().mm(x_nD_) / rows_count());
  }

  at::Tensor zero() const { return at::zeros({classes_, x_nD_.size(1)}, x_nD_.options()); }

  Point at_parameters(const at::Tensor& parameters_CD) const {
    Point point{.parameters_CD = parameters_CD, .probability_nC = {}, .gradient_CD = {}};
    const auto log_nC = x_nD_.mm(parameters_CD.t()).log_softmax(1);
    const auto penalised_CD = parameters_CD * penalty_D_;
    point.loss = (-log_nC.gather(1, class_n1_).mean() + (penalised_CD * parameters_CD).sum() / 2).item<double>();
    point.probability_nC = log_nC.exp();
    const auto error_nC = point.probability_nC.scatter_add(1, class_n1_, -at::ones_like(class_n1_, x_nD_.options()));
    point.gradient_CD = error_nC.t().mm(x_nD_) / rows_count() + penalised_CD;
    return point;
  }

  /// The second derivative at `point` times `v_CD`.
  at::Tensor curvature(const Point& point, const at::Tensor& v_CD) const {
    const auto weighted_nC = point.probability_nC * x_nD_.mm(v_CD.t());
    const auto change_nC = weighted_nC - point.probability_nC * weighted_nC.sum(1, /*keepdim=*/true);
    return change_nC.t().mm(x_nD_) / rows_count() + v_CD * penalty_D_;
  }

  /// An approximate inverse of the curvature at `point` times `v_CD`: as if classes did not meet and each row bent the
  /// loss of a class as much as the mean row. Features that go together, of a tower the rule, then cost few steps.
  at::Tensor precondition(const Point& point, const at::Tensor& v_CD) const {
    const auto bend_C1 = (point.probability_nC * (1 - point.probability_nC)).mean(0).unsqueeze(1);
    return (v_CD.mm(axes_DD_) / (bend_C1 * moment_D_.clamp_min(0) + l2_)).mm(axes_DD_.t());
  }

 private:
  double rows_count() const { return static_cast<double>(x_nD_.size(0)); }

  at::Tensor x_nD_, class_n1_;
  std::int64_t classes_;
  double l2_;
  at::Tensor penalty_D_, moment_D_, axes_DD_;  // second moments of the columns: values and axes
};

double inner_product(const at::Tensor& a, const at::Tensor& b) {
  return (a * b).sum().item<double>();
}

/// Solves curvature * step = -gradient by preconditioned conjugate gradients until the residual is min(0.5,
/// sqrt(|gradient|)) of the gradient: rough far from the minimum, exact near it.
at::Tensor newton_step(const Problem& problem, const Point& point) {
  auto step = at::zeros_like(point.gradient_CD);
  auto residual = -point.gradient_CD;
  auto scaled = problem.precondition(point, residual);
  auto direction = scaled;
  double product = inner_product(residual, scaled);
  const double length = residual.norm().item<double>();
  const double enough = std::min(0.5, std::sqrt(length)) * length;
  for (int i = 0; i < kMostConjugateSteps && residual.norm().item<double>() > enough; ++i) {
    const auto bent = problem.curvature(point, direction);
    const double bend = inner_product(direction, bent);
    if (bend <= 0) break;  // a flat direction, but for rounding: adding one number to all biases changes nothing
    const double along = product / bend;
    step = step + along * direction;
    residual = residual - along * bent;
    scaled = problem.precondition(point, residual);
    const double before = product;
    product = inner_product(residual, scaled);
    direction = scaled + product / before * direction;
  }
  return step;
}

/// The first of step, step/2, step/4, ... that lowers the loss by a share of what its slope promises. Near the minimum
/// the promise is below the loss's rounding, which is therefore allowed.
Point descend(const Problem& problem, const Point& from, const at::Tensor& step_CD) {
  const double slope = inner_product(from.gradient_CD, step_CD);
  const double rounding = 8 * std::numeric_limits<double>::epsilon() * std::abs(from.loss);
  double share = 1;
  Point to = problem.at_parameters(from.parameters_CD + step_CD);
  for (int i = 0; i < kMostHalvings && !(to.loss <= from.loss + 1e-4 * share * slope + rounding); ++i) {
    share /= 2;
    to = problem.at_parameters(from.parameters_CD + share * step_CD);
  }
  return to;
}

}  // namespace

at::Tensor LogisticModel::scores(const at::Tensor& features_md) const {
  return features_md.mm(weight_Cd.t()) + bias_C;
}

LogisticModel fit_logistic(const LogisticRows& rows, double l2, double tolerance) {
  const Problem problem(rows, l2);
  Point point = problem.at_parameters(problem.zero());
  double gradient = point.gradient_CD.abs().max().item<double>();
  for (int i = 0; i < kMostNewtonSteps && gradient > tolerance; ++i) {
    point = descend(problem, point, newton_step(problem, point));
    gradient = point.gradient_CD.abs().max().item<double>();
  }
  return {.weight_Cd = point.parameters_CD.slice(1, 0, -1),
          .bias_C = point.parameters_CD.select(1, -1),
          .gradient = gradient,
          .converged = gradient <= tolerance};
}

}  // namespace triptych
