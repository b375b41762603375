// The checkpoints of a run: RUN/checkpoints/step_########. Finds the newest valid one, sets damaged ones aside, writes
// new ones in the background and removes old ones.
#pragma once
#include <cstdint>
#include <deque>
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
  std::shared_future<void> sound;           ///< ready: the state was found good, and may become a checkpoint
};

/// Writes in a background thread, one checkpoint after the other; then removes what the configuration does not keep.
class CheckpointWriter {
 public:
  CheckpointWriter(CheckpointStore store, CheckpointConfig config, RunGeometry geometry)
      : store_(std::move(store)), config_(std::move(config)), geometry_(geometry) {}
  ~CheckpointWriter();  ///< waits
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;
  /// Waits for all saves that are running.
  void wait();
  /// Called, by poll or wait, for each checkpoint that is on the disk.
  void on_saved(std::function<void(std::int64_t step, double seconds)> call) { on_saved_ = std::move(call); }
  /// Begins a snapshot of the state; `room` is the memory of the last one (begin_snapshot).
  using Stage = std::function<SaveJob(StateSnapshot room)>;
  /// Waits until the previous snapshot is written, then calls `stage` (so at most one copy exists); the thread finishes
  /// the snapshot, writes it, and renames it into place once SaveJob::sound is ready; it gives the save up where the
  /// promise of that is broken. The state must not change before wait_for_copy() has returned.
  void save(const Stage& stage);
  /// Waits until the state of the last save() is copied. Returns at once if it is.
  void wait_for_copy();
  /// Waits for the saves that are running, but not longer.
  void wait_at_most(double seconds);
  /// Looks, without waiting, whether saves have ended, and logs how.
  void poll();
  /// Whether save() would return without waiting.
  bool ready() const;
  std::int64_t failures_in_a_row() const { return failures_in_a_row_; }
  const std::string& last_error() const { return last_error_; }
  double last_write_seconds() const { return last_write_seconds_; }

 private:
  struct Running {
    std::int64_t step;
    std::shared_future<double> ended;  ///< seconds that the write took
  };
  double write(const SaveJob& job, std::promise<void> written) const;
  void prune(std::optional<std::int64_t> best_step) const;
  void collect();
  void note_failure(const std::string& what);
  CheckpointStore store_;
  CheckpointConfig config_;
  RunGeometry geometry_;
  StateSnapshot snapshot_;            ///< of the last save: what its thread reads until it is written
  std::deque<Running> running_;       ///< at most two: one is renamed into place while the next is copied
  std::future<void> copied_;          ///< the state is
  std::shared_future<void> written_;  ///< the snapshot is, or never will be
  std::int64_t failures_in_a_row_ = 0;
  std::function<void(std::int64_t step, double seconds)> on_saved_ = [](std::int64_t, double) {};
  std::string last_error_;
  double last_write_seconds_ = 0;
};

}  // namespace triptych
