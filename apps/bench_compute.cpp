// Times what a training step computes, without a loader.
#include "apps/bench_compute.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <functional>

#include "core/base/clock.h"
#include "core/objective/objective_table.h"
#include "core/train/run_environment.h"
#include "core/train/trainer.h"
#include "data/loader.h"
#include "losses/clip.h"
#include "losses/cross_entropy.h"
#include "losses/supcon.h"
#include "losses/unicl.h"

namespace triptych {
namespace {

using Json = nlohmann::ordered_json;
constexpr std::int64_t kLabels = 1000;  // of made-up data
constexpr std::uint64_t kSeed = 1;

/// Runs `work` until `seconds` are over on rank 0, at least `least` times; the seconds of each run. Collective.
std::vector<double> time_runs(const std::function<void()>& work, double seconds, std::size_t least, Collectives& comm) {
  std::vector<double> times;
  const auto start = Clock::now();
  for (bool more = true; more;) {
    const auto begin = Clock::now();
    work();
    times.push_back(seconds_since(begin));
    const bool enough = times.size() >= least && seconds_since(start) >= seconds;
    more = comm.max(static_cast<std::int64_t>(comm.rank() == 0 && !enough)) == 1;
  }
  return times;
}

double median(std::vector<double> times) {
  const auto middle = times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2);
  std::nth_element(times.begin(), middle, times.end());
  return *middle;
}

/// [rows, width] in [-1, 1), the same bits everywhere.
at::Tensor made_up(std::int64_t rows, std::int64_t width, std::uint64_t what) {
  auto values = at::empty({rows, width}, at::kFloat);
  RandomStream draws(random_key(kSeed, Purpose::kTest, {what}));
  auto* out = values.mutable_data_ptr<float>();
  for (std::int64_t i = 0; i < rows * width; ++i) out[i] = static_cast<float>(draws.uniform(-1, 1));
  return values;
}

at::Tensor unit_rows(const at::Tensor& rows) {
  return rows / rows.norm(2, {-1}, true);
}

at::Tensor made_up_labels(std::int64_t rows) {
  return at::arange(rows, at::kLong).remainder(kLabels);
}

/// A closure that runs forward and backward of the objective's loss on `rows` local rows.
struct LossWork {
  const TrainConfig& config;
  std::int64_t rows;
  at::Device device;
  Collectives& comm;

  at::ScalarType products() const { return precision_of(config.train.precision).compute; }
  at::Tensor leaf(const at::Tensor& values) const { return values.to(device).requires_grad_(true); }
  std::function<void()> pair(
      const std::function<LossOutput(const at::Tensor&, const at::Tensor&, const at::Tensor&)>& loss) {
    const auto image = leaf(unit_rows(made_up(rows, config.model.embed_dim, 1)));
    const auto text = leaf(unit_rows(made_up(rows, config.model.embed_dim, 2)));
    const auto scale = leaf(at::scalar_tensor(14.0, at::kFloat));
    return [=] { loss(image, text, scale).total.backward(); };
  }
  std::function<void()> operator()(const UniclConfig& c) {
    const auto labels = made_up_labels(rows).to(device);
    const auto directions = c.directions == "rows"      ? UniclDirections::kRows
                            : c.directions == "columns" ? UniclDirections::kColumns
                                                        : UniclDirections::kBoth;
    return pair([labels, directions, products = products(), &group = comm](const auto& image, const auto& text,
                                                                           const auto& scale) {
      return unicl_loss(image, text, labels, scale, group, directions, products);
    });
  }
  std::function<void()> operator()(const ClipConfig&) {
    return pair([products = products(), &group = comm](const auto& image, const auto& text, const auto& scale) {
      return clip_loss(image, text, scale, group, products);
    });
  }
  std::function<void()> operator()(const CrossEntropyConfig& c) {
    const auto logits = leaf(made_up(rows, kLabels, 1)), labels = made_up_labels(rows).to(device);
    return [=] { softmax_cross_entropy(logits, labels, c.label_smoothing).total.backward(); };
  }
  std::function<void()> operator()(const SupConConfig& c) {
    const auto flat = unit_rows(made_up(2 * rows, config.model.embed_dim, 1));
    const auto views = leaf(flat.view({rows, 2, config.model.embed_dim})), labels = made_up_labels(rows).to(device);
    return [=, type = products(), &group = comm] {
      supcon_loss(views, labels, c.temperature, group, type).total.backward();
    };
  }
};

/// One rank's rows, cut into micro-batches as the loader cuts them.
std::vector<Batch> made_up_batches(const StepPlan& plan, const BatchSpec& spec, int rank) {
  std::vector<Batch> batches;
  RandomStream draws(random_key(kSeed, Purpose::kTest, {3, static_cast<std::uint64_t>(rank)}));
  for (std::int64_t first = 0; first < plan.local_batch; first += plan.micro_batch) {
    Batch batch;
    const auto rows = plan.micro_batch;
    batch.images = at::empty({rows, spec.views, spec.image_size, spec.image_size, 3}, at::kByte);
    auto* pixels = batch.images.mutable_data_ptr<std::uint8_t>();
    for (std::int64_t i = 0; i < batch.images.numel(); ++i) pixels[i] = static_cast<std::uint8_t>(draws.bits() & 0xFF);
    if (spec.text) {
      batch.tokens = at::zeros({rows, spec.captions, spec.form.context}, at::kLong);
      // The row of an empty text has the special tokens; words of ids that are no special tokens go between them.
      const auto tokenizer = make_tokenizer(spec.form.tokenizer);
      constexpr std::int64_t kFirstWord = 1000;  // below stand [CLS], [SEP] and such in BERT's vocabulary
      std::array<std::int64_t, 2> ends{};
      tokenizer->encode_row("", ends);
      const auto words = std::min<std::int64_t>(16, spec.form.context - 2);
      const auto ids = at::arange(rows * spec.captions * words, at::kLong);
      auto span = batch.tokens.narrow(2, 1, words);
      span.copy_(ids.remainder(tokenizer->vocabulary_size() - 2 - kFirstWord).add(kFirstWord).view_as(span));
      batch.tokens.select(2, 0).fill_(ends[0]);
      batch.tokens.select(2, 1 + words).fill_(ends[1]);
    }
    batch.labels = made_up_labels(rows);
    batch.sample_ids = at::arange(rows, at::kLong);
    batch.first_position = rank * plan.local_batch + first;
    batches.push_back(std::move(batch));
  }
  return batches;
}

}  // namespace

Json bench_loss(const TrainConfig& config, const std::vector<std::int64_t>& rows, double seconds, Launch& launch) {
  Json table = Json::array();
  auto& comm = launch.comm();
  for (const auto count : rows) {
    LossWork loss{config, count, at::Device(launch.place().device), comm};
    const auto work = std::visit([&](const auto& c) { return loss(c); }, config.objective);
    work();  // warm
    const auto times = time_runs(work, seconds / static_cast<double>(rows.size()), 2, comm);
    table.push_back({{"local_rows", count},
                     {"all_rows", count * comm.size()},
                     {"runs", times.size()},
                     {"median_ms", median(times) * 1e3},
                     {"rows_per_s", static_cast<double>(count * comm.size()) / median(times)}});
  }
  return {{"objective", std::visit([](const auto& c) { return std::string(c.kTag); }, config.objective)},
          {"embed_dim", config.model.embed_dim},
          {"ranks", comm.size()},
          {"loss", table}};
}

Json bench_step(const TrainConfig& config, double seconds, Launch& launch) {
  auto& comm = launch.comm();
  const auto plan = plan_steps(config, comm.size(), std::max<std::int64_t>(config.train.global_batch, 1'000'000));
  DataConfig no_corpora = config.data;
  no_corpora.corpora.clear();
  no_corpora.epoch.reset();
  auto facts = CorpusSet(no_corpora).facts(config.train.global_batch);
  facts.num_labels = kLabels;
  for (std::int64_t label = 0; label < kLabels; ++label) facts.class_names.push_back("class " + std::to_string(label));
  const auto device = at::Device(launch.place().device);
  const auto objective = make_objective(config.objective, config.model, facts,
                                        {.seed = static_cast<std::uint64_t>(config.run.seed),
                                         .device = device,
                                         .parameters = precision_of(config.train.precision).parameters});
  Trainer trainer(config, plan, *objective, comm);
  const auto spec = objective->needs();
  const auto batches = made_up_batches(plan, spec, comm.rank());
  const auto step = [&] { trainer.step(batches); };
  const auto first = time_runs(step, 0, 1, comm).front();
  const auto times = time_runs(step, seconds, 2, comm);
  const auto memory = memory_use(device);
  return {{"objective", std::visit([](const auto& c) { return std::string(c.kTag); }, config.objective)},
          {"parameters", objective->module().parameter_count()},
          {"precision", config.train.precision},
          {"ranks", comm.size()},
          {"global_batch", plan.geometry.global_batch},
          {"micro_batch", plan.micro_batch},
          {"first_step_s", first},
          {"steps", times.size()},
          {"median_step_s", median(times)},
          {"samples_per_s", static_cast<double>(plan.geometry.global_batch) / median(times)},
          {"peak_rss_mb", memory.peak_rss_mb},
          {"peak_gpu_mb", memory.peak_gpu_mb}};
}

}  // namespace triptych
