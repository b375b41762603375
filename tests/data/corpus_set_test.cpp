// One label table for all corpora, held-out rows, and the loader's measurement.
#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/config_reader.h"
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

TEST_F(CorpusSetTest, FoldersOfPicturesHaveNoUseForTheCommonIndexFolder) {
  DataConfig config;
  write_test_file(folder_ / "pictures/cat/1.png", "p");
  config.corpora = {folder_corpus(folder_ / "pictures", "image_label")};
  config.index_dir = (folder_ / "common-index").string();
  EXPECT_EQ(CorpusSet(config).size(), 1);
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

TEST_F(CorpusSetTest, SeparateLabelsStayApart) {
  DataConfig config;
  config.labels = "separate";
  config.corpora = {labels("a", "cat|dog\nbird\n"), labels("b", "cat\ndog\n")};  // merging would refuse these
  const CorpusSet corpora(config);
  EXPECT_THAT(corpora.class_names(),
              ElementsAre(ElementsAre("cat", "dog"), ElementsAre("bird"), ElementsAre("cat"), ElementsAre("dog")));
  EXPECT_EQ(corpora.global_label(0, 1), 1);
  EXPECT_EQ(corpora.global_label(1, 0), 2);
  EXPECT_EQ(corpora.facts(1).num_labels, 4);
}

TEST_F(CorpusSetTest, TheLabelTableIsWrittenAsJson) {
  DataConfig config;
  config.corpora = {texts(), labels("a", "cat|kitty\n\"bird\"\n"), labels("b", "KITTY\n")};
  EXPECT_EQ(CorpusSet(config).class_table(), R"({"labels": "merge", "classes": [
{"id":0,"names":["cat","kitty"],"corpora":{"a":0,"b":0}},
{"id":1,"names":["\"bird\""],"corpora":{"a":1}}
]}
)");
}

TEST_F(CorpusSetTest, FactsFollowEpochAndCaptions) {
  DataConfig config;
  config.corpora = {texts(), labels("a", "cat\ndog\n")};
  EXPECT_EQ(CorpusSet(config).facts(4).captions, 1);
  config.epoch = EpochConfig{"", 100};
  config.captions.all_positive = 3;
  const auto facts = CorpusSet(config).facts(4);
  EXPECT_EQ(facts.records_per_epoch, 100);
  EXPECT_EQ(facts.steps_per_epoch, 25);
  EXPECT_EQ(facts.captions, 3);
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
  EXPECT_NEAR(CorpusSet(config).facts(1).pixel_mean[0], 0.48145466, 1e-7);
  NoAugment augment;
  augment.normalize = "half";
  config.augment = augment;
  EXPECT_THAT(CorpusSet(config).facts(1).pixel_mean, ElementsAre(0.5f, 0.5f, 0.5f));
  config.augment = ImagenetAugment{};
  EXPECT_THAT(CorpusSet(config).facts(1).pixel_std, ElementsAre(0.229f, 0.224f, 0.225f));
  augment.normalize = "given";
  augment.mean = {0.1, 0.2, 0.3};
  augment.std = {1, 2, 3};
  config.augment = augment;
  EXPECT_THAT(CorpusSet(config).facts(1).pixel_mean, ElementsAre(0.1f, 0.2f, 0.3f));
  EXPECT_THAT(CorpusSet(config).facts(1).pixel_std, ElementsAre(1, 2, 3));
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
}

/// What reading `augment: TEXT` says.
std::string augment_refusal(const std::string& text) {
  try {
    parse_config<DataConfig>("corpora: [{name: a, path: b}]\naugment: " + text + "\n", "test.yaml");
    return "sound";
  } catch (const ConfigError& error) {
    return error.what();
  }
}

TEST(AugmentConfigTest, EachRecipeTakesItsKeysAndNoOther) {
  for (const char* text :
       {"{recipe: none, resize: stretch, normalize: half}", "{recipe: clip, scale: [0.5, 1.0], flip: 0.5}",
        "{recipe: tcl, color_jitter: {hue: 0.2}, blur: {radius: [0, 0]}, rand_augment: {magnitude: 5}}",
        "{recipe: imagenet, rand_augment: {magnitude_std: 0}, erasing: {fill: mean}, mix: {mixup_alpha: 0.8}}",
        "{recipe: clip, normalize: given, mean: [0.1, 0.2, 0.3], std: [1, 1, 1]}"}) {
    EXPECT_EQ(augment_refusal(text), "sound") << text;
  }
  EXPECT_EQ(
      augment_refusal("{recipe: none, scale: [0.5, 1]}"),
      "test.yaml:2:25: augment.scale: unknown key (its value: a list of 2); known here: recipe, resize, normalize, "
      "mean, std");
  for (const char* text :
       {"{recipe: clip, grayscale: 0.2}", "{recipe: clip, rand_augment: {magnitude: 5}}",
        "{recipe: tcl, rand_augment: {magnitude_std: 0.5}}", "{recipe: tcl, erasing: {probability: 0}}",
        "{recipe: imagenet, blur: {probability: 0}}", "{recipe: clip, mix: {mixup_alpha: 1}}",
        "{recipe: imagenet, color_jitter: {hue: 0}}", "{recipe: none, flip: 0}"}) {
    EXPECT_THAT(augment_refusal(text), HasSubstr("unknown key")) << text;
  }
  EXPECT_THAT(augment_refusal("{recipe: simclr}"), HasSubstr("clip, none, tcl, imagenet"));
}

TEST(AugmentConfigTest, ContradictionsAreRefused) {
  EXPECT_THAT(augment_refusal("{recipe: clip, scale: [0.9, 0.8]}"), HasSubstr("augment.scale: must be"));
  EXPECT_THAT(augment_refusal("{recipe: tcl, scale: [0.9, 1.1]}"), HasSubstr("augment.scale: must be"));
  EXPECT_THAT(augment_refusal("{recipe: imagenet, ratio: [0, 1]}"), HasSubstr("augment.ratio: must be"));
  EXPECT_THAT(augment_refusal("{recipe: tcl, blur: {radius: [2, 1]}}"), HasSubstr("augment.blur.radius: must be"));
  EXPECT_THAT(augment_refusal("{recipe: imagenet, erasing: {area: [0, 1]}}"), HasSubstr("augment.erasing.area: must"));
  EXPECT_THAT(augment_refusal("{recipe: clip, normalize: given}"), HasSubstr("augment.normalize: is given, but there"));
  EXPECT_THAT(augment_refusal("{recipe: clip, normalize: given, mean: [0, 0, 0]}"), HasSubstr("no std"));
  EXPECT_THAT(augment_refusal("{recipe: none, std: [1, 1, 1]}"), HasSubstr("augment.std: is not used with normalize"));
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
    test_view(decode_image(corpus->read(5).image, {}), "crop", 6, pixels);
    EXPECT_TRUE(at::equal(rows.images[2].reshape({-1}), at::tensor(pixels, at::kByte)));
  }
  DecodeConfig stretch;
  stretch.test_resize = "stretch";
  std::vector<std::uint8_t> pixels(6 * 6 * 3);
  test_view(decode_image(corpus->read(5).image, {}), "stretch", 6, pixels);
  EXPECT_TRUE(
      at::equal(read_eval_rows(*corpus, 5, 6, 6, stretch, 1).images.reshape({-1}), at::tensor(pixels, at::kByte)));
  DecodeConfig larger;
  larger.test_short_side = 9;
  test_view(decode_image(corpus->read(5).image, {}), "crop", 6, pixels, 9);
  EXPECT_TRUE(
      at::equal(read_eval_rows(*corpus, 5, 6, 6, larger, 1).images.reshape({-1}), at::tensor(pixels, at::kByte)));
  EXPECT_THROW(read_eval_rows(*corpus, 5, 6, 10, larger, 1), ConfigError);
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
