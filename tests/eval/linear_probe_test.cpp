// The linear probe with toy features whose right answers are known.
#include "core/eval/linear_probe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/eval/logistic_regression.h"
#include "tests/eval/toy_corpus.h"
#include "tests/support/thread_ranks.h"

namespace triptych {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using Names = std::vector<std::vector<std::string>>;

constexpr std::int64_t kBank = 45, kHeldOut = 23, kClasses = 3;

std::vector<std::int64_t> labels(std::int64_t rows) {
  std::vector<std::int64_t> classes;
  for (std::int64_t i = 0; i < rows; ++i) classes.push_back(i * 7 % kClasses);
  return classes;
}

/// Pictures 0 .. kBank-1 are the bank, the others held out: the class's corner in the first features, noise in all.
at::Tensor toy_features(double corner) {
  auto rows = random_units(kBank + kHeldOut, 8, 21);
  const auto bank = labels(kBank), held_out = labels(kHeldOut);
  for (std::int64_t i = 0; i < kBank; ++i) rows[i][bank[static_cast<std::size_t>(i)]] += corner;
  for (std::int64_t i = 0; i < kHeldOut; ++i) rows[kBank + i][held_out[static_cast<std::size_t>(i)]] += corner;
  return rows;
}

Encoders with_features(const at::Tensor& table) {
  return {.image = {}, .text = {}, .classify = {}, .scale = {}, .features = toy_images(table)};
}

std::unique_ptr<LinearProbe> toy_probe(const LinearProbeConfig& config, const Names& names = {{"a"}, {"b"}, {"c"}},
                                       std::vector<std::int64_t> held_out = labels(kHeldOut)) {
  const Names bank_names = {{"a"}, {"b"}, {"c"}};
  return std::make_unique<LinearProbe>(
      config, std::make_unique<ToyCorpus>(std::move(held_out), names, std::set<std::int64_t>{}, kBank),
      std::make_unique<ToyCorpus>(labels(kBank), bank_names), DecodeConfig{});
}

std::vector<Metric> probe(const std::function<std::unique_ptr<LinearProbe>()>& make, const Encoders& encoders,
                          int ranks) {
  std::vector<Metric> result;
  std::vector<std::string> texts(static_cast<std::size_t>(ranks));
  run_ranks(ranks, [&](Collectives& comm) {
    const auto evaluator = make();
    auto scope = toy_scope(comm, 4);
    const auto metrics = evaluator->run(encoders, scope);
    EXPECT_EQ(names_of(metrics), evaluator->metric_names());
    texts[static_cast<std::size_t>(comm.rank())] = exact_text(metrics);
    if (comm.rank() == 0) result = metrics;
  });
  for (const auto& text : texts) EXPECT_EQ(text, texts.front());
  return result;
}

TEST(LinearProbe, SeparableFeaturesAreAllRightAndShuffledOnesAreNot) {
  const auto make = [] { return toy_probe({}); };
  const auto table = toy_features(5);
  const auto metrics = probe(make, with_features(table), 1);
  EXPECT_EQ(metric(metrics, "top1"), 1.0);
  EXPECT_EQ(metric(metrics, "validation_top1"), 1.0);
  EXPECT_EQ(metric(metrics, "samples"), kHeldOut);
  EXPECT_EQ(metric(metrics, "bank"), kBank);
  // The held-out rows are each the next class's.
  const auto wrong = at::cat({table.slice(0, 0, kBank), table.slice(0, kBank).roll(1, 0)});
  EXPECT_LT(metric(probe(make, with_features(wrong), 1), "top1"), 0.2);
}

/// The documented protocol in a few lines, on one process.
std::pair<double, double> plain_probe(const at::Tensor& table, const std::vector<double>& l2) {
  const auto all = table.to(at::kDouble), bank = all.slice(0, 0, kBank);
  const auto rows = (all - bank.mean(0)) / bank.std(0, false);
  const auto classes = at::tensor(labels(kBank), at::kLong), own = at::tensor(labels(kHeldOut), at::kLong);
  std::vector<std::int64_t> fitted, fifth;
  for (std::int64_t i = 0; i < kBank; ++i) (i % 5 == 4 ? fifth : fitted).push_back(i);
  const auto part = [&](const std::vector<std::int64_t>& index) {
    const auto rows_of = at::tensor(index, at::kLong);
    return LogisticRows{rows.index_select(0, rows_of), classes.index_select(0, rows_of), kClasses};
  };
  const auto right = [](const LogisticModel& model, const at::Tensor& x, const at::Tensor& y) {
    return model.scores(x).argmax(1).eq(y).sum().item<std::int64_t>();
  };
  double best_l2 = 0;
  std::int64_t best = -1;
  for (const double penalty : l2) {
    const auto count = right(fit_logistic(part(fitted), penalty, 1e-9), part(fifth).features_nd, part(fifth).class_n);
    if (count > best || (count == best && penalty > best_l2)) {
      best = count;
      best_l2 = penalty;
    }
  }
  const auto model = fit_logistic({rows.slice(0, 0, kBank), classes, kClasses}, best_l2, 1e-9);
  return {best_l2, static_cast<double>(right(model, rows.slice(0, kBank), own)) / kHeldOut};
}

TEST(LinearProbe, FollowsThePlainProtocolWithTheSameBitsOnAnyNumberOfRanks) {
  LinearProbeConfig config;
  config.l2 = {0.01, 10, 0.1, 1e-4};
  const auto make = [&] { return toy_probe(config); };
  const auto table = toy_features(0.6);
  const auto [l2, top1] = plain_probe(table, config.l2);
  EXPECT_GT(top1, 0.4);
  EXPECT_LT(top1, 1.0) << "too easy to tell a wrong protocol";
  std::string first;
  for (const int ranks : {1, 2, 3, 5}) {
    const auto metrics = probe(make, with_features(table), ranks);
    EXPECT_EQ(metric(metrics, "l2"), l2);
    EXPECT_DOUBLE_EQ(metric(metrics, "top1"), top1);
    if (first.empty()) first = exact_text(metrics);
    EXPECT_EQ(exact_text(metrics), first) << ranks << " ranks";
  }
}

TEST(LinearProbe, ClassesAreMatchedByNameAndTheScaleOfFeaturesDoesNotMatter) {
  std::vector<std::int64_t> turned;
  for (const auto label : labels(kHeldOut)) turned.push_back((label + 1) % kClasses);
  const auto table = toy_features(0.6);
  const auto expected = metric(probe([] { return toy_probe({}); }, with_features(table), 1), "top1");
  const auto renamed = [&] { return toy_probe({}, {{"C"}, {"A"}, {"B"}}, turned); };
  EXPECT_EQ(metric(probe(renamed, with_features(table), 1), "top1"), expected);
  EXPECT_EQ(metric(probe([] { return toy_probe({}); }, with_features(table * 1024 + 64), 1), "top1"), expected);
}

TEST(LinearProbe, FeaturesThatAreNoNumbersAreWrongAndConstantOnesSayTheLargestClass) {
  const auto nan = at::full({kBank + kHeldOut, 8}, std::numeric_limits<float>::quiet_NaN());
  EXPECT_EQ(metric(probe([] { return toy_probe({}); }, with_features(nan), 2), "top1"), 0.0);
  const auto metrics = probe([] { return toy_probe({}); }, with_features(at::ones({kBank + kHeldOut, 8})), 1);
  EXPECT_LE(metric(metrics, "top1"), metric(metrics, "largest_class"));
}

TEST(LinearProbe, RefusesABankThatIsTooSmallOrOfOtherClasses) {
  const auto make = [](const Names& bank_names, std::int64_t rows) {
    LinearProbe({}, std::make_unique<ToyCorpus>(std::vector<std::int64_t>{0}, Names{{"a"}}),
                std::make_unique<ToyCorpus>(std::vector<std::int64_t>(static_cast<std::size_t>(rows), 0), bank_names),
                DecodeConfig{});
  };
  EXPECT_NO_THROW(make({{"A"}}, 5));
  EXPECT_THROW(make({{"b"}}, 5), ConfigError);
  try {
    make({{"a"}}, 4);
    FAIL() << "four records cannot be cut into fifths";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("4 records"), HasSubstr("at least 5")));
  }
}

}  // namespace
}  // namespace triptych
