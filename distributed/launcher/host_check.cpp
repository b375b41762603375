// One child process a question, all at the same time; then the comparison.
#include "distributed/launcher/host_check.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cctype>
#include <cstdlib>
#include <optional>

#include "core/base/errors.h"
#include "core/base/strings.h"
#include "distributed/launcher/child.h"
#include "distributed/launcher/engine.h"

namespace triptych {
namespace {

constexpr std::size_t kAtOnce = 64;             // two pipes each: far below the usual limit of 1024 descriptors
constexpr std::int64_t kClockTolerance_s = 60;  // answers are up to a limit apart
constexpr std::size_t kLongestAnswer = 1 << 20;

HostFinding finding(const Host& host, const std::string& what, bool fatal = true) {
  return {.text = host.where + ": " + host.name + ": " + what, .fatal = fatal};
}

std::string lower_case(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

std::string seconds_text(std::chrono::milliseconds limit) {
  return number_text(std::chrono::duration<double>(limit).count()) + " s";
}

/// Quoted, on one line, short: another machine's text.
std::string quoted_text(const std::string& text) {
  std::string out;
  for (const char c : text.substr(0, 300)) out += c >= ' ' && c <= '~' ? c : '?';
  return "'" + out + "'";
}

/// A host's facts beside those of the first.
class Comparison {
 public:
  Comparison(const HostCheck& check, const std::pair<Host, MachineFacts>& first, std::vector<HostFinding>& findings)
      : check_(check), first_(first.second), first_name_(first.first.name), findings_(findings) {}

  void add(const Host& host, const MachineFacts& facts) {
    host_ = &host;
    compare_file("the program", facts.program, first_.program, "copy the same build to every machine");
    for (std::size_t i = 0; i < facts.configs.size() && i < first_.configs.size(); ++i) {
      compare_file("the configuration", facts.configs[i], first_.configs[i], "copy the same file to every machine");
    }
    if (facts.configs.size() != first_.configs.size()) {
      say("it answers for another number of configurations; copy the same build to every machine");
    }
    compare_processor(facts);
    check_disk(facts);
    check_clock(facts);
  }

 private:
  void say(const std::string& what, bool fatal = true) { findings_.push_back(finding(*host_, what, fatal)); }

  void compare_file(const std::string& what, const FileFact& file, const FileFact& first, const std::string& advice) {
    if (!file.error.empty()) {
      say(what + " is not there (" + quoted_text(file.error) + "); " + advice);
    } else if (!first.xxh64.empty() && file.xxh64 != first.xxh64) {
      say(what + " differs (" + file.path + ": xxh64 " + quoted_text(first.xxh64) + " on " + first_name_ + ", " +
          quoted_text(file.xxh64) + " there); " + advice);
    }
  }

  void compare_processor(const MachineFacts& facts) {
    if (facts.endianness != first_.endianness) {
      say("its bytes have another order (" + quoted_text(first_.endianness) + " endian on " + first_name_ + ", " +
          quoted_text(facts.endianness) + " there); leave it out: tensors travel as they lie in memory");
    }
    if (facts.instruction_set != first_.instruction_set) {
      say("another instruction set (" + quoted_text(first_.instruction_set) + " on " + first_name_ + ", " +
              quoted_text(facts.instruction_set) +
              " there): results depend in their last bits on which host a rank runs; take machines of one kind for "
              "results that repeat",
          check_.same_instruction_set);
    }
  }

  void check_disk(const MachineFacts& facts) {
    if (facts.free_bytes >= check_.bytes_needed) return;
    say("too little disk for a checkpoint (" + human_size(facts.free_bytes) + " free at " + check_.request.run_dir +
        ", " + human_size(check_.bytes_needed) + " needed); make room, or choose another run directory");
  }

  void check_clock(const MachineFacts& facts) {
    const auto difference = facts.unix_time - first_.unix_time;
    if (std::abs(difference) <= kClockTolerance_s) return;
    say("its clock is " + human_duration(static_cast<double>(std::abs(difference))) +
            (difference > 0 ? " ahead" : " behind") + " of that of " + first_name_ +
            "; set it (NTP), or times in its files will mislead",
        false);
  }

  const HostCheck& check_;
  const MachineFacts& first_;
  const std::string first_name_;
  std::vector<HostFinding>& findings_;
  const Host* host_ = nullptr;
};

/// What a question process left: its end, its last words.
struct Answer {
  std::optional<ChildEnd> end;  // nothing: the limit was over
  std::string last_out, last_err;
  std::string start_error;
};

/// One child with a limit. Calls back once, from the io_context.
class Question : public std::enable_shared_from_this<Question> {
 public:
  Question(boost::asio::io_context& io, std::chrono::milliseconds limit) : io_(io), timer_(io), limit_(limit) {}

  void ask(const std::vector<std::string>& words, std::function<void(const Answer&)> answered) {
    answered_ = std::move(answered);
    try {
      start(words);
    } catch (const Error& e) {
      answer_.start_error = e.what();
      boost::asio::post(io_, [self = shared_from_this()] { self->answer(); });
    }
  }

  /// No call any more.
  void drop() {
    answered_ = nullptr;
    timer_.cancel();
    child_.reset();
  }

 private:
  void start(const std::vector<std::string>& words) {
    ChildHandlers handlers;
    handlers.line = [this](Stream stream, std::string_view line, bool) {
      if (!line.empty()) (stream == Stream::kOut ? answer_.last_out : answer_.last_err) = line;
    };
    handlers.end = [this](const ChildEnd& end) {
      answer_.end = end;
      answer();
    };
    ChildCommand command;
    command.words = words;
    command.longest_line = kLongestAnswer;
    child_ = std::make_unique<Child>(io_, command, std::move(handlers));
    timer_.expires_after(limit_);
    timer_.async_wait([self = shared_from_this()](const auto& error) {
      if (!error) self->answer();
    });
  }

  void answer() {
    const auto keep = shared_from_this();
    const auto answered = std::exchange(answered_, nullptr);
    timer_.cancel();
    child_.reset();  // kills it if it still runs
    if (answered) answered(answer_);
  }

  boost::asio::io_context& io_;
  boost::asio::steady_timer timer_;
  std::chrono::milliseconds limit_;
  std::unique_ptr<Child> child_;
  Answer answer_;
  std::function<void(const Answer&)> answered_;
};

}  // namespace

bool HostReport::ok() const {
  return std::none_of(findings.begin(), findings.end(), [](const auto& found) { return found.fatal; });
}

std::vector<std::string> probe_words(const ProbeRequest& request) {
  std::vector<std::string> words = {"probe", "--json", "--program=" + request.program, "--run-dir=" + request.run_dir};
  for (const auto& config : request.configs) words.push_back("--config=" + config);
  return words;
}

std::vector<std::string> remote_command(const std::vector<std::string>& agent, const std::string& host,
                                        const std::vector<std::string>& words) {
  auto command = agent;
  command.push_back("--");
  command.push_back(host);
  for (const auto& word : words) command.push_back(shell_quoted(word));
  return command;
}

std::vector<std::string> srun_probe_command(const std::string& host, const std::vector<std::string>& words) {
  std::vector<std::string> command = {"srun",       "--overlap",  "--nodes=1",
                                      "--ntasks=1", "--mpi=none", "--nodelist=" + host};
  command.insert(command.end(), words.begin(), words.end());
  return command;
}

bool is_this_machine(const std::string& host) {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) return false;
  const auto asked = lower_case(host), own = lower_case(name.data());
  if (asked == "localhost" || asked == own) return true;
  // "node1" and "node1.cluster" are one machine, "node1.a" and "node1.b" are two.
  return asked.starts_with(own + ".") || own.starts_with(asked + ".");
}

std::vector<HostFinding> compare_machines(const std::vector<std::pair<Host, MachineFacts>>& machines,
                                          const HostCheck& check) {
  std::vector<HostFinding> findings;
  if (machines.empty()) return findings;
  Comparison comparison(check, machines.front(), findings);
  for (const auto& [host, facts] : machines) comparison.add(host, facts);
  return findings;
}

struct HostChecks::State : std::enable_shared_from_this<HostChecks::State> {
  State(boost::asio::io_context& context, std::vector<Host> list, HostCheck what,
        std::function<void(const HostReport&)> call)
      : io(context), hosts(std::move(list)), check(std::move(what)), done(std::move(call)) {}

  void start_more() {
    while (running < kAtOnce && next < hosts.size()) {
      ++running;
      begin(next++);
    }
    if (running > 0 || !done) return;
    boost::asio::post(io, [self = shared_from_this()] {
      if (const auto call = std::exchange(self->done, nullptr)) call(self->report());
    });
  }

  void begin(std::size_t index) {
    const bool here = is_this_machine(hosts[index].name);
    if (!check.resolve || here) return ask_machine(index, here);
    ask({"getent", "ahosts", hosts[index].name}, index, [this, index](const Answer& answer) {
      if (answer.end && answer.end->code == 0) return ask_machine(index, false);
      fail(index, answer.end && answer.end->code == 2
                      ? "the name does not resolve; correct it, or add it to DNS or /etc/hosts of this machine"
                      : "the name is not resolved (" + reason(answer) + "); check the name service of this machine");
    });
  }

  void ask_machine(std::size_t index, bool here) {
    auto words = probe_words(check.request);
    words.insert(words.begin(), check.launcher);
    if (!here) words = command_for(hosts[index].name, words);
    ask(words, index, [this, index](const Answer& answer) { take_answer(index, answer); });
  }

  std::vector<std::string> command_for(const std::string& host, const std::vector<std::string>& words) const {
    return check.engine == Engine::kSrun ? srun_probe_command(host, words) : remote_command(check.agent, host, words);
  }

  std::string test_command(const std::string& host) const {
    return printable(check.engine == Engine::kSrun ? srun_probe_command(host, {"true"})
                                                   : remote_command(check.agent, host, {"true"}));
  }

  void take_answer(std::size_t index, const Answer& answer) {
    if (!answer.end || answer.end->code != 0) {
      const bool found_nothing = answer.end && (answer.end->code == 126 || answer.end->code == 127);
      return fail(index, "it does not answer (" + reason(answer) + "); " +
                             (found_nothing ? "copy the build to the same path there"
                                            : "check that this works from here without a password: " +
                                                  test_command(hosts[index].name)));
    }
    try {
      facts[index] = machine_facts(answer.last_out);
      finish_one(index);
    } catch (const DataError& e) {
      fail(index, quoted_text(answer.last_out.substr(0, 100)) + " is no answer to probe (" +
                      quoted_text(std::string(e.what()).substr(0, 150)) + "); copy the same build to every machine");
    }
  }

  std::string reason(const Answer& answer) const {
    if (!answer.start_error.empty()) return answer.start_error;
    auto text = answer.end ? "exit " + std::to_string(answer.end->code) : "within " + seconds_text(check.limit);
    if (!answer.last_err.empty()) text += ", " + quoted_text(answer.last_err);
    return text;
  }

  void fail(std::size_t index, const std::string& what) {
    failures[index] = finding(hosts[index], what);
    finish_one(index);
  }

  void finish_one(std::size_t index) {
    questions.erase(index);
    --running;
    start_more();
  }

  void ask(const std::vector<std::string>& words, std::size_t index, std::function<void(const Answer&)> answered) {
    questions[index] = std::make_shared<Question>(io, check.limit);
    questions[index]->ask(words, std::move(answered));
  }

  HostReport report() const {
    HostReport report;
    std::vector<std::pair<Host, MachineFacts>> machines;
    for (const auto& [index, machine] : facts) {
      machines.emplace_back(hosts[index], machine);
      report.facts[hosts[index].name] = machine;
    }
    for (const auto& [index, failure] : failures) report.findings.push_back(failure);
    for (auto& found : compare_machines(machines, check)) report.findings.push_back(std::move(found));
    return report;
  }

  boost::asio::io_context& io;
  std::vector<Host> hosts;
  HostCheck check;
  std::function<void(const HostReport&)> done;
  std::size_t next = 0, running = 0;
  std::map<std::size_t, std::shared_ptr<Question>> questions;
  std::map<std::size_t, MachineFacts> facts;
  std::map<std::size_t, HostFinding> failures;
};

HostChecks::HostChecks(boost::asio::io_context& io, std::vector<Host> hosts, HostCheck check,
                       std::function<void(const HostReport&)> done)
    : state_(std::make_shared<State>(io, std::move(hosts), std::move(check), std::move(done))) {
  state_->start_more();
}

HostChecks::~HostChecks() {
  state_->done = nullptr;
  state_->next = state_->hosts.size();
  for (const auto& [index, question] : state_->questions) question->drop();
}

}  // namespace triptych
