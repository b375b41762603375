// A coalition is a number whose bit i says that player i is in it.
#include "losses/shapley.h"

#include <ATen/ATen.h>

#include <bit>
#include <cmath>
#include <vector>

namespace triptych {
namespace {

using Coalition = std::uint32_t;

/// v of all coalitions of `players`, by number.
std::vector<double> all_values(const CoalitionValue& value, std::int64_t players) {
  TORCH_CHECK(players >= 1 && players <= kMostPlayers, "a game of 1 to ", kMostPlayers,
              " players can be enumerated, got ", players);
  const at::Tensor number = at::arange(std::int64_t{1} << players, at::kLong).unsqueeze(1);
  const at::Tensor keep = number.bitwise_right_shift(at::arange(players, at::kLong)).bitwise_and(1).to(at::kBool);
  const at::Tensor values = value(keep).to(at::kCPU, at::kDouble).contiguous();
  TORCH_CHECK(values.dim() == 1 && values.size(0) == keep.size(0), "a value for each of ", keep.size(0),
              " coalitions, got ", values.sizes());
  return {values.const_data_ptr<double>(), values.const_data_ptr<double>() + values.size(0)};
}

/// |S|! (players - |S| - joined)! / (players - joined + 1)!: the weight of S among those that leave `joined` out.
double weight(std::int64_t size, std::int64_t players, std::int64_t joined) {
  const auto log_factorial = [](std::int64_t n) { return std::lgamma(static_cast<double>(n) + 1); };
  return std::exp(log_factorial(size) + log_factorial(players - size - joined) - log_factorial(players - joined + 1));
}

}  // namespace

at::Tensor shapley_values(const CoalitionValue& value, std::int64_t players) {
  const auto v = all_values(value, players);
  const at::Tensor result = at::zeros({players}, at::kDouble);
  for (std::int64_t i = 0; i < players; ++i) {
    double sum = 0;
    for (Coalition s = 0; s < v.size(); ++s) {
      if ((s >> i & 1U) == 0) sum += weight(std::popcount(s), players, 1) * (v[s | 1U << i] - v[s]);
    }
    result[i] = sum;
  }
  return result;
}

at::Tensor block_interaction(const CoalitionValue& value, const at::Tensor& block_n) {
  const std::int64_t players = block_n.size(0);
  const auto v = all_values(value, players);
  Coalition block = 0;
  for (std::int64_t i = 0; i < players; ++i) block |= block_n[i].item<bool>() ? 1U << i : 0U;
  TORCH_CHECK(block != 0, "a block without players");
  // Every reduced game has the others and one more player: |S|! (others - |S|)! / (others + 1)!.
  const std::int64_t others = players - std::popcount(block);
  double sum = 0;
  for (Coalition s = 0; s < v.size(); ++s) {
    if ((s & block) != 0) continue;
    double gain = v[s | block] - v[s];
    for (std::int64_t i = 0; i < players; ++i)
      if ((block >> i & 1U) != 0) gain -= v[s | 1U << i] - v[s];
    sum += weight(std::popcount(s), others + 1, 1) * gain;
  }
  return at::scalar_tensor(sum, at::kDouble);
}

at::Tensor pair_interactions(const CoalitionValue& value, std::int64_t players) {
  const auto v = all_values(value, players);
  const at::Tensor result = at::zeros({players, players}, at::kDouble);
  for (std::int64_t i = 0; i < players; ++i) {
    for (std::int64_t j = i + 1; j < players; ++j) {
      const Coalition one = 1U << i, other = 1U << j;
      double sum = 0;
      for (Coalition s = 0; s < v.size(); ++s) {
        if ((s & (one | other)) != 0) continue;
        sum += weight(std::popcount(s), players, 2) * (v[s | one | other] - v[s | one] - v[s | other] + v[s]);
      }
      result[i][j] = sum;
      result[j][i] = sum;
    }
  }
  return result;
}

double instability(const at::Tensor& estimates_un) {
  const std::int64_t u = estimates_un.size(0);
  TORCH_CHECK(estimates_un.dim() == 2 && u >= 2, "estimates must be [u >= 2, n], got ", estimates_un.sizes());
  const at::Tensor wide = estimates_un.to(at::kDouble);
  at::Tensor apart = at::zeros_like(wide[0]);
  for (std::int64_t i = 0; i < u; ++i)
    for (std::int64_t j = i + 1; j < u; ++j) apart += (wide[i] - wide[j]).abs();
  apart /= static_cast<double>(u * (u - 1)) / 2;
  const at::Tensor size = wide.abs().mean(0), counts = size > 0;
  return (apart / size).masked_select(counts).mean().item<double>();
}

}  // namespace triptych
