// Batches: which records stand where must not depend on ranks, threads or the place where a run was taken up.
#include "data/loader.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <set>

#include "core/base/errors.h"
#include "core/base/random_key.h"
#include "data/image/augment.h"
#include "data/image/mix.h"
#include "data/text/prompts.h"
#include "tests/support/corpus_configs.h"
#include "tests/support/small_corpora.h"
#include "tests/support/temp_dir.h"

namespace triptych {
namespace {

using testing::HasSubstr;

constexpr std::uint64_t kSeed = 11;

BatchSpec small_spec() {
  BatchSpec spec;
  spec.image_size = 6;
  spec.form.context = 16;
  return spec;
}
BatchSpec images_only() {
  auto spec = small_spec();
  spec.text = false;
  return spec;
}

/// 23 records with captions, 17 with one of 5 classes.
class LoaderTest : public testing::Test {
 protected:
  LoaderTest() {
    write_test_file(folder_ / "classes.txt", "cat|kitty\ndog\nbird\nold car\nC++, the language\n");
    config_.corpora = {text_corpus(write_small_shards(folder_ / "text", {9, 1, 13})),
                       label_corpus(write_small_shards(folder_ / "label", {8, 9}, 5), folder_ / "classes.txt")};
    config_.shuffle.window = 6;
    ClipAugment augment;
    augment.scale = {0.3, 1.0};
    augment.flip = 0.5;
    config_.augment = augment;
    config_.workers = 2;
  }
  void break_pictures(const std::set<int>& broken) {
    write_small_shards(folder_ / "text", {9, 1, 13}, 0, "record", broken);
  }

  TempDir folder_;
  DataConfig config_;
};

/// The rows of several global batches in position order, however many ranks made them.
struct Rows {
  std::vector<at::Tensor> images, tokens, labels, sample_ids;
  std::vector<BadRecord> bad;

  void add(const Batch& batch) {
    images.push_back(batch.images);
    if (batch.tokens.defined()) tokens.push_back(batch.tokens);
    labels.push_back(batch.labels);
    sample_ids.push_back(batch.sample_ids);
    bad.insert(bad.end(), batch.bad.begin(), batch.bad.end());
  }
  std::vector<std::int64_t> ids() const {
    const auto all = at::cat(sample_ids);
    return {all.data_ptr<std::int64_t>(), all.data_ptr<std::int64_t>() + all.numel()};
  }
};

void expect_equal(const Rows& a, const Rows& b) {
  EXPECT_TRUE(at::equal(at::cat(a.images), at::cat(b.images)));
  if (!a.tokens.empty()) {
    EXPECT_TRUE(at::equal(at::cat(a.tokens), at::cat(b.tokens)));
  }
  EXPECT_TRUE(at::equal(at::cat(a.labels), at::cat(b.labels)));
  EXPECT_EQ(a.ids(), b.ids());
  ASSERT_EQ(a.bad.size(), b.bad.size());
  for (std::size_t i = 0; i < a.bad.size(); ++i) {
    EXPECT_EQ(a.bad[i].position, b.bad[i].position);
    EXPECT_EQ(a.bad[i].sample_id, b.bad[i].sample_id);
    EXPECT_EQ(a.bad[i].reason, b.bad[i].reason);
    EXPECT_EQ(a.bad[i].shard + a.bad[i].key, b.bad[i].shard + b.bad[i].key);
  }
}

Rows make_rows(const DataConfig& config, const BatchSpec& spec, std::int64_t global_batch, std::int64_t first,
               int batches, int ranks = 1, std::int64_t micro_batches = 1) {
  const CorpusSet corpora(config);
  const auto local = global_batch / ranks;
  std::vector<std::unique_ptr<Loader>> loaders;
  for (int rank = 0; rank < ranks; ++rank) {
    loaders.push_back(
        std::make_unique<Loader>(corpora, config, spec, kSeed, LoaderPart{rank, ranks, local, local / micro_batches}));
    if (first > 0) loaders.back()->seek(first);
  }
  Rows rows;
  auto position = first;
  for (int b = 0; b < batches; ++b) {
    for (auto& loader : loaders) {
      const auto pieces = loader->next();
      EXPECT_EQ(pieces.size(), static_cast<std::size_t>(micro_batches));
      for (const auto& piece : pieces) {
        EXPECT_EQ(piece.first_position, position);
        EXPECT_TRUE(piece.images.is_contiguous());
        position += piece.images.size(0);
        rows.add(piece);
      }
    }
  }
  return rows;
}

TEST_F(LoaderTest, RowsDoNotDependOnRanksThreadsOrPieces) {
  const auto expected = make_rows(config_, small_spec(), 12, 0, 8);
  EXPECT_EQ(at::cat(expected.images).sizes(), (at::IntArrayRef{96, 1, 6, 6, 3}));
  EXPECT_EQ(at::cat(expected.tokens).sizes(), (at::IntArrayRef{96, 1, 16}));
  for (const int ranks : {1, 2, 3}) {
    for (const int workers : {1, 2, 7}) {
      config_.workers = workers;
      config_.prefetch = workers;
      expect_equal(make_rows(config_, small_spec(), 12, 0, 8, ranks, 12 / ranks / 2), expected);
    }
  }
}

TEST_F(LoaderTest, SeekingAnywhereGivesTheSameRows) {
  const auto whole = make_rows(config_, images_only(), 4, 0, 25);
  const auto ids = whole.ids();
  for (const std::int64_t first : {0, 4, 36, 40, 44, 92}) {
    const auto part = make_rows(config_, images_only(), 4, first, 2);
    EXPECT_EQ(part.ids(), std::vector<std::int64_t>(ids.begin() + first, ids.begin() + first + 8));
    EXPECT_TRUE(at::equal(at::cat(part.images), at::cat(whole.images).narrow(0, first, 8)));
  }
}

TEST_F(LoaderTest, BatchesOfOneCorpusDoNotDependOnRanksOrTheStart) {
  config_.batch_sources = "single";
  for (const auto* mixing : {"proportional", "weighted"}) {
    config_.mixing = mixing;
    const auto whole = make_rows(config_, images_only(), 12, 0, 10);
    const auto ids = whole.ids();
    std::set<std::int64_t> corpora;
    for (std::size_t batch = 0; batch < 10; ++batch) {
      corpora.insert(ids[batch * 12] >> 40);
      for (std::size_t row = 0; row < 12; ++row) EXPECT_EQ(ids[batch * 12 + row] >> 40, ids[batch * 12] >> 40);
    }
    EXPECT_EQ(corpora.size(), 2U);
    for (const int ranks : {2, 3}) expect_equal(make_rows(config_, images_only(), 12, 0, 10, ranks), whole);
    EXPECT_EQ(make_rows(config_, images_only(), 12, 60, 2, 3).ids(),
              std::vector<std::int64_t>(ids.begin() + 60, ids.begin() + 84));
  }
}

TEST_F(LoaderTest, SeekingAgainForgetsWhatWasAhead) {
  const CorpusSet corpora(config_);
  Loader loader(corpora, config_, images_only(), kSeed, {0, 1, 4, 4});
  const auto first = loader.next();
  loader.next();
  for (int i = 0; i < 20; ++i) loader.seek(40 * i);
  loader.seek(0);
  EXPECT_TRUE(at::equal(loader.next().front().images, first.front().images));
  EXPECT_EQ(loader.next().front().first_position, 4);
}

TEST_F(LoaderTest, EpochsJoinInsideABatchAndEveryRecordComesOnceInEach) {
  const CorpusSet corpora(config_);
  ASSERT_EQ(corpora.size(), 40);
  const auto ids = make_rows(config_, images_only(), 7, 0, 18).ids();  // 126 positions: three epochs and six rows
  for (std::size_t epoch = 0; epoch < 3; ++epoch) {
    std::map<std::int64_t, int> count;
    for (std::size_t i = 0; i < 40; ++i) ++count[ids[epoch * 40 + i]];
    EXPECT_EQ(count.size(), 40U);
    EXPECT_EQ(count.begin()->first, 0);
    EXPECT_EQ(count.rbegin()->first, (std::int64_t{1} << 40) | 16);
  }
}

TEST_F(LoaderTest, RowsAreTheRecordsTheScheduleNames) {
  config_.augment = NoAugment{};
  const CorpusSet corpora(config_);
  Loader loader(corpora, config_, small_spec(), kSeed, {0, 1, 40, 40});
  const auto batch = loader.next().front();
  const auto tokenizer = make_tokenizer("clip_bpe");
  for (std::int64_t row = 0; row < 40; ++row) {
    const auto draw = loader.schedule().at(row);
    EXPECT_EQ(batch.sample_ids[row].item<std::int64_t>(), (std::int64_t{draw.corpus} << 40) | draw.record);
    const auto record = corpora.corpora()[static_cast<std::size_t>(draw.corpus)]->read(draw.record);
    std::vector<std::uint8_t> pixels(6 * 6 * 3);
    test_view(decode_image(record.image, config_.decode), "crop", 6, pixels);
    EXPECT_TRUE(at::equal(batch.images[row].reshape({-1}), at::tensor(pixels, at::kByte)));
    const auto label = batch.labels[row].item<std::int64_t>();
    EXPECT_EQ(label, draw.corpus == 0 ? kNoLabel : draw.record % 5);
    if (draw.corpus != 0) continue;
    std::vector<std::int64_t> tokens(16);
    tokenizer->encode_row("record " + std::to_string(draw.record), tokens);
    EXPECT_TRUE(at::equal(batch.tokens[row][0], at::tensor(tokens)));
  }
}

// ---- what is drawn -------------------------------------------------------------------------------------------------

TEST_F(LoaderTest, ViewsAreDrawnByPositionAndView) {
  auto spec = images_only();
  spec.views = 2;
  const auto rows = make_rows(config_, spec, 40, 0, 2);
  const auto images = at::cat(rows.images);
  EXPECT_EQ(images.sizes(), (at::IntArrayRef{80, 2, 6, 6, 3}));
  EXPECT_FALSE(at::equal(images.select(1, 0), images.select(1, 1)));
  // The first view is the same whether there is a second or not.
  EXPECT_TRUE(at::equal(images.select(1, 0), at::cat(make_rows(config_, images_only(), 40, 0, 2).images).select(1, 0)));
  // A record looks otherwise in its second epoch.
  const auto ids = rows.ids();
  const auto again = std::find(ids.begin() + 40, ids.end(), ids[0]) - ids.begin();
  EXPECT_FALSE(at::equal(images[0], images[again]));
}

TEST_F(LoaderTest, CaptionsAreDrawnAmongSeveral) {
  config_.corpora.pop_back();
  config_.corpora[0].caption_keys = {"txt", "more"};  // four captions a record
  auto spec = small_spec();
  spec.captions = 5;
  const auto tokens = at::cat(make_rows(config_, spec, 23, 0, 8).tokens);  // eight epochs
  std::set<std::int64_t> places;  // of the caption "record n" (7 tokens short of the others) among the five
  for (std::int64_t row = 0; row < tokens.size(0); ++row) {
    for (std::int64_t a = 0; a < 4; ++a) {
      for (std::int64_t b = 0; b < a; ++b)
        EXPECT_FALSE(at::equal(tokens[row][a], tokens[row][b])) << "of four captions two are equal";
    }
    EXPECT_TRUE(at::equal(tokens[row][0], tokens[row][4]));  // the fifth begins again
    const auto lengths = (tokens[row] != 0).sum(1);
    places.insert(lengths.narrow(0, 0, 4).argmin().item<std::int64_t>());
  }
  EXPECT_EQ(places.size(), 4U);
}

TEST_F(LoaderTest, EveryPictureComesWithAsManyTexts) {
  auto spec = small_spec();
  spec.captions = 3;
  const auto rows = make_rows(config_, spec, 40, 0, 2);
  const auto tokens = at::cat(rows.tokens), labels = at::cat(rows.labels);
  EXPECT_EQ(tokens.sizes(), (at::IntArrayRef{80, 3, 16}));
  int different = 0;
  for (std::int64_t row = 0; row < 80; ++row) {
    const bool equal = at::equal(tokens[row][0], tokens[row][1]) && at::equal(tokens[row][0], tokens[row][2]);
    if (labels[row].item<std::int64_t>() == kNoLabel) {
      EXPECT_TRUE(equal);  // one caption, repeated
    } else {
      different += !equal;  // prompts are drawn one by one
    }
  }
  EXPECT_GT(different, 25);
  expect_equal(make_rows(config_, spec, 40, 0, 2, 2), rows);
}

TEST_F(LoaderTest, ClassNamesGoThroughPromptsAndSynonyms) {
  config_.corpora.erase(config_.corpora.begin());
  const auto tokenizer = make_tokenizer("clip_bpe");
  const std::vector<std::vector<std::string>> clean = {
      {"cat", "kitty"}, {"dog"}, {"bird"}, {"old car"}, {"C the language"}};
  for (const auto* prompts : {"plain", "clip81"}) {
    config_.prompts = prompts;
    const auto templates = load_prompts(prompts);
    const auto rows = make_rows(config_, small_spec(), 17, 0, 12);
    const auto tokens = at::cat(rows.tokens), labels = at::cat(rows.labels);
    std::map<std::vector<std::int64_t>, std::pair<std::size_t, std::int64_t>> sentences;  // tokens -> template, label
    for (std::size_t t = 0; t < templates.size(); ++t) {
      for (std::size_t label = 0; label < clean.size(); ++label) {
        for (const auto& name : clean[label]) {
          std::vector<std::int64_t> row(16);
          tokenizer->encode_row(fill_prompt(templates[t], name), row);
          sentences[row] = {t, static_cast<std::int64_t>(label)};
        }
      }
    }
    std::set<std::vector<std::int64_t>> cats;
    std::set<std::size_t> used;
    for (std::int64_t i = 0; i < tokens.size(0); ++i) {
      const auto row = tokens[i][0];
      const std::vector<std::int64_t> ids(row.data_ptr<std::int64_t>(), row.data_ptr<std::int64_t>() + 16);
      ASSERT_TRUE(sentences.contains(ids)) << "row " << i << " is no prompt of a class";
      EXPECT_EQ(sentences[ids].second, labels[i].item<std::int64_t>());
      used.insert(sentences[ids].first);
      if (sentences[ids].second == 0) cats.insert(ids);
    }
    EXPECT_GE(cats.size(), 2U);  // cat and kitty
    EXPECT_GT(used.size(), templates.size() / 2);
  }
}

// ---- mixing --------------------------------------------------------------------------------------------------------

ImagenetAugment mixing(double mixup, double cutmix) {
  ImagenetAugment augment;
  augment.rand_augment.operations = 0;
  augment.erasing.probability = 0;
  augment.mix.mixup_alpha = mixup;
  augment.mix.cutmix_alpha = cutmix;
  return augment;
}

class MixedLoaderTest : public LoaderTest {
 protected:
  MixedLoaderTest() {
    config_.corpora.erase(config_.corpora.begin());
    spec_ = images_only();
    spec_.mixed_labels = true;
  }
  BatchSpec spec_;
};

TEST_F(MixedLoaderTest, RowsCarryBothLabelsAndTheirWeight) {
  config_.augment = mixing(0, 0);
  const CorpusSet corpora(config_);
  Loader plain(corpora, config_, spec_, kSeed, {0, 1, 12, 6});
  config_.augment = mixing(0.8, 1);
  Loader mixed(corpora, config_, spec_, kSeed, {0, 1, 12, 6});
  int pasted = 0, summed = 0;
  for (int step = 0; step < 12; ++step) {
    const auto before = plain.next(), after = mixed.next();
    for (std::size_t piece = 0; piece < 2; ++piece) {
      const auto& a = before[piece];
      const auto& b = after[piece];
      EXPECT_FALSE(a.mix_weights.defined());
      EXPECT_TRUE(at::equal(a.labels, b.labels));
      const double weight = b.mix_weights[0].item<double>();
      EXPECT_TRUE(at::equal(b.mix_weights, at::full({6}, weight, at::kFloat)));
      RandomStream draws(random_key(kSeed, Purpose::kMix, {static_cast<std::uint64_t>(b.first_position)}));
      const auto plan = draw_mix(mix_settings(config_.augment), 6, {6, 6}, draws);
      const auto partner = at::tensor(plan.partner);
      EXPECT_TRUE(at::equal(b.other_labels, a.labels.index_select(0, partner)));
      (plan.box.width > 0 ? pasted : summed)++;
      if (plan.box.width > 0) continue;
      const auto own = a.images.to(at::kDouble);
      const auto expected = own * weight + own.index_select(0, partner) * (1 - weight);
      EXPECT_LE((b.images.to(at::kDouble) - expected).abs().max().item<double>(), 0.501);
    }
  }
  EXPECT_GT(pasted, 4);
  EXPECT_GT(summed, 4);
}

TEST_F(MixedLoaderTest, DependsOnTheMicroBatchAndNotOnRanksOrThreads) {
  config_.augment = mixing(0.8, 1);
  const auto expected = make_rows(config_, spec_, 12, 0, 8, 1, 6);
  for (const int ranks : {2, 3}) {
    config_.workers = ranks + 1;
    expect_equal(make_rows(config_, spec_, 12, 0, 8, ranks, 6 / ranks), expected);
  }
  EXPECT_FALSE(at::equal(at::cat(make_rows(config_, spec_, 12, 0, 8, 1, 3).images), at::cat(expected.images)));
  const auto later = make_rows(config_, spec_, 12, 36, 1, 1, 6);
  EXPECT_TRUE(at::equal(at::cat(later.images), at::cat(expected.images).narrow(0, 36, 12)));
}

TEST_F(MixedLoaderTest, RefusesWhatCannotBeMixed) {
  const auto message = [&](const DataConfig& config, const BatchSpec& spec, std::int64_t micro_batch) -> std::string {
    const CorpusSet corpora(config);
    try {
      Loader(corpora, config, spec, kSeed, {0, 1, 8, micro_batch});
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "no error";
  };
  config_.augment = mixing(0.8, 0);
  EXPECT_EQ(message(config_, spec_, 8), "no error");
  EXPECT_THAT(message(config_, spec_, 1), HasSubstr("one row has nobody to mix with"));
  EXPECT_THAT(message(config_, images_only(), 8), HasSubstr("the objective does not take rows of two labels"));
  config_.corpora.push_back(text_corpus(write_small_shards(folder_ / "more", {9})));
  EXPECT_THAT(message(config_, spec_, 8), HasSubstr("data.augment.mix: corpus texts has no labels"));
  config_.augment = mixing(0, 0);
  EXPECT_EQ(message(config_, images_only(), 1), "no error");
}

// ---- bad records ---------------------------------------------------------------------------------------------------

TEST_F(LoaderTest, BadRecordsAreReplacedAlikeOnAnyNumberOfRanks) {
  break_pictures({0, 5, 9, 22});
  const auto expected = make_rows(config_, images_only(), 12, 0, 10);  // three epochs
  std::map<std::int64_t, int> met;
  for (const auto& bad : expected.bad) {
    EXPECT_EQ(bad.corpus, "texts");
    EXPECT_THAT(bad.shard, HasSubstr("text-"));
    EXPECT_EQ(bad.key, std::to_string(bad.sample_id));
    EXPECT_FALSE(bad.reason.empty());
    ++met[bad.sample_id];
  }
  EXPECT_THAT(met, testing::ElementsAre(testing::Key(0), testing::Key(5), testing::Key(9), testing::Key(22)));
  for (const auto& [id, count] : met) EXPECT_GE(count, 3) << id;
  for (const auto id : expected.ids()) EXPECT_FALSE(met.contains(id)) << "a bad record in a row";
  for (const int ranks : {2, 3}) {
    config_.workers = 3;
    expect_equal(make_rows(config_, images_only(), 12, 0, 10, ranks), expected);
  }
}

/// Other rows are what they would be without bad records, and the replacement is the drawn one of the same corpus.
TEST_F(LoaderTest, OneBadRecordChangesOnlyItsRows) {
  const auto sound = make_rows(config_, images_only(), 10, 0, 4);
  break_pictures({7});
  const auto rows = make_rows(config_, images_only(), 10, 0, 4);
  ASSERT_EQ(rows.bad.size(), 1U);
  const auto position = rows.bad[0].position;
  const auto before = sound.ids(), after = rows.ids();
  for (std::int64_t i = 0; i < 40; ++i) {
    const auto row = static_cast<std::size_t>(i);
    EXPECT_EQ(before[row] == after[row], i != position) << i;
    EXPECT_EQ(at::equal(at::cat(sound.images)[i], at::cat(rows.images)[i]), i != position) << i;
  }
  EXPECT_EQ(before[static_cast<std::size_t>(position)], 7);
  const auto key = random_key(kSeed, Purpose::kReplacement, {static_cast<std::uint64_t>(position), 1});
  EXPECT_EQ(after[static_cast<std::size_t>(position)], RandomStream(key).below(23));
}

TEST_F(LoaderTest, ACorpusWithoutAUsableRecordStopsTheRunByName) {
  std::set<int> all;
  for (int i = 0; i < 23; ++i) all.insert(i);
  break_pictures(all);
  const CorpusSet corpora(config_);
  Loader loader(corpora, config_, images_only(), kSeed, {0, 1, 8, 8});
  for (int again = 0; again < 2; ++again) {
    try {
      loader.next();
      FAIL() << "no error";
    } catch (const DataError& error) {
      EXPECT_THAT(error.what(),
                  testing::AllOf(testing::StartsWith("corpus texts: none of 100 records"), HasSubstr("position ")));
    }
  }
}

TEST_F(LoaderTest, EndsQuicklyWithWorkAhead) {
  const CorpusSet corpora(config_);
  config_.prefetch = 64;
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < 5; ++i) {
    Loader loader(corpora, config_, images_only(), kSeed, {0, 1, 1000, 1000});
    loader.seek(i);
  }
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
}

TEST_F(LoaderTest, RefusesWhatItCannotServe) {
  const CorpusSet corpora(config_);
  const auto message = [&](const DataConfig& config, const BatchSpec& spec) -> std::string {
    try {
      Loader(corpora, config, spec, kSeed, {0, 1, 8, 8});
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "no error";
  };
  auto spec = images_only();
  spec.labels = true;
  EXPECT_THAT(message(config_, spec), HasSubstr("corpus texts: the objective needs a label for every record"));
  auto config = config_;
  config.shuffle.lanes = 3;
  EXPECT_THAT(message(config, images_only()), HasSubstr("data.shuffle.lanes: 3 does not divide the global batch of 8"));
  EXPECT_THROW(Loader(corpora, config_, images_only(), kSeed, LoaderPart{2, 2, 8, 8}), std::invalid_argument);
  EXPECT_THROW(Loader(corpora, config_, images_only(), kSeed, LoaderPart{0, 1, 8, 3}), std::invalid_argument);
}

}  // namespace
}  // namespace triptych
