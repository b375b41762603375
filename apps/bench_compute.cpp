// Times what a training step computes, without a loader.
#include "apps/bench_compute.h"

#include <ATen/ATen.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>
#include <functional>

#include "apps/bench_inputs.h"
#include "apps/bench_trainer.h"
#include "core/base/clock.h"
#include "core/objective/objective_table.h"
#include "core/train/run_environment.h"
#include "core/train/trainer.h"
#include "losses/clip.h"
#include "losses/cross_entropy.h"
#include "losses/queue_contrast.h"
#include "losses/siglip.h"
#include "losses/supcon.h"
#include "losses/unicl.h"

namespace triptych {
namespace {

using Json = nlohmann::ordered_json;

/// Until what was asked of a GPU is done.
void wait_for(at::Device device) {
  if (!device.is_cpu()) c10::impl::VirtualGuardImpl(device.type()).synchronizeDevice(device.index());
}

/// Runs `work` until `seconds` are over on rank 0, at least `least` times; the seconds of each run. Collective.
std::vector<double> time_runs(const std::function<void()>& work, double seconds, std::size_t least, at::Device device,
                              Collectives& comm) {
  std::vector<double> times;
  const auto start = Clock::now();
  for (bool more = true; more;) {
    wait_for(device);
    const auto begin = Clock::now();
    work();
    wait_for(device);
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

/// A closure that runs forward and backward of the objective's loss on `rows` local rows; it returns the loss.
struct LossWork {
  const TrainConfig& config;
  const BenchInputs& inputs;
  std::int64_t rows;
  at::Device device;
  Collectives& comm;
  using Work = std::function<at::Tensor()>;

  at::ScalarType products() const { return computation_of(config.train).products(); }
  at::Tensor leaf(const at::Tensor& values) const { return values.to(device).requires_grad_(true); }
  at::Tensor embeddings(const std::string& name, std::int64_t count) const {
    return inputs.embeddings(name, count, config.model.embed_dim);
  }
  /// Gradients are dropped, as a training step drops them: the next backward makes new ones and adds nothing up.
  static at::Tensor differentiated(const LossOutput& loss, std::initializer_list<at::Tensor> leaves) {
    loss.total.backward();
    for (const auto& tensor : leaves) tensor.mutable_grad().reset();
    return loss.total.detach();
  }
  Work pair(const std::function<LossOutput(const at::Tensor&, const at::Tensor&, const at::Tensor&)>& loss) {
    const auto image = leaf(embeddings("image", rows)), text = leaf(embeddings("text", rows));
    const auto scale = leaf(at::scalar_tensor(14.0, at::kFloat));
    return [=] { return differentiated(loss(image, text, scale), {image, text, scale}); };
  }
  Work operator()(const UniclConfig& c) {
    const auto labels = inputs.labels(rows).to(device);
    return pair([labels, directions = directions_of(c), type = products(), exchange = exchange_of(c.exchange),
                 &group = comm](const auto& u, const auto& v, const auto& scale) {
      return unicl_loss(u, v, labels, scale, group, directions, type, exchange);
    });
  }
  Work operator()(const ClipConfig& c) {
    return pair(
        [type = products(), exchange = exchange_of(c.exchange), &group = comm](
            const auto& u, const auto& v, const auto& scale) { return clip_loss(u, v, scale, group, type, exchange); });
  }
  Work operator()(const SigLipConfig& c) {
    const auto bias = leaf(at::scalar_tensor(c.init_bias, at::kFloat));
    return pair([bias, type = products(), &group = comm](const auto& u, const auto& v, const auto& scale) {
      return siglip_loss(u, v, scale, bias, group, type);
    });
  }
  Work operator()(const CrossEntropyConfig& c) {
    const auto logits = leaf(inputs.embeddings("logits", rows, BenchInputs::kLabels));
    const auto labels = inputs.labels(rows).to(device);
    return [=] { return differentiated(softmax_cross_entropy(logits, labels, c.label_smoothing), {logits}); };
  }
  Work operator()(const SupConConfig& c) {
    const auto views = leaf(embeddings("image", 2 * rows).view({rows, 2, config.model.embed_dim}));
    const auto labels = inputs.labels(rows).to(device);
    return [=, type = products(), &group = comm] {
      return differentiated(supcon_loss(views, labels, c.temperature, group, type), {views});
    };
  }
  /// The contrast of equation 1.
  Work operator()(const LoupeConfig&) { return (*this)(ClipConfig{}); }
  /// The alignment of images with texts, both ways, against momentum features and the queues.
  Work operator()(const TclConfig& c) {
    const auto image = leaf(embeddings("image", rows)), text = leaf(embeddings("text", rows));
    const QueueKeys images{image.detach(), 0, embeddings("image queue", c.queue).to(device)},
        texts{text.detach(), 0, embeddings("text queue", c.queue).to(device)};
    const auto temperature = leaf(at::scalar_tensor(c.temperature, at::kFloat));
    return [=, type = products(), alpha = c.alpha] {
      const auto to_text = queue_contrast_loss(image, texts, temperature, {image.detach(), alpha}, type);
      const auto to_image = queue_contrast_loss(text, images, temperature, {text.detach(), alpha}, type);
      return differentiated({to_text + to_image, {}}, {image, text, temperature});
    };
  }
};

/// Steps of `sharded` and of the same run without virtual shards, in turns, so that what else the machine does meets
/// both; the latter needs its own model and moments. Collective.
Json cost_of_shards(const ComputeBench& bench, BenchTrainer& sharded, Launch& launch) {
  const at::Device device(launch.place().device);
  auto config = bench.config;
  config.distributed.virtual_shards = 0;
  BenchTrainer plain(config, bench.inputs, launch);
  plain.step();
  std::vector<double> with, without;
  const auto timed = [&](BenchTrainer& run, std::vector<double>& times) {
    wait_for(device);
    const auto begin = Clock::now();
    run.step();
    wait_for(device);
    times.push_back(seconds_since(begin));
  };
  const auto both = [&] {
    timed(sharded, with);
    timed(plain, without);
  };
  time_runs(both, bench.seconds, 3, device, launch.comm());
  return {{"shards", bench.config.distributed.virtual_shards},
          {"median_step_s", median(with)},
          {"micro_batch_without", plain.plan().micro_batch},
          {"median_step_s_without", median(without)},
          {"ratio", median(with) / median(without)}};
}

/// Steps of the run by part, at least three. Collective.
std::vector<TimedStep> timed_steps(BenchTrainer& run, double seconds, at::Device device, Collectives& comm) {
  StepParts parts([&] { wait_for(device); });
  run.time_parts(&parts);
  std::vector<TimedStep> steps;
  const auto work = [&] {
    run.step();
    steps.push_back({.parts = parts.take()});
  };
  const auto times = time_runs(work, seconds, 3, device, comm);
  run.time_parts(nullptr);
  for (std::size_t i = 0; i < steps.size(); ++i) steps[i].seconds = times[i];
  return steps;
}

}  // namespace

Json bench_loss(const ComputeBench& bench, std::vector<std::int64_t> rows, Launch& launch) {
  Json table = Json::array();
  auto& comm = launch.comm();
  const auto& config = bench.config;
  const BenchInputs inputs(bench.inputs, comm.rank(), comm.size());
  if (!bench.inputs.empty()) rows = {inputs.local_rows("labels", 0)};
  for (const auto count : rows) {
    LossWork loss{config, inputs, count, at::Device(launch.place().device), comm};
    const auto work = std::visit([&](const auto& c) { return loss(c); }, config.objective);
    const auto start = memory_use(at::kCPU).peak_rss_mb;  // with the rows
    const double value = work().item<double>();           // and warm
    const auto times = time_runs(work, bench.seconds / static_cast<double>(rows.size()), 2, loss.device, comm);
    const double best = *std::min_element(times.begin(), times.end());
    table.push_back({{"local_rows", count},
                     {"all_rows", count * comm.size()},
                     {"loss", value},
                     {"runs", times.size()},
                     {"best_ms", best * 1e3},
                     {"median_ms", median(times) * 1e3},
                     {"rows_per_s", static_cast<double>(count * comm.size()) / median(times)},
                     {"peak_rss_mb", memory_use(at::kCPU).peak_rss_mb},
                     {"added_mb", memory_use(at::kCPU).peak_rss_mb - start},
                     {"peak_gpu_mb", memory_use(loss.device).peak_gpu_mb}});
  }
  return {{"objective", std::visit([](const auto& c) { return std::string(c.kTag); }, config.objective)},
          {"embed_dim", config.model.embed_dim},
          {"precision", config.train.precision},
          {"ranks", comm.size()},
          {"loss", table}};
}

Json bench_step(const ComputeBench& bench, Launch& launch) {
  auto& comm = launch.comm();
  const at::Device device(launch.place().device);
  BenchTrainer run(bench.config, bench.inputs, launch);
  std::vector<double> losses;  // of the first steps: what tells that two programs do equal work
  const auto step = [&] {
    const auto loss = run.step().loss;
    if (losses.size() < 3) losses.push_back(loss);
  };
  StepParts parts([&] { wait_for(device); });
  run.time_parts(&parts);
  const auto first = time_runs(step, 0, 1, device, comm).front();
  const bool by_part = !parts.take().empty();
  run.time_parts(nullptr);  // waiting for the device at each part takes time of its own
  const auto times = time_runs(step, by_part ? bench.seconds / 2 : bench.seconds, 2, device, comm);
  const auto memory = memory_use(device);
  const auto global_batch = static_cast<double>(run.plan().geometry.global_batch);
  Json result = {{"objective", std::visit([](const auto& c) { return std::string(c.kTag); }, bench.config.objective)},
                 {"parameters", run.objective().module().parameter_count()},
                 {"precision", bench.config.train.precision},
                 {"ranks", comm.size()},
                 {"global_batch", run.plan().geometry.global_batch},
                 {"micro_batch", run.plan().micro_batch},
                 {"losses", losses},
                 {"first_step_s", first},
                 {"steps", times.size()},
                 {"best_step_s", *std::min_element(times.begin(), times.end())},
                 {"median_step_s", median(times)},
                 {"samples_per_s", global_batch / median(times)},
                 {"peak_rss_mb", memory.peak_rss_mb},
                 {"peak_gpu_mb", memory.peak_gpu_mb}};
  if (bench.config.distributed.virtual_shards > 0) result["virtual_shards"] = cost_of_shards(bench, run, launch);
  if (by_part) result["parts"] = part_table(timed_steps(run, bench.seconds / 2, device, comm));
  return result;
}

}  // namespace triptych
