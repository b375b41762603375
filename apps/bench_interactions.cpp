// Every estimate has draws of its own, keyed by what it is for: two calls print the same numbers, times aside.
#include "apps/bench_interactions.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <span>
#include <utility>
#include <variant>
#include <vector>

#include "apps/bench_phrase_game.h"
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
constexpr std::int64_t kFewestRepeats = 3;              ///< estimates that an instability compares, or more
constexpr std::int64_t kMostRepeats = 20;               ///< beyond, the choice of pictures says more than the draws
constexpr std::array<std::int64_t, 2> kSizes = {2, 8};  ///< coalitions of an estimate
constexpr std::int64_t kReferencePart = 10;             ///< coalitions of a part; the parts tell a reference's error
constexpr double kStable = 0.06;                        ///< instability that the paper asks for
constexpr std::int64_t kGateDraws = 1000;

/// A way to sample: naive is equation 7 itself, which values each cell of a region alone at each coalition, the others
/// value as many as in training; crossed is antithetic with the careful expectation over words.
struct Estimator {
  const char* name;
  const char* sampler;
  bool all_members, careful_words;
};
constexpr std::array<Estimator, 4> kEstimators = {{{"naive", "naive", true, false},
                                                   {"stratified", "stratified", false, false},
                                                   {"antithetic", "antithetic", false, false},
                                                   {"crossed", "antithetic", false, true}}};

/// What an estimator gave at one number of coalitions on one picture.
struct Trials {
  std::vector<at::Tensor> means_M;           ///< one a repeat, of the picture's regions
  std::int64_t forwards = 0, estimates = 0;  ///< image forwards of so many estimates of one region
};

/// A picture under measurement, and its reference: one estimate a part.
struct Subject {
  std::int64_t record = 0;
  PairGames games;
  std::vector<at::Tensor> parts_M = {};
};

/// What bounds the sampler in training.
struct GateOfTraining {
  std::int64_t regions = 1;  ///< of a micro-batch
  std::int64_t targets = 1;  ///< of which so many are sampled at most
};

class InteractionBench {
 public:
  InteractionBench(std::uint64_t seed, std::vector<Subject> subjects) : seed_(seed), subjects_(std::move(subjects)) {}
  /// Both stop between pictures when `seconds` have passed since `begin`; every number has what it needs before.
  void try_samplers(Clock::time_point begin, double seconds);
  void refer(std::int64_t coalitions, Clock::time_point begin, double seconds);

  std::int64_t tried_pictures() const { return static_cast<std::int64_t>(trials_[0][0].size()); }
  std::int64_t repeats() const { return static_cast<std::int64_t>(trials_[0][0].front().means_M.size()); }
  std::int64_t reference_coalitions() const {
    return kReferencePart * static_cast<std::int64_t>(subjects_.front().parts_M.size());
  }
  Json sampler_rows() const;
  Json stable_rows() const;
  Json network_row(const GateOfTraining& training) const;

 private:
  at::Generator draws(const Subject& subject, std::uint64_t what, std::int64_t repeat) const {
    return keyed_generator(
        random_key(seed_, Purpose::kTest,
                   {static_cast<std::uint64_t>(subject.record), what, static_cast<std::uint64_t>(repeat)}),
        at::kCPU);
  }
  void try_samplers_on(std::size_t picture, std::int64_t repeat);
  double forwards_if_stable(std::size_t estimator, std::span<const std::size_t> pictures) const;

  std::uint64_t seed_;
  std::vector<Subject> subjects_;
  std::array<std::array<std::vector<Trials>, kSizes.size()>, kEstimators.size()> trials_;  ///< by picture
};

void InteractionBench::try_samplers(Clock::time_point begin, double seconds) {
  const double used = seconds_since(begin), for_pictures = used + (seconds - used) / 2;
  double longest = 0;
  const auto timed = [&](const auto& work) {
    const double start = seconds_since(begin);
    work();
    longest = std::max(longest, seconds_since(begin) - start);
  };
  for (std::size_t picture = 0; picture < subjects_.size(); ++picture) {
    if (picture > 0 && seconds_since(begin) + longest > for_pictures) break;
    show_progress("samplers, picture " + std::to_string(picture + 1) + " of " + std::to_string(subjects_.size()));
    for (auto& sizes : trials_)
      for (auto& trials : sizes) trials.emplace_back();
    timed([&] {
      for (std::int64_t repeat = 0; repeat < kFewestRepeats; ++repeat) try_samplers_on(picture, repeat);
    });
  }
  longest = longest * static_cast<double>(tried_pictures()) / static_cast<double>(kFewestRepeats);  // a repeat of all
  for (std::int64_t repeat = kFewestRepeats; repeat < kMostRepeats; ++repeat) {
    if (seconds_since(begin) + longest > seconds) return;
    show_progress("samplers, repeat " + std::to_string(repeat + 1));
    timed([&] {
      for (std::size_t picture = 0; picture < trials_[0][0].size(); ++picture) try_samplers_on(picture, repeat);
    });
  }
}

/// Every estimator and size once.
void InteractionBench::try_samplers_on(std::size_t picture, std::int64_t repeat) {
  const Subject& subject = subjects_[picture];
  for (std::size_t e = 0; e < kEstimators.size(); ++e) {
    for (std::size_t k = 0; k < kSizes.size(); ++k) {
      auto how = careful_sampling(subject.games, kSizes[k]);
      how.sampler = kEstimators[e].sampler;
      how.regions = kRegions;
      if (kEstimators[e].all_members) how.members = 0;
      if (!kEstimators[e].careful_words) how.text_samples = 1;  // equation 7 draws cells and words together
      const auto samples = subject.games.sample(how, draws(subject, 10 * e + k, repeat));
      auto& trials = trials_[e][k][picture];
      trials.means_M.push_back(samples.each_rK.to(at::kDouble).mean(1));
      trials.forwards += samples.image_forwards;
      trials.estimates += samples.each_rK.size(0);
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

/// Of the regions of all pictures.
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

/// Estimates of all regions of some pictures, [repeats, regions].
at::Tensor estimates_of(std::span<const Trials> trials, std::span<const std::size_t> pictures) {
  std::vector<at::Tensor> estimates_un;
  for (const auto picture : pictures) estimates_un.push_back(at::stack(trials[picture].means_M));
  return at::cat(estimates_un, 1);
}

double forwards_a_region(std::span<const Trials> trials, std::span<const std::size_t> pictures) {
  std::int64_t forwards = 0, estimates = 0;
  for (const auto picture : pictures) {
    forwards += trials[picture].forwards;
    estimates += trials[picture].estimates;
  }
  return static_cast<double>(forwards) / static_cast<double>(estimates);
}

std::vector<std::size_t> all_but(std::size_t pictures, std::size_t left_out) {
  std::vector<std::size_t> others;
  for (std::size_t picture = 0; picture < pictures; ++picture)
    if (picture != left_out) others.push_back(picture);
  return others;
}

/// The standard error of a number of all pictures, by leaving out one at a time (jackknife); null of one picture.
template <class OfPictures>
Json standard_error(std::size_t pictures, const OfPictures& of_pictures) {
  if (pictures < 2) return nullptr;
  std::vector<double> values;
  for (std::size_t left_out = 0; left_out < pictures; ++left_out)
    values.push_back(of_pictures(all_but(pictures, left_out)));
  const at::Tensor value_n = at::tensor(values, at::kDouble);
  const auto n = static_cast<double>(pictures);
  return std::sqrt((value_n - value_n.mean()).square().sum().item<double>() * (n - 1) / n);
}

Json InteractionBench::sampler_rows() const {
  Json rows = Json::array();
  const auto pictures = all_but(trials_[0][0].size(), trials_[0][0].size());
  for (std::size_t e = 0; e < kEstimators.size(); ++e) {
    for (std::size_t k = 0; k < kSizes.size(); ++k) {
      rows.push_back({{"sampler", kEstimators[e].name},
                      {"coalitions", kSizes[k]},
                      {"forwards_a_region", forwards_a_region(trials_[e][k], pictures)},
                      {"instability", instability(estimates_of(trials_[e][k], pictures))}});
    }
  }
  return rows;
}

/// From the largest estimates. One mean over one mean: a region whose interaction is near 0 must not decide.
double InteractionBench::forwards_if_stable(std::size_t estimator, std::span<const std::size_t> pictures) const {
  const auto& trials = trials_[estimator].back();
  std::vector<at::Tensor> references;
  for (const auto picture : pictures) references.push_back(at::stack(subjects_[picture].parts_M).mean(0));
  const double size = at::cat(references).abs().mean().item<double>();
  const double excess = mean_difference(estimates_of(trials, pictures)) / size / kStable;
  return forwards_a_region(trials, pictures) * excess * excess;
}

Json InteractionBench::stable_rows() const {
  Json rows = Json::array();
  const auto count = trials_[0][0].size();
  for (std::size_t e = 0; e < kEstimators.size(); ++e) {
    const auto forwards = [&](const std::vector<std::size_t>& pictures) { return forwards_if_stable(e, pictures); };
    const auto share = [&](const std::vector<std::size_t>& pictures) {
      return forwards_if_stable(e, pictures) / forwards_if_stable(0, pictures);
    };
    const auto all = all_but(count, count);
    rows.push_back({{"sampler", kEstimators[e].name},
                    {"forwards_a_region", forwards(all)},
                    {"standard_error", standard_error(count, forwards)},
                    {"share_of_naive", share(all)},
                    {"share_error", standard_error(count, share)}});
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

/// The same under the bound on a micro-batch, of which each region has one of the uncertainties measured.
double sampled_share(const at::Tensor& sigma_n, const GateOfTraining& training, const at::Generator& draws) {
  std::int64_t sampled = 0;
  for (std::int64_t batch = 0; batch < kGateDraws; ++batch) {
    const at::Tensor place = at::empty({training.regions}, at::kLong).random_(0, sigma_n.size(0), draws);
    const at::Tensor uniform = at::empty({training.regions}, at::kFloat).uniform_(0, 1, draws);
    sampled += gated_targets(sigma_n.index_select(0, place), uniform, {}, training.targets).size(0);
  }
  return static_cast<double>(sampled) / static_cast<double>(kGateDraws * training.regions);
}

Json InteractionBench::network_row(const GateOfTraining& training) const {
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
          {"gated", gated_share(sigma, draws(subjects_.front(), 200, 0))},
          {"sampled", sampled_share(sigma, training, draws(subjects_.front(), 201, 0))},
          {"regions_a_micro_batch", training.regions},
          {"sampled_at_most", training.targets}};
}

/// Of the run that made the checkpoint.
GateOfTraining gate_of(const TrainConfig& trained, std::int64_t ranks) {
  const auto& loupe = std::get<LoupeConfig>(trained.objective);  // the one objective with games
  const auto rows = trained.train.micro_batch > 0 ? trained.train.micro_batch : trained.train.global_batch / ranks;
  return {rows * loupe.regions.count, loupe.tokens.targets};
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

  const auto seed = static_cast<std::uint64_t>(loaded.trained.run.seed);
  std::vector<PlayedPair> pairs;
  for (const auto& subject : subjects) pairs.push_back({subject.record, &subject.games});
  const Json phrase_games = bench_phrase_games(seed, pairs);
  const Json phrase_game_10_6 = bench_phrase_game_10_6(seed, subjects.front().games.phrase_game);
  InteractionBench bench(seed, std::move(subjects));
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
          {"repeats", bench.repeats()},
          {"samplers", bench.sampler_rows()},
          {"for_instability_0.06", bench.stable_rows()},
          {"network", bench.network_row(gate_of(loaded.trained, loaded.checkpoint.manifest.ranks))},
          {"phrase_game", phrase_games},
          {"phrase_game_10_6", phrase_game_10_6}};
}

}  // namespace triptych
