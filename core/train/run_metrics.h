// What a line of metrics.jsonl says beyond the step's own numbers: rates, waiting and memory of every rank.
#pragma once
#include <chrono>
#include <nlohmann/json.hpp>

#include "core/train/run_parts.h"
#include "core/train/trainer.h"

namespace triptych {

/// Sums since the last line.
struct Interval {
  std::chrono::steady_clock::time_point begin = std::chrono::steady_clock::now();
  std::int64_t steps = 0;
  double step_s = 0, wait_s = 0;
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count(); }
  double samples_per_s(std::int64_t global_batch) const {
    return static_cast<double>(global_batch) * static_cast<double>(steps) / seconds();
  }
};

/// The line, keys in the order of docs/checkpoints.md; the same on every rank. Collective.
nlohmann::ordered_json metrics_line(const StepReport& report, const Trainer& trainer, RunParts& parts,
                                    const Interval& interval, std::int64_t skipped_samples, Collectives& comm);

/// The same for people, in one line.
std::string metrics_text(const nlohmann::ordered_json& line, std::int64_t total_steps);

}  // namespace triptych
