// A whole run small enough for a test: two corpora of little pictures (one record broken), one-block towers, any number
// of ranks.
#pragma once
#include <cstdlib>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/base/atomic_file.h"
#include "core/train/train_config_file.h"
#include "core/train/train_run.h"
#include "tests/support/corpus_configs.h"
#include "tests/support/paths.h"
#include "tests/support/tar_writer.h"
#include "tests/support/temp_dir.h"
#include "tests/support/thread_ranks.h"
#include "tests/support/tiny_png.h"

namespace triptych {

class TinyRun {
 public:
  TinyRun() {
    setenv("TRIPTYCH_ASSETS", source_path("assets").c_str(), 1);
    const char* words[] = {"red fox", "blue bird", "green tree", "small boat", "old house"};
    for (int shard = 0; shard < 2; ++shard) {
      TarWriter tar;
      for (int i = 0; i < 12; ++i) {
        const auto key = std::to_string(shard * 100 + i);
        auto png = tiny_png(20, 18, shard * 90 + i * 7);
        if (shard == 1 && i == 5) png.resize(60);
        tar.file(key + ".png", png).file(key + ".txt", std::string(words[i % 5]) + " number " + std::to_string(i));
      }
      write_test_file(folder_ / "texts" / ("train-" + std::to_string(shard) + ".tar"), tar.end().bytes());
    }
    TarWriter tar;
    for (int i = 0; i < 9; ++i) {
      const auto key = std::to_string(i);
      tar.file(key + ".png", tiny_png(18, 20, 200 - i * 9)).file(key + ".cls", std::to_string(i % 3));
    }
    write_test_file(folder_ / "labels" / "train-0.tar", tar.end().bytes());
    write_test_file(folder_ / "labels" / "classes.txt", "fox\nbird\ntree\n");
  }

  const std::filesystem::path& path() const { return folder_.path(); }
  std::filesystem::path run(const std::string& name) const { return folder_ / "runs" / name; }
  CorpusConfig labels() const {
    return label_corpus(folder_.path() / "labels" / "train-*.tar", folder_.path() / "labels" / "classes.txt", "labels");
  }

  TrainConfig config(const std::string& name) const {
    TrainConfig config;
    config.run = {.name = name, .dir = (folder_ / "runs").string(), .seed = 3};
    config.data.corpora = {text_corpus(folder_.path() / "texts" / "train-*.tar", "texts"), labels()};
    config.data.shuffle.window = 8;
    config.data.workers = 1;
    config.model.image = VitConfig{.image_size = 16, .patch_size = 8, .width = 8, .depth = 1, .heads = 2};
    config.model.text = CausalTransformerConfig{.context = 8, .width = 8, .depth = 1, .heads = 2};
    config.model.embed_dim = 8;
    config.train.global_batch = 12;
    config.train.threads = 1;
    config.optimizer.lr = 3e-3;
    config.schedule.total = steps(10);
    config.schedule.warmup = steps(3);
    config.checkpoint.every = steps(4);
    config.checkpoint.keep_last = 100;
    config.log.every = steps(3);
    config.log.step_record = true;
    return config;
  }

  /// Runs on `ranks` ranks; what rank 0 returned.
  static ExitCode train(const TrainConfig& config, int ranks, const std::string& resume = "auto",
                        const std::vector<std::string>& allow_change = {}) {
    const TrainRequest request{.config = config,
                               .config_text = train_config_text(config),
                               .run_dir = "",
                               .resume = resume,
                               .allow_change = allow_change};
    auto code = ExitCode::kLostPeer;
    run_ranks(ranks, [&](Collectives& comm) {
      const auto mine = run_training(request, place_of(comm), comm);
      if (comm.rank() == 0) code = mine;
    });
    return code;
  }

  static Place place_of(const Collectives& comm) {
    return {.rank = comm.rank(),
            .size = comm.size(),
            .local_rank = comm.rank(),
            .local_size = comm.size(),
            .host = "test",
            .launcher = "threads",
            .device = "cpu",
            .device_note = ""};
  }

  std::string text(const std::string& name, const std::string& file) const { return read_file(run(name) / file); }
  std::vector<nlohmann::json> lines(const std::string& name, const std::string& file) const {
    std::vector<nlohmann::json> parsed;
    std::istringstream stream(text(name, file));
    for (std::string line; std::getline(stream, line);) parsed.push_back(nlohmann::json::parse(line));
    return parsed;
  }
  /// A second run directory with everything of the first but checkpoints after `step`: what kill -9 leaves behind.
  void copy_run(const std::string& from, const std::string& to, std::int64_t step) const {
    namespace fs = std::filesystem;
    fs::copy(run(from), run(to), fs::copy_options::recursive);
    for (const auto& entry : fs::directory_iterator(run(to) / "checkpoints")) {
      if (std::stoll(entry.path().filename().string().substr(5)) > step) fs::remove_all(entry.path());
    }
  }

 private:
  TempDir folder_;
};

}  // namespace triptych
