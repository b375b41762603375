// Draws are keyed: two calls print the same numbers, times aside.
#include "apps/bench_phrase_game.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "apps/explained_model.h"
#include "core/base/clock.h"
#include "core/base/random_key.h"
#include "core/module/keyed_random.h"
#include "losses/shapley.h"

namespace triptych {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::int64_t kPaperSamples = 500;
constexpr std::int64_t kSampledRepeats = 3;  ///< estimates that an instability compares
constexpr std::int64_t kDrawnGames = 16, kDrawnRegions = 10, kDrawnPhrases = 6, kDrawnWidth = 16;

/// One thread while it lives.
class OneThread {
 public:
  OneThread() : before_(at::get_num_threads()) { at::set_num_threads(1); }
  ~OneThread() { at::set_num_threads(before_); }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int before_;
};

/// Seconds of one call, by as many as take a twentieth of a second.
template <class Call>
double seconds_of(const Call& call) {
  call();
  const auto begin = Clock::now();
  std::int64_t calls = 0;
  do {
    call();
    ++calls;
  } while (seconds_since(begin) < 0.05);
  return seconds_since(begin) / static_cast<double>(calls);
}

at::Generator game_draws(std::uint64_t seed, std::int64_t record, std::uint64_t what, std::int64_t repeat) {
  return keyed_generator(
      random_key(seed, Purpose::kTest, {static_cast<std::uint64_t>(record), what, static_cast<std::uint64_t>(repeat)}),
      at::kCPU);
}

/// The paper's sampler again and again on one game, [repeats, pairs].
at::Tensor sampled_again(std::uint64_t seed, std::int64_t record, std::uint64_t what, const at::Tensor& cosine_MP,
                         const SemanticGame& game) {
  const auto m = cosine_MP.size(0), p = cosine_MP.size(1);
  std::vector<at::Tensor> estimates;
  for (std::int64_t repeat = 0; repeat < kSampledRepeats; ++repeat) {
    at::Tensor uniform = at::empty({m, p, kPaperSamples, m + p - 1}, at::kDouble);
    uniform.uniform_(0, 1, game_draws(seed, record, what, repeat));
    estimates.push_back(sampled_semantic_interactions(cosine_MP, uniform, game).mean(2).flatten());
  }
  return at::stack(estimates);
}

double relative_error_of(const at::Tensor& guess, const at::Tensor& truth) {
  return ((guess - truth).abs().mean() / truth.abs().mean()).item<double>();
}

}  // namespace

Json bench_phrase_games(std::uint64_t seed, std::span<const PlayedPair> pairs) {
  const OneThread one;
  std::vector<at::Tensor> exact, sampled;
  double exact_s = 0, sampled_s = 0;
  std::int64_t most_phrases = 0;
  for (const auto& [record, games] : pairs) {
    if (games->cosine_MP.size(1) < 2) continue;
    exact.push_back(exact_interactions(*games).flatten());
    exact_s += seconds_of([&, played = games] { exact_interactions(*played); });
    const auto begin = Clock::now();
    sampled.push_back(sampled_again(seed, record, 300, games->cosine_MP, games->phrase_game));
    sampled_s += seconds_since(begin) / static_cast<double>(kSampledRepeats);
    most_phrases = std::max(most_phrases, games->cosine_MP.size(1));
  }
  if (exact.empty()) return "no caption with two phrases";
  const auto captions = static_cast<double>(exact.size());
  const at::Tensor truth = at::cat(exact), estimates = at::cat(sampled, 1);
  return {{"captions", exact.size()},
          {"regions", pairs.front().games->cosine_MP.size(0)},
          {"most_phrases", most_phrases},
          {"exact_ms", 1e3 * exact_s / captions},
          {"sampled_ms", 1e3 * sampled_s / captions},
          {"samples", kPaperSamples},
          {"sampled_instability", instability(estimates)},
          {"sampled_error", relative_error_of(estimates, truth.expand_as(estimates))}};
}

Json bench_phrase_game_10_6(std::uint64_t seed, const SemanticGame& game) {
  const OneThread one;
  const auto draws = game_draws(seed, 0, 400, 0);
  const auto unit_rows = [&](std::int64_t rows) {
    const at::Tensor row = at::empty({kDrawnGames, rows, kDrawnWidth}, at::kDouble).normal_(0, 1, draws);
    return row / row.norm(2, {-1}, true);
  };
  const at::Tensor region = unit_rows(kDrawnRegions), phrase = unit_rows(kDrawnPhrases);
  const at::Tensor cosine = at::bmm(region, phrase.transpose(1, 2));
  const auto solve = [&] { return semantic_interactions(cosine, {}, {}, game); };
  const at::Tensor exact = solve();
  const double exact_s = seconds_of(solve);
  std::vector<at::Tensor> estimates;
  const auto begin = Clock::now();
  for (std::int64_t i = 0; i < kDrawnGames; ++i) estimates.push_back(sampled_again(seed, i, 401, cosine[i], game));
  const double sampled_s = seconds_since(begin) / static_cast<double>(kSampledRepeats);
  const at::Tensor sampled = at::cat(estimates, 1), truth = exact.flatten();
  const auto us_a_pair = [](double seconds) { return 1e6 * seconds / static_cast<double>(kDrawnGames); };
  return {{"regions", kDrawnRegions},
          {"phrases", kDrawnPhrases},
          {"pairs", kDrawnGames},
          {"exact_us_a_pair", us_a_pair(exact_s)},
          {"exact_instability", instability(at::stack({truth, solve().flatten()}))},
          {"sampled_us_a_pair", us_a_pair(sampled_s)},
          {"samples", kPaperSamples},
          {"sampled_instability", instability(sampled)},
          {"sampled_error", relative_error_of(sampled, truth.expand_as(sampled))}};
}

}  // namespace triptych
