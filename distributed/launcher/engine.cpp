// Arguments of mpirun and srun.
#include "distributed/launcher/engine.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "core/base/errors.h"
#include "core/base/strings.h"
#include "distributed/launcher/host_check.h"

namespace triptych {
namespace {

using Words = std::vector<std::string>;

void append(Words& words, const Words& more) {
  words.insert(words.end(), more.begin(), more.end());
}

bool is_executable_file(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode) && ::access(path.c_str(), X_OK) == 0;
}

bool is_variable_name(std::string_view name) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  return !name.empty() && letter(name.front()) &&
         std::all_of(name.begin(), name.end(), [&](char c) { return letter(c) || (c >= '0' && c <= '9'); });
}

/// The first host with more ranks than cores; null if there is none.
const HostShare* overfull_host(const JobShape& shape) {
  for (const auto& share : shape.shares) {
    const auto known = shape.cores.find(share.host.name);
    if (known != shape.cores.end() && share.ranks > known->second) return &share;
  }
  return nullptr;
}

bool only_this_machine(const JobShape& shape) {
  return std::all_of(shape.shares.begin(), shape.shares.end(),
                     [](const auto& share) { return is_this_machine(share.host.name); });
}

void check_shape(const JobShape& shape) {
  if (shape.program.empty() || shape.program.front().empty() || shape.program.front().front() == '-') {
    throw ConfigError("no program to start on the hosts; expected the path of one");
  }
  if (shape.ranks() < 1) throw ConfigError("no host takes a rank; expected at least one");
  if (shape.bind_to != "none" && shape.bind_to != "core" && shape.bind_to != "socket") {
    throw ConfigError("--bind '" + shape.bind_to + "'; expected none, core or socket");
  }
  const auto* overfull = overfull_host(shape);
  if (shape.bind_to != "none" && overfull != nullptr) {
    const auto& name = overfull->host.name;
    throw ConfigError(overfull->host.where + ": --bind " + shape.bind_to + ": " + std::to_string(overfull->ranks) +
                      " ranks on the " + std::to_string(shape.cores.at(name)) + " cores of " + name +
                      "; start fewer ranks there, or take --bind none");
  }
  for (const auto& name : shape.variables) {
    // NAME=VALUE would put the value onto the command line.
    if (!is_variable_name(name)) {
      throw ConfigError("forwarded variable '" + name.substr(0, name.find('=')) +
                        "': expected a name of letters, digits and _; set the value in the environment");
    }
  }
}

/// --host a,a,b with the mapper seq: rank r on the r-th name. Any other mapper puts this machine first.
std::string sequential_hosts(const JobShape& shape) {
  for (const auto& share : shape.shares) {
    if (share.host.name.find(':') != std::string::npos) {
      throw ConfigError(share.host.where + ": mpirun cannot take '" + share.host.name +
                        "', a name with a colon; give the machine a name in /etc/hosts and write that");
    }
  }
  return join(hosts_by_rank(shape.shares), ",");
}

/// Open MPI cuts the agent at blanks, and at ':' into alternatives; it knows no quotes.
std::string agent_line(const Words& agent) {
  for (const auto& word : agent) {
    if (word.empty() || word.find_first_of(" \t\r\n:\"'") != std::string::npos) {
      throw ConfigError("--agent: mpirun cannot take the word '" + word +
                        "'; expected no blanks, quotes or ':' in it; put the command into a script of its own");
    }
  }
  return join(agent, " ");
}

void append_network(Words& words, const JobShape& shape) {
  append(words, {"--mca", "oob_tcp_keepalive_time", "2", "--mca", "oob_tcp_keepalive_intvl", "1"});
  append(words, {"--mca", "oob_tcp_keepalive_probes", "3"});
  if (!shape.interface.empty()) {
    append(words, {"--mca", "btl_tcp_if_include", shape.interface, "--mca", "oob_tcp_if_include", shape.interface});
  }
  // Hosts need not reach each other by ssh, only this machine them: each is started from here.
  if (shape.shares.size() > 1) append(words, {"--mca", "plm_rsh_no_tree_spawn", "1"});
  // mpirun's own ssh must not ask for passwords, nor wait for minutes.
  if (shape.shares.size() > 1 && shape.agent.empty()) {
    append(words, {"--mca", "plm_rsh_args", "-o BatchMode=yes -o ConnectTimeout=10"});
  }
  // Without naming the starter, Open MPI inside an allocation takes srun and never looks at the agent.
  if (!shape.agent.empty()) append(words, {"--mca", "plm", "rsh", "--mca", "plm_rsh_agent", agent_line(shape.agent)});
}

[[noreturn]] void refuse_for_srun(const std::string& option) {
  throw ConfigError(option + " is a setting of mpirun; leave it out, or start with --engine mpirun");
}

/// Even shares follow from a number per node; others from one name a rank.
void append_srun_places(Words& words, const JobShape& shape) {
  const int first = shape.shares.front().ranks;
  const bool even =
      std::all_of(shape.shares.begin(), shape.shares.end(), [&](const auto& s) { return s.ranks == first; });
  Words names;
  for (const auto& share : shape.shares) names.push_back(share.host.name);
  if (even) {
    append(words, {"--ntasks-per-node=" + std::to_string(first), "--nodelist=" + join(names, ",")});
  } else {
    append(words, {"--distribution=arbitrary", "--nodelist=" + join(hosts_by_rank(shape.shares), ",")});
  }
}

}  // namespace

int JobShape::ranks() const {
  int sum = 0;
  for (const auto& share : shares) sum += share.ranks;
  return sum;
}

const char* engine_name(Engine engine) {
  return engine == Engine::kSrun ? "srun" : "mpirun";
}

std::string find_executable(const std::string& name, std::string_view path) {
  if (name.empty()) return "";
  if (name.find('/') != std::string::npos) return is_executable_file(name) ? name : "";
  for (std::size_t begin = 0; begin <= path.size();) {
    const auto end = std::min(path.find(':', begin), path.size());
    const auto folder = std::string(path.substr(begin, end - begin));
    const auto candidate = (folder.empty() ? "." : folder) + "/" + name;
    if (is_executable_file(candidate)) return candidate;
    begin = end + 1;
  }
  return "";
}

Engine choose_engine(const std::string& wish, bool hosts_from_slurm, std::string_view path) {
  if (wish != "auto" && wish != "mpirun" && wish != "srun") {
    throw ConfigError("--engine '" + wish + "'; expected auto, mpirun or srun");
  }
  const bool has_srun = !find_executable("srun", path).empty(), has_mpirun = !find_executable("mpirun", path).empty();
  if (wish == "srun" && !hosts_from_slurm) {
    throw ConfigError("--engine srun starts ranks on an allocation only; take --hosts slurm, or --engine mpirun");
  }
  if (wish == "srun" && !has_srun) {
    throw ConfigError("--engine srun: no srun on PATH; install Slurm's client commands (Debian: slurm-client)");
  }
  if (wish == "srun" || (wish == "auto" && hosts_from_slurm && has_srun)) return Engine::kSrun;
  if (!has_mpirun) {
    throw ConfigError(std::string("no mpirun on PATH") + (hosts_from_slurm && !has_srun ? ", nor an srun" : "") +
                      "; install Open MPI 4.1 (Debian: openmpi-bin) on this machine and on every host");
  }
  return Engine::kMpirun;
}

std::vector<std::string> mpirun_command(const JobShape& shape) {
  check_shape(shape);
  if (std::find(shape.program.begin(), shape.program.end(), ":") != shape.program.end()) {
    throw ConfigError("mpirun takes the argument ':' for the end of a program; write it another way");
  }
  Words words = {"mpirun", "-np", std::to_string(shape.ranks()), "--map-by", "seq", "--host", sequential_hosts(shape)};
  append(words, {"--bind-to", shape.bind_to, "--tag-output"});
  if (overfull_host(shape) != nullptr) append(words, {"--oversubscribe", "--mca", "mpi_yield_when_idle", "1"});
  append(words, {"--mca", "orte_abort_on_non_zero_status", "1"});
  if (only_this_machine(shape)) {
    // Ranks that are to stop in good order are asked over the control channel; what mpirun ends is to end now. (With
    // several hosts those that mpirun ends must not be gone before those that went by themselves are missed.)
    append(words, {"--mca", "odls_base_sigkill_timeout", "0"});
    // They talk through memory: to look for networks costs every start a fifth of a second.
    append(words, {"--mca", "pml", "ob1"});
  }
  append_network(words, shape);
  for (const auto& name : shape.variables) append(words, {"-x", name});
  append(words, shape.program);
  return words;
}

std::vector<std::string> srun_command(const JobShape& shape) {
  check_shape(shape);
  if (!shape.agent.empty()) refuse_for_srun("--agent");
  if (!shape.interface.empty()) refuse_for_srun("--interface");
  Words words = {"srun", "--mpi=pmix", "--ntasks=" + std::to_string(shape.ranks()),
                 "--nodes=" + std::to_string(shape.shares.size())};
  append_srun_places(words, shape);
  if (shape.bind_to != "none") {
    words.push_back(shape.bind_to == "core" ? "--cpu-bind=cores" : "--cpu-bind=sockets");
  } else {
    words.push_back("--cpu-bind=none");
  }
  if (overfull_host(shape) != nullptr) words.push_back("--overcommit");
  // Whether a rank's end is bad is the launcher's to say: 75 is not, and the others must get to theirs.
  append(words, {"--label", "--kill-on-bad-exit=0", "--export=ALL"});
  append(words, shape.program);
  return words;
}

std::string shell_quoted(std::string_view word) {
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("_-./:,@+%").find(c) != std::string_view::npos;
  };
  // Without "=": first in a line it would be an assignment.
  const bool harmless = !word.empty() && std::all_of(word.begin(), word.end(), plain);
  if (harmless) return std::string(word);
  std::string quoted = "'";
  for (const char c : word) {
    if (c == '\'') {
      quoted += "'\\''";
    } else {
      quoted += c;
    }
  }
  return quoted + "'";
}

std::string printable(const std::vector<std::string>& words) {
  Words quoted;
  for (const auto& word : words) quoted.push_back(shell_quoted(word));
  return join(quoted, " ");
}

}  // namespace triptych
