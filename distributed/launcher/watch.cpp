#include "distributed/launcher/watch.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <utility>

#include "core/base/errors.h"
#include "core/base/strings.h"

namespace triptych {
namespace {

constexpr std::size_t kStepsKept = 256;
constexpr std::size_t kRanksListed = 8;

std::string times(double factor) {
  return number_text(std::round(factor * 10) / 10);
}

/// While some rank opens or saves, the others meet it in a collective every second: those move even where a file system
/// is dead.
bool is_progress(const ProgressBoard::View& before, const ProgressBoard::View& now) {
  if (now.step != before.step || now.phase != before.phase || now.beats != before.beats) return true;
  const bool meets = now.phase == Phase::kStart || now.phase == Phase::kSave;
  return !meets && (now.collective != before.collective || now.in_collective != before.in_collective);
}

}  // namespace

const char* finding_name(Finding::Kind kind) {
  switch (kind) {
    case Finding::Kind::kRankGone:
      return "rank_gone";
    case Finding::Kind::kRankFailed:
      return "rank_failed";
    case Finding::Kind::kHostGone:
      return "host_gone";
    case Finding::Kind::kLinkCut:
      return "link_cut";
    case Finding::Kind::kHang:
      return "hang";
    case Finding::Kind::kPause:
      return "pause";
    case Finding::Kind::kStraggler:
      return "straggler";
    case Finding::Kind::kRecovered:
      return "recovered";
  }
  return "unknown";
}

std::string ranks_text(const std::vector<int>& ranks) {
  std::vector<std::string> parts;
  for (std::size_t i = 0; i < ranks.size() && i < kRanksListed; ++i) parts.push_back(std::to_string(ranks[i]));
  if (ranks.size() > kRanksListed) parts.push_back(std::to_string(ranks.size() - kRanksListed) + " more");
  return (ranks.size() == 1 ? "rank " : "ranks ") + join(parts, ", ");
}

Watch::Watch(WatchRules rules, std::function<void(int)> ask_stack)
    : rules_(std::move(rules)), ask_stack_(std::move(ask_stack)) {
  if (rules_.ranks < 1) throw std::invalid_argument("Watch: ranks must be >= 1");
  if (rules_.straggler_steps < 2) throw std::invalid_argument("Watch: straggler_steps must be >= 2");
  ranks_.assign(static_cast<std::size_t>(rules_.ranks), Rank(rules_.straggler_steps));
}

void Watch::advance(Clock::time_point now) {
  if (last_call_ != Clock::time_point{}) {
    const double passed = std::chrono::duration<double>(now - last_call_).count();
    now_ += std::clamp(passed, 0.0, rules_.largest_tick_s);
  }
  last_call_ = now;
}

/// Adds the host where all of its ranks share one.
void Watch::tell(Finding finding) {
  if (!finding.ranks.empty()) {
    finding.host = ranks_[finding.ranks.front()].host;
    for (const int rank : finding.ranks) {
      if (ranks_[rank].host != finding.host) finding.host.clear();
    }
  }
  over_ = over_ || finding.fatal;
  findings_.push_back(std::move(finding));
}

std::string Watch::named(int rank) const {
  const auto& host = ranks_[rank].host;
  return "rank " + std::to_string(rank) + (host.empty() ? "" : " on " + host);
}

/// "step 41, phase step, in collective 812 (ALLREDUCE)".
std::string Watch::place_of(int rank) const {
  const auto& view = ranks_[rank].view;
  std::string text = "step " + std::to_string(view.step) + ", phase " + phase_name(view.phase);
  if (view.operation.empty()) return text;
  return text + (view.in_collective ? ", in collective " : ", last collective ") + std::to_string(view.collective) +
         " (" + view.operation + ")";
}

std::vector<int> Watch::ranks_on(const std::string& host) const {
  std::vector<int> found;
  for (int rank = 0; rank < rules_.ranks; ++rank) {
    if (ranks_[rank].host == host && ranks_[rank].life != Rank::Life::kEnded) found.push_back(rank);
  }
  return found;
}

void Watch::join(const RankIdentity& who, Clock::time_point now) {
  advance(now);
  auto& rank = ranks_.at(static_cast<std::size_t>(who.rank));
  rank.life = Rank::Life::kLive;
  rank.host = who.host;
  rank.pid = who.pid;
  rank.reported = progress_ = now_;
  rank.pause_told = false;
}

void Watch::report(int number, const ProgressBoard::View& view, Clock::time_point now) {
  advance(now);
  auto& rank = ranks_.at(static_cast<std::size_t>(number));
  if (!over_ && !rank.pause_told && now_ - rank.reported >= silence_limit_s() / 2) tell_pause(number);
  rank.pause_told = false;
  rank.reported = now_;
  if (is_progress(rank.view, view)) {
    progress_ = now_;
    asked_at_ = -1;
  }
  if (view.steps_here > rank.view.steps_here) {
    const auto steps = static_cast<double>(view.steps_here - rank.view.steps_here);
    steps_s_.push_back((view.step_total_s - rank.view.step_total_s) / steps);
    if (steps_s_.size() > kStepsKept) steps_s_.pop_front();
  }
  rank.view = view;
  if (rank.pace.add(view)) judge_pace(number);
}

void Watch::stack(int rank, const std::string& text) {
  if (asked_at_ < 0 || asked_.erase(rank) == 0) return;
  stacks_[rank] = text;
}

std::vector<Finding> Watch::tick(Clock::time_point now) {
  advance(now);
  tick_lost();
  tick_pauses();
  tick_hang();
  return std::exchange(findings_, {});
}

void Watch::gone(int number, const LinkEnd& how, Clock::time_point now) {
  advance(now);
  auto& rank = ranks_.at(static_cast<std::size_t>(number));
  rank.left = now_;
  rank.how = how.kind;
  switch (how.kind) {
    case LinkEnd::Kind::kGoodbye:
      rank.life = Rank::Life::kEnded;
      progress_ = now_;
      judge_goodbye(number, how);
      return;
    case LinkEnd::Kind::kBadLine:
      rank.life = Rank::Life::kAway;
      return;
    case LinkEnd::Kind::kClosed:
      rank.life = Rank::Life::kGone;
      judge_closed(number);
      return;
    case LinkEnd::Kind::kTimedOut:
      rank.life = Rank::Life::kGone;
      judge_timed_out(number);
      return;
  }
}

/// Where all end for one reason, the first to say so is not to blame, and its host neither.
void Watch::judge_goodbye(int number, const LinkEnd& how) {
  if (how.code == 0 || how.code == static_cast<int>(ExitCode::kPreempted) || over_) return;
  const auto with_code = " with code " + std::to_string(how.code);
  const auto place = " (" + place_of(number) + ")";
  Finding finding{Finding::Kind::kRankFailed, {number}};
  finding.fatal = true;
  finding.code = how.code;
  if (!how.agreed) {
    finding.text = named(number) + " ended" + with_code + place;
  } else if (how.culprit >= 0 && how.culprit < rules_.ranks) {
    finding.ranks = {how.culprit};
    finding.text = "all ranks end" + with_code + " because of " + named(how.culprit) + place;
  } else {
    finding.ranks.clear();
    finding.text = "all ranks end" + with_code + " for one reason" + place;
  }
  tell(std::move(finding));
}

void Watch::lost(int rank, const std::string& what) {
  if (over_) return;  // the first took the others with it
  Finding finding{Finding::Kind::kRankGone, {rank}};
  finding.text =
      named(rank) + " is gone: " + what + " (process " + std::to_string(ranks_[rank].pid) + "; " + place_of(rank) + ")";
  finding.fatal = true;
  finding.after_s = now_ - ranks_[rank].reported;
  tell(std::move(finding));
}

/// All of `ranks` went in that way within `together_s`, and nobody elsewhere went before the last of them: then the job
/// was ending.
bool Watch::host_went_together(const std::vector<int>& ranks, LinkEnd::Kind how) const {
  double first = now_, last = 0;
  for (const int rank : ranks) {
    if (ranks_[rank].life != Rank::Life::kGone || ranks_[rank].how != how) return false;
    first = std::min(first, ranks_[rank].left);
    last = std::max(last, ranks_[rank].left);
  }
  const auto elsewhere = [&](const Rank& rank) {
    return rank.life == Rank::Life::kGone && rank.host != ranks_[ranks.front()].host && rank.left <= last;
  };
  return last - first <= rules_.together_s && std::none_of(ranks_.begin(), ranks_.end(), elsewhere);
}

/// One rank of a host cannot tell whether its host went too, and the launcher's host did not go.
void Watch::judge_closed(int rank) {
  lost(rank, "its connection closed without a goodbye");
  const auto& host = ranks_[rank].host;
  const auto ranks = ranks_on(host);
  if (ranks.size() < 2 || host == rules_.own_host || !host_went_together(ranks, LinkEnd::Kind::kClosed)) return;
  if (!hosts_told_.insert(host).second) return;
  Finding finding{Finding::Kind::kHostGone, ranks};
  finding.text = "host " + host + " is gone (" + ranks_text(ranks) + ")";
  finding.fatal = true;
  finding.after_s = now_ - ranks_[rank].reported;
  tell(std::move(finding));
}

void Watch::judge_timed_out(int rank) {
  const auto& host = ranks_[rank].host;
  const auto ranks = ranks_on(host);
  if (over_ || host == rules_.own_host || !host_went_together(ranks, LinkEnd::Kind::kTimedOut)) return;
  hosts_told_.insert(host);
  Finding finding{Finding::Kind::kLinkCut, ranks};
  finding.text = "link to " + host + " is cut or the machine is down (" + ranks_text(ranks) + ")";
  finding.fatal = true;
  finding.after_s = now_ - ranks_[rank].reported;
  tell(std::move(finding));
}

/// Those of whom more had to be known first.
void Watch::tick_lost() {
  for (int number = 0; number < rules_.ranks && !over_; ++number) {
    const auto& rank = ranks_[number];
    const double since = now_ - rank.left;
    if (rank.life == Rank::Life::kGone && rank.how == LinkEnd::Kind::kTimedOut && since >= rules_.together_s) {
      lost(number, "its machine does not answer, though other ranks there do");
    }
    if (rank.life == Rank::Life::kAway && since >= rules_.back_s) {
      ranks_[number].life = Rank::Life::kGone;
      lost(number, "its connection was broken by a line that was not its own, and it did not come back");
    }
  }
}

/// The larger of the medians of the others' two blocks: when all become slower at once, some tell it later.
double Watch::usual_busy_s(int number) const {
  std::vector<double> older, newer;
  for (int rank = 0; rank < rules_.ranks; ++rank) {
    if (rank == number || ranks_[rank].life != Rank::Life::kLive) continue;
    if (const auto blocks = ranks_[rank].pace.busy_s()) {
      older.push_back((*blocks)[0]);
      newer.push_back((*blocks)[1]);
    }
  }
  return older.empty() ? 0 : std::max(median_of(older), median_of(newer));
}

/// Slow is who is slow in both blocks, well again who is slow in none: one odd step changes nothing.
void Watch::judge_pace(int number) {
  auto& rank = ranks_[number];
  const auto blocks = rank.pace.busy_s();
  const double usual = usual_busy_s(number);
  if (over_ || !blocks || usual <= 0) return;
  const auto [faster, slower] = std::minmax((*blocks)[0], (*blocks)[1]);
  if (rank.slow ? slower > rules_.straggler * usual : faster <= rules_.straggler * usual) return;
  rank.slow = !rank.slow;
  const double factor = ((*blocks)[0] + (*blocks)[1]) / 2 / usual;
  const auto own = human_duration((*blocks)[1]) + " of own work a step, the others " + human_duration(usual);
  Finding finding{rank.slow ? Finding::Kind::kStraggler : Finding::Kind::kRecovered, {number}};
  finding.text = rank.slow ? named(number) + " slows the job: it is " + times(factor) + " times as slow (" + own + ")"
                           : named(number) + " keeps pace again (" + own + ")";
  finding.factor = factor;
  tell(std::move(finding));
}

RankRate::State Watch::state_of(const Rank& rank) const {
  using State = RankRate::State;
  switch (rank.life) {
    case Rank::Life::kAbsent:
      return State::kAbsent;
    case Rank::Life::kLive:
      if (now_ - rank.reported >= silence_limit_s() / 2) return State::kSilent;
      return rank.slow ? State::kSlow : State::kOk;
    case Rank::Life::kAway:
      return State::kSilent;
    case Rank::Life::kGone:
      return State::kGone;
    case Rank::Life::kEnded:
      return State::kEnded;
  }
  return State::kAbsent;
}

Rates Watch::rates() const {
  Rates rates;
  rates.median_step_s = median_step_s();
  bool spoken = false;
  for (int number = 0; number < rules_.ranks; ++number) {
    const auto& rank = ranks_[number];
    const double since = rank.life == Rank::Life::kAbsent ? 0 : now_ - rank.reported;
    rates.ranks.push_back({number, rank.host, state_of(rank), rank.view, rank.pace.shares(), since});
    rates.step = std::max(rates.step, rank.view.step);
    rates.total = std::max(rates.total, rank.view.total);
    if (spoken || rank.life != Rank::Life::kLive) continue;
    spoken = true;
    rates.samples_per_s = rank.view.samples_per_s;
    rates.loss = rank.view.loss;
  }
  return rates;
}

}  // namespace triptych
