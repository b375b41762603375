// Faults on purpose, for tests of the whole program: TRIPTYCH_FAULTS=FILE names a JSON list of what goes wrong on which
// rank, at which point of which step:
//   [{"rank": 1, "step": 3, "point": "ckpt.write", "action": "enospc", "bytes": 100}]
// Without it a point costs one load and one branch.
#pragma once
#include <atomic>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace triptych {

/// In a plan: data.read, decode, fwd, bwd, allreduce.enter, allreduce.exit, opt, ema, queue, ckpt.open, ckpt.write,
/// ckpt.fsync, ckpt.manifest, ckpt.rename, ckpt.dirsync, ckpt.prune, eval, shutdown.
enum class FaultPoint {
  kDataRead,
  kDecode,
  kForward,
  kBackward,
  kAllReduceEnter,
  kAllReduceExit,
  kOptimizer,
  kEma,
  kQueue,
  kCheckpointOpen,
  kCheckpointWrite,
  kCheckpointSync,
  kCheckpointManifest,  ///< before the manifest is made
  kCheckpointRename,
  kCheckpointFolderSync,
  kCheckpointPrune,  ///< before a file or folder of an old or unfinished checkpoint goes
  kEvaluation,
  kShutdown
};

/// In a plan: kill, stop, segv, abort, exit0, throw, delay, spin (done by the point itself); nan, flip, enospc, eio,
/// short (done by the code around it, at the points that FaultPlan names).
enum class FaultAction {
  kNone,
  kKill,
  kStop,
  kSegv,
  kAbort,
  kExit0,
  kThrow,
  kDelay,
  kSpin,
  kNan,
  kFlip,
  kNoSpace,
  kIoError,
  kShort
};

/// One entry of a plan.
struct Fault {
  std::int64_t rank = -1;  ///< -1: every rank
  std::int64_t step = -1;  ///< number of the update, from 1; 0 before the first; -1: every step
  FaultPoint point = FaultPoint::kForward;
  FaultAction action = FaultAction::kKill;
  std::int64_t count = 1;  ///< how often it strikes; 0: every time
  std::int64_t skip = 0;   ///< how often the point is passed before
  double seconds = 0;      ///< of a delay
  std::int64_t bytes = 0;  ///< of a failing or short write: so many reach the file first
};

/// What the code around a point is asked to do.
struct FaultOrder {
  FaultAction action = FaultAction::kNone;
  std::int64_t bytes = 0;
  explicit operator bool() const { return action != FaultAction::kNone; }
  int error_number() const;  ///< ENOSPC or EIO
};

/// What the code around a point can do; what it cannot is left to another that passes the point.
enum class FaultServes { kNothing, kNumbers /*nan, flip*/, kDisk /*enospc, eio, short*/ };

/// Reads a plan strictly. Throws ConfigError with file, line, entry and field: unknown keys, points and actions, an
/// action that its point cannot do, `seconds` or `bytes` where they mean nothing.
std::vector<Fault> read_fault_plan(const std::filesystem::path& file);
/// From here on these faults strike; none: points cost nothing again.
void plan_faults(std::vector<Fault> faults);
/// plan_faults of the file that TRIPTYCH_FAULTS names; what to say in the log, or nothing without that variable.
std::string plan_faults_of_environment();

/// Who this process is (rank 0 before it is told), and which step it works on (0 before).
void tell_fault_rank(int rank);
void tell_fault_step(std::int64_t step);

/// The step that this thread works on while it lives: of loaders, which are ahead, and of savers, which are behind.
class FaultStep {
 public:
  explicit FaultStep(std::int64_t step);
  ~FaultStep();
  FaultStep(const FaultStep&) = delete;
  FaultStep& operator=(const FaultStep&) = delete;

 private:
  std::int64_t before_;
};

namespace fault_detail {
extern std::atomic<bool> planned;
FaultOrder meet(FaultPoint point, FaultServes serves);
}  // namespace fault_detail

/// Strikes if the plan says so. Throws std::runtime_error for the action `throw`.
inline FaultOrder fault_point(FaultPoint point, FaultServes serves = FaultServes::kNothing) {
  if (!fault_detail::planned.load(std::memory_order_relaxed)) [[likely]]
    return {};
  return fault_detail::meet(point, serves);
}

}  // namespace triptych
