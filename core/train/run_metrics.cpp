// Gathers what every rank knows of itself and writes it down once.
#include "core/train/run_metrics.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace triptych {

using Json = nlohmann::ordered_json;

Json metrics_line(const StepReport& report, const Trainer& trainer, RunParts& parts, const Interval& interval,
                  std::int64_t skipped_samples, Collectives& comm) {
  const auto use = memory_use(parts.device);
  const Json mine = {use.peak_rss_mb, use.private_rss_mb, use.peak_gpu_mb, interval.wait_s};
  std::vector<Json> by_rank;
  for (const auto& text : comm.all_gather_text(mine.dump())) by_rank.push_back(Json::parse(text));
  const auto column = [&](std::size_t index) {
    Json values = Json::array();
    for (const auto& numbers : by_rank) values.push_back(std::round(numbers[index].get<double>() * 10) / 10);
    return values;
  };
  double wait_s = 0;
  for (const auto& numbers : by_rank) wait_s = std::max(wait_s, numbers[3].get<double>());
  const auto& geometry = parts.plan.geometry;
  const auto steps = static_cast<double>(interval.steps);

  Json line = {{"step", report.step},
               {"epoch", static_cast<double>(trainer.samples_seen()) / static_cast<double>(geometry.records_per_epoch)},
               {"samples_seen", trainer.samples_seen()},
               {"loss", report.loss}};
  for (const auto& [name, value] : report.terms) line["loss/" + name] = value;
  line["lr"] = report.lr;
  line["grad_norm"] = report.grad_norm;
  if (const auto scale = parts.objective->encoders().scale) line["logit_scale"] = scale->item<double>();
  line["samples_per_s"] = interval.samples_per_s(geometry.global_batch);
  line["step_s"] = interval.step_s / steps;
  line["data_wait_s"] = wait_s / steps;
  line["peak_rss_mb"] = column(0);
  line["private_rss_mb"] = column(1);
  if (!parts.device.is_cpu()) line["peak_gpu_mb"] = column(2);
  line["skipped_samples"] = skipped_samples;
  line["skipped_steps"] = trainer.guard().skipped_in_all();
  if (const auto* scaler = trainer.scaler()) {
    line["loss_scale"] = scaler->scale();
    line["overflow_steps"] = scaler->overflows();
  }
  return line;
}

std::string metrics_text(const Json& line, std::int64_t total_steps) {
  char text[160];
  std::snprintf(text, sizeof(text), "step %lld/%lld  epoch %.2f  loss %.4f  lr %.2e  norm %.2f  %.0f samples/s",
                line["step"].get<long long>(), static_cast<long long>(total_steps), line["epoch"].get<double>(),
                line["loss"].get<double>(), line["lr"].get<double>(), line["grad_norm"].get<double>(),
                line["samples_per_s"].get<double>());
  return text;
}

}  // namespace triptych
