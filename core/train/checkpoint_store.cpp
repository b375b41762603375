// Which checkpoints a run has, which of them it keeps, and the thread that writes them.
#include "core/train/checkpoint_store.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>

#include "core/base/background.h"
#include "core/base/clock.h"
#include "core/base/errors.h"
#include "core/base/fault_plan.h"
#include "core/base/log.h"
#include "core/base/strings.h"

namespace triptych {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "step_";

/// 1234 of "step_00001234"; nothing for any other name.
std::optional<std::int64_t> step_of(const std::string& name) {
  if (!name.starts_with(kPrefix)) return std::nullopt;
  std::int64_t step = 0;
  const char* end = name.data() + name.size();
  const auto parsed = std::from_chars(name.data() + kPrefix.size(), end, step);
  if (parsed.ec != std::errc() || parsed.ptr != end || step < 0) return std::nullopt;
  return step;
}

/// What lies in a folder; nothing when it is not there. A folder that cannot be listed must not look empty.
std::vector<fs::path> entries_of(const fs::path& folder) {
  std::vector<fs::path> entries;
  std::error_code error;
  fs::directory_iterator entry(folder, error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) entries.push_back(entry->path());
  if (error && error != std::errc::no_such_file_or_directory) {
    throw CheckpointError("cannot list " + folder.string() + ": " + error.message() +
                          "; make it readable, or choose another run.name");
  }
  return entries;
}

/// Renames PATH to PATH.suffix, or PATH.suffix2, ... if that is taken.
fs::path set_aside(const fs::path& path, const std::string& suffix, DiskOps& disk) {
  for (int attempt = 1;; ++attempt) {
    const fs::path aside = path.string() + "." + suffix + (attempt > 1 ? std::to_string(attempt) : "");
    if (fs::exists(fs::symlink_status(aside))) continue;
    disk.rename_durably(path, aside);
    return aside;
  }
}

/// What cannot be removed now does no harm: nothing takes it for a checkpoint.
void remove_if_possible(const fs::path& path, DiskOps& disk) {
  try {
    disk.remove_all(path);
  } catch (const StorageError& error) {
    log_warning(error.what());
  }
}

template <class Future>
bool is_ready(const Future& future) {
  return future.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
}

/// The name of a checkpoint that an earlier start found damaged; empty if there is none.
std::string set_aside_before(const fs::path& folder) {
  for (const auto& entry : entries_of(folder)) {
    const auto name = entry.filename().string();
    if (name.starts_with(kPrefix) && name.find(".bad") != std::string::npos) return name;
  }
  return {};
}

}  // namespace

fs::path CheckpointStore::path(std::int64_t step) const {
  char name[32];
  std::snprintf(name, sizeof(name), "step_%08lld", static_cast<long long>(step));
  return folder_ / name;
}

std::vector<std::int64_t> CheckpointStore::steps() const {
  std::vector<std::int64_t> found;
  for (const auto& entry : entries_of(folder_)) {
    const auto step = step_of(entry.filename().string());
    if (step && entry == path(*step)) found.push_back(*step);
  }
  std::sort(found.rbegin(), found.rend());
  return found;
}

std::optional<CheckpointStore::Found> CheckpointStore::newest_valid(bool look_only) const {
  const auto candidates = steps();
  std::string last_problem;
  for (const auto step : candidates) {
    const auto candidate = path(step);
    try {
      auto manifest = verify_checkpoint(candidate);
      if (manifest.step != step) {
        throw DamagedCheckpoint(candidate.string() + ": holds step " + std::to_string(manifest.step));
      }
      return Found{candidate, std::move(manifest)};
    } catch (const DamagedCheckpoint& error) {
      last_problem = error.what();
      log_warning(look_only
                      ? last_problem
                      : last_problem + "; set aside as " + set_aside(candidate, "bad", *disk_).filename().string());
    }
  }
  const auto before = set_aside_before(folder_);
  if (candidates.empty() && before.empty()) return std::nullopt;
  throw CheckpointError("no usable checkpoint in " + folder_.string() + ": all are damaged" +
                        (candidates.empty() ? ", as " + before + " says" : ", the last one: " + last_problem) +
                        ". Start afresh with another run.name, or repair one and pass --resume PATH");
}

void CheckpointStore::supersede_after(std::int64_t step) const {
  for (const auto other : steps()) {
    if (other > step) set_aside(path(other), "superseded", *disk_);
  }
}

void CheckpointStore::remove_unfinished() const {
  for (const auto& entry : entries_of(folder_)) {
    const auto name = entry.filename().string();
    if (!name.starts_with(kPrefix)) continue;
    const auto extension = entry.extension();
    const auto folder = fs::path(entry).replace_extension();
    if (extension == ".old" && step_of(folder.filename().string()) && !fs::exists(fs::symlink_status(folder))) {
      disk_->rename_durably(entry, folder);
      log_warning(folder.string() + ": brought back; a save that was to replace it was cut off");
    } else if (extension == ".tmp" || extension == ".old") {
      remove_if_possible(entry, *disk_);
    }
  }
}

void CheckpointStore::remove(std::int64_t step) const {
  const fs::path doomed = path(step).string() + ".tmp";
  disk_->remove_all(doomed);
  disk_->rename_durably(path(step), doomed);
  disk_->remove_all(doomed);
}

CheckpointWriter::~CheckpointWriter() {
  wait();
}

void CheckpointWriter::wait() {
  while (!running_.empty()) collect();
}

void CheckpointWriter::wait_at_most(double seconds) {
  if (!running_.empty()) running_.back().ended.wait_for(std::chrono::duration<double>(seconds));
}

void CheckpointWriter::poll() {
  while (!running_.empty() && is_ready(running_.front().ended)) collect();
}

bool CheckpointWriter::ready() const {
  return running_.size() < 2 && (!written_.valid() || is_ready(written_));
}

void CheckpointWriter::save(const Stage& stage) {
  while (running_.size() > 1) collect();
  if (written_.valid()) written_.wait();
  SaveJob job;
  try {
    job = stage(std::move(snapshot_));
  } catch (const StorageError&) {  // noted in its turn, after what was saved before
    std::promise<double> failed;
    failed.set_exception(std::current_exception());
    running_.push_back({-1, failed.get_future().share()});
    return;
  }
  snapshot_ = std::move(job.snapshot);
  const auto step = job.manifest.step;
  const auto before = running_.empty() ? std::shared_future<double>() : running_.back().ended;
  std::promise<void> copied, written;
  copied_ = copied.get_future();
  written_ = written.get_future().share();
  auto work = [this, before, job = std::move(job), copied = std::move(copied), written = std::move(written)]() mutable {
    work_in_background();
    const auto start = Clock::now();
    snapshot_.finish();
    copied.set_value();
    const double copy_s = seconds_since(start);
    if (before.valid()) before.wait();
    return copy_s + write(job, std::move(written));
  };
  running_.push_back({step, std::async(std::launch::async, std::move(work)).share()});
}

void CheckpointWriter::wait_for_copy() {
  if (!copied_.valid()) return;
  copied_.wait();
  copied_ = {};
}

/// Returns the seconds that it took, without those of waiting for the word that the state is sound.
double CheckpointWriter::write(const SaveJob& job, std::promise<void> written) const {
  const FaultStep here(job.manifest.step);
  const auto start = Clock::now();
  double waited = 0;
  auto& disk = store_.disk();
  for (const auto& log : job.logs) disk.sync_file(log);
  write_checkpoint(store_.path(job.manifest.step), job.manifest, snapshot_, job.config_text, disk, [&] {
    written.set_value();
    const auto begin = Clock::now();
    if (job.sound.valid()) job.sound.get();
    waited = seconds_since(begin);
  });
  try {
    prune(job.best_step);
  } catch (const Error& error) {  // the new checkpoint is safe: an old one too many does no harm
    log_warning(error.what());
  }
  return seconds_since(start) - waited;
}

void CheckpointWriter::prune(std::optional<std::int64_t> best_step) const {
  const auto all = store_.steps();  // newest first; the newest was just written and synced
  for (std::size_t i = static_cast<std::size_t>(config_.keep_last); i < all.size(); ++i) {
    if (best_step == all[i] || (all[i] > 0 && config_.keep_every.due(all[i], geometry_))) continue;
    store_.remove(all[i]);
  }
}

/// Ends the oldest running save: a success, or one more failure that training survives.
void CheckpointWriter::collect() {
  const auto ended = running_.front();
  running_.pop_front();
  try {
    last_write_seconds_ = ended.ended.get();
    failures_in_a_row_ = 0;
    log_info("saved " + store_.path(ended.step).string() + " in " + human_duration(last_write_seconds_));
    on_saved_(ended.step, last_write_seconds_);
  } catch (const std::future_error&) {
    log_warning("the save of step " + std::to_string(ended.step) +
                " was given up: the run failed before its state was checked");
  } catch (const std::exception& error) {
    note_failure(error.what());
  }
}

void CheckpointWriter::note_failure(const std::string& what) {
  ++failures_in_a_row_;
  last_error_ = what;
  log_warning("could not save: " + what + " (failure " + std::to_string(failures_in_a_row_) + "; " +
              std::to_string(config_.max_failures) + " in a row end the run; older checkpoints are intact)");
}

}  // namespace triptych
