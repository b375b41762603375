// log.step_record: one line of steps.jsonl per step, exact numbers and hashes: the proof of exact resume.
#pragma once
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "core/train/state_snapshot.h"
#include "core/train/trainer.h"

namespace triptych {

/// This rank's sample ids of a step, in order.
at::Tensor sample_ids_of(const std::vector<Batch>& micro_batches);

/// The line: numbers as hexadecimal floats, xxh64 of parameters, optimizer, everything else, and of all ranks' sample
/// ids.
nlohmann::ordered_json step_record(const StepReport& report, const at::Tensor& global_sample_ids,
                                   const VisitState& visit, const std::set<std::string>& model_names);

}  // namespace triptych
