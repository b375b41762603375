// Runs a body on N ranks, each a thread, as mpirun would run it on N processes.
#pragma once
#include <chrono>
#include <exception>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "distributed/thread_backend.h"

namespace triptych {

/// body(Collectives&) on every rank at once; rethrows the exception that came first. A rank that throws or returns
/// breaks the group, so that nobody waits for it: ranks still in a collective (or waiting longer than `timeout`) get
/// PeerError.
template <class Body>
void run_ranks(int size, Body&& body, std::chrono::milliseconds timeout = std::chrono::seconds(60)) {
  ThreadGroup group(size, timeout);
  std::mutex mutex;
  std::exception_ptr first;
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank) {
    threads.emplace_back([&, rank] {
      try {
        body(group.comm(rank));
        group.break_off("rank " + std::to_string(rank) + " has finished");
      } catch (...) {
        {
          const std::lock_guard lock(mutex);
          if (!first) first = std::current_exception();
        }
        group.break_off("rank " + std::to_string(rank) + " has thrown");
      }
    });
  }
  for (auto& thread : threads) thread.join();
  if (first) std::rethrow_exception(first);
}

}  // namespace triptych
