// One start of the ranks: the process of mpirun or srun, the watch over its ranks, and how it ended.
#pragma once
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "distributed/launcher/child.h"
#include "distributed/launcher/control_server.h"
#include "distributed/launcher/rank_output.h"
#include "distributed/launcher/watch.h"

namespace triptych {

struct AttemptPlan {
  std::vector<std::string> command;                ///< of mpirun or srun
  std::map<std::string, std::string> environment;  ///< of that process, over the launcher's own
  std::string address;                             ///< where the ranks find the launcher
  std::string token;                               ///< of the job
  WatchRules rules;
};

struct AttemptEnd {
  int code = 0;                  ///< exit code of the cause
  bool rank_known_dead = false;  ///< a rank or a host was seen to go, or to hang
  std::string text;              ///< what ended it, one line; empty: it ended by itself
  std::string host;              ///< that caused it, "" where unknown
  bool trained = false;          ///< a rank was seen beyond its start
};

struct AttemptEvents {
  std::function<void(double seconds)> joined;  ///< all ranks are known; since the start
  std::function<void(const ProgressBoard::View&)> step;
  std::function<void(int rank, const ControlEvent&)> event;  ///< of rank 0, or what any rank notes
  /// A fatal one is the cause of the end if it is the first; `view` is of its first rank, or of
  /// any where all are meant.
  std::function<void(const Finding&, const ProgressBoard::View& view)> finding;
  std::function<void(const AttemptEnd&)> end;  ///< the last call; destroying the Attempt in it is allowed
};

class Attempt {
 public:
  /// Starts. Throws as Child and ControlServer do.
  Attempt(boost::asio::io_context& io, AttemptPlan plan, RankOutput& output, AttemptEvents events);
  ~Attempt();
  Attempt(const Attempt&) = delete;
  Attempt& operator=(const Attempt&) = delete;

  /// All ranks save and stop at the next step boundary, those too that join later.
  void ask_stop();
  /// Ends everything now.
  void kill();
  Rates rates() const { return watch_.rates(); }
  int ranks() const { return plan_.rules.ranks; }

 private:
  void on_join(const RankIdentity& who);
  void on_report(int rank, const ProgressBoard::View& view, Clock::time_point now);
  void on_event(int rank, const ControlEvent& event);
  void on_gone(int rank, const LinkEnd& how);
  void on_child_end(const ChildEnd& end);
  void tick();
  void take(const Finding& finding);
  void tear_down(double after_s);
  void next_step_of_tear_down();
  void kill_own_ranks() const;
  bool is_rank(std::int64_t pid) const;

  AttemptPlan plan_;
  AttemptEvents events_;
  Watch watch_;
  ControlServer server_;
  boost::asio::steady_timer tick_timer_, down_timer_;
  Clock::time_point begin_ = Clock::now();
  std::set<int> ranks_;               ///< that ever joined
  std::map<int, RankIdentity> live_;  ///< whose connection stands: their pids are theirs
  std::map<int, ProgressBoard::View> views_;
  std::map<int, std::string> notes_;  ///< the last one of each rank: why it ends
  std::optional<Finding> cause_;
  bool stop_asked_ = false, all_joined_ = false, going_down_ = false, trained_ = false, saved_and_left_ = false;
  int down_steps_ = 0;
  std::int64_t steps_told_ = -1;
  std::shared_ptr<int> alive_ = std::make_shared<int>();  ///< a timer that is due already fires even when it is gone
  Child child_;                                           // last: it may call back while the others are there
};

}  // namespace triptych
