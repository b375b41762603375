// Judges what ranks report: who is gone, who hangs and where, who is slow. Pure logic: time and reports are fed in.
#pragma once
#include <deque>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "core/base/clock.h"
#include "distributed/launcher/control_server.h"
#include "distributed/launcher/pace.h"
#include "distributed/launcher/progress.h"

namespace triptych {

/// Seconds, where nothing else is said. A rule at infinity is off.
struct WatchRules {
  int ranks = 1;
  std::string own_host = {};  ///< the launcher's: never said to be gone
  double hang_s = 10;         ///< a job in which nothing moves for this long hangs,
  double hang_steps = 10;     ///< or for as many median steps, whichever is longer
  double quiet_s = 600;       ///< instead of both before the first step and while a rank evaluates, saves or starts
  double together_s = 1;      ///< ranks of a host that go within this time went for one reason
  double back_s = 10;         ///< a rank whose connection was broken by a bad line comes back within this time
  double stack_s = 2;         ///< wait for the stacks of hanging ranks
  double straggler = 1.5;     ///< busy this many times as long as the median of the others
  int straggler_steps = 10;   ///< in this many steps
  double largest_tick_s = 2;  ///< more between two calls is time in which the launcher itself was stopped: not counted
};

/// "rank 3" or "ranks 0, 1, 2", the first eight.
std::string ranks_text(const std::vector<int>& ranks);

struct Finding {
  enum class Kind {
    kRankGone,    ///< its connection ended without a goodbye
    kRankFailed,  ///< it said goodbye with `code`; without ranks: all do, and none is to blame
    kHostGone,    ///< all ranks of a host went together; may follow the kRankGone of the first
    kLinkCut,     ///< no rank of a host answers
    kHang,        ///< nothing moves; `ranks` are those the others wait for
    kPause,       ///< a rank is silent for half of what would be a hang
    kStraggler,   ///< a rank slows the others
    kRecovered,   ///< a straggler no longer does
  };
  Kind kind = Kind::kRankGone;
  std::vector<int> ranks = {};
  std::string host = {};  ///< of all of them; empty if they are on several
  std::string text = {};  ///< what and who, for people; the first line says it all, stacks may follow
  bool fatal = false;     ///< the job cannot go on
  int code = 0;           ///< kRankFailed
  double after_s = 0;     ///< since the last sign of what is missing
  double factor = 0;      ///< kStraggler
};

/// "rank_gone", "rank_failed", "host_gone", "link_cut", "hang", "pause", "straggler", "recovered".
const char* finding_name(Finding::Kind kind);

/// One rank for the live view.
struct RankRate {
  enum class State { kAbsent, kOk, kSlow, kSilent, kGone, kEnded };
  int rank = 0;
  std::string host;
  State state = State::kAbsent;
  ProgressBoard::View view;
  TimeShares shares;  ///< of the last steps
  double since_report_s = 0;
};

struct Rates {
  std::int64_t step = 0, total = 0;  ///< the farthest rank's
  double samples_per_s = 0;          ///< of the job, as the lowest running rank says
  double loss = 0;                   ///< the same rank's
  double median_step_s = 0;          ///< 0 before the first step
  std::vector<RankRate> ranks;
};

/// `now` must not go back. After a fatal finding only what makes it clearer follows.
class Watch {
 public:
  /// `ask_stack` is called for the ranks the others wait for; the answer may come through `stack`.
  Watch(WatchRules rules, std::function<void(int rank)> ask_stack);

  void join(const RankIdentity& who, Clock::time_point now);
  void report(int rank, const ProgressBoard::View& view, Clock::time_point now);
  void stack(int rank, const std::string& text);
  void gone(int rank, const LinkEnd& how, Clock::time_point now);
  /// What was found since the last call. To be called a few times a second, and after `gone` to be told at once.
  std::vector<Finding> tick(Clock::time_point now);

  Rates rates() const;
  /// Seconds without which a job in its present phase would be found to hang.
  double hang_limit_s() const;

 private:
  struct Rank {
    enum class Life { kAbsent, kLive, kAway, kGone, kEnded };
    Life life = Life::kAbsent;
    std::string host;
    std::int64_t pid = 0;
    ProgressBoard::View view;
    double reported = 0, left = 0;  ///< in `now_`'s seconds
    LinkEnd::Kind how = LinkEnd::Kind::kGoodbye;
    bool pause_told = false, slow = false;
    Pace pace;
    explicit Rank(int straggler_steps) : pace(straggler_steps) {}
  };
  void advance(Clock::time_point now);
  void tell(Finding finding);
  std::string named(int rank) const;
  std::string place_of(int rank) const;
  std::vector<int> ranks_on(const std::string& host) const;

  void judge_goodbye(int rank, const LinkEnd& how);
  void judge_closed(int rank);
  void judge_timed_out(int rank);
  void lost(int rank, const std::string& what);
  bool host_went_together(const std::vector<int>& ranks, LinkEnd::Kind how) const;
  void tick_lost();

  double median_step_s() const;
  double silence_limit_s() const;
  bool is_quiet() const;
  void tick_pauses();
  void tell_pause(int rank);
  void tick_hang();
  bool hangs() const;
  std::vector<int> missing_ranks() const;
  std::vector<int> silent_ranks(double at_least_s) const;
  Finding hang() const;
  Finding hang_in_collective() const;
  void start_asking(const Finding& finding);

  void judge_pace(int rank);
  double usual_busy_s(int rank) const;
  RankRate::State state_of(const Rank& rank) const;

  const WatchRules rules_;
  const std::function<void(int)> ask_stack_;
  std::vector<Rank> ranks_;
  std::vector<Finding> findings_;
  Clock::time_point last_call_{};
  double now_ = 0;       // seconds in which this process was not stopped
  double progress_ = 0;  // when anything last moved
  bool over_ = false;
  std::set<std::string> hosts_told_;
  std::deque<double> steps_s_;  // the newest of all ranks
  double asked_at_ = -1;        // for stacks; < 0: not asked
  std::set<int> asked_;         // who has not answered yet
  std::map<int, std::string> stacks_;
};

}  // namespace triptych
