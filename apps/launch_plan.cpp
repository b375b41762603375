#include "apps/launch_plan.h"

#include <unistd.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "apps/own_program.h"
#include "apps/version.h"
#include "core/base/config_layers.h"
#include "core/base/log.h"
#include "core/base/strings.h"
#include "core/base/yaml_tree.h"
#include "distributed/launcher/child.h"

namespace triptych {
namespace {

namespace fs = std::filesystem;

struct Answer {
  int code = 0;
  std::string out, err;
};

Answer ask(const std::vector<std::string>& words) {
  boost::asio::io_context io;
  Answer answer;
  const Child child(io, {.words = words, .environment = {}},
                    {.line =
                         [&](Stream stream, std::string_view line, bool whole) {
                           auto& text = stream == Stream::kOut ? answer.out : answer.err;
                           text.append(line).append(whole ? "\n" : "");
                         },
                     .end = [&](const ChildEnd& end) { answer.code = end.code; }});
  io.run();
  return answer;
}

std::string without_last_newline(std::string text) {
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

const YamlNode* at(const YamlNode& root, std::initializer_list<const char*> path) {
  const YamlNode* node = &root;
  for (const char* key : path) {
    node = node == nullptr ? nullptr : node->find(key);
  }
  return node;
}

std::string text_at(const YamlNode& root, std::initializer_list<const char*> path) {
  const auto* node = at(root, path);
  if (node == nullptr || !node->is_scalar())
    throw ConfigError("launch: the answer of triptych lacks a key that every run has");
  return node->scalar;
}

/// The file and what it extends, that one may extend another.
std::vector<std::string> files_of(const fs::path& config) {
  std::vector<std::string> files;
  std::set<fs::path> seen;
  for (auto path = fs::absolute(config).lexically_normal(); seen.insert(path).second;) {
    files.push_back(path.string());
    const auto root = parse_yaml_file(path);
    const auto* below = root.find("extends");
    if (below == nullptr || !below->is_scalar()) break;
    path = (path.parent_path() / below->scalar).lexically_normal();
  }
  return files;
}

std::string mode_of(const std::string& hosts) {
  return hosts == "local" || hosts == "slurm" ? hosts : "hosts";
}

/// `--resume PATH` or `never` is for the first start: what comes after goes on from the run's own checkpoints.
std::vector<std::string> without_resume(const std::vector<std::string>& words) {
  std::vector<std::string> rest;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (words[i].starts_with("--resume=")) continue;
    if (words[i] == "--resume") {
      ++i;
      continue;
    }
    rest.push_back(words[i]);
  }
  return rest;
}

std::vector<std::string> words_of(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

/// As ranks of this machine report it.
std::string own_host_name() {
  char name[256] = "";
  ::gethostname(name, sizeof name - 1);
  return name;
}

/// "texts 17 (texts-0.tar 00017), ..." of a step's batch, from the program itself: the launcher knows no corpora.
std::string records_of(const std::string& program, const TrainArguments& train, std::int64_t step) {
  constexpr std::size_t kMostNamed = 64;
  std::vector<std::string> words = {program,    "data", "show", train.config, "--step", std::to_string(step),
                                    "--format", "json"};
  for (const auto& change : train.set) {
    words.insert(words.end(), {"--set", change});
  }
  const auto answer = ask(words);
  const auto json = nlohmann::json::parse(answer.out, nullptr, /*allow_exceptions=*/false);
  const auto key = "step " + std::to_string(step);
  if (answer.code != 0 || !json.is_object() || !json.contains(key)) return "";
  std::vector<std::string> named;
  for (const auto& row : json[key]) {
    if (named.size() == kMostNamed) break;
    named.push_back(row.value("corpus", "") + " " + std::to_string(row.value("record", std::int64_t{0})) + " (" +
                    row.value("shard", "") + " " + row.value("key", "") + ")");
  }
  const auto more = json[key].size() - named.size();
  return join(named, ", ") + (more > 0 ? " and " + std::to_string(more) + " more" : "") + "; `triptych data show " +
         train.config + " --step " + std::to_string(step) + "` names all";
}

HostCheck check_of(const LaunchPlan& plan, const RunFacts& facts) {
  HostCheck check;
  check.engine = plan.engine;
  check.request = {plan.program.front(), facts.files, facts.run_dir.string()};
  check.launcher = beside_this_program("triptych-launch");
  if (!plan.shape.agent.empty()) check.agent = plan.shape.agent;
  check.resolve = plan.shape.agent.empty() && plan.engine == Engine::kMpirun;
  check.bytes_needed = checkpoint_bytes(facts.run_dir);
  check.same_instruction_set = facts.virtual_shards.has_value();  // train refuses the mixture, once all have started
  return check;
}

int ranks_for(const LaunchArguments& arguments, const LaunchPlan& plan) {
  if (plan.elastic) return choose_ranks(*plan.elastic, plan.divisors, plan.hosts.slots());
  const int ranks = arguments.ranks > 0 ? static_cast<int>(arguments.ranks) : plan.hosts.slots();
  check_ranks(plan.hosts, ranks);
  if (plan.divisors.global_batch % ranks != 0) {
    throw ConfigError("launch: train.global_batch " + std::to_string(plan.divisors.global_batch) +
                      " is not a multiple of the " + std::to_string(ranks) + " ranks; set --np");
  }
  return ranks;
}

}  // namespace

RunFacts read_run_facts(const std::string& program, const LaunchArguments& arguments) {
  std::vector<std::string> words = {program};
  words.insert(words.end(), arguments.train_words.begin(), arguments.train_words.end());
  words.push_back("--print-config");
  const auto answer = ask(words);
  if (answer.code != 0) {
    throw Error(static_cast<ExitCode>(answer.code), "launch: " + printable(words) + " ended with code " +
                                                        std::to_string(answer.code) + ": " +
                                                        without_last_newline(answer.err));
  }
  const auto root = parse_yaml(answer.out, "resolved configuration");
  RunFacts facts;
  facts.name = text_at(root, {"run", "name"});
  const fs::path folder = arguments.train.run_dir.empty() ? fs::path(text_at(root, {"run", "dir"})) / facts.name
                                                          : fs::path(arguments.train.run_dir);
  facts.run_dir = fs::absolute(folder).lexically_normal();
  facts.global_batch = std::stoll(text_at(root, {"train", "global_batch"}));
  facts.micro_batch = std::stoll(text_at(root, {"train", "micro_batch"}));
  if (at(root, {"distributed", "virtual_shards"}) != nullptr) {
    const auto shards = std::stoll(text_at(root, {"distributed", "virtual_shards"}));
    if (shards > 0) facts.virtual_shards = shards;
  }
  facts.files = files_of(arguments.train.config);
  return facts;
}

LaunchPlan make_launch_plan(const std::string& program, const LaunchArguments& arguments, const RunFacts& facts) {
  LaunchPlan plan;
  plan.run = facts.name;
  plan.config = arguments.train.config;
  plan.version = version_text();
  plan.mode = mode_of(arguments.hosts);
  plan.run_dir = facts.run_dir;
  plan.program = {program};
  plan.program.insert(plan.program.end(), arguments.train_words.begin(), arguments.train_words.end());
  plan.program_again = without_resume(plan.program);
  plan.divisors = {facts.global_batch, facts.virtual_shards, facts.micro_batch};
  if (!arguments.elastic.empty()) plan.elastic = parse_elastic(arguments.elastic);
  plan.hosts = read_hosts(arguments.hosts, static_cast<int>(plan.elastic ? plan.elastic->max : arguments.ranks),
                          environment_variable);
  plan.engine = choose_engine(arguments.engine, plan.mode == "slurm", environment_variable("PATH").value_or(""));
  plan.shape.bind_to = arguments.bind;
  plan.shape.agent = words_of(arguments.agent);
  plan.shape.interface = arguments.interface;
  plan.shape.variables = {"TRIPTYCH_CONTROL", "TRIPTYCH_JOB_TOKEN"};
  for (const char* name : {"OMP_NUM_THREADS", "OMP_WAIT_POLICY", "CUDA_VISIBLE_DEVICES", "TRIPTYCH_FAULTS"}) {
    if (environment_variable(name)) plan.shape.variables.emplace_back(name);
  }
  for (const auto& name : arguments.forward) {
    if (!environment_variable(name))
      throw ConfigError("launch: --forward " + name + ": there is no such variable here");
    plan.shape.variables.push_back(name);
  }
  plan.restarts.max_restarts = static_cast<int>(arguments.max_restarts);
  plan.restarts.window_s = arguments.restart_window_s;
  plan.restarts.same_step_failures = static_cast<int>(std::min<std::int64_t>(arguments.same_step, 1'000'000));
  plan.records_of = [program, train = arguments.train](std::int64_t step) { return records_of(program, train, step); };
  plan.rules.own_host = own_host_name();
  plan.rules.hang_s = arguments.hang_s;
  plan.rules.quiet_s = arguments.patience_s;
  plan.rules.straggler = arguments.slow_factor;
  if (arguments.monitor) plan.monitor = static_cast<std::uint16_t>(*arguments.monitor);
  plan.ranks = ranks_for(arguments, plan);
  plan.check = check_of(plan, facts);
  set_cores(plan, {});
  return plan;
}

void set_cores(LaunchPlan& plan, const std::map<std::string, MachineFacts>& said) {
  auto& cores = plan.shape.cores;
  const auto& hosts = plan.hosts.hosts;
  if (plan.mode == "slurm") {
    const auto text = environment_variable("SLURM_JOB_CPUS_PER_NODE");
    const auto counts = text ? expand_tasks_per_node(*text) : std::vector<int>();
    for (std::size_t i = 0; i < hosts.size() && counts.size() == hosts.size(); ++i) cores[hosts[i].name] = counts[i];
    return;
  }
  for (const auto& host : hosts) {
    const auto found = said.find(host.name);
    if (found != said.end()) {
      cores[host.name] = found->second.cores;
    } else if (is_this_machine(host.name)) {
      cores[host.name] = cores_of_process();
    }
  }
}

std::optional<std::uint64_t> planned_checkpoint_bytes(const std::string& program, const LaunchArguments& arguments,
                                                      int ranks) {
  std::vector<std::string> words = {program, "plan", arguments.train.config};
  for (const auto& setting : arguments.train.set) words.insert(words.end(), {"--set", setting});
  for (const char* word : {"--device", "cpu", "--format", "json", "--ranks"}) words.emplace_back(word);
  words.push_back(std::to_string(ranks));
  const auto answer = ask(words);
  std::string why = without_last_newline(answer.err);
  try {
    if (answer.code == 0) {
      const auto mib =
          std::stod(text_at(parse_yaml(answer.out, "answer of triptych plan"), {"mib_a_rank", "snapshot"}));
      return static_cast<std::uint64_t>(mib * (1 << 20));
    }
  } catch (const std::exception& error) {
    why = error.what();
  }
  log_warning("launch: it is not known how large a checkpoint will be, so the free disk is not checked (" +
              why.substr(0, why.find('\n')) + ")");
  return std::nullopt;
}

std::uint64_t checkpoint_bytes(const fs::path& run_dir) {
  const auto step = newest_step(run_dir);
  if (!step) return 0;
  char name[32];
  std::snprintf(name, sizeof name, "step_%08lld", static_cast<long long>(*step));
  std::uint64_t bytes = 0;
  std::error_code error;
  for (const auto& file : fs::directory_iterator(run_dir / "checkpoints" / name, error)) bytes += file.file_size(error);
  return bytes;
}

}  // namespace triptych
