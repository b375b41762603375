// Every estimate has draws of its own, keyed by what it is for: two calls print the same numbers, times aside.
#include "apps/bench_interactions.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <span>
#include <utility>
#include <vector>

#include "apps/captioned_picture.h"
#include "apps/explained_model.h"
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/random_key.h"
#include "core/module/keyed_random.h"
#include "core/objective/interaction_gate.h"
#include "losses/shapley.h"

namespace triptych {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kDefaultSeconds = 25;
constexpr double kTrialShare = 0.6;  ///< of the time goes to the samplers, the rest to the reference
constexpr std::int64_t kDefaultPictures = 4, kDefaultReference = 500;
constexpr std::int64_t kRegions = 3;                    ///< of a picture, its most confident ones
constexpr std::int64_t kRepeats = 3;                    ///< estimates that an instability compares
constexpr std::array<std::int64_t, 2> kSizes = {2, 8};  ///< coalitions of an estimate
constexpr std::int64_t kReferencePart = 10;             ///< coalitions of a part; the parts tell a reference's error
constexpr double kStable = 0.06;                        ///< instability that the paper asks for
constexpr std::int64_t kPaperSamples = 500;
constexpr std::int64_t kGateDraws = 1000;

/// A way to sample: crossed is antithetic with the careful expectation over words.
struct Estimator {
  const char* name;
  const char* sampler;
  bool careful_words;
};
constexpr std::array<Estimator, 4> kEstimators = {{{"naive", "naive", false},
                                                   {"stratified", "stratified", false},
                                                   {"antithetic", "antithetic", false},
                                                   {"crossed", "antithetic", true}}};

/// What an estimator gave at one number of coalitions.
struct Trials {
  std::vector<at::Tensor> estimates_un;      ///< of each picture, [repeats, regions]
  std::int64_t forwards = 0, estimates = 0;  ///< image forwards of so many estimates of one region
  double forwards_a_region() const { return static_cast<double>(forwards) / static_cast<double>(estimates); }
  at::Tensor all() const { return at::cat(estimates_un, 1).to(at::kDouble); }
};

/// A picture under measurement, and its reference: one estimate a part.
struct Subject {
  std::int64_t record = 0;
  PairGames games;
  std::vector<at::Tensor> parts_M = {};
};

class InteractionBench {
 public:
  InteractionBench(std::uint64_t seed, std::vector<Subject> subjects) : seed_(seed), subjects_(std::move(subjects)) {}
  /// Both stop between pictures when `seconds` have passed since `begin`; every number has what it needs before.
  void try_samplers(Clock::time_point begin, double seconds);
  void refer(std::int64_t coalitions, Clock::time_point begin, double seconds);
  void play_phrases();

  std::int64_t tried_pictures() const { return static_cast<std::int64_t>(trials_[0][0].estimates_un.size()); }
  std::int64_t reference_coalitions() const {
    return kReferencePart * static_cast<std::int64_t>(subjects_.front().parts_M.size());
  }
  Json sampler_rows() const;
  Json stable_rows() const;
  Json network_row() const;
  Json phrase_row() const;

 private:
  at::Generator draws(const Subject& subject, std::uint64_t what, std::int64_t repeat) const {
    return keyed_generator(
        random_key(seed_, Purpose::kTest,
                   {static_cast<std::uint64_t>(subject.record), what, static_cast<std::uint64_t>(repeat)}),
        at::kCPU);
  }
  void try_samplers_on(const Subject& subject);
  void play_phrases_of(const Subject& subject);

  std::uint64_t seed_;
  std::vector<Subject> subjects_;
  std::array<std::array<Trials, kSizes.size()>, kEstimators.size()> trials_;
  std::vector<at::Tensor> exact_, sampled_;  ///< of the phrase game, a picture each: [pairs], [repeats, pairs]
  double exact_s_ = 0, sampled_s_ = 0;       ///< of one picture each, summed
  std::int64_t most_phrases_ = 0;
};

void InteractionBench::try_samplers(Clock::time_point begin, double seconds) {
  double longest = 0;
  for (const auto& subject : subjects_) {
    const double start = seconds_since(begin);
    if (tried_pictures() > 0 && start + longest > seconds) return;
    show_progress("samplers, picture " + std::to_string(tried_pictures() + 1) + " of " +
                  std::to_string(subjects_.size()));
    try_samplers_on(subject);
    longest = std::max(longest, seconds_since(begin) - start);
  }
}

void InteractionBench::try_samplers_on(const Subject& subject) {
  for (std::size_t e = 0; e < kEstimators.size(); ++e) {
    for (std::size_t k = 0; k < kSizes.size(); ++k) {
      auto how = careful_sampling(subject.games, kSizes[k]);
      how.sampler = kEstimators[e].sampler;
      how.regions = kRegions;
      if (!kEstimators[e].careful_words) how.text_samples = 1;  // equation 7 draws cells and words together
      auto& trials = trials_[e][k];
      std::vector<at::Tensor> means;
      for (std::int64_t repeat = 0; repeat < kRepeats; ++repeat) {
        const auto samples = subject.games.sample(how, draws(subject, 10 * e + k, repeat));
        means.push_back(samples.each_rK.to(at::kDouble).mean(1));
        trials.forwards += samples.image_forwards;
        trials.estimates += samples.each_rK.size(0);
      }
      trials.estimates_un.push_back(at::stack(means));
    }
  }
}

void InteractionBench::refer(std::int64_t coalitions, Clock::time_point begin, double seconds) {
  const std::int64_t parts = std::max<std::int64_t>(2, (coalitions + kReferencePart - 1) / kReferencePart);
  for (std::int64_t part = 0; part < parts; ++part) {
    if (part >= 2 && seconds_since(begin) > seconds) return;
    show_progress("reference, " + std::to_string(part * kReferencePart) + " of " + std::to_string(coalitions) +
                  " coalitions");
    for (auto& subject : subjects_) {
      auto how = careful_sampling(subject.games, kReferencePart);
      how.regions = kRegions;
      subject.parts_M.push_back(subject.games.sample(how, draws(subject, 100, part)).each_rK.to(at::kDouble).mean(1));
    }
  }
}

/// Of the regions of the first pictures.
at::Tensor reference_mean(std::span<const Subject> subjects) {
  std::vector<at::Tensor> means;
  for (const auto& subject : subjects) means.push_back(at::stack(subject.parts_M).mean(0));
  return at::cat(means);
}

/// One standard error of each.
at::Tensor reference_error(std::span<const Subject> subjects) {
  std::vector<at::Tensor> errors;
  for (const auto& subject : subjects) {
    const auto parts = static_cast<double>(subject.parts_M.size());
    errors.push_back(at::stack(subject.parts_M).std(0, /*unbiased=*/true) / std::sqrt(parts));
  }
  return at::cat(errors);
}

// ---- Samplers ----

/// Mean |I_u - I_v| of all pairs of estimates and all regions. estimates_un [u, n].
double mean_difference(const at::Tensor& estimates_un) {
  const at::Tensor apart = (estimates_un.unsqueeze(0) - estimates_un.unsqueeze(1)).abs();  // u = v counts nothing
  const auto u = static_cast<double>(estimates_un.size(0));
  return apart.mean().item<double>() * u / (u - 1);
}

Json InteractionBench::sampler_rows() const {
  Json rows = Json::array();
  for (std::size_t e = 0; e < kEstimators.size(); ++e) {
    for (std::size_t k = 0; k < kSizes.size(); ++k) {
      rows.push_back({{"sampler", kEstimators[e].name},
                      {"coalitions", kSizes[k]},
                      {"forwards_a_region", trials_[e][k].forwards_a_region()},
                      {"instability", instability(trials_[e][k].all())}});
    }
  }
  return rows;
}

/// From the largest estimates. One mean over one mean: a region whose interaction is near 0 must not decide.
Json InteractionBench::stable_rows() const {
  Json rows = Json::array();
  const at::Tensor mean_n = reference_mean({subjects_.data(), static_cast<std::size_t>(tried_pictures())});
  double naive = 0;
  for (std::size_t e = 0; e < kEstimators.size(); ++e) {
    const auto& trials = trials_[e].back();
    const double size = mean_n.abs().mean().item<double>();
    const double excess = mean_difference(trials.all()) / size / kStable;
    const double forwards = trials.forwards_a_region() * excess * excess;
    if (e == 0) naive = forwards;
    rows.push_back(
        {{"sampler", kEstimators[e].name}, {"forwards_a_region", forwards}, {"share_of_naive", forwards / naive}});
  }
  return rows;
}

// ---- Network ----

double correlation(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor x = a - a.mean(), y = b - b.mean();
  return ((x * y).sum() / (x.square().sum() * y.square().sum()).sqrt()).item<double>();
}

double relative_error(const at::Tensor& guess, const at::Tensor& truth) {
  return ((guess - truth).abs().mean() / truth.abs().mean()).item<double>();
}

/// How often the gate of training would ask the sampler.
double gated_share(const at::Tensor& sigma_n, const at::Generator& draws) {
  const std::int64_t n = sigma_n.size(0);
  const at::Tensor uniform = at::empty({kGateDraws, n}, at::kFloat).uniform_(0, 1, draws);
  const auto gated = gated_targets(sigma_n.expand({kGateDraws, n}).contiguous(), uniform, {}, kGateDraws * n);
  return static_cast<double>(gated.size(0)) / static_cast<double>(kGateDraws * n);
}

Json InteractionBench::network_row() const {
  if (!subjects_.front().games.guess_M.defined()) return "none";
  std::vector<at::Tensor> guesses, sigmas;
  for (const auto& subject : subjects_) {
    guesses.push_back(subject.games.guess_M.slice(0, 0, kRegions));
    sigmas.push_back(subject.games.sigma_M);
  }
  const at::Tensor guess = at::cat(guesses).to(at::kDouble), truth = reference_mean(subjects_);
  const at::Tensor sigma = at::cat(sigmas).to(at::kFloat);
  return {{"reference_coalitions", reference_coalitions()},
          {"regions", truth.numel()},
          {"error", relative_error(guess, truth)},
          {"error_of_a_constant", relative_error(truth.mean().expand_as(truth), truth)},
          {"error_of_reference", (reference_error(subjects_).mean() / truth.abs().mean()).item<double>()},
          {"correlation", correlation(guess, truth)},
          {"mean_uncertainty", sigma.to(at::kDouble).mean().item<double>()},
          {"gated", gated_share(sigma, draws(subjects_.front(), 200, 0))}};
}

// ---- Regions and phrases ----

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

void InteractionBench::play_phrases() {
  const OneThread one;
  for (const auto& subject : subjects_) {
    if (subject.games.cosine_MP.size(1) >= 2) play_phrases_of(subject);
  }
}

void InteractionBench::play_phrases_of(const Subject& subject) {
  const auto& games = subject.games;
  const auto m = games.cosine_MP.size(0), p = games.cosine_MP.size(1);
  exact_.push_back(exact_interactions(games).flatten());
  exact_s_ += seconds_of([&] { exact_interactions(games); });
  std::vector<at::Tensor> estimates;
  const auto begin = Clock::now();
  for (std::int64_t repeat = 0; repeat < kRepeats; ++repeat) {
    at::Tensor uniform = at::empty({m, p, kPaperSamples, m + p - 1}, at::kDouble);
    uniform.uniform_(0, 1, draws(subject, 300, repeat));
    estimates.push_back(sampled_semantic_interactions(games.cosine_MP, uniform, games.phrase_game).mean(2).flatten());
  }
  sampled_s_ += seconds_since(begin) / static_cast<double>(kRepeats);
  sampled_.push_back(at::stack(estimates));
  most_phrases_ = std::max(most_phrases_, p);
}

Json InteractionBench::phrase_row() const {
  if (exact_.empty()) return "no caption with two phrases";
  const auto captions = static_cast<double>(exact_.size());
  const at::Tensor truth = at::cat(exact_), sampled = at::cat(sampled_, 1);
  return {{"captions", exact_.size()},
          {"regions", subjects_.front().games.cosine_MP.size(0)},
          {"most_phrases", most_phrases_},
          {"exact_ms", 1e3 * exact_s_ / captions},
          {"sampled_ms", 1e3 * sampled_s_ / captions},
          {"samples", kPaperSamples},
          {"sampled_instability", instability(sampled)},
          {"sampled_error", relative_error(sampled, truth.expand_as(sampled))}};
}

/// Pictures spread over the corpus, as many as `wanted` and can be used.
std::vector<Subject> read_subjects(const PictureReader& reader, const Encoders& encoders, std::int64_t wanted) {
  std::vector<Subject> subjects;
  for (std::int64_t i = 0; i < wanted; ++i) {
    const std::int64_t record = i * reader.records() / wanted;
    try {
      subjects.push_back({record, encoders.explain(reader.record(record).pair)});
    } catch (const DataError&) {  // fewer pictures, which the result says
    }
  }
  return subjects;
}

}  // namespace

Json bench_interactions(const TrainConfig& measured, const BenchArguments& arguments, Launch& launch) {
  const auto begin = Clock::now();
  const double seconds = arguments.seconds > 0 ? arguments.seconds : kDefaultSeconds;
  const at::Device device(launch.place().device);
  const auto loaded = load_explained_model(arguments.checkpoint, device, Weights::kAveraged, "bench interactions");
  PictureReader reader(measured.data.decode, loaded.model.objective->needs(), device);
  const auto corpus = captioned_corpus(measured, "", "bench interactions");
  reader.open(corpus);
  const auto wanted = std::min(reader.records(), arguments.pictures > 0 ? arguments.pictures : kDefaultPictures);
  auto subjects = read_subjects(reader, loaded.encoders, wanted);
  if (subjects.empty())
    throw DataBudgetError("bench interactions: none of " + std::to_string(wanted) + " records of " + corpus.path +
                          " can be used; `triptych data verify` names the reasons");
  const auto pictures = subjects.size();
  const auto exact_words = std::count_if(subjects.begin(), subjects.end(), [](const Subject& subject) {
    return careful_sampling(subject.games, 2).text_samples == 0;
  });
  const auto members = subjects.front().games.sampling.members;

  InteractionBench bench(static_cast<std::uint64_t>(loaded.trained.run.seed), std::move(subjects));
  bench.play_phrases();
  const double used = seconds_since(begin);
  bench.try_samplers(begin, used + kTrialShare * (seconds - used));
  bench.refer(arguments.coalitions > 0 ? arguments.coalitions : kDefaultReference, begin, seconds);
  end_progress();
  return {{"checkpoint", loaded.checkpoint.folder.string()},
          {"step", loaded.checkpoint.manifest.step},
          {"corpus", corpus.path},
          {"pictures", pictures},
          {"unusable", wanted - static_cast<std::int64_t>(pictures)},
          {"captions_with_all_words", exact_words},
          {"single_cells", members},  // valued a coalition; 0: all
          {"seconds", seconds_since(begin)},
          {"pictures_of_samplers", bench.tried_pictures()},
          {"samplers", bench.sampler_rows()},
          {"for_instability_0.06", bench.stable_rows()},
          {"network", bench.network_row()},
          {"phrase_game", bench.phrase_row()}};
}

}  // namespace triptych
