#include "distributed/launcher/supervisor.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <string_view>
#include <utility>

#include "core/base/errors.h"
#include "core/base/log.h"
#include "core/base/strings.h"

namespace triptych {
namespace {

namespace fs = std::filesystem;

constexpr double kStepLineEvery_s = 10;
constexpr double kAskHostsEvery_s = 5;

double monotonic_s() {
  static const auto begin = Clock::now();
  return seconds_since(begin);
}

std::string signal_name(int number) {
  const char* name = ::sigabbrev_np(number);
  return name == nullptr ? "signal " + std::to_string(number) : std::string("SIG") + name;
}

bool is_ignored(int number) {
  struct sigaction now {};
  return ::sigaction(number, nullptr, &now) == 0 && now.sa_handler == SIG_IGN;
}

/// A handler: only calls that are safe there.
void leave_before_a_start(int number) {
  const auto say = [](const char* text) { [[maybe_unused]] const auto ignored = ::write(2, text, std::strlen(text)); };
  const char* name = ::sigabbrev_np(number);
  say("launch: SIG");
  say(name == nullptr ? "?" : name);
  say(" before a start; the same command goes on\n");
  ::_exit(static_cast<int>(ExitCode::kPreempted));
}

GoodputLedger told_before(const fs::path& journal) {
  GoodputLedger ledger;
  if (!fs::exists(journal)) return ledger;
  for (const auto& line : read_journal(journal).lines) ledger.add(line);
  return ledger;
}

FileHandle lock_launch(const fs::path& run_dir) {
  std::error_code error;
  fs::create_directories(run_dir, error);
  if (error) throw storage_error("cannot create", run_dir, error.value());
  const auto path = run_dir / "launch.lock";
  FileHandle file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666));
  if (file.get() < 0) throw storage_error("cannot open", path, errno);
  if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) {
      throw ConfigError("launch: " + run_dir.string() + " is run by another launcher (" + read_file(path, 1 << 10) +
                        "); stop that one, or give this run another name: --set run.name=...");
    }
    log_warning("launch: this file system cannot lock " + path.string() + " (" + std::strerror(errno) +
                "): make sure that no second launcher uses this run");
  }
  char host[256] = "";
  ::gethostname(host, sizeof host - 1);
  const auto who = std::string(host) + ":" + std::to_string(::getpid());
  if (::ftruncate(file.get(), 0) != 0) throw storage_error("cannot write", path, errno);
  write_fully(file.get(), who.data(), who.size(), path);
  return file;
}

std::vector<std::string> names_of(const std::vector<HostShare>& shares) {
  std::vector<std::string> names;
  for (const auto& share : shares) names.push_back(share.host.name);
  return names;
}

int ranks_of(const std::vector<HostShare>& shares) {
  int ranks = 0;
  for (const auto& share : shares) ranks += share.ranks;
  return ranks;
}

std::int64_t or_unknown(const std::optional<std::int64_t>& step) {
  return step.value_or(0);
}

std::string code_text(int code) {
  if (code > 128 && code < 128 + 65) return "code " + std::to_string(code) + " (" + signal_name(code - 128) + ")";
  return "code " + std::to_string(code);
}

}  // namespace

std::vector<HostShare> shares_of(const LaunchPlan& plan, const std::set<std::string>& excluded) {
  const int ranks =
      plan.elastic ? choose_ranks(*plan.elastic, plan.divisors, usable_slots(plan.hosts, excluded)) : plan.ranks;
  return place_ranks(plan.hosts, ranks, excluded);
}

std::vector<std::string> command_of(const LaunchPlan& plan, const std::vector<HostShare>& shares, bool again) {
  JobShape shape = plan.shape;
  shape.shares = shares;
  shape.program = again ? plan.program_again : plan.program;
  return plan.engine == Engine::kSrun ? srun_command(shape) : mpirun_command(shape);
}

std::optional<std::int64_t> newest_step(const fs::path& run_dir) {
  std::optional<std::int64_t> newest;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(run_dir / "checkpoints", error)) {
    auto name = entry.path().filename().string();
    if (name.ends_with(".old")) name.resize(name.size() - 4);  // the next start brings it back
    const std::string digits = name.starts_with("step_") ? name.substr(5) : "";
    const bool number = !digits.empty() && digits.size() < 19 &&
                        std::all_of(digits.begin(), digits.end(), [](unsigned char c) { return std::isdigit(c); });
    if (number && fs::exists(entry.path() / "manifest.json", error)) {
      newest = std::max<std::int64_t>(newest.value_or(0), std::stoll(digits));
    }
  }
  return newest;
}

void leave_on_stop_signals() {
  struct sigaction action {};
  action.sa_handler = leave_before_a_start;
  for (const int number : {SIGINT, SIGTERM, SIGUSR1}) ::sigaction(number, &action, nullptr);
  if (!is_ignored(SIGHUP)) ::sigaction(SIGHUP, &action, nullptr);
}

Supervisor::Supervisor(boost::asio::io_context& io, LaunchPlan plan)
    : io_(io),
      plan_(std::move(plan)),
      monitor_(open_monitor()),
      lock_(lock_launch(plan_.run_dir)),
      goodput_(told_before(plan_.run_dir / "launch.jsonl")),
      journal_(plan_.run_dir / "launch.jsonl"),
      policy_(plan_.restarts, monotonic_s, plan_.divisors.global_batch,
              [this](std::int64_t first, std::int64_t count) {
                return plan_.records_of ? plan_.records_of(first / count + 1) : std::string();
              }),
      output_(io, plan_.engine, {}),
      view_(plan_.run, plan_.config),
      signals_(io, SIGINT, SIGTERM, SIGUSR1),
      backoff_(io),
      token_(new_job_token()) {
  if (!is_ignored(SIGHUP)) signals_.add(SIGHUP);
  if (monitor_) say("live view at " + monitor_->url());
}

/// Before the run's folder is made: a port that is taken is a job that never was.
std::unique_ptr<Monitor> Supervisor::open_monitor() {
  if (!plan_.monitor) return nullptr;
  return std::make_unique<Monitor>(io_, *plan_.monitor, [this] {
    std::optional<Rates> rates;
    if (attempt_) rates = attempt_->rates();
    return view_.state(rates ? &*rates : nullptr, goodput_.report().goodput());
  });
}

int Supervisor::run() {
  note(LaunchEvent{plan_.run, plan_.config, plan_.mode, plan_.version});
  listen();
  io_.poll();  // a stop that came since the checks
  if (stop_signal_ == 0) start();
  io_.run();
  return code_;
}

/// Line by line: stacks have several.
void Supervisor::say(const std::string& text) {
  std::istringstream lines("launch: " + text);
  for (std::string line; std::getline(lines, line);) output_.say(Stream::kErr, line);
}

void Supervisor::note(const JournalEvent& event) {
  journal_.write(event);
  goodput_.add({.time = "", .uptime_s = monotonic_s(), .event = event});
}

// ---- signals

void Supervisor::listen() {
  signals_.async_wait([this](const auto& error, int number) {
    if (error) return;
    on_signal(number);
    listen();
  });
}

/// The first asks the ranks to save and stop. mpirun is left out of it: it gives ranks one second.
void Supervisor::on_signal(int number) {
  if (number != SIGUSR1 && ++end_signals_ > 1) return leave_at_once(number);
  if (stop_signal_ != 0) return;
  stop_signal_ = number;
  note(StopAskedEvent{signal_name(number)});
  view_.set_state("stopping");
  view_.event("asked to stop by " + signal_name(number));
  say(signal_name(number) +
      ": the ranks save at the next step boundary and stop; a second SIGTERM or SIGINT ends them at once");
  if (attempt_) return attempt_->ask_stop();
  backoff_.cancel();
  checks_.reset();
  const auto step = newest_step(plan_.run_dir);
  finish(static_cast<int>(ExitCode::kPreempted), step ? "stopped before a start, saved at step " + std::to_string(*step)
                                                      : "stopped before a start and before any checkpoint");
}

void Supervisor::leave_at_once(int number) {
  if (leaving_ != 0 || (code_ == 128 + number && !attempt_)) return;
  say("second " + signal_name(number) + ": ending at once");
  if (!attempt_) return finish(128 + number, "ended at once by a second " + signal_name(number));
  leaving_ = number;
  attempt_->kill();
}

// ---- attempts

void Supervisor::start() try {
  ++number_;
  const auto shares = shares_of(plan_, excluded_);
  const auto from = newest_step(plan_.run_dir);
  AttemptPlan plan;
  plan.command = command_of(plan_, shares, from.has_value() && number_ > 0);
  plan.address = plan_.address;
  plan.token = token_;
  plan.rules = plan_.rules;
  plan.rules.ranks = ranks_of(shares);
  if (::geteuid() == 0) {
    plan.environment["OMPI_ALLOW_RUN_AS_ROOT"] = plan.environment["OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] = "1";
  }
  output_.restart(hosts_by_rank(shares));
  view_.start(number_);
  joined_ = false;
  last_noted_step_ = kUnknownStep;
  repeats_ = true;
  note(StartEvent{number_, plan.rules.ranks, names_of(shares), printable_command(plan.command), or_unknown(from)});
  attempt_ = std::make_unique<Attempt>(io_, std::move(plan), output_, events());
} catch (const Error& error) {
  finish(static_cast<int>(error.code()), error.what());
}

AttemptEvents Supervisor::events() {
  AttemptEvents events;
  events.joined = [this](double seconds) {
    joined_ = true;
    note(JoinedEvent{number_, attempt_->ranks(), seconds});
  };
  events.step = [this](const auto& view) { on_step(view); };
  events.event = [this](int rank, const auto& event) { on_event(rank, event); };
  events.finding = [this](const auto& finding, const auto& view) { on_finding(finding, view); };
  events.end = [this](const auto& end) { on_end(end); };
  return events;
}

void Supervisor::on_step(const ProgressBoard::View& view) {
  policy_.step_done(view.step);
  view_.step(view);
  const bool first = last_noted_step_ == kUnknownStep, new_ground = repeats_ && view.step > furthest_step_;
  if (new_ground) repeats_ = false;
  furthest_step_ = std::max(furthest_step_, view.step);
  const bool due = seconds_since(last_step_line_) >= kStepLineEvery_s || view.step >= view.total;
  if (!first && !new_ground && !due) return;
  last_step_line_ = Clock::now();
  last_noted_step_ = view.step;
  note(StepEvent{number_, view.step, view.total, view.step_s});
}

void Supervisor::on_event(int rank, const ControlEvent& event) {
  if (event.kind == ControlEvent::Kind::kCheckpoint) {
    note(CheckpointEvent{event.step, event.seconds, event.stall_s});
    view_.checkpoint(event.step, event.seconds);
  } else {
    if (event.kind == ControlEvent::Kind::kNote) note(NoteEvent{rank, event.text});
    view_.event(event.text);
  }
}

void Supervisor::on_finding(const Finding& finding, const ProgressBoard::View& view) {
  say(finding.text);
  view_.event(finding.text.substr(0, finding.text.find('\n')));
  if (!finding.fatal) return note(WarningEvent{finding.text});
  const bool host_lost = finding.kind == Finding::Kind::kHostGone || finding.kind == Finding::Kind::kLinkCut;
  if (host_lost && !finding.host.empty()) lost_hosts_.insert(finding.host);
  note(FaultEvent{finding_name(finding.kind), finding.ranks.size() == 1 ? finding.ranks.front() : -1, finding.host,
                  phase_name(view.phase), view.step, finding.after_s, finding.text});
}

void Supervisor::on_end(const AttemptEnd& end) {
  attempt_.reset();
  if (leaving_ != 0) return finish(128 + leaving_, "ended at once by a second " + signal_name(leaving_));
  if (end.code == 0) return finish(0, "done");
  if (end.code == static_cast<int>(ExitCode::kPreempted)) return finish(end.code, "asked to stop: saved");
  const bool by_kill = end.code == 128 + SIGKILL;
  const auto cause = !end.text.empty()
                         ? end.text
                         : "the job ended with " + code_text(end.code) +
                               (by_kill ? ": where nobody sent that, memory ran out (see dmesg there)" : "");
  if (!end.rank_known_dead) {  // nothing was said about it yet
    note(FaultEvent{"exit", -1, end.host, "", kUnknownStep, 0, cause});
    view_.event(cause);
  }
  if (stop_signal_ != 0) return finish(end.code, cause + ", while it was asked to stop");
  const auto decision = policy_.failed({.code = end.code,
                                        .rank_known_dead = end.rank_known_dead || is_failed_start(end),
                                        .text = cause,
                                        .host = end.host,
                                        .trained = end.trained},
                                       [this](const auto& without) { return can_run_without(without); });
  if (!decision.restart) return finish(decision.code, decision.text);
  ask_lost_hosts(decision);
}

bool Supervisor::can_run_without(const std::set<std::string>& hosts) const {
  try {
    return !shares_of(plan_, hosts).empty();
  } catch (const ConfigError&) {
    return false;
  }
}

/// mpirun could not start ranks on a host that was lost before: it may be on its way back.
bool Supervisor::is_failed_start(const AttemptEnd& end) const {
  return !joined_ && !lost_hosts_.empty() && end.code != 0;
}

/// A host that does not answer is left out where the others suffice, until it answers again.
void Supervisor::ask_lost_hosts(const Decision& decision) {
  excluded_ = {decision.excluded.begin(), decision.excluded.end()};
  std::vector<Host> asked;
  for (const auto& host : plan_.hosts.hosts) {
    if (lost_hosts_.contains(host.name)) asked.push_back(host);
  }
  if (asked.empty()) return restart(decision);
  checks_ = std::make_unique<HostChecks>(io_, asked, plan_.check, [this, decision, asked](const HostReport& report) {
    if (stop_signal_ != 0) return;
    auto without = excluded_;
    std::set<std::string> silent;
    for (const auto& host : asked) {
      if (report.facts.contains(host.name)) {
        lost_hosts_.erase(host.name);
      } else {
        without.insert(host.name);
        silent.insert(host.name);
        if (!waits_since_) say(host.name + " does not answer");
      }
    }
    if (!can_run_without(without)) return wait_for_hosts(decision, silent);
    waits_since_.reset();
    excluded_ = without;
    restart(decision);
  });
}

/// Nothing can start without these: they are asked again until they answer, for as long as nothing else may stand
/// still.
void Supervisor::wait_for_hosts(const Decision& decision, const std::set<std::string>& silent) {
  const auto names = join({silent.begin(), silent.end()}, ", ");
  if (!waits_since_) {
    waits_since_ = Clock::now();
    say("there is no start without " + names + ": asking again every " + human_duration(kAskHostsEvery_s) +
        " for up to " + human_duration(plan_.rules.quiet_s) + " (--patience)");
  }
  if (seconds_since(*waits_since_) > plan_.rules.quiet_s) {
    return finish(static_cast<int>(ExitCode::kLostPeer),
                  names + " did not answer for " + human_duration(seconds_since(*waits_since_)));
  }
  backoff_.expires_after(std::chrono::milliseconds(static_cast<std::int64_t>(kAskHostsEvery_s * 1000)));
  backoff_.async_wait([this, decision](const auto& error) {
    if (!error && stop_signal_ == 0) ask_lost_hosts(decision);
  });
}

void Supervisor::restart(const Decision& decision) {
  const auto from = newest_step(plan_.run_dir);
  std::vector<std::string> hosts;
  try {
    hosts = names_of(shares_of(plan_, excluded_));
  } catch (const ConfigError& error) {
    return finish(static_cast<int>(error.code()), error.what());
  }
  note(RestartEvent{number_ + 1, or_unknown(from), decision.after_s, hosts, {excluded_.begin(), excluded_.end()}});
  const auto text = decision.text + " from " + (from ? "step " + std::to_string(*from) : std::string("the beginning"));
  say(text);
  view_.set_state("restarting");
  view_.event(text);
  backoff_.expires_after(std::chrono::milliseconds(static_cast<std::int64_t>(decision.after_s * 1000)));
  backoff_.async_wait([this](const auto& error) {
    if (!error && stop_signal_ == 0) start();  // a stop may find it due already
  });
}

void Supervisor::finish(int code, const std::string& cause) {
  code_ = code;
  note(EndEvent{code, cause});
  if (code != 0) say(cause + "; exit " + std::to_string(code));
  view_.set_state("ended");
  signals_.cancel();
  backoff_.cancel();
  output_.finish(std::chrono::seconds(2), [this] {
    monitor_.reset();
    io_.stop();
  });
}

}  // namespace triptych
