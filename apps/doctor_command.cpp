// `triptych doctor [CONFIG]`: what this machine offers, and what is missing with the command that adds it.
#include <filesystem>
#include <fstream>

#include "apps/commands.h"
#include "apps/data_actions.h"
#include "apps/machine.h"
#include "apps/result.h"
#include "apps/version.h"
#include "core/module/attention.h"
#include "core/train/train_config.h"
#include "core/train/train_config_file.h"
#include "data/formats/file_list.h"
#include "data/text/tokenizer.h"
#include "distributed/launch.h"
#include "distributed/nccl_transport.h"

namespace triptych {
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;
constexpr const char* kQuickstart = "configs/quickstart.yaml";

/// Things that a user has to add, each with the command that does.
class Missing {
 public:
  void add(const std::string& what, const std::string& command) { rows_.push_back({{"what", what}, {"do", command}}); }
  const Json& rows() const { return rows_; }

 private:
  Json rows_ = Json::array();
};

/// Names of the GPUs that the driver knows, also when this build cannot use them.
std::vector<std::string> driver_gpus() {
  std::vector<std::string> names;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator("/proc/driver/nvidia/gpus", none)) {
    std::ifstream file(entry.path() / "information");
    std::string name = "NVIDIA GPU";
    for (std::string line; std::getline(file, line);) {
      if (line.starts_with("Model:")) name = line.substr(line.find_first_not_of(" \t", 6));
    }
    names.push_back(name);
  }
  return names;
}

Json gpu_table(Missing& missing) {
  Json table = Json::array();
  const auto visible = visible_gpus();
  const auto known = driver_gpus();
  for (int index = 0; index < visible.count; ++index) {
    const auto place = static_cast<std::size_t>(index);
    table.push_back({{"device", "cuda:" + std::to_string(index)},
                     {"name", place < known.size() ? known[place] : "GPU"},
                     {"identity", gpu_identity(index)}});
  }
  if (visible.count == 0 && !known.empty()) {
    missing.add(std::to_string(known.size()) + " GPU(s) (" + known.front() +
                    ") that this build does not use: " + visible.none_because,
                "scripts/build cuda");
  }
  return table;
}

Json mpi_facts(Missing& missing) {
  const auto mpirun = find_program("mpirun");
  if (mpirun.empty()) missing.add("mpirun, to start several ranks", "apt-get install openmpi-bin");
  return {{"mpirun", mpirun.empty() ? Json() : Json(mpirun)}, {"library", mpi_library()}};
}

/// The fixed choices that decide speed and bits on this machine.
Json kernel_rules(const CpuFacts& cpu, int gpus) {
  return {
      {"bf16 on CPU",
       cpu.has("amx_bf16") ? "pays: amx_bf16 is here" : "slower than fp32: no amx_bf16; keep precision: fp32"},
      {"attention", "fused; plain for fewer than " + std::to_string(kFusedBf16Tokens) +
                        " tokens in bf16 on the CPU (`triptych bench attention` measures, train.attention overrides)"},
      {"bits repeat for equal", "instruction set " + cpu.kernels + ", " + std::to_string(tensor_threads()) +
                                    " tensor threads a rank, number of ranks"},
      {"device: auto", gpus > 0 ? "GPUs, for up to " + std::to_string(gpus) + " local rank(s)" : "the CPU"},
  };
}

Json asset_table(Missing& missing) {
  Json table = Json::array();
  for (const std::string name : {"clip_bpe", "bert_wordpiece"}) {
    try {
      make_tokenizer(name);
      table.push_back({{"asset", "tokenizer " + name}, {"state", "found"}});
    } catch (const ConfigError& error) {
      table.push_back({{"asset", "tokenizer " + name}, {"state", "missing"}});
      missing.add(error.what(), "scripts/setup");
    }
  }
  return table;
}

/// How many files a key of a corpus names; one that is missing is noted.
std::size_t count_files(const CorpusConfig& corpus, const char* key, const std::string& path, Missing& missing) {
  try {
    return list_files(key, path).size();
  } catch (const ConfigError& error) {
    const bool ours = path.starts_with("corpora/clipart-") || path.starts_with("corpora/emoji-");
    missing.add("corpus " + corpus.name + ": " + error.what(),
                ours                            ? "scripts/corpora"
                : std::string(key) == "phrases" ? "triptych data phrases CONFIG"
                                                : "correct the path, relative to the working directory");
    return 0;
  }
}

void add_corpus(const CorpusConfig& corpus, Json& table, Missing& missing) {
  const auto files = count_files(corpus, "path", corpus.path, missing);
  bool found = files > 0;
  for (const auto& [key, path] : {std::pair{"images", &corpus.images}, std::pair{"map", &corpus.map},
                                  std::pair{"class_names", &corpus.class_names},
                                  std::pair{"keep_list", &corpus.keep_list}, std::pair{"phrases", &corpus.phrases}}) {
    if (!path->empty()) found &= count_files(corpus, key, *path, missing) > 0;
  }
  table.push_back({{"corpus", corpus.name},
                   {"kind", corpus.kind},
                   {"path", corpus.path},
                   {"files", files},
                   {"state", found ? "found" : "missing"}});
}

Json corpus_table(const std::string& path, Missing& missing) {
  Json table = Json::array();
  const auto config = load_train_config(path);
  for (const auto& corpus : training_corpora(config)) add_corpus(corpus, table, missing);
  for (const auto& corpus : held_out_corpora(config, Banks::kWith)) add_corpus(corpus, table, missing);
  return table;
}

}  // namespace

ExitCode run_command(const DoctorArguments& arguments) {
  Missing missing;
  const auto cpu = cpu_facts();
  const auto gpus = gpu_table(missing);
  const auto mpi = mpi_facts(missing);
  const auto assets = asset_table(missing);
  Json corpora = Json::array();
  std::string config = arguments.config;
  if (config.empty() && fs::exists(kQuickstart)) config = kQuickstart;
  if (!config.empty()) corpora = corpus_table(config, missing);

  Json result = {
      {"program", version_text()},
      // Ranks of this host that would get a device each: GPUs where there are some, else cores.
      {"max_local_ranks", gpus.empty() ? static_cast<std::size_t>(cpu.cores) : gpus.size()},
      {"cpu", {{"model", cpu.model}, {"cores", cpu.cores}, {"instruction_sets", cpu.flags}, {"kernels", cpu.kernels}}},
      {"threads",
       {{"tensor_threads", tensor_threads()},
        {"OMP_NUM_THREADS", std::getenv("OMP_NUM_THREADS") ? Json(std::getenv("OMP_NUM_THREADS")) : Json()}}},
      {"gpus", gpus},
      {"mpi", mpi},
      {"libraries", library_versions()},
      {"kernel_rules", kernel_rules(cpu, static_cast<int>(gpus.size()))},
      {"assets", assets},
      {"corpora", corpora},
      {"missing", missing.rows()},
  };
  print_result(result, arguments.format);
  return ExitCode::kDone;
}

}  // namespace triptych
