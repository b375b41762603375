// Time and counters around a loop over next().
#include "data/loader_bench.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "core/base/clock.h"

namespace triptych {
namespace {

StageTimes difference(const StageTimes& to, const StageTimes& from) {
  return {to.read_s - from.read_s, to.decode_s - from.decode_s, to.resize_s - from.resize_s, to.color_s - from.color_s,
          to.text_s - from.text_s, to.bytes - from.bytes,       to.rows - from.rows,         to.reduced - from.reduced};
}

}  // namespace

double reduction_difference(const CorpusSet& corpora, const DataConfig& config, const LoaderBenchRequest& request) {
  const auto views = [&](bool scaled) {
    auto changed = config;
    changed.decode.scaled = scaled;
    changed.prefetch = 1;
    Loader loader(corpora, changed, request.spec, request.seed, {0, 1, request.batch, request.batch});
    return loader.next().front().images.flatten(0, 1).flatten(1).to(at::kFloat);
  };
  const at::Tensor difference = (views(true) - views(false)).abs().mean(1);
  const at::Tensor differing = difference.masked_select(difference > 0);
  return differing.numel() == 0 ? 0 : differing.mean().item<double>();
}

LoaderBenchReport bench_loader(const CorpusSet& corpora, const DataConfig& config, const LoaderBenchRequest& request) {
  const auto made = Clock::now();
  Loader loader(corpora, config, request.spec, request.seed, {0, 1, request.batch, request.batch});
  loader.next();
  LoaderBenchReport report;
  report.first_batch_s = seconds_since(made);
  report.workers = config.workers;
  const auto stages_before = loader.stage_times();
  const auto start = Clock::now();
  do {
    for (const auto& batch : loader.next()) {
      report.bad_records += static_cast<std::int64_t>(batch.bad.size());
      const auto taken = Clock::now();
      if (request.use) request.use(batch);
      report.use_s += seconds_since(taken);
    }
    report.samples += request.batch;
    report.wait_s += loader.times().wait_s;
  } while (report.samples < request.samples && seconds_since(start) < request.most_seconds);
  report.seconds = seconds_since(start);
  report.stages = difference(loader.stage_times(), stages_before);
  // Rows made ahead on both ends are about equal, so rows made and rows taken differ by little; rates count what was
  // made.
  report.samples_per_s = static_cast<double>(report.stages.rows) / report.seconds;
  report.reduced_share =
      static_cast<double>(report.stages.reduced) / static_cast<double>(std::max<std::int64_t>(report.stages.rows, 1));
  report.mb_per_s = static_cast<double>(report.stages.bytes) * 1e-6 / report.seconds;
  return report;
}

}  // namespace triptych
