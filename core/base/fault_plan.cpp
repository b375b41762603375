// Reading a plan, and striking.
#include "core/base/fault_plan.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <mutex>
#include <stdexcept>
#include <string_view>
#include <thread>

#include "core/base/config_reader.h"
#include "core/base/log.h"

namespace triptych {
namespace {

// In the order of the enumerations.
constexpr std::array<const char*, 18> kPointNames = {
    "data.read",    "decode",     "fwd",       "bwd",        "allreduce.enter", "allreduce.exit", "opt",
    "ema",          "queue",      "ckpt.open", "ckpt.write", "ckpt.fsync",      "ckpt.manifest",  "ckpt.rename",
    "ckpt.dirsync", "ckpt.prune", "eval",      "shutdown"};
constexpr std::array<const char*, 14> kActionNames = {"none",  "kill", "stop", "segv", "abort",  "exit0", "throw",
                                                      "delay", "spin", "nan",  "flip", "enospc", "eio",   "short"};

template <std::size_t n>
std::vector<std::string> names_from(const std::array<const char*, n>& names, std::size_t first) {
  return {names.begin() + first, names.end()};
}

template <std::size_t n>
std::size_t index_in(const std::array<const char*, n>& names, const std::string& name) {
  return static_cast<std::size_t>(std::find(names.begin(), names.end(), name) - names.begin());
}

bool on_disk(FaultAction action) {
  return action >= FaultAction::kNoSpace;
}

bool of_checkpoints(FaultPoint point) {
  return point >= FaultPoint::kCheckpointOpen && point <= FaultPoint::kCheckpointPrune;
}

/// Where the code around a point does what `action` asks.
bool possible(FaultPoint point, FaultAction action) {
  switch (action) {
    case FaultAction::kNan:
      return point == FaultPoint::kForward || point == FaultPoint::kBackward;
    case FaultAction::kFlip:
      return point == FaultPoint::kAllReduceExit || point == FaultPoint::kOptimizer || point == FaultPoint::kEma;
    case FaultAction::kNoSpace:
      return of_checkpoints(point);
    case FaultAction::kIoError:
      return of_checkpoints(point) || point == FaultPoint::kDataRead;
    case FaultAction::kShort:
      return point == FaultPoint::kCheckpointWrite;
    default:
      return true;
  }
}

/// An entry as it stands in the file.
struct FaultEntry {
  std::int64_t rank = -1, step = -1, count = 1, skip = 0, bytes = 0;
  std::string point, action;
  double seconds = 0;
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("rank", c.rank, "-1: every rank", at_least(-1));
    field("step", c.step, "-1: every step", at_least(-1));
    field("point", c.point, "where", one_of(names_from(kPointNames, 0)));
    field("action", c.action, "what", one_of(names_from(kActionNames, 1)));
    field("count", c.count, "how often; 0: every time", at_least(0));
    field("skip", c.skip, "how often the point is passed before", at_least(0));
    field("seconds", c.seconds, "of a delay", at_least(0));
    field("bytes", c.bytes, "that a failing write writes first", at_least(0));
  }
  Fault fault() const {
    return {rank,
            step,
            static_cast<FaultPoint>(index_in(kPointNames, point)),
            static_cast<FaultAction>(index_in(kActionNames, action)),
            count,
            skip,
            seconds,
            bytes};
  }
  void validate() const {
    if (point.empty()) throw FieldError("point", "is missing");
    if (action.empty()) throw FieldError("action", "is missing");
    const auto meant = fault();
    if (!possible(meant.point, meant.action)) throw FieldError("action", action + " cannot be done at " + point);
    if ((meant.action == FaultAction::kDelay) != (seconds > 0)) {
      throw FieldError("seconds", "a delay, and nothing else, has some");
    }
    if (bytes > 0 && !(on_disk(meant.action) && meant.point == FaultPoint::kCheckpointWrite)) {
      throw FieldError("bytes", "only a failing or short ckpt.write has some");
    }
  }
};

struct PlannedFault {
  Fault fault;
  std::int64_t passed = 0, struck = 0;
};

std::mutex plan_mutex;
std::vector<PlannedFault> plan;
std::atomic<std::int64_t> told_rank{0}, told_step{0};
thread_local std::int64_t own_step = -1;

bool served(FaultAction action, FaultServes serves) {
  if (action < FaultAction::kNan) return true;
  return serves == (on_disk(action) ? FaultServes::kDisk : FaultServes::kNumbers);
}

/// The first fault that strikes here, if any, marked as done.
Fault take_fault(FaultPoint point, FaultServes serves, std::int64_t rank, std::int64_t step) {
  const std::lock_guard lock(plan_mutex);
  for (auto& [fault, passed, struck] : plan) {
    if (fault.point != point || (fault.rank >= 0 && fault.rank != rank) || (fault.step >= 0 && fault.step != step)) {
      continue;
    }
    if (!served(fault.action, serves) || (fault.count > 0 && struck == fault.count)) continue;
    if (passed++ < fault.skip) continue;
    ++struck;
    return fault;
  }
  Fault nothing;
  nothing.action = FaultAction::kNone;
  return nothing;
}

[[noreturn]] void for_ever() {
  static std::atomic<std::uint64_t> turns{0};
  while (true) ++turns;
}

void strike(const Fault& fault, const std::string& what) {
  switch (fault.action) {
    case FaultAction::kKill:
      ::kill(::getpid(), SIGKILL);
      for_ever();  // the signal may take a moment
    case FaultAction::kStop:
      ::kill(::getpid(), SIGSTOP);
      return;
    case FaultAction::kSegv:
      ::raise(SIGSEGV);
      return;
    case FaultAction::kAbort:
      std::abort();
    case FaultAction::kExit0:
      ::_exit(0);
    case FaultAction::kThrow:
      throw std::runtime_error(what);
    case FaultAction::kDelay:
      std::this_thread::sleep_for(std::chrono::duration<double>(fault.seconds));
      return;
    case FaultAction::kSpin:
      for_ever();
    default:
      return;
  }
}

}  // namespace

namespace fault_detail {

std::atomic<bool> planned{false};

FaultOrder meet(FaultPoint point, FaultServes serves) {
  const auto rank = told_rank.load(), step = own_step >= 0 ? own_step : told_step.load();
  const auto fault = take_fault(point, serves, rank, step);
  if (fault.action == FaultAction::kNone) return {};
  const auto what = std::string("planned fault: ") + kActionNames[static_cast<std::size_t>(fault.action)] + " at " +
                    kPointNames[static_cast<std::size_t>(point)] + ", rank " + std::to_string(rank) + ", step " +
                    std::to_string(step);
  log_warning(what);
  if (fault.action >= FaultAction::kNan) return {fault.action, fault.bytes};
  strike(fault, what);
  return {};
}

}  // namespace fault_detail

int FaultOrder::error_number() const {
  return action == FaultAction::kNoSpace ? ENOSPC : EIO;
}

std::vector<Fault> read_fault_plan(const std::filesystem::path& file) {
  std::vector<FaultEntry> entries;
  read_value(parse_yaml_file(file), "faults", {}, entries);  // JSON is YAML, and this reader is strict
  std::vector<Fault> faults;
  for (const auto& entry : entries) faults.push_back(entry.fault());
  return faults;
}

void plan_faults(std::vector<Fault> faults) {
  const std::lock_guard lock(plan_mutex);
  plan.clear();
  for (auto& fault : faults) plan.push_back({fault});
  fault_detail::planned = !plan.empty();
}

std::string plan_faults_of_environment() {
  const char* file = std::getenv("TRIPTYCH_FAULTS");
  if (file == nullptr || *file == '\0') return {};
  auto faults = read_fault_plan(file);
  const auto count = faults.size();
  plan_faults(std::move(faults));
  return "TRIPTYCH_FAULTS=" + std::string(file) + ": " + std::to_string(count) +
         " faults are planned; this run is a test of how it fails";
}

void tell_fault_rank(int rank) {
  told_rank = rank;
}

void tell_fault_step(std::int64_t step) {
  told_step = step;
}

FaultStep::FaultStep(std::int64_t step) : before_(own_step) {
  own_step = step;
}

FaultStep::~FaultStep() {
  own_step = before_;
}

}  // namespace triptych
