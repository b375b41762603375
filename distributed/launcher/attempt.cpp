// Ends come in any order: the connection of a rank, the process of mpirun, a finding of the watch. The first fatal
// finding is the cause; the end of the process is the end.
#include "distributed/launcher/attempt.h"

#include <signal.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <utility>

#include "core/base/errors.h"
#include "distributed/launcher/host_check.h"

namespace triptych {
namespace {

using std::chrono::milliseconds;

constexpr auto kTick = milliseconds(250);
// mpirun clears up after a dead rank by itself, and its exit code then tells the signal. A rank that met an error may
// take some time to say so, though its connection is closed.
constexpr double kLeftToEngine_s = 3;
constexpr auto kBetweenBlows = milliseconds(1500);

ChildCommand command_of(const AttemptPlan& plan, const std::string& address) {
  ChildCommand command;
  command.words = plan.command;
  command.environment = plan.environment;
  command.environment["TRIPTYCH_CONTROL"] = address;
  command.environment["TRIPTYCH_JOB_TOKEN"] = plan.token;
  return command;
}

bool ends_what_engine_cannot(Finding::Kind kind) {
  return kind == Finding::Kind::kHang || kind == Finding::Kind::kHostGone || kind == Finding::Kind::kLinkCut;
}

int code_of(const std::optional<Finding>& cause, const ChildEnd& end) {
  if (!cause) return end.code;
  if (cause->kind == Finding::Kind::kRankFailed && cause->code != 0) return cause->code;
  if (ends_what_engine_cannot(cause->kind)) return static_cast<int>(ExitCode::kLostPeer);
  return end.code == 0 ? static_cast<int>(ExitCode::kLostPeer) : end.code;  // a rank is gone: this was no success
}

std::string first_line(const std::string& text) {
  return text.substr(0, text.find('\n'));
}

}  // namespace

Attempt::Attempt(boost::asio::io_context& io, AttemptPlan plan, RankOutput& output, AttemptEvents events)
    : plan_(std::move(plan)),
      events_(std::move(events)),
      watch_(plan_.rules, [this](int rank) { server_.ask_stack(rank); }),
      server_(io, {.address = plan_.address, .ranks = plan_.rules.ranks, .token = plan_.token},
              {.on_join = [this](const auto& who) { on_join(who); },
               .on_report = [this](int rank, const auto& view, auto now) { on_report(rank, view, now); },
               .on_event = [this](int rank, const auto& event) { on_event(rank, event); },
               .on_stack = [this](int rank, const auto& text) { watch_.stack(rank, text); },
               .on_gone = [this](int rank, const auto& how) { on_gone(rank, how); },
               .on_refused =
                   [&output](const auto& who, const auto& why, bool) {
                     output.say(Stream::kErr, "launch: rank " + std::to_string(who.rank) + " on " + who.host +
                                                  " was turned away: " + why);
                   }}),
      tick_timer_(io),
      down_timer_(io),
      child_(io, command_of(plan_, server_.address()),
             {.line = [&output](Stream stream, std::string_view line, bool whole) { output.add(stream, line, whole); },
              .end = [this](const ChildEnd& end) { on_child_end(end); }}) {
  tick();
}

Attempt::~Attempt() = default;

void Attempt::on_join(const RankIdentity& who) {
  ranks_.insert(who.rank);
  live_[who.rank] = who;
  watch_.join(who, Clock::now());
  if (stop_asked_) server_.ask_stop();
  if (all_joined_ || static_cast<int>(ranks_.size()) < plan_.rules.ranks) return;
  all_joined_ = true;
  events_.joined(seconds_since(begin_));
}

void Attempt::on_report(int rank, const ProgressBoard::View& view, Clock::time_point now) {
  watch_.report(rank, view, now);
  views_[rank] = view;
  trained_ |= view.phase != Phase::kStart;
  if (view.steps_here > 0 && view.step > steps_told_) {
    steps_told_ = view.step;
    events_.step(view);
  }
}

void Attempt::on_event(int rank, const ControlEvent& event) {
  if (event.kind == ControlEvent::Kind::kNote) notes_[rank] = event.text;
  events_.event(rank, event);
}

void Attempt::on_gone(int rank, const LinkEnd& how) {
  live_.erase(rank);
  if (how.kind == LinkEnd::Kind::kGoodbye) saved_and_left_ |= how.code == static_cast<int>(ExitCode::kPreempted);
  watch_.gone(rank, how, Clock::now());
  for (auto& finding : watch_.tick(Clock::now())) {  // told at once
    const auto why = notes_.find(rank);
    if (finding.kind == Finding::Kind::kRankFailed && why != notes_.end()) finding.text += ": " + why->second;
    take(finding);
  }
}

void Attempt::tick() {
  for (const auto& finding : watch_.tick(Clock::now())) take(finding);
  tick_timer_.expires_after(kTick);
  tick_timer_.async_wait([this, alive = std::weak_ptr<int>(alive_)](const auto& error) {
    if (!error && !alive.expired()) tick();
  });
}

void Attempt::take(const Finding& finding) {
  if (down_steps_ > 0) return;  // what goes now was ended here
  const auto seen = finding.ranks.empty() ? views_.begin() : views_.find(finding.ranks.front());
  events_.finding(finding, seen == views_.end() ? ProgressBoard::View() : seen->second);
  if (!finding.fatal) return;
  // That a whole host is gone says more than that its first rank is.
  if (!cause_ || (cause_->kind == Finding::Kind::kRankGone && ends_what_engine_cannot(finding.kind))) cause_ = finding;
  tear_down(ends_what_engine_cannot(finding.kind) ? 0 : kLeftToEngine_s);
}

void Attempt::ask_stop() {
  stop_asked_ = true;
  server_.ask_stop();
}

void Attempt::kill() {
  server_.ask_leave();
  kill_own_ranks();
  down_steps_ = std::max(down_steps_, 1);  // mpirun is asked first: it removes its files
  tear_down(0);
}

void Attempt::tear_down(double after_s) {
  if (going_down_ && after_s > 0) return;
  going_down_ = true;
  down_timer_.expires_after(milliseconds(static_cast<int>(after_s * 1000)));
  down_timer_.async_wait([this, alive = std::weak_ptr<int>(alive_)](const auto& error) {
    if (!error && !alive.expired()) next_step_of_tear_down();
  });
}

/// Ranks are asked and those of this machine killed; then mpirun is asked, which kills the ranks elsewhere; then
/// killed.
void Attempt::next_step_of_tear_down() {
  if (child_.ended()) return;
  const int step = down_steps_++;
  if (step == 0) {
    server_.ask_leave();
    kill_own_ranks();
  } else if (step == 1) {
    child_.signal(SIGTERM);
  } else if (step >= 3) {
    child_.signal_group(SIGKILL);
  }
  down_timer_.expires_after(kBetweenBlows);
  down_timer_.async_wait([this, alive = std::weak_ptr<int>(alive_)](const auto& error) {
    if (!error && !alive.expired()) next_step_of_tear_down();
  });
}

/// By its environment: the number alone is what a message says, and may be another process's by now.
bool Attempt::is_rank(std::int64_t pid) const {
  std::ifstream file("/proc/" + std::to_string(pid) + "/environ", std::ios::binary);
  const std::string environment(std::istreambuf_iterator<char>(file), {});
  const auto mine = "TRIPTYCH_CONTROL=" + server_.address() + '\0';
  return environment.starts_with(mine) || environment.find('\0' + mine) != std::string::npos;
}

/// A stopped process does not read what it is asked.
void Attempt::kill_own_ranks() const {
  for (const auto& [rank, who] : live_) {
    if (is_this_machine(who.host) && who.pid > 1 && is_rank(who.pid)) ::kill(static_cast<pid_t>(who.pid), SIGKILL);
  }
}

void Attempt::on_child_end(const ChildEnd& end) {
  for (const auto& finding : watch_.tick(Clock::now())) take(finding);
  tick_timer_.cancel();
  down_timer_.cancel();
  // A rank that outlives mpirun (killed itself, or unable to end a stopped one) would hold the run's lock.
  server_.ask_leave();
  kill_own_ranks();
  AttemptEnd result;
  // Ranks agree on stopping; engines that see one of them leave with 75 may report a code of their own.
  result.code = !cause_ && saved_and_left_ ? static_cast<int>(ExitCode::kPreempted) : code_of(cause_, end);
  result.rank_known_dead = cause_.has_value();
  result.trained = trained_;
  if (cause_) {
    result.text = first_line(cause_->text);
    result.host = cause_->host;
  }
  const auto call = std::move(events_.end);
  call(result);  // may destroy this
}

}  // namespace triptych
