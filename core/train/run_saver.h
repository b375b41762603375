// The saves of a run: rank 0 writes, every rank knows how it ends. No rank waits for a save inside a collective longer
// than train.timeout_s allows.
#pragma once
#include <functional>
#include <memory>

#include "core/train/checkpoint_store.h"
#include "distributed/collectives.h"

namespace triptych {

class RunSaver {
 public:
  using Stage = CheckpointWriter::Stage;  ///< rank 0 alone
  /// `writer`: rank 0's, null on the others.
  RunSaver(Collectives& comm, std::unique_ptr<CheckpointWriter> writer, std::int64_t max_failures);
  /// Waits for the save before, unless all know that there is room; then stages and lets a thread write. Collective.
  void save(const Stage& stage);
  /// Returns when the state of the last save is copied, so that it may change.
  void wait_for_copy();
  /// Looks, without waiting, at the saves in flight: whether another would wait for them, and whether too many have
  /// failed in a row. True on rank 0 alone, which tells the others.
  struct Look {
    bool busy = false, failing = false;
  };
  Look look();
  /// What rank 0 saw in the last look(), told to every rank alike.
  void told_busy(bool busy) { busy_ = busy; }
  /// Waits for the save in flight; whether every byte of it is on the disk. Collective.
  bool settled();
  /// Throws StorageError on every rank. Collective.
  [[noreturn]] void fail();
  /// Before a run ends in an error: gives the save in flight a last moment.
  void wait_at_most(double seconds);

 private:
  void wait();
  Collectives& comm_;
  std::unique_ptr<CheckpointWriter> writer_;
  std::int64_t max_failures_;
  bool busy_ = true;  ///< as far as all ranks know
};

}  // namespace triptych
