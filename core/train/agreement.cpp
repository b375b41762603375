// Sends errors as "code message" and throws them again.
#include "core/train/agreement.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <future>

#include "core/base/errors.h"

namespace triptych {
namespace {

/// An error that is the same on every rank although its type alone does not say so.
template <class Base>
class OnEveryRank : public Base {
 public:
  using Base::Base;
  bool agreed() const override { return true; }
};

[[noreturn]] void throw_typed(const std::string& sent) {
  const auto space = sent.find(' ');
  const auto code = static_cast<ExitCode>(std::stoi(sent));
  const auto message = sent.substr(space + 1);
  switch (code) {
    case ExitCode::kUsage:
      throw ConfigError(message);
    case ExitCode::kNoCheckpoint:
      throw OnEveryRank<CheckpointError>(message);
    case ExitCode::kStorage:
      throw OnEveryRank<StorageError>(message);
    case ExitCode::kData:
      throw OnEveryRank<DataError>(message);
    default:
      throw OnEveryRank<PeerError>(message);
  }
}

/// "code message" of what `work` threw; empty if it did not.
std::string caught(const std::function<void()>& work) {
  try {
    work();
    return {};
  } catch (const Error& error) {
    return std::to_string(static_cast<int>(error.code())) + " " + error.what();
  }
}

std::string own_host() {
  char name[256] = "";
  ::gethostname(name, sizeof name - 1);
  return name;
}

/// Names the rank where not all met an error.
void throw_first(Collectives& comm, const std::string& mine) {
  const auto all = comm.all_gather_text(mine);
  const auto first = std::find_if(all.begin(), all.end(), [](const auto& sent) { return !sent.empty(); });
  if (first == all.end()) return;
  if (std::none_of(all.begin(), all.end(), [](const auto& sent) { return sent.empty(); })) throw_typed(*first);
  const auto rank = static_cast<std::size_t>(first - all.begin());
  const auto host = comm.all_gather_text(own_host())[rank];
  const auto space = first->find(' ');
  throw_typed(first->substr(0, space + 1) + "rank " + std::to_string(rank) + " on " + host + ": " +
              first->substr(space + 1));
}

/// caught(), while the ranks meet every second until all are done: so no collective waits longer than it may.
std::string caught_at_length(Collectives& comm, const std::function<void()>& work) {
  auto mine = std::async(std::launch::async, [&] { return caught(work); });
  const auto working = [&] { return mine.wait_for(std::chrono::seconds(1)) != std::future_status::ready; };
  while (comm.sum(static_cast<std::int64_t>(working())) > 0) {
  }
  return mine.get();
}

}  // namespace

void agreed(Collectives& comm, const std::function<void()>& work) {
  throw_first(comm, caught(work));
}

void agreed_at_length(Collectives& comm, const std::function<void()>& work) {
  throw_first(comm, caught_at_length(comm, work));
}

void first_of_host_first(Collectives& comm, bool first_of_host, const std::function<void()>& open) {
  agreed_at_length(comm, [&] {
    if (first_of_host) open();
  });
  agreed_at_length(comm, [&] {
    if (!first_of_host) open();
  });
}

std::string on_root(Collectives& comm, const std::function<std::string()>& work) {
  std::string result;
  const auto sent = caught_at_length(comm, [&] {
    if (comm.rank() == 0) result = work();
  });
  const auto answer = comm.broadcast_text(sent.empty() ? "+" + result : "-" + sent, 0);
  if (answer[0] == '-') throw_typed(answer.substr(1));
  return answer.substr(1);
}

void check_same_everywhere(Collectives& comm, const std::string& fact, const std::string& value) {
  const auto values = comm.all_gather_text(value);
  for (std::size_t rank = 1; rank < values.size(); ++rank) {
    if (values[rank] == values[0]) continue;
    throw ConfigError("the " + fact + " of rank " + std::to_string(rank) + " (" + values[rank] +
                      ") is not that of rank 0 (" + values[0] + "); start every rank alike");
  }
}

}  // namespace triptych
