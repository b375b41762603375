// Whole runs of LOUPE: towers, region head, networks and the moments of their labels survive a resume to the bit.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <set>
#include <utility>

#include "core/base/errors.h"
#include "data/phrase_builder.h"
#include "tests/train/lost_state.h"
#include "tests/train/tiny_run.h"

namespace triptych {
namespace {

/// Phrases of the captions "red fox number 3": of four records two have both, one has the first, one has none.
std::string tiny_phrases(const TinyRun& tiny, const CorpusConfig& corpus) {
  const std::size_t first_words[] = {7, 9, 10, 10, 9};
  const auto lines = tiny.path() / "phrases.jsonl", file = tiny.path() / "phrases";
  if (std::filesystem::exists(file)) return file.string();
  std::ofstream out(lines);
  for (std::size_t record = 0; record < 24; ++record) {
    const std::size_t number = record % 12, end = first_words[number % 5];
    if (number % 4 == 3) continue;
    out << "{\"record\": " << record << ", \"phrases\": [[[0, " << end << "]";
    if (number % 4 != 2) out << ", [" << end + 1 << ", " << end + 8 + (number > 9 ? 2 : 1) << "]";
    out << "]]}\n";
  }
  out.close();
  import_phrases(*open_corpus(corpus), lines.string(), file.string());
  return file.string();
}

TrainConfig loupe_run(const TinyRun& tiny, const std::string& name) {
  auto config = tiny.config(name);
  SwinConfig image{.image_size = 16, .patch_size = 2, .width = 8, .window = 4};
  image.depths = {1, 1};
  image.heads = {2, 2};
  config.model.image = image;
  config.model.text = BertConfig{.context = 10, .width = 8, .depth = 1, .heads = 2};
  config.data.corpora[0].phrases = tiny_phrases(tiny, config.data.corpora[0]);
  LoupeConfig loupe;
  loupe.regions.count = 3;
  loupe.regions.hidden = 6;
  loupe.tokens.coalitions = 2;
  loupe.tokens.members = 2;
  loupe.tokens.targets = 4;
  loupe.tokens.most_enumerated = 4;
  loupe.phrases.targets = 6;
  loupe.unsil.level = "both";
  loupe.unsil.warmup = 2;
  config.objective = loupe;
  return config;
}

LoupeConfig& loupe_of(TrainConfig& config) {
  return std::get<LoupeConfig>(config.objective);
}

/// Every file of the last checkpoint, joined.
std::string last_state(const TinyRun& tiny, const std::string& name) {
  const auto folder = CheckpointStore(tiny.run(name) / "checkpoints").path(10);
  return read_file(folder / "model.safetensors") + read_file(folder / "state.safetensors");
}

TEST(LoupeRun, ResumesBitForBitAfterAKill) {
  const TinyRun tiny;
  for (const int ranks : {1, 2}) {
    for (const std::int64_t micro_batch : {0, 3}) {
      const auto name = "l" + std::to_string(ranks) + std::to_string(micro_batch), killed = name + "k";
      auto config = loupe_run(tiny, name);
      config.train.micro_batch = micro_batch;
      ASSERT_EQ(TinyRun::train(config, ranks), ExitCode::kDone);
      tiny.copy_run(name, killed, 4);  // 48 of 33 records an epoch: in the middle of the second
      config.run.name = killed;
      EXPECT_EQ(TinyRun::train(config, ranks), ExitCode::kDone);
      EXPECT_EQ(tiny.text(killed, "steps.jsonl"), tiny.text(name, "steps.jsonl")) << name;
      EXPECT_EQ(tiny.lines(killed, "steps.jsonl").size(), 10U) << name;
      EXPECT_TRUE(last_state(tiny, killed) == last_state(tiny, name)) << name;
    }
  }
}

/// The games are played: their terms are in the log, above 0 and finite.
TEST(LoupeRun, LogsItsTerms) {
  const TinyRun tiny;
  auto config = loupe_run(tiny, "terms");
  config.log.every = steps(1);
  ASSERT_EQ(TinyRun::train(config, 2), ExitCode::kDone);
  double most_phrases = 0, most_sampled = 0, least_sampled = 1;
  int logged = 0;
  for (const auto& line : tiny.lines("terms", "metrics.jsonl")) {
    if (!line.contains("loss/tsa")) continue;
    ++logged;
    const auto term = [&](const char* name) { return line.at(std::string("loss/") + name).get<double>(); };
    for (const char* name : {"contrast", "tsa", "fsa", "unsil_tokens", "unsil_phrases"})
      EXPECT_GE(term(name), 0) << name;
    EXPECT_GT(term("contrast"), 0);
    EXPECT_GT(term("tsa"), 0);
    for (const char* name : {"unsil_sigma", "unsil_error"})  // warm-up: 2 steps
      EXPECT_EQ(line.contains(std::string("loss/") + name), line.at("step").get<std::int64_t>() > 2) << name;
    EXPECT_GE(term("token_instability"), 0);
    most_phrases = std::max(most_phrases, term("captions_with_phrases"));
    most_sampled = std::max(most_sampled, term("sampled_regions"));
    least_sampled = std::min(least_sampled, term("sampled_regions"));
  }
  EXPECT_EQ(logged, 10);
  EXPECT_GT(most_phrases, 0);
  EXPECT_GT(most_sampled, 0);
  EXPECT_LT(least_sampled, 1);
}

TEST(LoupeRun, HalfPrecisionAndCheckpointedActivationsTrain) {
  const TinyRun tiny;
  for (const auto& [type, ranks] : {std::pair{"attention", 2}, {"conv", 1}, {"transformer", 1}, {"none", 2}}) {
    auto config = loupe_run(tiny, type);
    auto& loupe = loupe_of(config);
    loupe.unsil.type = type;
    if (loupe.unsil.type == "none") {  // keys of a network mean nothing then
      loupe.unsil = {.type = "none"};
      loupe.phrases.targets = LoupePhrases{}.targets;
    }
    loupe.tokens.compute = ranks == 1 ? "run" : "bf16";
    loupe.image_feature = ranks == 1 ? "mean" : "attention";
    config.train.precision = "bf16";
    config.train.micro_batch = 3;
    config.train.activation_checkpointing = true;
    EXPECT_EQ(TinyRun::train(config, ranks), ExitCode::kDone);
    EXPECT_EQ(tiny.lines(config.run.name, "steps.jsonl").size(), 10U);
  }
}

/// Blocks that run again in backward compute the same.
TEST(LoupeRun, CheckpointedActivationsChangeNoBit) {
  const TinyRun tiny;
  auto config = loupe_run(tiny, "kept");
  ASSERT_EQ(TinyRun::train(config, 1), ExitCode::kDone);
  config.run.name = "again";
  config.train.activation_checkpointing = true;
  ASSERT_EQ(TinyRun::train(config, 1), ExitCode::kDone);
  EXPECT_TRUE(last_state(tiny, "kept") == last_state(tiny, "again"));
}

TEST(LoupeRun, FrozenTowersTrainTheRegions) {
  const TinyRun tiny;
  auto config = loupe_run(tiny, "frozen");
  config.optimizer.freeze = {"visual.*", "embeddings.*", "encoder.*", "text_projection"};
  config.train.micro_batch = 3;
  EXPECT_EQ(TinyRun::train(config, 2), ExitCode::kDone);
  auto& loupe = loupe_of(config);
  loupe.regions = {};
  loupe.tokens = {.weight = 0};
  loupe.phrases = {.weight = 0};  // the temperature alone
  loupe.unsil = {.type = "none"};
  config.run.name = "temperature";
  EXPECT_EQ(TinyRun::train(config, 1), ExitCode::kDone);
}

TEST(LoupeRun, LosingAnyWeightOrMomentIsSeen) {
  const TinyRun tiny;
  auto config = loupe_run(tiny, "lost");
  config.schedule.total = steps(5);
  config.log.tensorboard = false;
  std::set<std::string> moments;
  int tried = 0;
  const auto not_seen = losses_not_seen(tiny, config, [&](const std::string& name) {
    const bool ours = name.starts_with("region_") || name.starts_with("unsil.") || name == "temperature";
    if (name.ends_with(".moments")) moments.insert(name);
    tried += ours ? 1 : 0;
    return ours;
  });
  EXPECT_EQ(not_seen, std::vector<std::string>{});
  EXPECT_EQ(moments, (std::set<std::string>{"unsil.phrases.moments", "unsil.tokens.moments"}));
  EXPECT_GT(tried, 40);
}

TEST(LoupeRun, CaptionsWithoutAFileOfPhrasesAreRefused) {
  const TinyRun tiny;
  auto config = loupe_run(tiny, "bare");
  config.data.corpora[0].phrases = "";
  try {
    TinyRun::train(config, 1);
    ADD_FAILURE() << "accepted";
  } catch (const ConfigError& error) {
    EXPECT_NE(std::string(error.what()).find("corpus texts"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("phrases"), std::string::npos) << error.what();
  }
  auto& loupe = loupe_of(config);
  loupe.phrases = {.weight = 0};
  loupe.unsil.level = "tokens";
  EXPECT_EQ(TinyRun::train(config, 1), ExitCode::kDone);
}

}  // namespace
}  // namespace triptych
