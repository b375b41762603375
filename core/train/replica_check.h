// The guard against silent corruption: ranks must hold the same bits, and one whose memory or processor has changed
// some does not say so by itself.
#pragma once
#include <cstdint>
#include <future>
#include <memory>
#include <string>

#include "core/base/errors.h"
#include "core/train/state_snapshot.h"
#include "distributed/collectives.h"

namespace triptych {

/// The ranks' states have drifted apart: exit 5, so that whoever restarts lost peers restarts this too.
class ReplicaError : public PeerError {
 public:
  /// `culprit`: the one rank that differs from a majority, -1 where there is none.
  explicit ReplicaError(const std::string& what, int culprit = -1) : PeerError(what), culprit_(culprit) {}
  bool agreed() const override { return true; }
  int culprit() const { return culprit_; }

 private:
  int culprit_;
};

/// Compares a state between the ranks, item by item, by xxh64. A thread hashes while training goes on.
class ReplicaCheck {
 public:
  /// `host`: of this rank, for the message.
  ReplicaCheck(Collectives& comm, std::string host);
  ~ReplicaCheck();  ///< waits for the thread
  /// Takes what `visit` lists after `step`. What stays_until_change() must not change before finish() has returned.
  void begin(const VisitState& visit, std::int64_t step);
  /// Waits for the hashes of what was begun, and does nothing where nothing was. All-gathers 8 bytes where the ranks
  /// agree. Throws ReplicaError on every rank, naming the step, the first item that differs, and the rank(s) and
  /// host(s) whose bits are not the majority's; all of them where there is no majority, as with two ranks. Collective.
  void finish();

 private:
  class ItemHashes;
  [[noreturn]] void throw_difference(const ItemHashes& mine);
  Collectives& comm_;
  const std::string host_;
  std::int64_t step_ = 0;
  std::unique_ptr<ItemHashes> items_;
  std::future<void> hashed_;
};

}  // namespace triptych
