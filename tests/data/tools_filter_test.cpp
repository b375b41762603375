// Every rule against records made for it, with records that only a missing rule would let through; keep-lists.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <fstream>
#include <sstream>

#include "core/base/config_reader.h"
#include "core/base/errors.h"
#include "data/formats/keep_list.h"
#include "data/image/augment.h"
#include "data/tools/english.h"
#include "data/tools/filter.h"
#include "data/tools/ngram_counts.h"
#include "data/tools/perceptual_hash.h"
#include "data/tools/words.h"
#include "tests/support/corpus_configs.h"
#include "tests/support/paths.h"
#include "tests/support/small_corpora.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_pictures.h"

namespace triptych {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// ---- English -------------------------------------------------------------------------------------------------------

TEST(EnglishTest, TellsEnglishFromOtherLanguages) {
  for (const auto* caption : {"a man riding on the back of a horse", "two dogs play with a ball in the grass",
                              "Sunset over the mountains.", "a plate of food on a table", "kids playing soccer",
                              "New York City skyline at night", "vintage car parked outside an old hotel"}) {
    EXPECT_GT(english_score(words_of(caption)), 0) << caption;
  }
  for (const auto* caption : {"ein Mann reitet auf einem Pferd", "une femme souriante devant la cam\xC3\xA9ra",
                              "un perro corre por la playa", "il gatto \xC3\xA8 sul tavolo",
                              "dwa psy bawi\xC4\x85 si\xC4\x99 pi\xC5\x82k\xC4\x85", "kucing duduk di atas meja",
                              "\xE4\xB8\x80\xE5\x8F\xAA\xE7\x8C\xAB", "\xD0\xBA\xD0\xBE\xD1\x88\xD0\xBA\xD0\xB0"}) {
    EXPECT_LT(english_score(words_of(caption)), 0) << caption;
  }
  EXPECT_EQ(english_score({}), 0);
  EXPECT_EQ(english_score(words_of("12 345")), 0) << "digits say nothing";
  EXPECT_EQ(english_score(words_of("cat 7")), english_score(words_of("CAT")));
}

// ---- n-grams -------------------------------------------------------------------------------------------------------

TEST(NgramCountsTest, CountsWordsAndPairsAndFindsTheMostFrequent) {
  NgramCounts counts;
  EXPECT_EQ(counts.least_count(1), 0U);
  for (int i = 0; i < 5; ++i) counts.add({"a", "cat"});  // a 5, cat 5, "a cat" 5
  for (int i = 0; i < 2; ++i) counts.add({"a", "dog"});  // a 7, dog 2, "a dog" 2
  counts.add({"emu"});
  EXPECT_EQ(counts.different(), 6);
  EXPECT_EQ(counts.least_count(6), 0U) << "all are frequent enough";
  EXPECT_EQ(counts.least_count(5), 2U);
  EXPECT_EQ(counts.least_count(4), 2U) << "dog and \"a dog\" share their count: both are in";
  EXPECT_EQ(counts.least_count(3), 5U);
  EXPECT_EQ(counts.least_count(1), 7U);
  EXPECT_FALSE(counts.has_rare({"a", "cat"}, 5));
  EXPECT_TRUE(counts.has_rare({"cat", "a"}, 5)) << "this pair never occurred";
  EXPECT_TRUE(counts.has_rare({"a", "dog"}, 5));
  EXPECT_FALSE(counts.has_rare({"emu"}, 1));
  EXPECT_TRUE(counts.has_rare({"yak"}, 1));
  EXPECT_FALSE(counts.has_rare({}, 100));
}

TEST(NgramCountsTest, KeepsCountsWhileItGrows) {
  NgramCounts counts;
  for (int round = 0; round < 3; ++round) {
    for (int i = round; i < 5000; ++i) counts.add({std::to_string(i)});
  }
  EXPECT_EQ(counts.different(), 5000);
  EXPECT_TRUE(counts.has_rare({"0"}, 2));
  EXPECT_FALSE(counts.has_rare({"1"}, 2));
  EXPECT_TRUE(counts.has_rare({"1"}, 3));
  for (int i = 2; i < 5000; ++i) ASSERT_FALSE(counts.has_rare({std::to_string(i)}, 3)) << i;
}

// ---- hashes of pictures --------------------------------------------------------------------------------------------

int distance(std::uint64_t a, std::uint64_t b) {
  return std::popcount(a ^ b);
}

TEST(PerceptualHashTest, SurvivesScalingAndCompressionAndTellsPicturesApart) {
  for (std::uint64_t seed = 1; seed <= 8; ++seed) {
    const auto hash = *perceptual_hash(wavy_picture(320, 240, seed));
    EXPECT_LE(distance(hash, *perceptual_hash(decode_image(encode_jpeg(wavy_picture(320, 240, seed), 40), {}))), 4);
    EXPECT_LE(distance(hash, *perceptual_hash(wavy_picture(150, 111, seed))), 4) << seed;
    EXPECT_EQ(std::popcount(hash), 32) << "half of the coefficients are above the median";
    for (std::uint64_t other = seed + 1; other <= 8; ++other) {
      EXPECT_GT(distance(hash, *perceptual_hash(wavy_picture(320, 240, other))), 10) << seed << " " << other;
    }
  }
  EXPECT_FALSE(perceptual_hash(Image{2, 1, {9, 9, 9, 9, 9, 9}})) << "one colour has no structure";
}

/// The definition written plainly, as a sum over all pixels for each coefficient.
TEST(PerceptualHashTest, IsTheSignOfCosineCoefficientsAgainstTheirMedian) {
  const auto picture = wavy_picture(32, 32, 9);  // no resizing
  std::vector<double> coefficients;
  for (int v = 1; v <= 8; ++v) {
    for (int u = 1; u <= 8; ++u) {
      double sum = 0;
      for (int y = 0; y < 32; ++y) {
        for (int x = 0; x < 32; ++x) {
          const auto* p = &picture.rgb[static_cast<std::size_t>(y * 32 + x) * 3];
          sum += (0.299 * p[0] + 0.587 * p[1] + 0.114 * p[2]) * std::cos(M_PI * u * (x + 0.5) / 32) *
                 std::cos(M_PI * v * (y + 0.5) / 32);
        }
      }
      coefficients.push_back(sum);
    }
  }
  auto sorted = coefficients;
  std::sort(sorted.begin(), sorted.end());
  std::uint64_t expected = 0;
  for (std::size_t i = 0; i < 64; ++i) {
    if (coefficients[i] > (sorted[31] + sorted[32]) / 2) expected |= std::uint64_t{1} << i;
  }
  EXPECT_EQ(perceptual_hash(picture), expected);
}

TEST(HammingIndexTest, FindsWhatAPlainSearchFinds) {
  RandomStream draws(random_key(3, Purpose::kTest));
  for (const int most : {0, 1, 3, 7, 15}) {
    HammingIndex index(most);
    std::vector<std::uint64_t> hashes;
    for (int i = 0; i < 300; ++i) {
      hashes.push_back(draws.bits());
      index.add(hashes.back());
    }
    EXPECT_EQ(index.size(), 300);
    int found = 0;
    for (int i = 0; i < 600; ++i) {
      auto hash = hashes[static_cast<std::size_t>(draws.below(300))];
      for (auto flips = draws.below(most + 3); flips > 0; --flips) hash ^= std::uint64_t{1} << draws.below(64);
      int nearest = 65;
      for (const auto other : hashes) nearest = std::min(nearest, distance(hash, other));
      const auto got = index.nearest(hash);
      EXPECT_EQ(got.value_or(65), nearest <= most ? nearest : 65) << most;
      found += got.has_value();
    }
    EXPECT_GT(found, 100);
    EXPECT_LT(found, 600);
  }
  EXPECT_THROW(HammingIndex(-1), std::invalid_argument);
  EXPECT_THROW(HammingIndex(16), std::invalid_argument);
}

// ---- rules ---------------------------------------------------------------------------------------------------------

class FilterTest : public testing::Test {
 protected:
  std::unique_ptr<Corpus> corpus(const std::vector<TestRecord>& records, const std::string& name = "web") {
    return open_corpus(text_corpus(write_records(folder_ / (name + ".tar"), records), name));
  }
  /// Records with one small picture each and these captions.
  std::unique_ptr<Corpus> captions(const std::vector<std::vector<std::string>>& all) {
    std::vector<TestRecord> records;
    for (const auto& one : all) records.push_back({"png", tiny_png(8, 8, 1), one});
    return corpus(records);
  }
  std::unique_ptr<Corpus> pictures(const std::vector<Image>& images, const std::string& name = "web") {
    std::vector<TestRecord> records;
    for (const auto& image : images) records.push_back({"png", text_of(encode_png(image)), {"a picture"}});
    return corpus(records, name);
  }
  static std::vector<std::int64_t> kept(const KeepBits& bits) {
    std::vector<std::int64_t> records;
    for (std::int64_t i = 0; i < bits.kept(); ++i) records.push_back(bits.record(i));
    return records;
  }
  /// Filters with one and with three threads; the result must be the same.
  FilterResult filter(const Corpus& source, const std::string& yaml, const std::vector<const Corpus*>& held_out = {}) {
    const auto config = parse_config<FilterConfig>(yaml, "rules");
    auto one = filter_corpus(source, config, {.evaluation = held_out, .threads = 1});
    const auto three = filter_corpus(source, config, {.evaluation = held_out, .threads = 3});
    EXPECT_EQ(one.keep.words(), three.keep.words());
    return one;
  }
  std::vector<std::int64_t> kept_by(const Corpus& source, const std::string& yaml) {
    return kept(filter(source, yaml).keep);
  }
  TempDir folder_;
};

TEST_F(FilterTest, MinimumSideAndAspectRatio) {
  const auto source = pictures({wavy_picture(50, 40, 1), wavy_picture(39, 80, 1), wavy_picture(160, 40, 1),
                                wavy_picture(40, 161, 1), wavy_picture(40, 40, 1)});
  EXPECT_THAT(kept_by(*source, "rules: [{name: minimum_side, pixels: 40}]"), ElementsAre(0, 2, 3, 4));
  EXPECT_THAT(kept_by(*source, "rules: [{name: minimum_side, pixels: 41}]"), IsEmpty());
  EXPECT_THAT(kept_by(*source, "rules: [{name: aspect_ratio, most: 4}]"), ElementsAre(0, 1, 2, 4));
  EXPECT_THAT(kept_by(*source, "rules: [{name: aspect_ratio}]"), ElementsAre(0, 1, 2, 3, 4));
}

TEST_F(FilterTest, WordsOfEveryCaption) {
  const auto source =
      captions({{"one two"}, {"one two three"}, {"a b c d e"}, {"a b c d"}, {"a b c", "a b"}, {"a b c", "d e f g"}});
  EXPECT_THAT(kept_by(*source, "rules: [{name: words, fewest: 3, most: 4}]"), ElementsAre(1, 3, 5));
}

TEST_F(FilterTest, DuplicateCaptionsKeepTheFirstThatStays) {
  const auto source = captions({{"the cat"}, {"a dog"}, {"The CAT."}, {"x", "a dog"}, {"emu", "emu"}, {"emu"}});
  EXPECT_THAT(kept_by(*source, "rules: [{name: duplicate_captions}]"), ElementsAre(0, 1, 4));
  // Record 0 goes by another rule, so it does not stand in the way of record 2.
  const auto other = captions({{"the cat", "short"}, {"a dog"}, {"the cat"}});
  EXPECT_THAT(kept_by(*other, "rules: [{name: duplicate_captions}, {name: words, fewest: 2}]"), ElementsAre(1, 2));
}

TEST_F(FilterTest, RareNgrams) {
  const auto source = captions({{"a cat"}, {"a cat"}, {"cat a"}, {"a cat a"}, {"a zebra"}});
  // a 6, cat 4, "a cat" 3, "cat a" 2, zebra 1, "a zebra" 1.
  EXPECT_THAT(kept_by(*source, "rules: [{name: rare_ngrams, most_frequent: 3}]"), ElementsAre(0, 1));
  EXPECT_THAT(kept_by(*source, "rules: [{name: rare_ngrams, most_frequent: 4}]"), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(kept_by(*source, "rules: [{name: rare_ngrams, fewest: 2}]"), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(kept_by(*source, "rules: [{name: rare_ngrams}]"), ElementsAre(0, 1, 2, 3, 4));
  EXPECT_EQ(filter(*source, "rules: [{name: rare_ngrams}]").report.ngrams, 6);
}

TEST_F(FilterTest, EnglishOnly) {
  const auto source = captions({{"a man with a dog"}, {"ein Mann mit einem Hund auf der Wiese"}, {"the house"}});
  EXPECT_THAT(kept_by(*source, "rules: [{name: english}]"), ElementsAre(0, 2));
  EXPECT_THAT(kept_by(*source, "rules: [{name: english, least: -5}]"), ElementsAre(0, 1, 2));
}

TEST_F(FilterTest, NearDuplicatesKeepTheFirst) {
  const Image flat{8, 8, std::vector<std::uint8_t>(192, 77)};
  const auto source = pictures({wavy_picture(200, 150, 1), wavy_picture(200, 150, 2), wavy_picture(120, 90, 1), flat,
                                flat, wavy_picture(64, 48, 2), wavy_picture(200, 150, 3)});
  EXPECT_THAT(kept_by(*source, "rules: [{name: near_duplicates}]"), ElementsAre(0, 1, 3, 4, 6))
      << "pictures of one colour are no duplicates of each other";
}

TEST_F(FilterTest, EvaluationPictures) {
  const auto held_out = pictures({wavy_picture(90, 90, 2), wavy_picture(90, 90, 7)}, "held-out");
  const auto source = pictures({wavy_picture(64, 64, 1), wavy_picture(64, 64, 2), wavy_picture(64, 64, 1)});
  const auto result = filter(*source, "rules: [{name: evaluation_pictures}]", {held_out.get()});
  EXPECT_THAT(kept(result.keep), ElementsAre(0, 2));
  EXPECT_EQ(result.report.evaluation_pictures, 2);
  EXPECT_EQ(result.report.evaluation_unusable, 0);
  EXPECT_THROW(filter(*source, "rules: [{name: evaluation_pictures}]"), ConfigError);
}

TEST_F(FilterTest, CountsWhatEachRuleRemovedInTheirOrder) {
  const auto source = corpus({{"png", tiny_png(8, 8, 1), {"one two three"}},
                              {"png", tiny_png(4, 8, 1), {"x"}},               // both rules
                              {"png", tiny_png(8, 8, 1), {"x"}},               // words
                              {"png", "broken", {"one two three"}},            // cannot be decoded
                              {"png", tiny_png(4, 4, 1), {"one two four"}}});  // side
  const auto report = filter(*source, "rules: [{name: minimum_side, pixels: 8}, {name: words}]").report;
  EXPECT_EQ(report.records, 5);
  EXPECT_EQ(report.kept, 1);
  EXPECT_EQ(report.unusable, 1);
  ASSERT_EQ(report.removed.size(), 2U);
  EXPECT_EQ(report.removed[0].rule, "minimum_side");
  EXPECT_THAT(report.removed[0].examples, ElementsAre(1, 4));
  EXPECT_EQ(report.removed[1].records, 1);
  const auto swapped = filter(*source, "rules: [{name: words}, {name: minimum_side, pixels: 8}]").report;
  EXPECT_EQ(swapped.removed[0].records, 2);
  EXPECT_EQ(swapped.removed[1].records, 1);
  // Without a rule on pictures none is decoded.
  EXPECT_EQ(filter(*source, "rules: [{name: words}]").report.unusable, 0);
}

TEST_F(FilterTest, RulesThatMakeNoSenseAreRefused) {
  const auto refusal = [&](const Corpus& source, const std::string& yaml) -> std::string {
    try {
      filter(source, yaml);
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "no error";
  };
  const auto source = captions({{"a b c"}});
  EXPECT_THAT(refusal(*source, "rules: []"), HasSubstr("at least one rule"));
  EXPECT_THAT(refusal(*source, "rules: [{name: words}, {name: words}]"), HasSubstr("stands twice"));
  EXPECT_THAT(refusal(*source, "rules: [{name: word}]"), AllOf(HasSubstr("word"), HasSubstr("words")));
  EXPECT_THAT(refusal(*source, "rules: [{name: words, fewest: 5, most: 4}]"), HasSubstr("larger than most"));
  EXPECT_THAT(refusal(*source, "rules: [{name: near_duplicates, distance: 16}]"), HasSubstr("15"));
  write_test_file(folder_ / "classes.txt", "cat\ndog\n");
  const auto labels = open_corpus(label_corpus(write_small_shards(folder_ / "l", {3}, 2), folder_ / "classes.txt"));
  EXPECT_THAT(refusal(*labels, "rules: [{name: english}]"), AllOf(HasSubstr("english"), HasSubstr("image_label")));
  EXPECT_EQ(refusal(*labels, "rules: [{name: minimum_side}]"), "no error");
}

TEST(FilterRulesTest, TheExampleFileIsLoupes) {
  const auto config = load_config<FilterConfig>(source_path("configs/filters/loupe.yaml"));
  std::vector<std::string> names;
  for (const auto& rule : config.rules) names.push_back(rule_name(rule));
  EXPECT_THAT(names,
              testing::UnorderedElementsAre("minimum_side", "aspect_ratio", "words", "english", "duplicate_captions",
                                            "rare_ngrams", "near_duplicates", "evaluation_pictures"));
}

// ---- keep-lists ----------------------------------------------------------------------------------------------------

TEST(KeepBitsTest, RankAndSelectAgreeWithAPlainList) {
  RandomStream draws(random_key(11, Purpose::kTest));
  for (const std::int64_t records : {0, 1, 63, 64, 65, 512, 513, 3000}) {
    for (const double share : {0.0, 0.02, 0.7, 1.0}) {
      KeepBitsBuilder builder(records);
      std::vector<std::int64_t> plain;
      for (std::int64_t i = 0; i < records; ++i) {
        if (draws.uniform() >= share) continue;
        builder.keep(i);
        plain.push_back(i);
      }
      const auto bits = std::move(builder).finish();
      ASSERT_EQ(bits.kept(), static_cast<std::int64_t>(plain.size()));
      for (std::size_t i = 0; i < plain.size(); ++i) {
        ASSERT_EQ(bits.record(static_cast<std::int64_t>(i)), plain[i]);
      }
      for (std::int64_t end = 0; end <= records; ++end) {
        ASSERT_EQ(bits.kept_before(end), std::lower_bound(plain.begin(), plain.end(), end) - plain.begin());
      }
      EXPECT_THROW(bits.record(bits.kept()), std::out_of_range);
      EXPECT_THROW(bits.record(-1), std::out_of_range);
    }
  }
}

class KeepListTest : public testing::Test {
 protected:
  void SetUp() override {
    config_ = text_corpus(write_small_shards(folder_ / "s", {5, 3, 4}));
    const auto source = open_corpus(config_);
    KeepBitsBuilder builder(12);
    for (const int record : {1, 4, 8, 11}) builder.keep(record);
    write_keep_list(folder_ / "keep", *source, std::move(builder).finish());
  }
  std::string refusal(const CorpusConfig& config) {
    try {
      open_corpus(config);
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "no error";
  }
  CorpusConfig with(const std::string& keep_list) {
    auto config = config_;
    config.keep_list = (folder_ / keep_list).string();
    return config;
  }
  std::string file() {
    std::ifstream in(folder_ / "keep", std::ios::binary);
    std::stringstream text;
    text << in.rdbuf();
    return text.str();
  }
  TempDir folder_;
  CorpusConfig config_;
};

TEST_F(KeepListTest, OnlyWhatIsKeptIsThere) {
  const auto source = open_corpus(config_), kept = open_corpus(with("keep"));
  ASSERT_EQ(kept->size(), 4);
  const std::vector<std::int64_t> records = {1, 4, 8, 11};
  for (std::int64_t i = 0; i < 4; ++i) {
    const auto record = records[static_cast<std::size_t>(i)];
    EXPECT_EQ(kept->read(i).captions, source->read(record).captions);
    EXPECT_EQ(kept->place(i).key, std::to_string(record));
  }
  ASSERT_EQ(kept->shards().size(), 2U) << "the second shard keeps nothing";
  EXPECT_EQ(kept->shards()[1].first, 2);
  EXPECT_EQ(kept->shards()[1].count, 2);
  EXPECT_NE(kept->fingerprint(), source->fingerprint());
  EXPECT_EQ(kept->fingerprint(), open_corpus(with("keep"))->fingerprint());
  EXPECT_THROW(kept->read(4), std::out_of_range);
}

TEST_F(KeepListTest, AnotherListIsAnotherCorpus) {
  const auto before = open_corpus(with("keep"))->fingerprint();
  KeepBitsBuilder builder(12);
  for (const int record : {1, 4, 8, 10}) builder.keep(record);
  write_keep_list(folder_ / "keep", *open_corpus(config_), std::move(builder).finish());
  EXPECT_NE(open_corpus(with("keep"))->fingerprint(), before);
}

TEST_F(KeepListTest, WhatDoesNotFitIsRefused) {
  const auto keep = with("keep");
  auto other = keep;
  other.path = write_small_shards(folder_ / "o", {5, 3, 4}, 0, "other");
  EXPECT_THAT(refusal(other),
              AllOf(HasSubstr("corpus texts: keep_list"), HasSubstr("fingerprint"), HasSubstr("triptych data filter")));
  auto keys = keep;
  keys.caption_keys = {"more"};
  EXPECT_THAT(refusal(keys), HasSubstr("fingerprint")) << "other captions, other corpus";
  EXPECT_THAT(refusal(with("absent")), HasSubstr("absent"));
  const auto sound = file();
  const auto message = [&](const std::string& bytes) {
    write_test_file(folder_ / "bad", bytes);
    return refusal(with("bad"));
  };
  EXPECT_EQ(message(sound), "no error");
  EXPECT_THAT(message(""), HasSubstr("is no keep-list"));
  EXPECT_THAT(message("a text"), HasSubstr("is no keep-list"));
  EXPECT_THAT(message(sound.substr(0, 40)), HasSubstr("line 2"));
  EXPECT_THAT(message(sound.substr(0, sound.size() - 1)), HasSubstr("expected 8"));
  EXPECT_THAT(message(sound + "x"), HasSubstr("expected 8"));
  auto flipped = sound;
  flipped[sound.size() - 8] = static_cast<char>(flipped[sound.size() - 8] ^ 1);
  EXPECT_THAT(message(flipped), HasSubstr("damaged"));
  auto huge = sound;
  huge.replace(huge.find("\"records\":12"), 12, "\"records\":18446744073709551615");
  EXPECT_THAT(message(huge), HasSubstr("records"));
  auto typed = sound;
  typed.replace(typed.find("\"kept\":4"), 8, "\"kept\":\"\"");
  EXPECT_THAT(message(typed), HasSubstr("line 2"));
  KeepBitsBuilder none(12);
  write_keep_list(folder_ / "keep", *open_corpus(config_), std::move(none).finish());
  EXPECT_THAT(refusal(keep), HasSubstr("keeps no record"));
}

}  // namespace
}  // namespace triptych
