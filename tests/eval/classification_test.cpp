// Zero-shot, classify and knn with toy encoders whose right answers are known; counts against plain loops.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/eval/class_match.h"
#include "core/eval/classify.h"
#include "core/eval/evaluator_table.h"
#include "core/eval/knn.h"
#include "core/eval/text_rows.h"
#include "core/eval/top_counts.h"
#include "core/eval/zero_shot.h"
#include "tests/eval/toy_corpus.h"
#include "tests/support/thread_ranks.h"

namespace triptych {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using Names = std::vector<std::vector<std::string>>;

template <class Make>
std::vector<Metric> evaluate(Make&& make, const Encoders& encoders, int ranks, std::int64_t batch,
                             const std::vector<std::string>& class_names = {}) {
  std::vector<Metric> result;
  run_ranks(ranks, [&](Collectives& comm) {
    const auto evaluator = make();
    auto scope = toy_scope(comm, batch);
    scope.class_names = class_names;
    const auto metrics = evaluator->run(encoders, scope);
    EXPECT_EQ(names_of(metrics), evaluator->metric_names());
    if (comm.rank() == ranks - 1) result = metrics;
  });
  return result;
}

TEST(PlaceOfOwn, CountsWhoStandsBefore) {
  const auto scores = at::tensor({3.0, 1.0, 2.0, 2.0}).view({1, 4}).expand({4, 4});
  const auto place = place_of_own(scores, at::arange(4, at::kLong));
  EXPECT_TRUE(at::equal(place, at::tensor({0, 3, 1, 2}, at::kLong))) << "equal scores: the lower column first";
}

TEST(PlaceOfOwn, ANumberThatIsNoneNeverHelps) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const auto own_is_nan = place_of_own(at::tensor({nan, 1.0, 2.0}).view({1, 3}), at::zeros({1}, at::kLong));
  EXPECT_EQ(own_is_nan.item<std::int64_t>(), 3);
  const auto other_is_nan = place_of_own(at::tensor({5.0, nan, 2.0}).view({1, 3}), at::zeros({1}, at::kLong));
  EXPECT_EQ(other_is_nan.item<std::int64_t>(), 1);
}

TEST(TopCounts, SharesByHand) {
  // Three classes: rows of class 0 right, right, wrong; of class 1 wrong; class 2 has no rows.
  TopCounts counts(3);
  counts.add(at::tensor({9.0, 1.0, 0.0, 9.0, 1.0, 0.0, 1.0, 9.0, 0.0, 9.0, 1.0, 0.0}).view({4, 3}),
             at::tensor({0, 0, 0, 1}, at::kLong));
  run_ranks(1, [&](Collectives& comm) { EXPECT_EQ(counts.reduce(comm), 4); });
  const auto metrics = counts.metrics();
  EXPECT_EQ(metric(metrics, "top1"), 0.5);
  EXPECT_EQ(metric(metrics, "top5"), 1.0);
  EXPECT_DOUBLE_EQ(metric(metrics, "per_class_mean"), (2.0 / 3 + 0) / 2);
  EXPECT_EQ(metric(metrics, "classes"), 3);
  EXPECT_DOUBLE_EQ(metric(metrics, "chance"), 1.0 / 3);
  EXPECT_EQ(metric(metrics, "largest_class"), 0.75);
}

TEST(ZeroShot, OrthogonalClassDirectionsAreAllRight) {
  const Names names = {{"red ball"}, {"green tree"}, {"blue sea"}, {"old house"}};
  std::vector<std::string> texts;
  for (const auto& name : names) texts.push_back(name.front());
  std::vector<std::int64_t> labels;
  std::vector<at::Tensor> rows;
  for (std::int64_t i = 0; i < 29; ++i) {
    labels.push_back(i * i % 4);
    rows.push_back(at::eye(4)[i * i % 4]);
  }
  const Encoders right{
      .image = toy_images(at::stack(rows)), .text = toy_texts(texts, at::eye(4)), .classify = {}, .scale = {}};
  // Wrong by one class for every picture.
  const Encoders wrong{
      .image = toy_images(at::stack(rows).roll(1, 1)), .text = right.text, .classify = {}, .scale = {}};
  ZeroShotConfig config;
  config.prompts = "plain";
  const auto make = [&] {
    return std::make_unique<ZeroShot>(config, std::make_unique<ToyCorpus>(labels, names), DecodeConfig{});
  };
  for (const int ranks : {1, 2, 3}) {
    const auto metrics = evaluate(make, right, ranks, 4);
    EXPECT_EQ(metric(metrics, "top1"), 1.0);
    EXPECT_EQ(metric(metrics, "per_class_mean"), 1.0);
    EXPECT_EQ(metric(metrics, "samples"), 29);
    EXPECT_EQ(metric(metrics, "chance"), 0.25);
    EXPECT_EQ(metric(evaluate(make, wrong, ranks, 4), "top1"), 0.0);
  }
}

TEST(ZeroShot, NumbersAreTheSameBitsOnAnyNumberOfRanks) {
  const Names names = {{"ant"}, {"bee", "bumble bee"}, {"cat"}, {"dog"}, {"eel"}, {"fox"}, {"gnu"}};
  std::vector<std::string> texts;
  for (const auto& synonyms : names) {
    for (const auto& name : synonyms) texts.push_back(name);
  }
  std::vector<std::int64_t> labels;
  for (std::int64_t i = 0; i < 31; ++i) labels.push_back(i * 5 % 7);
  const Encoders encoders{.image = toy_images(random_units(31, 3, 1)),
                          .text = toy_texts(texts, random_units(8, 3, 2)),
                          .classify = {},
                          .scale = {}};
  ZeroShotConfig config;
  config.prompts = "plain";
  const auto make = [&] {
    return std::make_unique<ZeroShot>(config, std::make_unique<ToyCorpus>(labels, names), DecodeConfig{});
  };
  const auto one = exact_text(evaluate(make, encoders, 1, 4));
  EXPECT_EQ(exact_text(evaluate(make, encoders, 2, 4)), one);
  EXPECT_EQ(exact_text(evaluate(make, encoders, 3, 4)), one);
}

TEST(EncodeClasses, AveragesPromptsThenNamesAndRenormalisesEach) {
  const Names names = {{"cat", "tom"}, {"dog"}};
  const std::vector<std::string> templates = {"a {}.", "the {}."};
  const std::vector<std::string> texts = {"a cat.", "the cat.", "a tom.", "the tom.", "a dog.", "the dog."};
  const auto table = random_units(6, 5, 3);
  const Encoders encoders{.image = {}, .text = toy_texts(texts, table), .classify = {}, .scale = {}};
  const auto unit = [](const at::Tensor& v) { return v / v.norm(); };
  const auto cat = unit((table[0] + table[1]) / 2), tom = unit((table[2] + table[3]) / 2);
  const auto expected = at::stack({unit((cat + tom) / 2), unit((table[4] + table[5]) / 2)});
  for (const int ranks : {1, 2, 3}) {
    run_ranks(ranks, [&](Collectives& comm) {
      auto scope = toy_scope(comm, 64);
      EXPECT_TRUE(at::allclose(encode_classes(names, templates, encoders, scope), expected, 1e-6, 1e-6));
    });
  }
}

TEST(Classify, FollowsTheTrainingLabelsByName) {
  // Held-out classes in another order and spelling than the training labels.
  const Names held_out = {{"Golden_Retriever"}, {"tabby"}};
  const std::vector<std::string> trained = {"tabby", "car", "golden retriever"};
  const std::vector<std::int64_t> labels = {0, 1, 0, 1, 0};
  const std::vector<std::int64_t> right = {2, 0, 2, 0, 2};
  const auto logits = at::one_hot(at::tensor(right, at::kLong), 3).to(at::kFloat);
  const Encoders encoders{.image = {}, .text = {}, .classify = toy_images(logits), .scale = {}};
  const auto make = [&] {
    return std::make_unique<Classify>(ClassifyConfig{}, std::make_unique<ToyCorpus>(labels, held_out), DecodeConfig{});
  };
  for (const int ranks : {1, 2, 3}) {
    const auto metrics = evaluate(make, encoders, ranks, 2, trained);
    EXPECT_EQ(metric(metrics, "top1"), 1.0);
    EXPECT_EQ(metric(metrics, "classes"), 3);
  }
  try {
    make()->check_labels({"tabby", "car"});
    FAIL() << "a class that was never trained must be refused";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("Golden_Retriever"), HasSubstr("1 of 2")));
  }
}

/// The k nearest by (similarity descending, bank index), votes exp(similarity / t), first maximum.
std::int64_t plain_knn(const at::Tensor& query, const at::Tensor& bank, const std::vector<std::int64_t>& labels, int k,
                       double t, std::int64_t classes) {
  const auto similarity = bank.mv(query).contiguous();
  const float* s = similarity.const_data_ptr<float>();
  std::vector<std::size_t> order(labels.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return s[a] > s[b]; });
  std::vector<double> votes(static_cast<std::size_t>(classes), 0);
  for (int i = 0; i < k; ++i)
    votes[static_cast<std::size_t>(labels[order[static_cast<std::size_t>(i)]])] +=
        std::exp(s[order[static_cast<std::size_t>(i)]] / t);
  return std::max_element(votes.begin(), votes.end()) - votes.begin();
}

TEST(Knn, AgainstPlainLoopsWithTheSameBitsOnAnyNumberOfRanks) {
  const Names names = {{"a"}, {"b"}, {"c"}};
  std::vector<std::int64_t> bank_labels, labels;
  for (std::int64_t i = 0; i < 37; ++i) bank_labels.push_back(i * 7 % 3);
  for (std::int64_t i = 0; i < 19; ++i) labels.push_back(i % 3);
  const auto table = random_units(37 + 19, 4, 5);  // pictures of the bank, then held-out ones
  const Encoders encoders{.image = toy_images(table), .text = {}, .classify = {}, .scale = {}};
  KnnConfig config;
  config.k = 5;
  int right = 0;
  for (std::int64_t i = 0; i < 19; ++i) {
    right += plain_knn(table[37 + i], table.slice(0, 0, 37), bank_labels, 5, config.temperature, 3) ==
             labels[static_cast<std::size_t>(i)];
  }
  const auto make = [&] {
    return std::make_unique<Knn>(config, std::make_unique<ToyCorpus>(labels, names, std::set<std::int64_t>{}, 37),
                                 std::make_unique<ToyCorpus>(bank_labels, names), DecodeConfig{});
  };
  std::string first;
  for (const int ranks : {1, 2, 3}) {
    const auto metrics = evaluate(make, encoders, ranks, 4);
    EXPECT_DOUBLE_EQ(metric(metrics, "top1"), right / 19.0) << ranks << " ranks";
    EXPECT_EQ(metric(metrics, "bank"), 37);
    if (first.empty()) first = exact_text(metrics);
    EXPECT_EQ(exact_text(metrics), first);
  }
}

TEST(Knn, RefusesABankThatIsTooSmallOrOfOtherClasses) {
  const auto make = [](const Names& bank_names, std::int64_t k) {
    KnnConfig config;
    config.k = k;
    Knn(config, std::make_unique<ToyCorpus>(std::vector<std::int64_t>{0}, Names{{"a"}}),
        std::make_unique<ToyCorpus>(std::vector<std::int64_t>{0, 0}, bank_names), DecodeConfig{});
  };
  EXPECT_NO_THROW(make({{"A"}}, 2));
  EXPECT_THROW(make({{"A"}}, 3), ConfigError);
  EXPECT_THROW(make({{"b"}}, 2), ConfigError);
}

TEST(MatchClasses, ListsWhatHasNoCounterpart) {
  EXPECT_EQ(match_classes({{"x", "Tabby-Cat"}, {"dog"}}, {{"dog"}, {"cat", "tabby cat"}}, "test"),
            (std::vector<std::int64_t>{1, 0}));
  try {
    match_classes({{"u"}, {"dog"}, {"v"}}, {{"dog"}}, "test");
    FAIL();
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("2 of 3"), HasSubstr("'u', 'v'")));
  }
}

TEST(CheckServed, NamesEvaluatorAndObjective) {
  const ZeroShot zero_shot({}, std::make_unique<ToyCorpus>(std::vector<std::int64_t>{0}, Names{{"a"}}), {});
  const Encoders no_text{.image = toy_images(at::eye(1)), .text = {}, .classify = {}, .scale = {}};
  try {
    check_served(zero_shot, no_text, "cross_entropy");
    FAIL() << "an objective without a text tower must be refused";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("zero_shot"), HasSubstr("cross_entropy"), HasSubstr("text tower")));
  }
  const Classify classify({}, std::make_unique<ToyCorpus>(std::vector<std::int64_t>{0}, Names{{"a"}}), {});
  EXPECT_THROW(check_served(classify, no_text, "clip"), ConfigError);
}

}  // namespace
}  // namespace triptych
