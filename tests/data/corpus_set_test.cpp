// One label table for all corpora, held-out rows, and the loader's measurement.
#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/errors.h"
#include "data/image/augment.h"
#include "data/loader.h"
#include "data/loader_bench.h"
#include "tests/support/corpus_configs.h"
#include "tests/support/small_corpora.h"
#include "tests/support/temp_dir.h"

namespace triptych {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class CorpusSetTest : public testing::Test {
 protected:
  CorpusConfig labels(const std::string& name, const std::string& classes) {
    write_test_file(folder_ / (name + ".txt"), classes);
    return label_corpus(write_small_shards(folder_ / name, {4}, 2), folder_ / (name + ".txt"), name);
  }
  CorpusConfig texts(const std::set<int>& broken = {}) {
    return text_corpus(write_small_shards(folder_ / "text", {5, 2}, 0, "record", broken));
  }
  std::string refusal(const DataConfig& config) {
    try {
      CorpusSet corpora(config);
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "no error";
  }

  TempDir folder_;
};

TEST_F(CorpusSetTest, IndexFilesGoWhereTheDataSectionSaysUnlessTheCorpusSaysOtherwise) {
  const auto files_in = [](const std::filesystem::path& folder) {
    return std::distance(std::filesystem::directory_iterator(folder), {});
  };
  DataConfig config;
  config.corpora = {texts(), labels("own", "cat\ndog\n")};
  config.corpora[1].index_dir = (folder_ / "own-index").string();
  config.index_dir = (folder_ / "common-index").string();
  const CorpusSet corpora(config);
  EXPECT_EQ(files_in(folder_ / "common-index"), 2);
  EXPECT_EQ(files_in(folder_ / "own-index"), 1);
}

TEST_F(CorpusSetTest, EqualNamesShareALabel) {
  DataConfig config;
  config.corpora = {texts(), labels("a", "cat|kitty\nGolden_Retriever\n"),
                    labels("b", "bird\nKITTY | tom cat\ngolden-retriever\n")};
  const CorpusSet corpora(config);
  EXPECT_EQ(corpora.size(), 15);
  EXPECT_THAT(corpora.class_names(), ElementsAre(ElementsAre("cat", "kitty", "tom cat"),
                                                 ElementsAre("Golden_Retriever"), ElementsAre("bird")));
  EXPECT_EQ(corpora.global_label(1, 0), 0);
  EXPECT_EQ(corpora.global_label(1, 1), 1);
  EXPECT_EQ(corpora.global_label(2, 0), 2);
  EXPECT_EQ(corpora.global_label(2, 1), 0);
  EXPECT_EQ(corpora.global_label(2, 2), 1);
  const auto facts = corpora.facts(4);
  EXPECT_EQ(facts.num_labels, 3);
  EXPECT_EQ(facts.records_per_epoch, 15);
  EXPECT_EQ(facts.steps_per_epoch, 3);
  EXPECT_THAT(facts.class_names, ElementsAre("cat", "Golden_Retriever", "bird"));
  EXPECT_EQ(corpora.facts(100).steps_per_epoch, 1);
}

TEST_F(CorpusSetTest, NamesThatWouldJoinTwoClassesAreRefused) {
  DataConfig config;
  config.corpora = {labels("a", "cat|dog\nbird\n"), labels("b", "cat\ndog\n")};
  EXPECT_THAT(refusal(config), testing::AllOf(HasSubstr("corpus b: classes 'cat' and 'dog'"), HasSubstr("rename one")));
  config.corpora = {labels("a", "cat\ndog\n"), labels("b", "cat|dog\nbird\n")};
  EXPECT_THAT(refusal(config), HasSubstr("corpus b: classes 'cat' and 'dog'"));
}

TEST_F(CorpusSetTest, PixelStatisticsFollowTheConfiguration) {
  DataConfig config;
  config.corpora = {texts()};
  config.augment.normalize = "half";
  EXPECT_THAT(CorpusSet(config).facts(1).pixel_mean, ElementsAre(0.5f, 0.5f, 0.5f));
  config.augment.normalize = "imagenet";
  EXPECT_THAT(CorpusSet(config).facts(1).pixel_std, ElementsAre(0.229f, 0.224f, 0.225f));
  config.augment.normalize = "clip";
  EXPECT_NEAR(CorpusSet(config).facts(1).pixel_mean[0], 0.48145466, 1e-7);
}

TEST_F(CorpusSetTest, FingerprintChangesWithAnyCorpus) {
  DataConfig config;
  config.corpora = {texts(), labels("a", "cat\ndog\n")};
  const auto before = CorpusSet(config).fingerprint();
  EXPECT_EQ(CorpusSet(config).fingerprint(), before);
  config.corpora = {texts(), labels("a", "cat\ndoc\n")};
  EXPECT_NE(CorpusSet(config).fingerprint(), before);
}

TEST(DataConfigTest, ContradictionsAreRefused) {
  const auto key = [](const auto& section) -> std::string {
    try {
      section.validate();
    } catch (const FieldError& error) {
      return error.key();
    }
    return "sound";
  };
  DataConfig data;
  EXPECT_EQ(key(data), "corpora");
  data.corpora = {text_corpus("a", "one"), text_corpus("b", "one")};
  EXPECT_EQ(key(data), "corpora.1.name");
  data.corpora[1].name = "";
  EXPECT_EQ(key(data), "corpora.1.name");
  data.corpora[1].name = "two";
  EXPECT_EQ(key(data), "sound");
  ShuffleConfig shuffle;
  shuffle.full = true;
  EXPECT_EQ(key(shuffle), "sound");
  shuffle.lanes = 2;
  EXPECT_EQ(key(shuffle), "lanes");
  shuffle.enabled = false;
  EXPECT_EQ(key(shuffle), "full");
  AugmentConfig augment;
  EXPECT_EQ(key(augment), "sound");
  augment.scale = {0.9, 0.8};
  EXPECT_EQ(key(augment), "scale");
  augment = {};
  augment.ratio = {0, 1};
  EXPECT_EQ(key(augment), "ratio");
}

// ---- held-out rows -------------------------------------------------------------------------------------------------

TEST_F(CorpusSetTest, EvalRowsKeepOrderAndLeaveOutTheUnusable) {
  const auto corpus = open_corpus(texts({1, 4}));
  for (const int workers : {1, 3}) {
    const auto rows = read_eval_rows(*corpus, 1, 7, 6, {}, workers);
    EXPECT_EQ(rows.unusable, 2);
    EXPECT_TRUE(at::equal(rows.records, at::tensor({2, 3, 5, 6}, at::kLong)));
    EXPECT_TRUE(at::equal(rows.labels, at::full({4}, kNoLabel, at::kLong)));
    ASSERT_EQ(rows.captions.size(), 4U);
    EXPECT_THAT(rows.captions[2], ElementsAre("record 5"));
    std::vector<std::uint8_t> pixels(6 * 6 * 3);
    evaluation_view(decode_image(corpus->read(5).image, {}), 6, pixels);
    EXPECT_TRUE(at::equal(rows.images[2].reshape({-1}), at::tensor(pixels, at::kByte)));
  }
  EXPECT_EQ(read_eval_rows(*corpus, 3, 3, 6, {}, 2).images.size(0), 0);
  EXPECT_THROW(read_eval_rows(*corpus, 3, 8, 6, {}, 2), std::out_of_range);
}

TEST_F(CorpusSetTest, EvalRowsCarryLocalLabels) {
  const auto rows = read_eval_rows(*open_corpus(labels("a", "cat\ndog\n")), 0, 4, 6, {}, 2);
  EXPECT_TRUE(at::equal(rows.labels, at::tensor({0, 1, 0, 1}, at::kLong)));
}

// ---- measurements --------------------------------------------------------------------------------------------------

TEST_F(CorpusSetTest, BenchMeasuresEveryStage) {
  DataConfig config;
  config.corpora = {texts(), labels("a", "cat\ndog\n")};
  LoaderBenchRequest request;
  request.spec.image_size = 6;
  request.batch = 16;
  request.samples = 64;
  const auto report = bench_loader(CorpusSet(config), config, request);
  EXPECT_EQ(report.samples, 64);
  EXPECT_GT(report.samples_per_s, 0);
  EXPECT_GT(report.mb_per_s, 0);
  for (const auto seconds :
       {report.stages.read_s, report.stages.decode_s, report.stages.resize_s, report.stages.text_s, report.wait_s}) {
    EXPECT_GT(seconds, 0);
    EXPECT_LE(seconds, report.seconds * 2 + 1);
  }
  EXPECT_EQ(report.bad_records, 0);
}

}  // namespace
}  // namespace triptych
