// The checkpoints of a run: RUN/checkpoints/step_########. Finds the newest valid one, sets damaged ones aside, writes
// new ones in the background and removes old ones.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <future>
#include <optional>
#include <string>
#include <vector>

#include "core/train/checkpoint.h"
#include "core/train/checkpoint_config.h"

namespace triptych {

class CheckpointStore {
 public:
  explicit CheckpointStore(std::filesystem::path folder, DiskOps& disk = system_disk())
      : folder_(std::move(folder)), disk_(&disk) {}
  struct Found {
    std::filesystem::path path;
    Manifest manifest;
  };
  std::filesystem::path path(std::int64_t step) const;
  /// Steps of complete-looking checkpoints, newest first. Unfinished, replaced and set-aside ones are not listed; time
  /// stamps mean nothing.
  std::vector<std::int64_t> steps() const;
  /// The newest checkpoint whose every byte is as the manifest says. Damaged ones on the way are renamed to .bad with a
  /// warning. Nothing if there never was one; CheckpointError if there are only damaged ones, set aside now or before,
  /// or if one cannot be read. With `look_only` nothing is renamed.
  std::optional<Found> newest_valid(bool look_only = false) const;
  /// Renames every checkpoint newer than `step` to .superseded: another branch of the run begins there.
  void supersede_after(std::int64_t step) const;
  /// Removes what killed processes left unfinished; brings back what one replaced (.old) where the new is not in place.
  void remove_unfinished() const;
  /// Removes a checkpoint so that a crash half-way leaves nothing that looks complete.
  void remove(std::int64_t step) const;
  DiskOps& disk() const { return *disk_; }  ///< what changes the folder

 private:
  std::filesystem::path folder_;
  DiskOps* disk_;
};

/// What one save writes.
struct SaveJob {
  Manifest manifest;
  StateSnapshot snapshot;
  std::string config_text;
  std::vector<std::filesystem::path> logs;  ///< synced before the manifest says how long they are
  std::optional<std::int64_t> best_step;    ///< stays, by checkpoint.keep_best
};

/// Writes in one background thread, at most one checkpoint at a time; then removes what the configuration does not
/// keep.
class CheckpointWriter {
 public:
  CheckpointWriter(CheckpointStore store, CheckpointConfig config, RunGeometry geometry)
      : store_(std::move(store)), config_(std::move(config)), geometry_(geometry) {}
  ~CheckpointWriter();  ///< waits
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;
  /// Waits for the save that is running.
  void wait();
  /// Called, by poll or wait, for each checkpoint that is on the disk.
  void on_saved(std::function<void(std::int64_t step, double seconds)> call) { on_saved_ = std::move(call); }
  /// Begins a snapshot of the state; `room` is the memory of the last one (begin_snapshot).
  using Stage = std::function<SaveJob(StateSnapshot room)>;
  /// Waits for the previous save, then calls `stage` (so at most one copy exists); the thread finishes the snapshot and
  /// writes it. The state must not change before wait_for_copy() has returned.
  void save(const Stage& stage);
  /// Waits until the state of the last save() is copied. Returns at once if it is.
  void wait_for_copy();
  /// Waits for the save that is running, but not longer.
  void wait_at_most(double seconds);
  /// Looks, without waiting, whether a save has ended, and logs how.
  void poll();
  std::int64_t failures_in_a_row() const { return failures_in_a_row_; }
  const std::string& last_error() const { return last_error_; }
  double last_write_seconds() const { return last_write_seconds_; }

 private:
  void write(const SaveJob& job) const;
  void prune(std::optional<std::int64_t> best_step) const;
  void collect();
  void note_failure(const std::string& what);
  CheckpointStore store_;
  CheckpointConfig config_;
  RunGeometry geometry_;
  SaveJob job_;                  ///< of the last save: what the thread reads while it runs
  std::future<double> running_;  ///< seconds that the write took
  std::future<void> copied_;     ///< the state is
  std::filesystem::path running_path_;
  std::int64_t failures_in_a_row_ = 0;
  std::function<void(std::int64_t step, double seconds)> on_saved_ = [](std::int64_t, double) {};
  std::string last_error_;
  double last_write_seconds_ = 0;
};

}  // namespace triptych
