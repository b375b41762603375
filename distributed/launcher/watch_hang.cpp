// When nothing moves: how long is too long, and whom the others wait for.
#include <algorithm>

#include "core/base/strings.h"
#include "distributed/launcher/watch.h"

namespace triptych {
namespace {

constexpr std::size_t kRanksDescribed = 8;
constexpr std::size_t kStacksAsked = 4;

bool has_own_limit(Phase phase) {
  return phase == Phase::kStart || phase == Phase::kEvaluate || phase == Phase::kSave;
}

}  // namespace

double Watch::median_step_s() const {
  return steps_s_.empty() ? 0 : median_of({steps_s_.begin(), steps_s_.end()});
}

/// Reports come from a thread of their own: no phase excuses silence.
double Watch::silence_limit_s() const {
  return std::max(rules_.hang_s, rules_.hang_steps * median_step_s());
}

bool Watch::is_quiet() const {
  const auto excused = [&](const Rank& rank) {
    return rank.life == Rank::Life::kLive && has_own_limit(rank.view.phase) &&
           now_ - rank.reported < silence_limit_s() / 2;
  };
  return steps_s_.empty() || std::any_of(ranks_.begin(), ranks_.end(), excused);
}

double Watch::hang_limit_s() const {
  return is_quiet() ? std::max(rules_.quiet_s, silence_limit_s()) : silence_limit_s();
}

void Watch::tell_pause(int rank) {
  ranks_[rank].pause_told = true;
  const double silent = now_ - ranks_[rank].reported;
  Finding finding{Finding::Kind::kPause, {rank}};
  finding.text = named(rank) + " does not report for " + human_duration(silent) +
                 ": it is stopped or its machine is overloaded (" + place_of(rank) + ")";
  finding.after_s = silent;
  tell(std::move(finding));
}

void Watch::tick_pauses() {
  if (over_) return;
  for (const int rank : silent_ranks(silence_limit_s() / 2)) {
    if (!ranks_[rank].pause_told) tell_pause(rank);
  }
}

/// Only before the first step: later a rank that is not seen is one that was started without a control channel.
std::vector<int> Watch::missing_ranks() const {
  std::vector<int> missing;
  if (!steps_s_.empty()) return missing;
  for (int rank = 0; rank < rules_.ranks; ++rank) {
    if (ranks_[rank].life == Rank::Life::kAbsent) missing.push_back(rank);
  }
  return missing;
}

std::vector<int> Watch::silent_ranks(double at_least_s) const {
  std::vector<int> silent;
  for (int rank = 0; rank < rules_.ranks; ++rank) {
    if (ranks_[rank].life == Rank::Life::kLive && now_ - ranks_[rank].reported >= at_least_s) silent.push_back(rank);
  }
  return silent;
}

bool Watch::hangs() const {
  const auto waits = [](const Rank& rank) {
    return rank.life == Rank::Life::kLive || rank.life == Rank::Life::kAbsent;
  };
  if (std::none_of(ranks_.begin(), ranks_.end(), waits)) return false;
  const double still = now_ - progress_;
  return still >= hang_limit_s() || (still >= silence_limit_s() && !silent_ranks(silence_limit_s()).empty());
}

/// Asks for stacks first; the finding is final when they are there, or did not come.
void Watch::tick_hang() {
  if (over_ || !hangs()) {
    asked_at_ = -1;
    return;
  }
  auto finding = hang();
  if (asked_at_ < 0) start_asking(finding);
  if (!asked_.empty() && now_ - asked_at_ < rules_.stack_s) return;
  for (const auto& [rank, text] : stacks_) finding.text += "\nstack of " + named(rank) + ":\n" + text;
  for (const int rank : asked_) finding.text += "\n" + named(rank) + " did not send its stack";
  tell(std::move(finding));
}

void Watch::start_asking(const Finding& finding) {
  asked_at_ = now_;
  asked_.clear();
  stacks_.clear();
  const auto silent = silent_ranks(silence_limit_s() / 2);
  for (const int rank : finding.ranks) {
    const bool answers = ranks_[rank].life == Rank::Life::kLive && !std::count(silent.begin(), silent.end(), rank);
    if (answers && ask_stack_ && asked_.size() < kStacksAsked) asked_.insert(rank);
  }
  for (const int rank : std::set<int>(asked_)) ask_stack_(rank);  // an answer may come at once
}

/// Whom the others wait for: ranks that never came, that are stopped, or that are not where the others are.
Finding Watch::hang() const {
  const auto still = "the job hangs, nothing moves for " + human_duration(now_ - progress_) + ": ";
  Finding finding{Finding::Kind::kHang, missing_ranks()};
  finding.fatal = true;
  finding.after_s = now_ - progress_;
  if (!finding.ranks.empty()) {
    finding.text = still + ranks_text(finding.ranks) + " never joined";
    return finding;
  }
  finding.ranks = silent_ranks(silence_limit_s() / 2);
  if (finding.ranks.empty()) {
    const auto waited_for = hang_in_collective();
    finding.ranks = waited_for.ranks;
    finding.text = still + waited_for.text;
    return finding;
  }
  std::vector<std::string> parts;
  for (const int rank : finding.ranks) {
    if (parts.size() == kRanksDescribed) break;
    parts.push_back(named(rank) + " is stopped, silent for " + human_duration(now_ - ranks_[rank].reported) + " (" +
                    place_of(rank) + ")");
  }
  finding.text = still + triptych::join(parts, "; ");
  return finding;
}

/// All reports come. Those in the newest collective wait for those who are not.
Finding Watch::hang_in_collective() const {
  const Rank* newest = nullptr;
  std::vector<int> live, outside;
  for (int rank = 0; rank < rules_.ranks; ++rank) {
    if (ranks_[rank].life != Rank::Life::kLive) continue;
    live.push_back(rank);
    if (!newest || ranks_[rank].view.collective > newest->view.collective) newest = &ranks_[rank];
  }
  const auto number = newest->view.collective;
  std::vector<std::string> parts;
  for (const int rank : live) {
    const auto& view = ranks_[rank].view;
    if (view.in_collective && view.collective == number) continue;
    outside.push_back(rank);
    if (parts.size() < kRanksDescribed) parts.push_back(named(rank) + " (" + place_of(rank) + ")");
  }
  const auto waiting = live.size() - outside.size();
  const auto where = "collective " + std::to_string(number) + " (" + newest->view.operation + ")";
  Finding found{Finding::Kind::kHang, outside};
  if (outside.empty()) {
    found.ranks = live;
    found.text = "all " + std::to_string(waiting) + " running ranks are in " + where +
                 ": a rank that ended is missing there, or the network between them";
  } else if (waiting == 0) {
    found.text = "no rank waits in a collective: " + triptych::join(parts, "; ");
  } else {
    found.text = std::to_string(waiting) + (waiting == 1 ? " rank waits in " : " ranks wait in ") + where + " for " +
                 triptych::join(parts, "; ");
  }
  return found;
}

}  // namespace triptych
