// The guard against silent corruption: ranks must hold the same bits, and one whose memory or processor has changed
// some does not say so by itself.
#pragma once
#include <cstdint>
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

/// Compares what `visit` lists, item by item, by xxh64. All-gathers 8 bytes where the ranks agree. Throws ReplicaError
/// on every rank, naming `step`, the first item that differs, and the rank(s) and host(s) whose bits are not the
/// majority's; all of them where there is no majority, as with two ranks. Collective.
void check_replicas(const VisitState& visit, std::int64_t step, const std::string& host, Collectives& comm);

}  // namespace triptych
