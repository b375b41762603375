// `triptych data ACTION CONFIG`: the corpora of a configuration, held-out ones included.
#include <algorithm>
#include <thread>

#include "apps/commands.h"
#include "apps/data_actions.h"
#include "apps/result.h"
#include "core/base/log.h"
#include "core/base/strings.h"
#include "core/train/train_config_file.h"
#include "distributed/launch.h"

namespace triptych {
namespace {

using Json = nlohmann::ordered_json;

ExitCode data_index(const DataCommand& command) {
  Json table = Json::array();
  for (const auto& config : command.corpora) {
    const auto corpus = open_corpus(config);
    table.push_back({{"corpus", config.name},
                     {"kind", config.kind},
                     {"format", config.format},
                     {"shards", corpus->shards().size()},
                     {"records", corpus->size()},
                     {"classes", corpus->class_names().size()}});
  }
  print_result({{"corpora", table}}, command.arguments.format);
  return ExitCode::kDone;
}

void keep_only(std::vector<CorpusConfig>& corpora, const std::string& name) {
  std::erase_if(corpora, [&](const CorpusConfig& corpus) { return corpus.name != name; });
}

}  // namespace

std::vector<CorpusConfig> training_corpora(const TrainConfig& config) {
  auto corpora = config.data.corpora;
  for (auto& corpus : corpora) corpus.inherit_index_dir(config.data.index_dir);
  return corpora;
}

std::vector<CorpusConfig> held_out_corpora(const TrainConfig& config, Banks banks) {
  std::vector<CorpusConfig> corpora;
  const auto add = [&](const std::string& name, CorpusConfig corpus) {
    if (corpus.path.empty()) return;
    if (corpus.name.empty()) corpus.name = "eval " + name;
    corpus.inherit_index_dir(config.data.index_dir);
    corpora.push_back(std::move(corpus));
  };
  for (const auto& entry : config.eval) {
    std::visit(
        [&](const auto& e) {
          const std::string name = e.label.empty() ? e.kTag : e.label;
          add(name, e.corpus);
          if constexpr (requires { e.bank; }) {
            if (banks == Banks::kWith) add(name + " bank", e.bank);
          }
        },
        entry);
  }
  return corpora;
}

void require_folder(const std::string& option, const std::string& file) {
  const auto folder = std::filesystem::path(file).parent_path();
  if (folder.empty() || std::filesystem::is_directory(folder)) return;
  throw ConfigError(option + " " + file + ": there is no folder " + folder.string() + "; make it first");
}

DataCommand read_data_command(const DataArguments& arguments) {
  DataCommand command{arguments, load_train_config(arguments.config, arguments.set), {}, 0};
  command.corpora = training_corpora(command.config);
  auto held_out = held_out_corpora(command.config, Banks::kWith);
  if (!arguments.corpus.empty()) {
    std::vector<std::string> names;
    for (const auto& corpus : command.corpora) names.push_back(corpus.name);
    for (const auto& corpus : held_out) names.push_back(corpus.name);
    keep_only(command.corpora, arguments.corpus);
    keep_only(held_out, arguments.corpus);
    if (command.corpora.empty() && held_out.empty()) {
      throw ConfigError("data: no corpus is called '" + arguments.corpus + "'; there are: " + join(names, ", "));
    }
  }
  command.held_out = held_out.size();
  std::move(held_out.begin(), held_out.end(), std::back_inserter(command.corpora));
  return command;
}

const CorpusConfig& DataCommand::only() const {
  if (corpora.size() == 1) return corpora.front();
  std::vector<std::string> names;
  for (const auto& corpus : corpora) names.push_back(corpus.name);
  throw ConfigError("data " + arguments.action + " works on one corpus; name it with --corpus: " + join(names, ", "));
}

int DataCommand::threads(int local_ranks) const {
  if (arguments.threads > 0) return static_cast<int>(std::min<std::int64_t>(arguments.threads, 1024));
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()) / local_ranks);
}

void RecordProgress::operator()(std::int64_t done) const {
  const auto rate = static_cast<double>(done) / std::max(seconds(), 1e-3);
  show_progress(what_ + ": " + human_count(done) + " of " + human_count(records_) + " records, " +
                human_count(static_cast<std::int64_t>(rate)) + "/s");
}

double RecordProgress::seconds() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
}

void RecordProgress::end() const {
  end_progress();
}

ExitCode run_command(const DataArguments& arguments) {
  const auto command = read_data_command(arguments);
  if (arguments.action == "verify") return data_verify(command);
  if (environment_rank() > 0) return ExitCode::kDone;  // one process works; the others have nothing to add
  if (arguments.action == "index") return data_index(command);
  if (arguments.action == "stats") return data_stats(command);
  if (arguments.action == "show") return data_show(command);
  if (arguments.action == "pack") return data_pack(command);
  if (arguments.action == "filter") return data_filter(command);
  if (arguments.action == "phrases") return data_phrases(command);
  return data_concepts(command);
}

}  // namespace triptych
