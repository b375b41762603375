// Before a job starts: does every host answer, and is it the same program, configuration and kind of machine?
#pragma once
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "distributed/launcher/engine.h"
#include "distributed/launcher/hosts.h"
#include "distributed/launcher/machine_facts.h"

namespace triptych {

struct HostCheck {
  Engine engine = Engine::kMpirun;  ///< kSrun: hosts are asked by a step of the allocation, not by the agent
  ProbeRequest request;
  std::string launcher;  ///< path of the program that answers `probe --json ...`, the same on every host
  std::vector<std::string> agent = {"ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5"};
  bool resolve = true;  ///< names must be known to this machine; an agent of one's own, and srun, may know more names
  std::chrono::milliseconds limit{10000};  ///< for each host, names and probe each
  std::uint64_t bytes_needed = 0;          ///< of a checkpoint; 0: not known
  bool same_instruction_set = false;       ///< a difference is an error, not a warning
};

/// `probe --json --program=... --run-dir=... --config=...`, one --config a file.
std::vector<std::string> probe_words(const ProbeRequest& request);
/// AGENT -- HOST WORDS, the words quoted: ssh joins them to one line for a POSIX shell on the other side.
std::vector<std::string> remote_command(const std::vector<std::string>& agent, const std::string& host,
                                        const std::vector<std::string>& words);
/// The same as a step of a Slurm allocation: no shell, no quotes.
std::vector<std::string> srun_probe_command(const std::string& host, const std::vector<std::string>& words);
/// localhost, or how this machine calls itself, with or without its domain.
bool is_this_machine(const std::string& host);

struct HostFinding {
  std::string text;   ///< "hosts.txt:3: node2: what is wrong (got, expected); what to do"
  bool fatal = true;  ///< false: a warning
};

struct HostReport {
  std::vector<HostFinding> findings;          ///< in the order of the hosts
  std::map<std::string, MachineFacts> facts;  ///< by name of host, of those that answered
  bool ok() const;                            ///< no finding is fatal
};

/// Compares every machine with the first, and each with what is needed.
std::vector<HostFinding> compare_machines(const std::vector<std::pair<Host, MachineFacts>>& machines,
                                          const HostCheck& check);

/// Asks all hosts at the same time, 64 at once, each as a child process within check.limit; this machine without the
/// agent. Nothing blocks.
class HostChecks {
 public:
  HostChecks(boost::asio::io_context& io, std::vector<Host> hosts, HostCheck check,
             std::function<void(const HostReport&)> done);
  /// Kills what still asks; `done` is not called any more.
  ~HostChecks();
  HostChecks(const HostChecks&) = delete;
  HostChecks& operator=(const HostChecks&) = delete;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace triptych
