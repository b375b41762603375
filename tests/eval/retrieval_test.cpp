// Retrieval with toy encoders whose ranks are known, and against plain loops.
#include "core/eval/retrieval.h"

#include <gtest/gtest.h>

#include "tests/eval/toy_corpus.h"
#include "tests/support/thread_ranks.h"

namespace triptych {
namespace {

std::vector<std::string> numbered(std::int64_t count) {
  std::vector<std::string> texts;
  for (std::int64_t i = 0; i < count; ++i) texts.push_back("caption number " + std::to_string(i));
  return texts;
}

std::vector<std::vector<std::string>> one_each(const std::vector<std::string>& texts) {
  std::vector<std::vector<std::string>> captions;
  for (const auto& text : texts) captions.push_back({text});
  return captions;
}

std::vector<Metric> retrieve(const std::vector<std::vector<std::string>>& captions, const Encoders& encoders, int ranks,
                             std::int64_t batch, std::set<std::int64_t> broken = {}) {
  std::vector<Metric> result;
  run_ranks(ranks, [&](Collectives& comm) {
    Retrieval retrieval({}, std::make_unique<ToyCorpus>(captions, broken), {});
    auto scope = toy_scope(comm, batch);
    const auto metrics = retrieval.run(encoders, scope);
    EXPECT_EQ(names_of(metrics), retrieval.metric_names());
    if (comm.rank() == ranks - 1) result = metrics;  // the last rank: all must know the result
  });
  return result;
}

/// R@k both ways by sorting, written plainly; ties to the lower index.
double plain_image_to_text(const at::Tensor& scores_NT, const std::vector<std::int64_t>& owner, std::size_t k) {
  int found = 0;
  for (std::int64_t image = 0; image < scores_NT.size(0); ++image) {
    std::vector<std::size_t> order(owner.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    const auto row = scores_NT[image].contiguous();
    const float* score = row.const_data_ptr<float>();
    std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return score[a] > score[b]; });
    bool hit = false;
    for (std::size_t i = 0; i < std::min(k, order.size()); ++i) hit = hit || owner[order[i]] == image;
    found += hit;
  }
  return static_cast<double>(found) / static_cast<double>(scores_NT.size(0));
}

TEST(Retrieval, EqualEmbeddingsAreAllFoundFirstOnAnyNumberOfRanks) {
  const auto texts = numbered(23);
  const auto table = random_units(23, 6, 1);
  const Encoders encoders{.image = toy_images(table), .text = toy_texts(texts, table), .classify = {}, .scale = {}};
  for (const int ranks : {1, 2, 3}) {
    const auto metrics = retrieve(one_each(texts), encoders, ranks, 4);
    for (const char* way : {"image_to_text_r1", "image_to_text_r5", "text_to_image_r1", "text_to_image_r10"}) {
      EXPECT_EQ(metric(metrics, way), 1.0) << way << ", " << ranks << " ranks";
    }
    EXPECT_EQ(metric(metrics, "samples"), 23) << "padding of short ranks must not count";
    EXPECT_EQ(metric(metrics, "texts"), 23);
  }
}

TEST(Retrieval, APermutationGivesTheSharesThatItMust) {
  // One-hot embeddings of 20 pictures; texts 0..9 are swapped in pairs, so half of the pictures find another text
  // first.
  const auto texts = numbered(20);
  const auto images = at::eye(20);
  auto order = at::arange(20, at::kLong);
  for (std::int64_t i = 0; i < 10; ++i) order[i] = i % 2 == 0 ? i + 1 : i - 1;
  const Encoders encoders{.image = toy_images(images),
                          .text = toy_texts(texts, images.index_select(0, order)),
                          .classify = {},
                          .scale = {}};
  const auto metrics = retrieve(one_each(texts), encoders, 2, 3);
  EXPECT_EQ(metric(metrics, "image_to_text_r1"), 0.5);
  EXPECT_EQ(metric(metrics, "text_to_image_r1"), 0.5);
  // The swapped ones tie at 0 with all but the best; the lower index comes first: own text i of a swapped pair stands
  // at place i + 1 (even i: its partner i + 1, which stands first, has the higher index) or i (odd i). Below 5: i = 0
  // (1), 1 (1), 2 (3), 3 (3) -> 4 of 10 swapped; below 10: i = 0..8 and 9 (9) -> 10 of 10.
  EXPECT_EQ(metric(metrics, "image_to_text_r5"), (10 + 4) / 20.0);
  EXPECT_EQ(metric(metrics, "image_to_text_r10"), 1.0);
}

TEST(Retrieval, SeveralCaptionsAgainstPlainLoopsWithTheSameBitsOnAnyNumberOfRanks) {
  const std::vector<std::size_t> caption_count = {1, 3, 2, 1, 4, 1, 2, 2, 1, 3, 1};
  std::vector<std::vector<std::string>> captions;
  std::vector<std::int64_t> owner;
  std::vector<std::string> texts;
  for (std::size_t image = 0; image < caption_count.size(); ++image) {
    captions.emplace_back();
    for (std::size_t i = 0; i < caption_count[image]; ++i) {
      captions.back().push_back("picture " + std::to_string(image) + " caption " + std::to_string(i));
      texts.push_back(captions.back().back());
      owner.push_back(static_cast<std::int64_t>(image));
    }
  }
  const auto image_Nd = random_units(11, 5, 2), text_Td = random_units(static_cast<std::int64_t>(texts.size()), 5, 3);
  const Encoders encoders{
      .image = toy_images(image_Nd), .text = toy_texts(texts, text_Td), .classify = {}, .scale = {}};
  const auto scores_NT = image_Nd.mm(text_Td.t());
  std::string first;
  for (const int ranks : {1, 2, 3}) {
    const auto metrics = retrieve(captions, encoders, ranks, 4);
    for (const std::size_t k : {1, 5, 10}) {
      EXPECT_EQ(metric(metrics, "image_to_text_r" + std::to_string(k)), plain_image_to_text(scores_NT, owner, k));
    }
    if (first.empty()) first = exact_text(metrics);
    EXPECT_EQ(exact_text(metrics), first) << ranks << " ranks";
  }
}

TEST(Retrieval, AConstantModelScoresChanceAndABrokenOneNothing) {
  const auto texts = numbered(20);
  const auto ones = at::ones({20, 4}) / 2;
  const Encoders constant{.image = toy_images(ones), .text = toy_texts(texts, ones), .classify = {}, .scale = {}};
  const auto metrics = retrieve(one_each(texts), constant, 2, 8);
  EXPECT_EQ(metric(metrics, "image_to_text_r1"), metric(metrics, "chance"));
  EXPECT_EQ(metric(metrics, "text_to_image_r5"), 5 / 20.0);

  const auto broken = at::full({20, 4}, std::numeric_limits<double>::quiet_NaN(), at::kFloat);
  const Encoders nan{.image = toy_images(broken), .text = toy_texts(texts, ones), .classify = {}, .scale = {}};
  const auto nothing = retrieve(one_each(texts), nan, 1, 8);
  EXPECT_EQ(metric(nothing, "image_to_text_r10"), 0);
  EXPECT_EQ(metric(nothing, "text_to_image_r10"), 0);
}

TEST(Retrieval, UnusableRecordsAreLeftOutAndCounted) {
  const auto texts = numbered(11);
  const auto table = random_units(11, 6, 4);
  const Encoders encoders{.image = toy_images(table), .text = toy_texts(texts, table), .classify = {}, .scale = {}};
  for (const int ranks : {1, 3}) {
    const auto metrics = retrieve(one_each(texts), encoders, ranks, 2, {0, 1, 6});
    EXPECT_EQ(metric(metrics, "samples"), 8);
    EXPECT_EQ(metric(metrics, "unusable"), 3);
    EXPECT_EQ(metric(metrics, "image_to_text_r1"), 1.0);
    EXPECT_EQ(metric(metrics, "text_to_image_r1"), 1.0);
  }
  EXPECT_THROW(retrieve(one_each(numbered(2)), encoders, 2, 2, {0, 1}), ConfigError);
}

TEST(Retrieval, NeedsCaptions) {
  const auto labelled = [] {
    Retrieval({},
              std::make_unique<ToyCorpus>(std::vector<std::int64_t>{0}, std::vector<std::vector<std::string>>{{"a"}}),
              {});
  };
  EXPECT_THROW(labelled(), ConfigError);
}

}  // namespace
}  // namespace triptych
