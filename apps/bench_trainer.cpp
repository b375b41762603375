// Objective, trainer and rows without corpora.
#include "apps/bench_trainer.h"

#include <algorithm>

#include "apps/bench_inputs.h"
#include "core/objective/objective_table.h"
#include "data/loader.h"

namespace triptych {
namespace {

CorpusFacts made_up_facts(const TrainConfig& config) {
  DataConfig no_corpora = config.data;
  no_corpora.corpora.clear();
  no_corpora.epoch.reset();
  auto facts = CorpusSet(no_corpora).facts(config.train.global_batch);
  facts.num_labels = BenchInputs::kLabels;
  for (std::int64_t label = 0; label < facts.num_labels; ++label)
    facts.class_names.push_back("class " + std::to_string(label));
  return facts;
}

}  // namespace

BenchTrainer::BenchTrainer(const TrainConfig& config, const std::string& inputs, Launch& launch)
    : plan_(plan_steps(config, launch.comm().size(), std::max<std::int64_t>(config.train.global_batch, 1'000'000))),
      objective_(
          std::make_unique<TimedObjective>(make_objective(config.objective, config.model, made_up_facts(config),
                                                          {.seed = static_cast<std::uint64_t>(config.run.seed),
                                                           .device = at::Device(launch.place().device),
                                                           .parameters = computation_of(config.train).parameters,
                                                           .attention = computation_of(config.train).attention}))),
      trainer_(std::make_unique<Trainer>(config, plan_, *objective_, launch.comm())),
      batches_(BenchInputs(inputs, launch.comm().rank(), launch.comm().size()).batches(plan_, objective_->needs())) {
  DeviceCopy copy(at::Device(launch.place().device));
  copy.start(batches_);
  copy.finish(batches_);
}

}  // namespace triptych
