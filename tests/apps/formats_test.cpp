// Every format through the program: the same records come out of show and pack, stats counts them, train learns them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "data/corpus.h"
#include "tests/apps/run_program.h"
#include "tests/support/format_corpora.h"

namespace triptych {
namespace {

using namespace format_corpora;
using nlohmann::json;
using testing::ElementsAre;

/// The entry of data.corpora: JSON is YAML.
json entry_of(const CorpusConfig& config) {
  json entry = {{"name", config.name}, {"kind", config.kind}, {"format", config.format}, {"path", config.path}};
  const std::pair<const char*, const std::string&> more[] = {{"images", config.images},
                                                             {"map", config.map},
                                                             {"image_key", config.image_key},
                                                             {"class_names", config.class_names},
                                                             {"label_key", config.label_key}};
  for (const auto& [key, value] : more) {
    if (!value.empty()) entry[key] = value;
  }
  if (!config.caption_keys.empty()) entry["caption_keys"] = config.caption_keys;
  return entry;
}

class FormatByProgramTest : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    const auto& c = GetParam();
    const json run = {
        {"run", {{"name", "tiny"}, {"dir", (out_ / "runs").string()}}},
        {"data",
         {{"corpora",
           {entry_of(write_corpus(c, "image_text", texts_)), entry_of(write_corpus(c, "image_label", labels_))}}}},
        {"model",
         {{"image",
           {{"type", "vit"}, {"image_size", 16}, {"patch_size", 8}, {"width", 16}, {"depth", 1}, {"heads", 2}}},
          {"text", {{"type", "causal_transformer"}, {"context", 12}, {"width", 16}, {"depth", 1}, {"heads", 2}}},
          {"embed_dim", 16}}},
        {"objective", {{"name", "unicl"}}},
        {"train", {{"global_batch", 10}, {"device", "cpu"}, {"threads", 1}}},
        {"schedule", {{"total", {{"steps", 2}}}, {"warmup", {{"steps", 1}}}}},
        {"log", {{"every", {{"steps", 1}}}}}};
    config_ = (out_ / "run.yaml").string();
    spill(config_, run.dump(1));
  }

  json run_json(const std::string& action, const std::string& options = "") {
    const auto outcome = run_shell("triptych data " + action + " " + config_ + " " + options + " --format json");
    EXPECT_EQ(outcome.code, 0) << action << "\n" << outcome.err;
    return json::parse(outcome.out, nullptr, false);
  }
  std::unique_ptr<Corpus> packed(const std::string& name) {
    const auto folder = out_ / name;
    EXPECT_EQ(run_json("pack", "--corpus " + name + " --out " + folder.string())["written"], kRecords);
    CorpusConfig config;
    config.name = name;
    config.path = (folder / "shard-*.tar").string();
    if (name == "labels") {
      config.kind = "image_label";
      config.class_names = (folder / "classes.txt").string();
    }
    return open_corpus(config);
  }
  std::vector<std::string> captions_of(const Sample& sample) const {
    return GetParam().one_caption ? std::vector{sample.captions[0]} : sample.captions;
  }

  TempDir texts_, labels_, out_;
  std::string config_;
};

std::string text_of(const Record& record) {
  return {record.image.begin(), record.image.end()};
}

TEST_P(FormatByProgramTest, ShowsTheRecords) {
  const auto shown = run_json("show", "--count 20");
  ASSERT_EQ(shown["texts"].size(), static_cast<std::size_t>(kRecords)) << shown;
  const auto all = samples();
  for (std::size_t i = 0; i < all.size(); ++i) {
    std::string captions;
    for (const auto& caption : captions_of(all[i])) captions += (captions.empty() ? "" : " | ") + caption;
    EXPECT_EQ(shown["texts"][i]["text"], captions);
    EXPECT_EQ(shown["texts"][i]["bytes"], all[i].picture.size());
  }
  std::map<std::string, int> classes;
  for (const auto& row : shown["labels"]) ++classes[row["text"]];
  EXPECT_THAT(classes,
              ElementsAre(testing::Pair(kClasses[0], 4), testing::Pair(kClasses[1], 3), testing::Pair(kClasses[2], 3)));
}

TEST_P(FormatByProgramTest, PacksTheRecords) {
  const auto texts = packed("texts"), labels = packed("labels");
  const auto all = samples();
  ASSERT_EQ(texts->size(), kRecords);
  ASSERT_EQ(labels->size(), kRecords);
  std::map<std::string, std::string> class_of;  // folders have an order of their own
  for (int i = 0; i < kRecords; ++i) {
    const auto record = texts->read(i);
    EXPECT_EQ(text_of(record), all[static_cast<std::size_t>(i)].picture);
    EXPECT_EQ(record.captions, captions_of(all[static_cast<std::size_t>(i)]));
    const auto labelled = labels->read(i);
    class_of[text_of(labelled)] = labels->class_names().at(static_cast<std::size_t>(labelled.label)).at(0);
  }
  for (const auto& sample : all) EXPECT_EQ(class_of[sample.picture], kClasses[static_cast<std::size_t>(sample.label)]);
}

TEST_P(FormatByProgramTest, CountsAndLearnsTheRecords) {
  const auto stats = run_json("stats");
  for (const auto* name : {"texts", "labels"}) {
    EXPECT_EQ(stats[name]["records"], kRecords) << stats;
    EXPECT_EQ(stats[name]["unusable"], 0);
  }
  EXPECT_EQ(stats["labels"]["largest_class_records"], 4);
  const auto trained = run_shell("triptych train " + config_);
  EXPECT_EQ(trained.code, 0) << trained.err;
  EXPECT_EQ(slurp(out_ / "runs/tiny/skipped.jsonl"), "");
  const auto metrics = slurp(out_ / "runs/tiny/metrics.jsonl");
  EXPECT_EQ(std::count(metrics.begin(), metrics.end(), '\n'), 2) << metrics;
  EXPECT_THAT(metrics, testing::HasSubstr("\"samples_seen\":20"));
}

INSTANTIATE_TEST_SUITE_P(Formats, FormatByProgramTest, testing::ValuesIn(cases()),
                         [](const auto& which) { return which.param.name; });

}  // namespace
}  // namespace triptych
