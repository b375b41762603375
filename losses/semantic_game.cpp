// Given P, the first half of v is additive over regions: with f_a(P) = max_{j in P} s_aj, f_a({}) = 0, and
// d_aj(P) = f_a(P + j) - f_a(P), summed over all R and P of their sizes r and p, with w the weight of a coalition,
//   I_ij = sum_P [ sum_r w(r + p) (M - 1 over r) / (r + 1) ] d_ij(P)
//        - sum_P [ sum_{r > 0} w(r + p) (M - 2 over r - 1) / (r (r + 1)) ] sum_{a != i} d_aj(P)
// The brackets depend on p alone (`own`, `others` below). With a fixed softmax d_aj(P) is above 0 only where all of P
// is below s_aj; sets of size p whose largest is the m-th of a's sorted row (from 0) are (m over p - 1), so that sums
// over P become sums along the sorted row. The second half of v is the first of the transposed game.
#include "losses/semantic_game.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

namespace triptych {
namespace {

constexpr std::int64_t kPicturesAThread = 8;

/// One half of the game: "rows" are averaged, over "columns" the maximum is taken.
struct Half {
  std::int64_t rows, columns;
  std::vector<double> cell;  ///< [rows, columns]: the softmax of each row, or what it is taken of
  bool fixed;
  double operator()(std::int64_t row, std::int64_t column) const { return cell[row * columns + column]; }
};

/// n over k, for all n < rows.
class Binomials {
 public:
  explicit Binomials(std::int64_t rows) {
    for (std::int64_t n = 0; n < rows; ++n) {
      for (std::int64_t k = 0; k <= n; ++k)
        of_.push_back(k == 0 || k == n ? 1 : (*this)(n - 1, k - 1) + (*this)(n - 1, k));
    }
  }
  double operator()(std::int64_t n, std::int64_t k) const { return of_[n * (n + 1) / 2 + k]; }

 private:
  std::vector<double> of_;
};

/// Weights of d(P) by the size p of P, 0 .. columns - 1, and by the largest of P.
struct HalfWeights {
  std::vector<double> own, others, own_below, others_below;
  HalfWeights(std::int64_t rows, std::int64_t columns, const Binomials& over) : own(columns), others(columns) {
    const std::int64_t players = rows + columns;
    for (std::int64_t p = 0; p < columns; ++p) {
      for (std::int64_t r = 0; r < rows; ++r) {
        const double share =
            over(rows - 1, r) / over(players - 2, r + p) / static_cast<double>((players - 1) * (r + 1));
        own[p] += share;
        if (r > 0) others[p] += share / static_cast<double>(rows - 1);  // (M-2 over r-1) / r = (M-1 over r) / (M-1)
      }
    }
    for (std::int64_t m = 0; m + 1 < columns; ++m) {
      double own_sum = 0, others_sum = 0;
      for (std::int64_t p = 1; p <= m + 1; ++p) {
        own_sum += own[p] * over(m, p - 1);
        others_sum += others[p] * over(m, p - 1);
      }
      own_below.push_back(own_sum);
      others_below.push_back(others_sum);
    }
  }
};

struct GameWeights {
  std::int64_t m, n;
  HalfWeights by_region, by_phrase;
  GameWeights(std::int64_t regions, std::int64_t phrases, const Binomials& over)
      : m(regions), n(phrases), by_region(m, n, over), by_phrase(n, m, over) {}
};

Half half_of(const double* alike, std::int64_t row_step, std::int64_t column_step, std::int64_t rows,
             std::int64_t columns, const SemanticGame& game) {
  Half half{rows, columns, std::vector<double>(rows * columns), game.absent == AbsentPlayers::kFixed};
  for (std::int64_t i = 0; i < rows; ++i) {
    double* row = half.cell.data() + i * columns;
    for (std::int64_t j = 0; j < columns; ++j) row[j] = alike[i * row_step + j * column_step] / game.temperature;
    if (!half.fixed) continue;
    const double top = *std::max_element(row, row + columns);
    double sum = 0;
    for (std::int64_t j = 0; j < columns; ++j) sum += row[j] = std::exp(row[j] - top);
    for (std::int64_t j = 0; j < columns; ++j) row[j] /= sum;
  }
  return half;
}

/// Sums over P of d(P) with the weights `own` and `others`, [rows, columns].
struct Gains {
  std::vector<double> own, others;
};

Gains fixed_gains(const Half& half, const HalfWeights& weights) {
  Gains gains{std::vector<double>(half.cell.size()), std::vector<double>(half.cell.size())};
  std::vector<std::int64_t> order(half.columns);
  for (std::int64_t a = 0; a < half.rows; ++a) {
    const double* row = half.cell.data() + a * half.columns;
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [row](auto x, auto y) { return row[x] < row[y]; });
    double own = 0, others = 0, own_weight = 0, others_weight = 0;
    for (std::int64_t q = 0; q < half.columns; ++q) {
      const double s = row[order[q]];
      if (q > 0) {  // sum_{m < q} weight_m (s_q - s_m), from step to step
        own_weight += weights.own_below[q - 1];
        others_weight += weights.others_below[q - 1];
        own += own_weight * (s - row[order[q - 1]]);
        others += others_weight * (s - row[order[q - 1]]);
      }
      gains.own[a * half.columns + order[q]] = weights.own[0] * s + own;
      gains.others[a * half.columns + order[q]] = weights.others[0] * s + others;
    }
  }
  return gains;
}

Gains renormalised_gains(const Half& half, const HalfWeights& weights) {
  const std::int64_t n = half.columns;
  Gains gains{std::vector<double>(half.cell.size()), std::vector<double>(half.cell.size())};
  std::vector<double> times(n * n);  // e^{a_k - a_j}; at most 1 where j is the largest present
  for (std::int64_t a = 0; a < half.rows; ++a) {
    for (std::int64_t j = 0; j < n; ++j) {
      for (std::int64_t k = 0; k < n; ++k) times[j * n + k] = std::exp(half(a, k) - half(a, j));
    }
    for (std::uint32_t set = 1; set < std::uint32_t{1} << n; ++set) {
      std::int64_t top = std::countr_zero(set);
      for (std::uint32_t rest = set; rest != 0; rest &= rest - 1) {
        if (half(a, std::countr_zero(rest)) > half(a, top)) top = std::countr_zero(rest);
      }
      double sum = 0;
      for (std::uint32_t rest = set; rest != 0; rest &= rest - 1) sum += times[top * n + std::countr_zero(rest)];
      const std::int64_t p = std::popcount(set);
      for (std::int64_t j = 0; j < n; ++j) {  // the set is P + j where j is in it, and P where not
        const bool in = (set >> j & 1) != 0;
        gains.own[a * n + j] += (in ? weights.own[p - 1] : -weights.own[p]) / sum;
        gains.others[a * n + j] += (in ? weights.others[p - 1] : -weights.others[p]) / sum;
      }
    }
  }
  return gains;
}

/// Adds half of I.
void add_half(const Half& half, const HalfWeights& weights, double* out, std::int64_t row_step,
              std::int64_t column_step) {
  const Gains gains = half.fixed ? fixed_gains(half, weights) : renormalised_gains(half, weights);
  for (std::int64_t j = 0; j < half.columns; ++j) {
    double all = 0;
    for (std::int64_t a = 0; a < half.rows; ++a) all += gains.others[a * half.columns + j];
    for (std::int64_t i = 0; i < half.rows; ++i) {
      const std::int64_t at = i * half.columns + j;
      out[i * row_step + j * column_step] += (gains.own[at] - (all - gains.others[at])) / 2;
    }
  }
}

bool all_finite(const double* alike, std::int64_t step, std::int64_t m, std::int64_t n) {
  for (std::int64_t i = 0; i < m; ++i) {
    if (!std::all_of(alike + i * step, alike + i * step + n, [](double a) { return std::isfinite(a); })) return false;
  }
  return true;
}

/// One picture; rows of `alike` and `out` are `step` apart.
void solve(const double* alike, std::int64_t step, const GameWeights& weights, const SemanticGame& game, double* out) {
  const std::int64_t m = weights.m, n = weights.n;
  if (!all_finite(alike, step, m, n)) {
    for (std::int64_t i = 0; i < m; ++i) std::fill_n(out + i * step, n, std::numeric_limits<double>::quiet_NaN());
    return;
  }
  add_half(half_of(alike, step, 1, m, n, game), weights.by_region, out, step, 1);
  add_half(half_of(alike, 1, step, n, m, game), weights.by_phrase, out, 1, step);
}

/// Those present, a byte each.
using Present = std::vector<char>;

double half_value(const Half& half, const char* rows, const char* columns) {
  double sum = 0;
  std::int64_t count = 0;
  for (std::int64_t i = 0; i < half.rows; ++i) {
    if (rows[i] == 0) continue;
    double top = -std::numeric_limits<double>::infinity(), shares = 0;
    for (std::int64_t j = 0; j < half.columns; ++j) {
      if (columns[j] != 0) top = std::max(top, half(i, j));
    }
    if (std::isinf(top)) return 0;  // no column
    for (std::int64_t j = 0; j < half.columns && !half.fixed; ++j) {
      if (columns[j] != 0) shares += std::exp(half(i, j) - top);
    }
    sum += half.fixed ? top : 1 / shares;
    ++count;
  }
  return count == 0 ? 0 : sum / static_cast<double>(count);
}

/// One coalition of the sampler, among the players but i and j (regions first).
void draw_coalition(const double* draws, std::int64_t i, std::int64_t j, Present& present, std::vector<int>& order) {
  const auto players = static_cast<std::int64_t>(present.size());
  const auto size = std::min(static_cast<std::int64_t>(draws[0] * static_cast<double>(players - 1)), players - 2);
  order.resize(players - 2);
  std::iota(order.begin(), order.end(), 1);
  if (size > 0 && size < players - 2) {
    std::nth_element(order.begin(), order.begin() + size, order.end(),
                     [draws](int a, int b) { return draws[a] != draws[b] ? draws[a] < draws[b] : a < b; });
  }
  std::fill(present.begin(), present.end(), 0);
  for (std::int64_t k = 0; k < size; ++k) {
    std::int64_t player = order[k] - 1;
    if (player >= i) ++player;
    if (player >= j) ++player;  // i < j
    present[player] = 1;
  }
}

at::Tensor whole_counts(const at::Tensor& count_b, std::int64_t rows, std::int64_t most, const char* what) {
  if (!count_b.defined()) return at::full({rows}, most, at::kLong);
  TORCH_CHECK(count_b.scalar_type() == at::kLong && count_b.dim() == 1 && count_b.size(0) == rows, "counts of ", what,
              " must be int64 [", rows, "], got ", count_b.scalar_type(), " ", count_b.sizes());
  const at::Tensor count = count_b.to(at::kCPU).contiguous();
  TORCH_CHECK(rows == 0 || (count.min().item<std::int64_t>() >= 0 && count.max().item<std::int64_t>() <= most),
              "counts of ", what, " must be in [0, ", most, "]");
  return count;
}

void check_game(const at::Tensor& alike, const SemanticGame& game) {
  TORCH_CHECK(alike.is_floating_point() && alike.device().is_cpu(),
              "similarities must be floating point on the CPU, got ", alike.scalar_type(), " on ", alike.device());
  TORCH_CHECK(game.temperature > 0, "the temperature must be above 0, got ", game.temperature);
}

}  // namespace

at::Tensor semantic_interactions(const at::Tensor& alike_bmn, const at::Tensor& phrases_b, const at::Tensor& regions_b,
                                 const SemanticGame& game) {
  const c10::NoGradGuard no_grad;
  check_game(alike_bmn, game);
  TORCH_CHECK(alike_bmn.dim() == 3, "similarities must be [b, M, N], got ", alike_bmn.sizes());
  const std::int64_t b = alike_bmn.size(0), most_m = alike_bmn.size(1), most_n = alike_bmn.size(2);
  const bool fixed = game.absent == AbsentPlayers::kFixed;
  TORCH_CHECK(fixed ? most_m + most_n <= kMostSemanticPlayers : std::max(most_m, most_n) <= kMostRenormalised,
              "an exact game of ", most_m, " regions and ", most_n, " phrases is too large: ",
              fixed ? "together at most " : "a renormalised softmax allows, of each, at most ",
              fixed ? kMostSemanticPlayers : kMostRenormalised, "; sample it");
  const at::Tensor regions = whole_counts(regions_b, b, most_m, "regions"),
                   phrases = whole_counts(phrases_b, b, most_n, "phrases"),
                   alike = alike_bmn.to(at::kDouble).contiguous();
  at::Tensor interactions = at::zeros(alike.sizes(), alike.options());
  const auto *m = regions.const_data_ptr<std::int64_t>(), *n = phrases.const_data_ptr<std::int64_t>();
  const auto* in = alike.const_data_ptr<double>();
  auto* out = interactions.mutable_data_ptr<double>();
  const Binomials over(std::max<std::int64_t>(most_m + most_n - 1, 1));
  at::parallel_for(0, b, kPicturesAThread, [&](std::int64_t begin, std::int64_t end) {
    GameWeights weights(1, 1, over);
    for (std::int64_t row = begin; row < end; ++row) {
      if (m[row] == 0 || n[row] == 0) continue;
      if (weights.m != m[row] || weights.n != n[row]) weights = GameWeights(m[row], n[row], over);
      solve(in + row * most_m * most_n, most_n, weights, game, out + row * most_m * most_n);
    }
  });
  return interactions;
}

at::Tensor sampled_semantic_interactions(const at::Tensor& alike_mn, const at::Tensor& draws,
                                         const SemanticGame& game) {
  const c10::NoGradGuard no_grad;
  check_game(alike_mn, game);
  TORCH_CHECK(alike_mn.dim() == 2 && alike_mn.numel() > 0, "similarities must be [M > 0, N > 0], got ",
              alike_mn.sizes());
  const std::int64_t m = alike_mn.size(0), n = alike_mn.size(1);
  TORCH_CHECK(draws.is_floating_point() && draws.dim() == 4 && draws.size(0) == m && draws.size(1) == n &&
                  draws.size(3) == m + n - 1,
              "draws must be floating point [", m, ", ", n, ", K, ", m + n - 1, "], got ", draws.scalar_type(), " ",
              draws.sizes());
  const std::int64_t samples = draws.size(2);
  const at::Tensor alike = alike_mn.to(at::kDouble).contiguous(),
                   uniform = draws.to(at::kCPU, at::kDouble).contiguous();
  at::Tensor each_mnK = at::empty({m, n, samples}, alike.options());
  if (!all_finite(alike.const_data_ptr<double>(), n, m, n))
    return each_mnK.fill_(std::numeric_limits<double>::quiet_NaN());
  const Half by_region = half_of(alike.const_data_ptr<double>(), n, 1, m, n, game),
             by_phrase = half_of(alike.const_data_ptr<double>(), 1, n, n, m, game);
  const auto value = [&](const Present& present) {
    const char *regions = present.data(), *phrases = regions + m;
    return (half_value(by_region, regions, phrases) + half_value(by_phrase, phrases, regions)) / 2;
  };
  const auto* in = uniform.const_data_ptr<double>();
  auto* out = each_mnK.mutable_data_ptr<double>();
  at::parallel_for(0, m * n, 1, [&](std::int64_t begin, std::int64_t end) {
    Present present(m + n);
    std::vector<int> order;
    for (std::int64_t at = begin * samples; at < end * samples; ++at) {
      const std::int64_t i = at / samples / n, j = m + at / samples % n;
      draw_coalition(in + at * (m + n - 1), i, j, present, order);
      const double none = value(present);
      present[i] = 1;
      const double region = value(present);
      present[j] = 1;
      const double both = value(present);
      present[i] = 0;
      out[at] = both - region - value(present) + none;
    }
  });
  return each_mnK;
}

}  // namespace triptych
