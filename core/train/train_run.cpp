// The loop of a run. Everything here that decides something decides it alike on every rank; files are rank 0's.
#include "core/train/train_run.h"

#include <ATen/ATen.h>

#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "core/base/hash.h"
#include "core/base/log.h"
#include "core/base/strings.h"
#include "core/train/agreement.h"
#include "core/train/bad_records.h"
#include "core/train/checkpoint_store.h"
#include "core/train/ledger.h"
#include "core/train/resume.h"
#include "core/train/run_directory.h"
#include "core/train/run_log.h"
#include "core/train/run_metrics.h"
#include "core/train/run_parts.h"
#include "core/train/step_profile.h"
#include "core/train/step_record.h"
#include "core/train/stop_signal.h"
#include "core/train/trainer.h"

namespace triptych {
namespace {

using Clock = std::chrono::steady_clock;
using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

std::set<std::string> names_of_model(Module& module) {
  std::set<std::string> names;
  for (const auto& parameter : module.parameters()) names.insert(parameter.name);
  for (const auto& buffer : module.buffers()) names.insert(buffer.name);
  return names;
}

class TrainRun {
 public:
  TrainRun(const TrainRequest& request, const Place& place, Collectives& comm);
  ExitCode run();

 private:
  // Start.
  void take_directory();
  void start_logs();
  void start_from_checkpoint();
  // A step and what follows it.
  void one_step();
  void write_step(const StepReport& report, const at::Tensor& global_ids);
  void write_metrics(const StepReport& report);
  void note_bad_records(const std::vector<BadRecord>& met, bool anywhere);
  bool evaluate_if_due();
  void save_if_due();
  void save();
  void finish_saving();
  void profile_if_asked(std::int64_t step);
  // Decisions.
  struct Boundary {
    bool stop = false, storage_failed = false, bad_records = false;
  };
  Boundary agree_on(bool met_bad_records);
  bool agree_to_stop() { return comm_.sum(static_cast<std::int64_t>(signal_.asked() != 0)) > 0; }
  [[noreturn]] void throw_storage_error();

  bool root() const { return comm_.rank() == 0; }
  const LogConfig& log_config() const { return request_.config.log; }
  VisitState state() {
    return [this](StateVisitor& visitor) {
      trainer_->visit_state(visitor);
      bad_records_->visit_state(visitor);
      parts_.evaluations->visit_state(visitor);
    };
  }

  const StopSignal signal_;
  const TrainRequest& request_;
  const Place& place_;
  Collectives& comm_;
  std::unique_ptr<RunDirectory> directory_;  // rank 0
  std::optional<ResumePoint> resumed_;       // rank 0
  RunParts parts_;
  std::set<std::string> model_names_;
  std::unique_ptr<Loader> loader_;
  std::unique_ptr<Trainer> trainer_;
  std::unique_ptr<BadRecords> bad_records_;
  std::unique_ptr<RunLog> log_;               // rank 0
  std::unique_ptr<CheckpointWriter> writer_;  // rank 0
  std::unique_ptr<StepProfile> profile_;
  std::int64_t saved_step_ = -1;
  bool stop_ = false, better_ = false, first_step_ = true;
  Interval interval_;
};

TrainRun::TrainRun(const TrainRequest& request, const Place& place, Collectives& comm)
    : request_(request), place_(place), comm_(comm) {
  take_directory();
  parts_ = open_parts(request, place, comm);
  const auto& config = request.config;
  model_names_ = names_of_model(parts_.objective->module());
  loader_ = std::make_unique<Loader>(*parts_.corpora, config.data, parts_.objective->needs(),
                                     static_cast<std::uint64_t>(config.run.seed),
                                     LoaderPart{.rank = place.rank,
                                                .size = place.size,
                                                .local_batch = parts_.plan.local_batch,
                                                .micro_batch = parts_.plan.micro_batch});
  trainer_ = std::make_unique<Trainer>(config, parts_.plan, *parts_.objective, comm);
  bad_records_ = std::make_unique<BadRecords>(config.data.error_budget, parts_.corpora->size());
  start_from_checkpoint();
  loader_->seek(trainer_->samples_seen());
  start_logs();
}

/// Locks the run directory and decides where to go on: on rank 0, agreed.
void TrainRun::take_directory() {
  on_root(comm_, [&] {
    const auto& run = request_.config.run;
    const fs::path path = request_.run_dir.empty() ? fs::path(run.dir) / run.name : fs::path(request_.run_dir);
    directory_ = std::make_unique<RunDirectory>(path);
    resumed_ = find_resume_point(request_, *directory_, CheckpointStore(directory_->checkpoints()));
    log_to_file(path / "log.txt");
    return std::string();
  });
}

/// Rank 0 reads; all ranks receive.
void TrainRun::start_from_checkpoint() {
  const auto from = on_root(comm_, [&] {
    if (!resumed_) return std::string();
    check_corpora(resumed_->checkpoint.manifest, hash_text(parts_.corpora->fingerprint()), request_);
    load_checkpoint(resumed_->checkpoint.path, state(), model_names_);
    return resumed_->checkpoint.path.string();
  });
  if (from.empty()) return;
  broadcast_state(state(), comm_, 0);
  saved_step_ = trainer_->steps_done();
  if (!root()) return;
  log_info("continuing " + directory_->path().string() + " from step " + std::to_string(saved_step_) + " of " +
           std::to_string(parts_.plan.total_steps));
  const auto& facts = parts_.compute;
  const auto changes = environment_changes(resumed_->checkpoint.manifest, facts.ranks, facts.threads, facts.device,
                                           facts.instruction_set);
  if (!changes.empty()) log_warning(changes);
}

void TrainRun::start_logs() {
  const auto hosts = comm_.all_gather_text(place_.host);
  on_root(comm_, [&] {
    std::map<std::string, std::int64_t> lengths;
    if (resumed_ && resumed_->own) lengths = resumed_->checkpoint.manifest.logs;
    log_ = std::make_unique<RunLog>(directory_->path(), log_config(), lengths);
    writer_ = std::make_unique<CheckpointWriter>(CheckpointStore(directory_->checkpoints()), request_.config.checkpoint,
                                                 parts_.plan.geometry);
    directory_->write_config(request_.config_text);
    directory_->write_environment(environment_json(parts_.compute, request_.program, hosts));
    return std::string();
  });
  if (!root()) return;
  if (!place_.device_note.empty()) log_info(place_.device_note);
  for (const auto& warning : parts_.warnings) log_warning(warning);
  const auto table = settings_table(request_, place_, parts_);
  log_info("settings\n" + table.substr(0, table.size() - 1));
}

ExitCode TrainRun::run() {
  if (evaluate_if_due()) saved_step_ = -1;  // a run that was stopped before an evaluation makes up for it
  save_if_due();
  const auto first_step = trainer_->steps_done();
  while (!stop_ && trainer_->steps_done() < parts_.plan.total_steps) {
    one_step();
    if (!stop_) evaluate_if_due();
    save_if_due();
  }
  profile_.reset();
  finish_saving();
  end_progress();
  const auto last = trainer_->steps_done();
  const bool done =
      last >= parts_.plan.total_steps && !parts_.evaluations->due(last);  // a stop may leave the last evaluation
  if (root()) {
    const auto at_step =
        "step " + std::to_string(trainer_->steps_done()) + " of " + std::to_string(parts_.plan.total_steps);
    log_info(!done ? "asked to stop: saved at " + at_step + "; the same command continues"
             : first_step == trainer_->steps_done() ? "nothing to do: the run had reached " + at_step
                                                    : "done: " + at_step + " in " + directory_->path().string());
  }
  return done ? ExitCode::kDone : ExitCode::kPreempted;
}

void TrainRun::one_step() {
  const bool first = std::exchange(first_step_, false);
  const auto wait_begin = Clock::now();
  auto batches = loader_->next();
  interval_.wait_s += seconds_since(wait_begin);
  const double start_s = first && root() ? seconds_since_process_start() : 0;
  std::vector<BadRecord> met;
  for (const auto& batch : batches) met.insert(met.end(), batch.bad.begin(), batch.bad.end());
  const bool wants_ids = log_config().step_record || log_config().ledger;
  const auto ids = wants_ids ? comm_.all_gather(sample_ids_of(batches)) : at::Tensor();
  profile_if_asked(trainer_->steps_done() + 1);
  const auto report = trainer_->step(std::move(batches));
  interval_.step_s += report.seconds;
  ++interval_.steps;
  if (start_s > 0) {
    char text[96];
    std::snprintf(text, sizeof(text), "process start to the first forward: %.2f s; first step: %.2f s", start_s,
                  report.seconds);
    log_info(text);
  }
  profile_if_asked(report.step + 1);
  const auto boundary = agree_on(!met.empty());
  note_bad_records(met, boundary.bad_records);
  write_step(report, ids);
  if (boundary.storage_failed) throw_storage_error();
  stop_ = boundary.stop;
}

/// One all-reduce for everything that a rank may know alone.
TrainRun::Boundary TrainRun::agree_on(bool met_bad_records) {
  if (root()) writer_->poll();
  const bool failed = root() && writer_->failures_in_a_row() >= request_.config.checkpoint.max_failures;
  constexpr std::int64_t kField = 1 << 20;  // more than there are ranks
  const std::int64_t mine =
      (signal_.asked() != 0 ? 1 : 0) + (failed ? kField : 0) + (met_bad_records ? kField * kField : 0);
  const auto sum = comm_.sum(mine);
  return {
      .stop = sum % kField > 0, .storage_failed = sum / kField % kField > 0, .bad_records = sum / kField / kField > 0};
}

void TrainRun::note_bad_records(const std::vector<BadRecord>& met, bool anywhere) {
  if (!anywhere) return;
  const auto fresh = bad_records_->add(met, comm_);
  for (const auto& record : fresh) {
    if (!root()) break;
    log_->skipped(record, trainer_->steps_done());
    log_warning("record not used: " + record.corpus + " " + record.shard + ":" + record.key + ": " + record.reason);
  }
  bad_records_->check_budget(fresh, trainer_->steps_done());
}

void TrainRun::write_step(const StepReport& report, const at::Tensor& global_ids) {
  if (root() && log_config().ledger) {
    log_->ledger(ledger_lines(report.first_position, global_ids, loader_->schedule(), request_.config.data.corpora));
  }
  if (root() && log_config().step_record) log_->step_record(step_record(report, global_ids, state(), model_names_));
  if (report.verdict != Verdict::kTake && root()) {
    const bool spike = report.verdict == Verdict::kSpike;
    log_warning("step " + std::to_string(report.step) + " skipped: loss " + number_text(report.loss) +
                ", gradient norm " + number_text(report.grad_norm) + (spike ? " is a spike" : " not finite"));
  }
  const bool due = log_config().every.due(report.step, parts_.plan.geometry);
  if (due || report.step == parts_.plan.total_steps) {
    write_metrics(report);
    return;
  }
  if (!root()) return;
  const double left = static_cast<double>(parts_.plan.total_steps - report.step) * report.seconds;
  show_progress("step " + std::to_string(report.step) + "/" + std::to_string(parts_.plan.total_steps) + "  loss " +
                number_text(std::round(report.loss * 1e4) / 1e4) + "  " +
                number_text(std::round(static_cast<double>(parts_.plan.geometry.global_batch) / report.seconds)) +
                " samples/s  ETA " + human_duration(left));
}

/// Collective.
void TrainRun::write_metrics(const StepReport& report) {
  const auto line = metrics_line(report, *trainer_, parts_, interval_, bad_records_->count(), comm_);
  interval_ = {};
  if (!root()) return;
  log_->metrics(line);
  log_info(metrics_text(line, parts_.plan.total_steps));
}

/// True if evaluators ran.
bool TrainRun::evaluate_if_due() {
  auto& evaluations = *parts_.evaluations;
  const auto step = trainer_->steps_done();
  if (!evaluations.due(step)) return false;
  const auto begin = Clock::now();
  const auto spec = parts_.objective->needs();
  const auto metrics = evaluations.run(step,
                                       {.comm = comm_,
                                        .device = parts_.device,
                                        .text = spec.form,
                                        .image_size = spec.image_size,
                                        .workers = static_cast<int>(request_.config.data.workers),
                                        .class_names = parts_.facts.class_names},
                                       [&] { return stop_ = agree_to_stop(); });
  better_ = evaluations.improves(metrics, step);
  if (root() && !metrics.empty()) {
    const auto seen = trainer_->samples_seen();
    Json line = {{"step", step},
                 {"epoch", static_cast<double>(seen) / static_cast<double>(parts_.facts.records_per_epoch)},
                 {"samples_seen", seen}};
    std::string text =
        "evaluation after step " + std::to_string(step) + " (" + human_duration(seconds_since(begin)) + "):";
    for (const auto& [name, value] : metrics) {
      line[name] = value;
      text += "\n  " + name + " " + number_text(std::round(value * 1e4) / 1e4);
    }
    log_->metrics(line);
    log_info(text);
  }
  interval_.begin += Clock::now() - begin;  // rates are those of training
  return !metrics.empty();
}

void TrainRun::save_if_due() {
  const auto& config = request_.config.checkpoint;
  const auto& geometry = parts_.plan.geometry;
  const auto step = trainer_->steps_done();
  const bool due = step > 0 && (config.every.due(step, geometry) || config.keep_every.due(step, geometry));
  if ((due || better_ || stop_ || step >= parts_.plan.total_steps) && step != saved_step_) save();
  better_ = false;
}

/// Copies the state and lets a thread write it. Rank 0 alone acts: every rank holds the same state.
void TrainRun::save() {
  saved_step_ = trainer_->steps_done();
  if (!root()) return;
  writer_->save([&] {
    const auto& facts = parts_.compute;
    SaveJob job;
    job.manifest = {.step = trainer_->steps_done(),
                    .samples_seen = trainer_->samples_seen(),
                    .files = {},
                    .logs = log_->lengths(),
                    .config_xxh64 = hash_text(xxh64(request_.config_text)),
                    .corpus_fingerprint = hash_text(parts_.corpora->fingerprint()),
                    .ranks = facts.ranks,
                    .threads = facts.threads,
                    .device = facts.device,
                    .instruction_set = facts.instruction_set,
                    .program = request_.program};
    job.snapshot = take_snapshot(state(), model_names_);
    job.config_text = request_.config_text;
    job.logs = log_->files();
    job.best_step = parts_.evaluations->best_step();
    return job;
  });
}

/// At the end every byte must be on the disk: a failed last save is tried once more, then the run fails on all ranks.
void TrainRun::finish_saving() {
  if (root()) {
    writer_->wait();
    if (writer_->failures_in_a_row() > 0) {
      save();
      writer_->wait();
    }
  }
  const bool failed = root() && writer_->failures_in_a_row() > 0;
  if (comm_.sum(static_cast<std::int64_t>(failed)) > 0) throw_storage_error();
}

void TrainRun::throw_storage_error() {
  on_root(comm_, [&]() -> std::string {
    throw StorageError("no checkpoint could be saved " + std::to_string(writer_->failures_in_a_row()) +
                       " times in a row: " + writer_->last_error() + ". Make room, then run the same command again");
  });
  throw StorageError("unreachable");  // on_root throws on every rank
}

/// log.profile, on rank 0: `step` is about to begin.
void TrainRun::profile_if_asked(std::int64_t step) {
  if (!log_config().profile || !root()) return;
  const auto [first, last] = log_config().profile->steps;
  if (step == first && !profile_)
    profile_ = std::make_unique<StepProfile>(directory_->path() / "profile.json", place_.rank);
  if (step == last + 1 && profile_) {
    profile_->stop();
    profile_.reset();
    log_info("trace of steps " + std::to_string(first) + " to " + std::to_string(last) + ": " +
             (directory_->path() / "profile.json").string());
  }
}

}  // namespace

ExitCode run_training(const TrainRequest& request, const Place& place, Collectives& comm) {
  return TrainRun(request, place, comm).run();
}

ExitCode run_training(const TrainRequest& request, Launch& launch) {
  return run_training(request, launch.place(), launch.comm());
}

std::string dry_run(const TrainRequest& request, const Place& place, Collectives& comm) {
  const auto parts = open_parts(request, place, comm);
  std::string table = settings_table(request, place, parts);
  for (const auto& warning : parts.warnings) table += "  warning: " + warning + "\n";
  return table;
}

std::string dry_run(const TrainRequest& request, Launch& launch) {
  return dry_run(request, launch.place(), launch.comm());
}

}  // namespace triptych
