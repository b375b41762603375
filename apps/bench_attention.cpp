// Both paths on the same rows, in turns.
#include "apps/bench_attention.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <limits>

#include "core/base/clock.h"
#include "core/module/attention.h"
#include "core/module/keyed_random.h"

namespace triptych {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::int64_t kHeads = 8, kHeadWidth = 64, kTokensInAll = 4096;
constexpr std::array<std::int64_t, 10> kTokens = {16, 32, 50, 77, 96, 128, 160, 197, 256, 512};

struct Case {
  at::Tensor query, key, value;
  double best(AttentionPath path) const { return path == AttentionPath::kPlain ? plain_s : fused_s; }
  double plain_s = std::numeric_limits<double>::infinity(), fused_s = plain_s;

  void run(AttentionPath path, at::Device device) {
    const auto begin = Clock::now();
    const at::Tensor out = attend(query, key, value, {}, {.attention = path});
    out.backward(at::ones_like(out));
    query.mutable_grad() = key.mutable_grad() = value.mutable_grad() = at::Tensor();
    if (!device.is_cpu()) out.sum().item<float>();  // waits for the device
    const double seconds = seconds_since(begin);
    auto& best = path == AttentionPath::kPlain ? plain_s : fused_s;
    best = std::min(best, seconds);
  }
};

Case make_case(at::Device device, at::ScalarType dtype, std::int64_t tokens) {
  const auto draws = keyed_generator(1, at::kCPU);
  const auto rows = [&] {
    return at::empty({kTokensInAll / tokens, kHeads, tokens, kHeadWidth})
        .normal_(0, 1, draws)
        .to(device, dtype)
        .set_requires_grad(true);
  };
  return {rows(), rows(), rows()};
}

}  // namespace

Json bench_attention(at::Device device, double seconds) {
  Json table = Json::array();
  const double each = seconds / static_cast<double>(2 * kTokens.size());
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    for (const auto tokens : kTokens) {
      Case one = make_case(device, dtype, tokens);
      const auto begin = Clock::now();
      int rounds = 0;
      while (rounds++ < 2 || seconds_since(begin) < each) {
        one.run(AttentionPath::kPlain, device);
        one.run(AttentionPath::kFused, device);
      }
      const auto rule = attention_rule(device.type(), dtype, tokens);
      table.push_back({{"dtype", dtype == at::kFloat ? "fp32" : "bf16"},
                       {"tokens", tokens},
                       {"plain_ms", one.plain_s * 1e3},
                       {"fused_ms", one.fused_s * 1e3},
                       {"rule", rule == AttentionPath::kPlain ? "plain" : "fused"},
                       {"rule_over_best", one.best(rule) / std::min(one.plain_s, one.fused_s)}});
    }
  }
  return {{"heads", kHeads}, {"head_width", kHeadWidth}, {"tokens_in_all", kTokensInAll}, {"attention", table}};
}

}  // namespace triptych
