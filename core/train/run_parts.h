// The parts of a run, opened in order: computation, corpora, plan, objective, evaluators. Shared by training and
// --dry-run.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "core/train/evaluations.h"
#include "core/train/memory_estimate.h"
#include "core/train/run_environment.h"
#include "core/train/train_run.h"
#include "data/loader.h"

namespace triptych {

struct RunParts {
  std::vector<std::string> warnings;
  ComputeFacts compute;
  std::unique_ptr<CorpusSet> corpora;
  CorpusFacts facts;
  StepPlan plan;
  std::unique_ptr<Objective> objective;
  std::unique_ptr<Evaluations> evaluations;
  StepTrace trace;  ///< of one micro-batch
  MemoryEstimate memory;
  at::Device device = at::kCPU;
};

/// Checks that all ranks run one program and one configuration, then opens everything. With `resumes` the initial
/// weights are not read: a checkpoint replaces them. Errors are agreed. Collective.
RunParts open_parts(const TrainRequest& request, const Place& place, Collectives& comm, bool resumes);

/// Throws ConfigError on every rank if the loader refuses the configuration on any. Collective.
std::unique_ptr<Loader> make_loader(const TrainRequest& request, const Place& place, const RunParts& parts,
                                    Collectives& comm);

/// The settings of the run as a table of lines, for the log and --dry-run.
/// `hosts`: of every rank.
std::string settings_table(const TrainRequest& request, const Place& place, const RunParts& parts,
                           const std::vector<std::string>& hosts);

}  // namespace triptych
