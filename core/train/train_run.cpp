// The loop of a run. Everything here that decides something decides it alike on every rank; files are rank 0's.
#include "core/train/train_run.h"
#include "core/train/device_copy.h"

#include <ATen/ATen.h>

#include <cstdio>
#include <future>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "core/base/clock.h"
#include "core/base/fault_plan.h"
#include "core/base/hash.h"
#include "core/base/log.h"
#include "core/base/strings.h"
#include "core/train/agreement.h"
#include "core/train/bad_records.h"
#include "core/train/checkpoint_store.h"
#include "core/train/ledger.h"
#include "core/train/replica_check.h"
#include "core/train/resume.h"
#include "core/train/run_directory.h"
#include "core/train/run_log.h"
#include "core/train/run_metrics.h"
#include "core/train/run_parts.h"
#include "core/train/run_saver.h"
#include "core/train/step_profile.h"
#include "core/train/step_record.h"
#include "core/train/stop_signal.h"
#include "core/train/trainer.h"
#include "distributed/launcher/progress.h"

namespace triptych {
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

class TrainRun {
 public:
  TrainRun(const TrainRequest& request, const Place& place, Collectives& comm);
  ExitCode run();
  /// After run() threw.
  void give_save_a_moment() {
    sound_.reset();
    saver_->wait_at_most(1);
  }

 private:
  // Start.
  bool take_directory();
  void start_logs();
  void start_from_checkpoint();
  // A step and what follows it.
  void fetch(std::int64_t steps_done);
  void one_step();
  void write_step(const StepReport& report, const at::Tensor& global_ids);
  void write_metrics(const StepReport& report);
  void note_bad_records(const std::vector<BadRecord>& met, bool anywhere);
  void evaluate_if_due();
  void verify_if_due();
  void verify();
  void clear_save();
  void save_if_due();
  void save();
  void settle();
  SaveJob stage(StateSnapshot room, std::shared_future<void> sound);
  // Decisions.
  struct Boundary {
    bool stop = false, storage_failed = false, bad_records = false, no_batch = false;
  };
  Boundary agree_on(bool met_bad_records);
  bool agree_to_stop() { return comm_.sum(static_cast<std::int64_t>(signal_.asked() != 0)) > 0; }
  [[noreturn]] void throw_no_batch();

  bool root() const { return comm_.rank() == 0; }
  const LogConfig& log_config() const { return request_.config.log; }
  VisitState state() {
    return [this](StateVisitor& visitor) {
      trainer_->visit_state(visitor);
      bad_records_->visit_state(visitor);
      parts_.evaluations->visit_state(visitor);
    };
  }

  /// What follows is one phase of the run, for whoever watches it.
  template <class Work>
  void during(Phase phase, Work&& work) {
    board_.set_phase(phase);
    work();
    board_.set_phase(Phase::kStep);
  }

  void tell(const ControlEvent& event) {
    if (request_.launcher != nullptr) request_.launcher->event(event);
  }

  const StopSignal signal_;
  ProgressBoard& board_ = ProgressBoard::of_process();
  const TrainRequest& request_;
  const Place& place_;
  Collectives& comm_;
  std::unique_ptr<RunDirectory> directory_;  // rank 0
  std::optional<ResumePoint> resumed_;       // rank 0
  RunParts parts_;
  std::set<std::string> model_names_;
  std::unique_ptr<Loader> loader_;
  std::vector<Batch> upcoming_;             // this rank's rows of the next step,
  std::optional<NoUsableRecord> no_batch_;  // or why there are none
  std::unique_ptr<DeviceCopy> copy_;
  std::unique_ptr<Trainer> trainer_;
  std::unique_ptr<BadRecords> bad_records_;
  std::unique_ptr<RunLog> log_;  // rank 0
  std::unique_ptr<RunSaver> saver_;
  std::unique_ptr<ReplicaCheck> replicas_;
  std::optional<std::promise<void>> sound_;  // given to the save in flight when its state has been checked
  std::unique_ptr<StepProfile> profile_;     // rank 0, with log.profile
  std::int64_t saved_step_ = -1, verified_step_ = -1;
  double stall_s_ = 0;  // that training stood still for saves, and nobody was told yet
  bool stop_ = false, better_ = false, save_due_ = false, first_step_ = true, branches_ = false;
  Interval interval_;
};

TrainRun::TrainRun(const TrainRequest& request, const Place& place, Collectives& comm)
    : request_(request), place_(place), comm_(comm) {
  tell_fault_rank(place.rank);
  const bool resumes = take_directory();
  parts_ = open_parts(request, place, comm, resumes);
  const auto& config = request.config;
  model_names_ = names_of_model(parts_.objective->module());
  loader_ = make_loader(request, place, parts_, comm);
  copy_ = std::make_unique<DeviceCopy>(parts_.device);
  trainer_ = std::make_unique<Trainer>(config, parts_.plan, *parts_.objective, comm);
  bad_records_ = std::make_unique<BadRecords>(config.data.error_budget, parts_.corpora->size());
  start_from_checkpoint();
  loader_->seek(trainer_->samples_seen());
  start_logs();
}

/// Locks the run directory and decides where to go on: on rank 0, agreed. True if a checkpoint will be loaded.
bool TrainRun::take_directory() {
  const auto from = on_root(comm_, [&] {
    const auto& run = request_.config.run;
    const fs::path path = request_.run_dir.empty() ? fs::path(run.dir) / run.name : fs::path(request_.run_dir);
    directory_ = std::make_unique<RunDirectory>(path);
    resumed_ = find_resume_point(request_, *directory_, CheckpointStore(directory_->checkpoints()));
    log_to_file(path / "log.txt");
    return resumed_ ? resumed_->checkpoint.path.string() : std::string();
  });
  return !from.empty();
}

/// Rank 0 reads; all ranks receive.
void TrainRun::start_from_checkpoint() {
  std::optional<Trainer::WholeState> whole;
  const auto hold = [&] { whole.emplace(*trainer_, Trainer::WholeState::Where::kEveryRank); };
  const auto from = on_root(comm_, [&] {
    if (!resumed_) return std::string();
    check_corpora(resumed_->checkpoint.manifest, hash_text(parts_.corpora->fingerprint()), request_);
    check_head(resumed_->checkpoint.manifest, parts_.facts.class_names, request_);
    hold();
    load_checkpoint(resumed_->checkpoint.path, state(), model_names_);
    // Only now is it certain that the run goes on from there.
    if (resumed_->own) CheckpointStore(directory_->checkpoints()).supersede_after(resumed_->checkpoint.manifest.step);
    return resumed_->checkpoint.path.string();
  });
  if (from.empty()) return;
  if (!whole) hold();
  broadcast_state(state(), comm_, 0);
  const bool own = on_root(comm_, [&] { return std::string(resumed_->own ? "own" : "other"); }) == "own";
  // A run that begins with another run's state must not fall back to step 0: its first checkpoint is that state.
  if (own) saved_step_ = trainer_->steps_done();
  branches_ = !own;
  if (!root()) return;
  log_info("continuing " + directory_->path().string() + " from step " + std::to_string(trainer_->steps_done()) +
           " of " + std::to_string(parts_.plan.total_steps));
  const auto& facts = parts_.compute;
  const auto changes = environment_changes(resumed_->checkpoint.manifest, facts.ranks, facts.threads, facts.device,
                                           facts.instruction_set, request_.config.distributed.virtual_shards > 0);
  if (!changes.empty()) log_warning(changes);
}

void TrainRun::start_logs() {
  const auto hosts = comm_.all_gather_text(place_.host);
  on_root(comm_, [&] {
    std::map<std::string, std::int64_t> lengths;
    if (resumed_ && resumed_->own) lengths = resumed_->checkpoint.manifest.logs;
    log_ = std::make_unique<RunLog>(directory_->path(), log_config(), lengths);
    directory_->write_config(request_.config_text);
    if (parts_.facts.num_labels > 0) directory_->write_classes(parts_.corpora->class_table());
    directory_->write_environment(environment_json(parts_.compute, request_.program, hosts));
    return std::string();
  });
  const auto& saving = request_.config.checkpoint;
  std::unique_ptr<CheckpointWriter> writer;
  if (root()) {
    writer =
        std::make_unique<CheckpointWriter>(CheckpointStore(directory_->checkpoints()), saving, parts_.plan.geometry);
    writer->on_saved([this](std::int64_t step, double seconds) {
      tell({ControlEvent::Kind::kCheckpoint, "saved step " + std::to_string(step), step, seconds,
            std::exchange(stall_s_, 0)});
    });
  }
  saver_ = std::make_unique<RunSaver>(comm_, std::move(writer), saving.max_failures);
  replicas_ = std::make_unique<ReplicaCheck>(comm_, place_.host);
  trainer_->before_change([this] {
    const auto begin = Clock::now();
    saver_->wait_for_copy();
    const double copy_s = seconds_since(begin);
    const bool saves = sound_.has_value();
    clear_save();
    stall_s_ += saves ? seconds_since(begin) : copy_s;
  });
  if (!root()) return;
  if (log_config().profile) {
    profile_ = std::make_unique<StepProfile>(*log_config().profile, directory_->path() / "profile.json");
    profile_->warn_if_missed(trainer_->steps_done(), parts_.plan.total_steps);
  }
  if (!place_.device_note.empty()) log_info(place_.device_note);
  log_warnings(parts_.warnings);
  const auto table = settings_table(request_, place_, parts_, hosts);
  log_info("settings\n" + table.substr(0, table.size() - 1));
}

ExitCode TrainRun::run() {
  interval_ = {};                         // rates are those of training, from here on
  if (std::exchange(branches_, false)) {  // first of all: a run that dies before this would fall back to step 0
    save();
    clear_save();
  }
  evaluate_if_due();  // a run that was stopped before an evaluation makes up for it
  save_if_due();
  const auto first_step = trainer_->steps_done();
  board_.set_phase(Phase::kData);
  if (request_.launcher != nullptr) request_.launcher->report_now();  // from here on a death is that of a step
  fetch(trainer_->steps_done());
  if (comm_.sum(static_cast<std::int64_t>(no_batch_.has_value())) > 0) throw_no_batch();
  while (!stop_ && trainer_->steps_done() < parts_.plan.total_steps) {
    one_step();
    verify_if_due();
    save_if_due();  // first: an evaluation may take hours, or fail
    if (!stop_) evaluate_if_due();
    save_if_due();
  }
  if (profile_) profile_->end();
  settle();
  board_.set_phase(Phase::kEnd);
  fault_point(FaultPoint::kShutdown);
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

/// Before the ranks agree on the last step, so that a rank without data is known before the next begins.
void TrainRun::fetch(std::int64_t steps_done) {
  if (steps_done >= parts_.plan.total_steps) return;
  const auto begin = Clock::now();
  during(Phase::kData, [&] {
    try {
      upcoming_ = loader_->next();
      copy_->start(upcoming_);
    } catch (const NoUsableRecord& error) {
      no_batch_ = error;
    }
  });
  const double waited_s = seconds_since(begin);
  board_.data_waited(waited_s);
  interval_.wait_s += waited_s;
}

void TrainRun::one_step() {
  tell_fault_step(trainer_->steps_done() + 1);
  const bool first = std::exchange(first_step_, false);
  auto batches = std::move(upcoming_);
  copy_->finish(batches);
  const double start_s = first && root() ? seconds_since_process_start() : 0;
  std::vector<BadRecord> met;
  for (const auto& batch : batches) met.insert(met.end(), batch.bad.begin(), batch.bad.end());
  const bool wants_ids = log_config().step_record || log_config().ledger;
  const auto ids = wants_ids ? comm_.all_gather(sample_ids_of(batches)) : at::Tensor();
  if (profile_) profile_->before_step(trainer_->steps_done() + 1);
  const bool ahead = !parts_.device.is_cpu();  // the next rows travel to the GPU while it computes
  if (ahead) fetch(trainer_->steps_done() + 1);
  const double waited_s = board_.waited_s();
  const auto report = trainer_->step(std::move(batches));
  interval_.step_s += report.seconds;
  ++interval_.steps;
  board_.step_done(report.step, parts_.plan.total_steps, report.seconds,
                   report.seconds - (board_.waited_s() - waited_s),
                   interval_.samples_per_s(parts_.plan.geometry.global_batch), report.loss);
  if (start_s > 0) {
    char text[96];
    std::snprintf(text, sizeof(text), "process start to the first forward: %.2f s; first step: %.2f s", start_s,
                  report.seconds);
    log_info(text);
  }
  if (profile_) profile_->before_step(report.step + 1);
  if (!ahead) fetch(trainer_->steps_done());
  const auto boundary = agree_on(!met.empty());
  note_bad_records(met, boundary.bad_records);
  write_step(report, ids);
  if (boundary.storage_failed) saver_->fail();
  if (boundary.no_batch) throw_no_batch();
  stop_ = boundary.stop;
}

/// One all-reduce for everything that a rank may know alone.
TrainRun::Boundary TrainRun::agree_on(bool met_bad_records) {
  // More than there are ranks; one bit is left for the first fact, which only rank 0 knows.
  constexpr std::int64_t kField = 1 << 15;
  std::int64_t mine = 0;
  const auto saver = saver_->look();
  for (const bool fact : {saver.busy, signal_.asked() != 0, saver.failing, met_bad_records, no_batch_.has_value()}) {
    mine = mine * kField + static_cast<std::int64_t>(fact);
  }
  auto sum = comm_.sum(mine);
  const auto next = [&] { return std::exchange(sum, sum / kField) % kField > 0; };
  Boundary boundary;
  boundary.no_batch = next();
  boundary.bad_records = next();
  boundary.storage_failed = next();
  boundary.stop = next();
  saver_->told_busy(next());
  return boundary;
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
  if (log_config().step_record) {
    const Trainer::WholeState whole(*trainer_, Trainer::WholeState::Where::kRoot);
    if (root()) log_->step_record(step_record(report, global_ids, state(), model_names_));
  }
  if (report.verdict != Verdict::kTake && root()) {
    const bool spike = report.verdict == Verdict::kSpike, overflow = report.verdict == Verdict::kOverflow;
    log_warning("step " + std::to_string(report.step) + " skipped: loss " + number_text(report.loss) +
                ", gradient norm " + number_text(report.grad_norm) + (spike ? " is a spike" : " not finite") +
                (overflow ? " in fp16, loss scale lowered to " + number_text(trainer_->scaler()->scale()) : ""));
  }
  const bool due = log_config().every.due(report.step, parts_.plan.geometry);
  if (due || report.step == parts_.plan.total_steps) {
    write_metrics(report);
    return;
  }
  if (!root()) return;
  const double step_s = interval_.seconds() / static_cast<double>(interval_.steps);
  const double left = static_cast<double>(parts_.plan.total_steps - report.step) * step_s;
  show_progress("step " + std::to_string(report.step) + "/" + std::to_string(parts_.plan.total_steps) + "  loss " +
                number_text(std::round(report.loss * 1e4) / 1e4) + "  " +
                number_text(std::round(interval_.samples_per_s(parts_.plan.geometry.global_batch))) +
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

/// What was found out is saved with the next checkpoint; the best and the last one are saved (again) for it.
void TrainRun::evaluate_if_due() {
  auto& evaluations = *parts_.evaluations;
  const auto step = trainer_->steps_done();
  if (!evaluations.due(step)) return;
  const auto begin = Clock::now();
  board_.set_phase(Phase::kEvaluate);
  const auto spec = parts_.objective->needs();
  saver_->wait_for_copy();  // the averages change places with the weights
  clear_save();
  std::optional<WeightEma::InUse> averaged(std::in_place, trainer_->ema());
  const auto metrics = evaluations.run(step,
                                       {.comm = comm_,
                                        .device = parts_.device,
                                        .text = spec.form,
                                        .image_size = spec.image_size,
                                        .workers = static_cast<int>(request_.config.data.workers),
                                        .class_names = parts_.facts.class_names},
                                       [&] { return stop_ = agree_to_stop(); });
  averaged.reset();
  board_.set_phase(Phase::kStep);
  better_ = evaluations.improves(metrics, step);
  if (better_ || (!metrics.empty() && step >= parts_.plan.total_steps)) saved_step_ = -1;
  if (root() && !metrics.empty()) {
    const auto seen = trainer_->samples_seen();
    Json line = {{"step", step},
                 {"epoch", static_cast<double>(seen) / static_cast<double>(parts_.facts.records_per_epoch)},
                 {"samples_seen", seen}};
    std::string text =
        "evaluation after step " + std::to_string(step) + " (" + human_duration(seconds_since(begin)) + "):";
    for (const auto& [name, value] : metrics) {
      if (name.ends_with("/unusable") && value > 0) {
        log_warning(name.substr(0, name.rfind('/')) + ": " + number_text(value) +
                    " records could not be read and are left out of its numbers; `triptych data verify` names them");
      }
      line[name] = value;
      text += "\n  " + name + " " + number_text(std::round(value * 1e4) / 1e4);
    }
    log_->metrics(line);
    log_info(text);
    tell({ControlEvent::Kind::kEvaluation, text.substr(0, text.find('\n')), step, seconds_since(begin)});
  }
  interval_.begin += Clock::now() - begin;  // rates are those of training
}

void TrainRun::verify_if_due() {
  if (request_.config.train.verify_every.due(trainer_->steps_done(), parts_.plan.geometry)) verify();
}

/// Begins to look whether all ranks hold the same bits: clear_save() tells.
void TrainRun::verify() {
  if (verified_step_ == trainer_->steps_done()) return;
  replicas_->begin([this](StateVisitor& visitor) { trainer_->visit_replicas(visitor); }, trainer_->steps_done());
  verified_step_ = trainer_->steps_done();
}

/// Before the state changes. Throws on every rank where one holds other bits than the rest, or where the save in flight
/// holds weights that nothing can go on from, which would push out those that can; such a save is given up. Collective.
void TrainRun::clear_save() {
  replicas_->finish();
  if (!sound_) return;
  trainer_->check_weights();
  sound_->set_value();
  sound_.reset();
}

void TrainRun::save_if_due() {
  const auto& config = request_.config.checkpoint;
  const auto& geometry = parts_.plan.geometry;
  const auto step = trainer_->steps_done();
  const bool fresh = step > 0 && step != saved_step_, milestone = fresh && config.keep_every.due(step, geometry);
  save_due_ |= fresh && config.every.due(step, geometry);
  // Between refused steps nothing is learned, and weights that give no usable gradient would push out those that do.
  const bool now = (save_due_ && trainer_->guard().skipped_in_a_row() == 0) || milestone || better_;
  if ((now || stop_ || step >= parts_.plan.total_steps) && step != saved_step_) save();
  better_ = false;
}

void TrainRun::save() {
  const auto begin = Clock::now();
  verify();
  saved_step_ = trainer_->steps_done();
  save_due_ = false;
  during(Phase::kSave, [&] {
    const Trainer::WholeState whole(*trainer_, Trainer::WholeState::Where::kRoot);
    std::promise<void> sound;
    saver_->save([&](StateSnapshot room) { return stage(std::move(room), sound.get_future().share()); });
    sound_ = std::move(sound);
  });
  if (comm_.size() == 1) clear_save();  // there is nobody to compare with
  stall_s_ += seconds_since(begin);
}

/// The end of a run: every byte must be on the disk, so a failed last save is tried once more. Collective.
void TrainRun::settle() {
  const auto settled = [&] {
    clear_save();
    bool all = false;
    during(Phase::kSave, [&] { all = saver_->settled(); });
    return all;
  };
  if (settled()) return;
  save();
  if (!settled()) saver_->fail();
}

/// Rank 0 alone: every rank holds the same state.
SaveJob TrainRun::stage(StateSnapshot room, std::shared_future<void> sound) {
  const auto& facts = parts_.compute;
  SaveJob job;
  job.manifest = {.step = trainer_->steps_done(),
                  .samples_seen = trainer_->samples_seen(),
                  .files = {},
                  .logs = log_->lengths(),
                  .config_xxh64 = hash_text(xxh64(request_.config_text)),
                  .corpus_fingerprint = hash_text(parts_.corpora->fingerprint()),
                  .class_names_xxh64 = class_names_hash(parts_.facts.class_names),
                  .ranks = facts.ranks,
                  .threads = facts.threads,
                  .device = facts.device,
                  .instruction_set = facts.instruction_set,
                  .program = request_.program};
  job.snapshot = begin_snapshot(state(), model_names_, std::move(room));
  job.config_text = request_.config_text;
  job.logs = log_->files();
  job.best_step = parts_.evaluations->best_step();
  job.sound = std::move(sound);
  return job;
}

/// One rank or several found no record for a row: what they met is noted, then all fail alike.
void TrainRun::throw_no_batch() {
  note_bad_records(no_batch_ ? no_batch_->met() : std::vector<BadRecord>(), true);
  agreed(comm_, [&] {
    if (no_batch_) throw DataError(no_batch_->what());
  });
  throw DataError("unreachable");  // agreed() throws on every rank
}

}  // namespace

ExitCode run_training(const TrainRequest& request, const Place& place, Collectives& comm) {
  return TrainRun(request, place, comm).run();
}

ExitCode run_training(const TrainRequest& request, Launch& launch) {
  auto run = std::make_unique<TrainRun>(request, launch.place(), launch.comm());
  try {
    return run->run();
  } catch (...) {
    // Left as it is: a slow save in flight would hold up the error, and the process is about to end. What is not
    // renamed into place does not count.
    run->give_save_a_moment();
    (void)run.release();
    throw;
  }
}

std::string dry_run(const TrainRequest& request, const Place& place, Collectives& comm) {
  const auto parts = open_parts(request, place, comm, /*resumes=*/false);
  make_loader(request, place, parts, comm);  // for what it refuses
  std::string table = settings_table(request, place, parts, comm.all_gather_text(place.host));
  for (const auto& warning : parts.warnings) table += "  warning: " + warning + "\n";
  return table;
}

std::string dry_run(const TrainRequest& request, Launch& launch) {
  return dry_run(request, launch.place(), launch.comm());
}

}  // namespace triptych
