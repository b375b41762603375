// Ranks as threads of one process: what tests of distributed code run on, and, with one rank, what a plain shell runs
// on.
#pragma once
#include <chrono>
#include <memory>
#include <string>

#include "distributed/collectives.h"

namespace triptych {

/// `size` ranks that meet in memory. Rank r's thread uses comm(r) and no other. A collective blocks until every rank
/// has called it; sums are added in rank order (bf16 and fp16 in fp32, rounded once), so all ranks get the same bits.
class ThreadGroup {
 public:
  explicit ThreadGroup(int size, std::chrono::milliseconds timeout = std::chrono::minutes(10));
  ~ThreadGroup();
  ThreadGroup(const ThreadGroup&) = delete;
  ThreadGroup& operator=(const ThreadGroup&) = delete;

  Collectives& comm(int rank);
  /// A rank will not come any more: whoever waits for it, or calls a collective from now on, gets PeerError(reason).
  void break_off(const std::string& reason);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace triptych
