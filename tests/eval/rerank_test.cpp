// The second stage of retrieval with matchers that know the truth, its opposite or nothing, and against plain loops.
#include "core/eval/rerank.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <mutex>

#include "core/eval/evaluator_table.h"
#include "core/eval/retrieval.h"
#include "tests/eval/toy_corpus.h"
#include "tests/support/thread_ranks.h"

namespace triptych {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// Pictures with 1 to 4 captions; `one`: with one each.
struct Toy {
  std::vector<std::vector<std::string>> captions;
  std::vector<std::string> texts;
  at::Tensor owner_T;
};

Toy toy(std::int64_t pictures, bool one) {
  Toy made;
  std::vector<std::int64_t> owner;
  for (std::int64_t picture = 0; picture < pictures; ++picture) {
    made.captions.emplace_back();
    for (std::int64_t i = 0; i < (one ? 1 : 1 + picture * 7 % 4); ++i) {
      made.texts.push_back("picture " + std::to_string(picture) + " caption " + std::to_string(i));
      made.captions.back().push_back(made.texts.back());
      owner.push_back(picture);
    }
  }
  made.owner_T = at::tensor(owner, at::kLong);
  return made;
}

/// What a matcher was asked, by any rank.
struct Asked {
  std::mutex mutex;
  std::map<std::pair<std::int64_t, std::int64_t>, double> logit;  // by picture and caption
  std::int64_t pairs = 0, pictures = 0, largest = 0;
};

using Score = std::function<at::Tensor(const at::Tensor& image_p, const at::Tensor& text_p)>;

/// States are the numbers of pictures and captions, `score` sees those of the pairs.
PairMatcher toy_matcher(const std::vector<std::string>& texts, Score score, Asked* asked = nullptr) {
  const auto count = static_cast<std::int64_t>(texts.size());
  const auto number_of = toy_texts(texts, at::arange(count, at::kDouble).unsqueeze(1));
  const auto note = [asked](std::int64_t rows, std::int64_t pictures) {
    if (asked == nullptr) return;
    const std::lock_guard lock(asked->mutex);
    asked->largest = std::max(asked->largest, rows);
    asked->pictures += pictures;
  };
  PairMatcher matcher;
  matcher.image_states = [note](const at::Tensor& images) {
    note(images.size(0), images.size(0));
    return toy_numbers(images).to(at::kDouble).view({-1, 1, 1}).expand({-1, 5, 2});
  };
  matcher.text_states = [note, number_of](const at::Tensor& tokens) {
    note(tokens.size(0), 0);
    return number_of(tokens).unsqueeze(1).expand({-1, tokens.size(1), 2});
  };
  matcher.score = [note, number_of, score, asked](const at::Tensor& images, const at::Tensor& captions,
                                                  const at::Tensor& tokens) {
    note(images.size(0), 0);
    const auto image_p = images.select(2, 0).select(1, 0).to(at::kLong);
    const auto text_p = captions.select(2, 0).select(1, 0).to(at::kLong);
    if (!number_of(tokens).squeeze(1).to(at::kLong).equal(text_p)) throw std::logic_error("tokens of other captions");
    const auto logit_p = score(image_p, text_p).to(at::kDouble);
    if (asked != nullptr) {
      const std::lock_guard lock(asked->mutex);
      asked->pairs += logit_p.numel();
      for (std::int64_t i = 0; i < logit_p.numel(); ++i) {
        asked->logit[{image_p[i].item<std::int64_t>(), text_p[i].item<std::int64_t>()}] = logit_p[i].item<double>();
      }
    }
    return logit_p;
  };
  return matcher;
}

Score truth(const at::Tensor& owner_T, double right, double wrong) {
  return [=](const at::Tensor& image_p, const at::Tensor& text_p) {
    return at::where(owner_T.index_select(0, text_p).eq(image_p), at::scalar_tensor(right), at::scalar_tensor(wrong));
  };
}

Score from_table(const at::Tensor& logit_NT) {
  return [=](const at::Tensor& image_p, const at::Tensor& text_p) { return at::index(logit_NT, {image_p, text_p}); };
}

Encoders toy_encoders(const Toy& made, const at::Tensor& image_Nd, const at::Tensor& text_Td,
                      std::optional<PairMatcher> match) {
  Encoders encoders{.image = toy_images(image_Nd), .text = toy_texts(made.texts, text_Td), .classify = {}, .scale = {}};
  encoders.match = std::move(match);
  return encoders;
}

std::vector<Metric> retrieve(const Toy& made, const Encoders& encoders, std::int64_t rerank, int ranks,
                             std::int64_t batch, const std::set<std::int64_t>& broken = {}) {
  std::vector<Metric> result;
  run_ranks(ranks, [&](Collectives& comm) {
    RetrievalConfig config;
    config.rerank = rerank;
    Retrieval retrieval(config, std::make_unique<ToyCorpus>(made.captions, broken), {});
    auto scope = toy_scope(comm, batch);
    const auto metrics = retrieval.run(encoders, scope);
    EXPECT_EQ(names_of(metrics), retrieval.metric_names());
    if (comm.rank() == ranks - 1) result = metrics;
  });
  return result;
}

/// The metrics that the first stage alone gives.
std::vector<Metric> without_reranked(const std::vector<Metric>& metrics) {
  std::vector<Metric> kept;
  for (const auto& entry : metrics) {
    if (entry.name.find("reranked") == std::string::npos) kept.push_back(entry);
  }
  return kept;
}

/// R@depth by sorting, written plainly: candidates by score, the first k of them again by logit, ties to the lower
/// index. All [queries, candidates].
double plain_recall(const at::Tensor& score, const at::Tensor& logit, const at::Tensor& own, std::size_t k,
                    std::size_t depth) {
  int found = 0;
  for (std::int64_t query = 0; query < score.size(0); ++query) {
    const auto score_c = score[query].to(at::kDouble).contiguous(), logit_c = logit[query].to(at::kDouble).contiguous();
    const auto own_c = own[query].contiguous();
    std::vector<std::size_t> order(static_cast<std::size_t>(score.size(1)));
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    const auto by = [](const at::Tensor& value_c) {
      return [value = value_c.const_data_ptr<double>()](auto a, auto b) { return value[a] > value[b]; };
    };
    std::stable_sort(order.begin(), order.end(), by(score_c));
    const auto end = order.begin() + static_cast<std::ptrdiff_t>(std::min(k, order.size()));
    std::sort(order.begin(), end);
    std::stable_sort(order.begin(), end, by(logit_c));
    bool hit = false;
    for (std::size_t i = 0; i < std::min(depth, order.size()); ++i) hit = hit || own_c.const_data_ptr<bool>()[order[i]];
    found += hit;
  }
  return static_cast<double>(found) / static_cast<double>(score.size(0));
}

TEST(Rerank, AgainstPlainLoopsOnAnyNumberOfRanksAndTheFirstStageKeepsItsBits) {
  const auto made = toy(14, false);
  const auto texts = static_cast<std::int64_t>(made.texts.size());
  const std::set<std::int64_t> broken = {0, 6, 7};
  std::vector<std::int64_t> kept_pictures, kept_texts;
  for (std::int64_t i = 0; i < 14; ++i) {
    if (!broken.contains(i)) kept_pictures.push_back(i);
  }
  for (std::int64_t i = 0; i < texts; ++i) {
    if (!broken.contains(made.owner_T[i].item<std::int64_t>())) kept_texts.push_back(i);
  }
  const auto kept_N = at::tensor(kept_pictures, at::kLong), kept_T = at::tensor(kept_texts, at::kLong);
  const auto image_Nd = random_units(14, 5, 2), text_Td = random_units(texts, 5, 3);
  // Of few values, so that many are equal.
  const auto logit_NT = random_units(14, texts, 4).mul(8).round();
  const auto score = image_Nd.index_select(0, kept_N).mm(text_Td.index_select(0, kept_T).t());
  const auto logit = logit_NT.index_select(0, kept_N).index_select(1, kept_T);
  const auto own = made.owner_T.index_select(0, kept_T).unsqueeze(0).eq(kept_N.unsqueeze(1));

  const auto encoders = toy_encoders(made, image_Nd, text_Td, toy_matcher(made.texts, from_table(logit_NT)));
  const auto first_stage = exact_text(retrieve(made, encoders, 0, 1, 4, broken));
  for (const std::int64_t k : {1, 3, 7, 10, 1000}) {
    for (const int ranks : {1, 2, 3}) {
      const auto metrics = retrieve(made, encoders, k, ranks, 4, broken);
      const auto say = std::to_string(k) + " candidates, " + std::to_string(ranks) + " ranks";
      for (const std::size_t depth : {1, 5, 10}) {
        const auto width = static_cast<std::size_t>(k);
        const auto r = "_reranked_r" + std::to_string(depth);
        EXPECT_EQ(metric(metrics, "image_to_text" + r), plain_recall(score, logit, own, width, depth)) << say;
        EXPECT_EQ(metric(metrics, "text_to_image" + r), plain_recall(score.t(), logit.t(), own.t(), width, depth))
            << say;
      }
      EXPECT_EQ(exact_text(without_reranked(metrics)), first_stage) << say;
    }
  }
}

TEST(Rerank, EveryLogitHasTheSameBitsOnAnyNumberOfRanksAndIsComputedOnceInBoundedPieces) {
  const auto made = toy(17, false);
  const auto texts = static_cast<std::int64_t>(made.texts.size());
  const auto image_Nd = random_units(17, 5, 5), text_Td = random_units(texts, 5, 6);
  // As a matrix product's rounding might: what a pair gets depends on which pairs it is scored with.
  const Score with_neighbours = [](const at::Tensor& image_p, const at::Tensor& text_p) {
    const auto both = (image_p * 31 + text_p * 7).remainder(13).to(at::kDouble);
    return both + both.mean() / 3 + 1.0 / static_cast<double>(both.numel());
  };
  constexpr std::int64_t kBatch = 4;
  std::map<std::pair<std::int64_t, std::int64_t>, double> first_logits;
  std::string first;
  for (const int ranks : {1, 2, 3, 4}) {
    Asked asked;
    const auto encoders = toy_encoders(made, image_Nd, text_Td, toy_matcher(made.texts, with_neighbours, &asked));
    const auto text = exact_text(retrieve(made, encoders, 6, ranks, kBatch));
    if (first.empty()) {
      first = text;
      first_logits = asked.logit;
    }
    EXPECT_EQ(text, first) << ranks << " ranks";
    EXPECT_EQ(asked.logit, first_logits) << ranks << " ranks";
    EXPECT_EQ(asked.pairs, static_cast<std::int64_t>(asked.logit.size())) << "a pair was scored twice";
    EXPECT_LE(asked.pairs, 6 * (17 + texts));
    EXPECT_EQ(asked.pictures, 17) << "each picture is forwarded once";
    EXPECT_LE(asked.largest, kBatch);
  }
}

/// One-hot embeddings of 20 pictures with a caption each; captions 0..9 are swapped in pairs, so that half of the
/// pictures find another caption first. The own caption of a swapped one stands at place i + 1 (even i) or i (odd i).
std::vector<Metric> swapped(std::int64_t rerank, Score score) {
  const auto made = toy(20, true);
  auto order = at::arange(20, at::kLong);
  for (std::int64_t i = 0; i < 10; ++i) order[i] = i % 2 == 0 ? i + 1 : i - 1;
  const auto image_Nd = at::eye(20);
  const auto encoders =
      toy_encoders(made, image_Nd, image_Nd.index_select(0, order), toy_matcher(made.texts, std::move(score)));
  return retrieve(made, encoders, rerank, 2, 3);
}

TEST(Rerank, RepairsWhatTheFirstStageHasAmongTheCandidatesAndNothingElse) {
  const auto right = truth(toy(20, true).owner_T, 1, 0);
  const auto one = swapped(1, right), five = swapped(5, right), all = swapped(20, right), more = swapped(1000, right);
  for (const std::string way : {"image_to_text", "text_to_image"}) {
    EXPECT_EQ(metric(five, way + "_r1"), 0.5);
    EXPECT_EQ(metric(one, way + "_reranked_r1"), 0.5) << "no other candidate to choose";
    EXPECT_EQ(metric(five, way + "_reranked_r1"), (10 + 4) / 20.0) << "places 1, 1, 3, 3 are repaired";
    EXPECT_EQ(metric(five, way + "_reranked_r5"), (10 + 4) / 20.0);
    EXPECT_EQ(metric(five, way + "_reranked_r10"), 1.0) << "the others follow as the first stage has them";
    EXPECT_EQ(metric(all, way + "_reranked_r1"), 1.0);
    EXPECT_EQ(metric(more, way + "_reranked_r1"), 1.0) << "more candidates than there are";
  }
}

TEST(Rerank, AMatcherThatIsWrongMakesItWorse) {
  const auto metrics = swapped(5, truth(toy(20, true).owner_T, -1, 0));
  for (const std::string way : {"image_to_text", "text_to_image"}) {
    EXPECT_EQ(metric(metrics, way + "_r1"), 0.5);
    EXPECT_EQ(metric(metrics, way + "_reranked_r1"), 0);
    EXPECT_EQ(metric(metrics, way + "_reranked_r10"), 1.0) << "candidates stay before all others";
  }
}

TEST(Rerank, AConstantMatcherScoresChanceAndOneWithoutNumbersNothing) {
  const auto made = toy(20, true);
  const auto table = at::eye(20);
  const auto reranked = [&](double right, double wrong) {
    const auto score = truth(made.owner_T, right, wrong);
    return retrieve(made, toy_encoders(made, table, table, toy_matcher(made.texts, score)), 20, 2, 8);
  };
  const auto constant = reranked(0.25, 0.25), nothing = reranked(kNan, kNan);
  const auto own = reranked(kNan, 0), others = reranked(1, kNan);
  for (const std::string way : {"image_to_text", "text_to_image"}) {
    EXPECT_EQ(metric(constant, way + "_r1"), 1.0);
    EXPECT_EQ(metric(constant, way + "_reranked_r1"), metric(constant, "chance"));
    EXPECT_EQ(metric(constant, way + "_reranked_r5"), 5 / 20.0);
    EXPECT_EQ(metric(nothing, way + "_reranked_r10"), 0);
    EXPECT_EQ(metric(own, way + "_reranked_r10"), 0);
    EXPECT_EQ(metric(others, way + "_reranked_r10"), 0) << "what is no number stands before numbers";
    EXPECT_EQ(metric(nothing, way + "_r1"), 1.0) << "the first stage knows nothing of it";
  }
}

TEST(Rerank, AFirstStageWithoutNumbersIsNotRepaired) {
  const auto made = toy(20, true);
  const auto table = at::eye(20), broken = at::full({20, 20}, kNan, at::kFloat);
  const auto encoders = toy_encoders(made, broken, table, toy_matcher(made.texts, truth(made.owner_T, 1, 0)));
  const auto metrics = retrieve(made, encoders, 20, 2, 8);
  EXPECT_EQ(metric(metrics, "image_to_text_reranked_r10"), 0);
  EXPECT_EQ(metric(metrics, "text_to_image_reranked_r10"), 0);
}

TEST(Rerank, NearestTakesTheLowerColumnAmongEqualsInAscendingOrder) {
  const auto scores = at::tensor({0.5, 2.0, 1.0, 1.0, 2.0, 1.0}).view({1, 6});
  EXPECT_TRUE(nearest(scores, 3).equal(at::tensor({1, 2, 4}, at::kLong).view({1, 3})));
  EXPECT_TRUE(nearest(scores, 9).equal(at::arange(6, at::kLong).view({1, 6})));
  const auto broken = at::tensor({0.5, 2.0, kNan, 1.0}).view({1, 4});
  EXPECT_TRUE(nearest(broken, 1).equal(at::tensor({2}, at::kLong).view({1, 1}))) << "before every number";
}

TEST(Rerank, PlacesOfSingleRows) {
  const auto place = [](std::int64_t first, const std::vector<double>& logits, const std::vector<int>& own) {
    const auto k = static_cast<std::int64_t>(logits.size());
    return reranked_place(at::tensor({first}, at::kLong), at::tensor(logits, at::kDouble).view({1, k}),
                          at::tensor(own, at::kInt).to(at::kBool).view({1, k}), 50)
        .item<std::int64_t>();
  };
  EXPECT_EQ(place(2, {0, 1, 2}, {0, 0, 1}), 0);
  EXPECT_EQ(place(2, {0, 1, 2}, {1, 0, 0}), 2);
  EXPECT_EQ(place(0, {0, 1, 2, 1}, {0, 1, 0, 1}), 1) << "the best of two own ones, the other is not in its way";
  EXPECT_EQ(place(0, {1, 1, 1}, {0, 0, 1}), 2) << "equal ones by column";
  EXPECT_EQ(place(7, {0, 1, 2}, {0, 0, 0}), 7) << "outside of the candidates";
  EXPECT_EQ(place(0, {kNan, 0, 1}, {0, 0, 1}), 1) << "a wrong one without a number stands before";
  EXPECT_EQ(place(0, {kNan, 0, 1}, {1, 0, 1}), 0) << "another own one counts";
  EXPECT_EQ(place(0, {kNan, 0, 1}, {1, 0, 0}), 50);
  EXPECT_EQ(place(0, {-kInfinity, 0, 1}, {1, 0, 0}), 50);
  EXPECT_EQ(place(50, {2, 0, 1}, {1, 0, 0}), 50) << "lost in the first stage";
}

TEST(Rerank, PicturesNearToEveryCaptionDoNotKeepOneRankBusyAlone) {
  // All embeddings are equal: every caption's candidates are pictures 0..3, in the first 2 of 30 blocks.
  const auto made = toy(60, true);
  const auto ones = at::ones({60, 4}) / 2;
  Asked asked[2];
  run_ranks(2, [&](Collectives& comm) {
    RetrievalConfig config;
    config.rerank = 4;
    Retrieval retrieval(config, std::make_unique<ToyCorpus>(made.captions), {});
    auto scope = toy_scope(comm, 2);
    const auto matcher = toy_matcher(made.texts, truth(made.owner_T, 1, 0), &asked[comm.rank()]);
    retrieval.run(toy_encoders(made, ones, ones, matcher), scope);
  });
  EXPECT_EQ(asked[0].pictures + asked[1].pictures, 60);
  EXPECT_EQ(asked[0].pairs + asked[1].pairs, 2 * 4 * 60 - 16) << "16 pairs are wanted by both ways";
  EXPECT_LT(std::max(asked[0].pairs, asked[1].pairs), 300);
}

/// A corpus whose record 3 can be read once.
class ChangingCorpus : public ToyCorpus {
 public:
  using ToyCorpus::ToyCorpus;
  Record read(std::int64_t index) const override {
    if (index == 3 && reads_++ > 0) throw DataError("toy record 3 is gone");
    return ToyCorpus::read(index);
  }

 private:
  mutable std::atomic<int> reads_ = 0;
};

TEST(Rerank, FilesThatChangedBetweenTheStagesAreNamed) {
  const auto made = toy(8, true);
  const auto encoders = toy_encoders(made, at::eye(8), at::eye(8), toy_matcher(made.texts, truth(made.owner_T, 1, 0)));
  RetrievalConfig config;
  config.rerank = 2;
  run_ranks(1, [&](Collectives& comm) {
    Retrieval retrieval(config, std::make_unique<ChangingCorpus>(made.captions), {});
    auto scope = toy_scope(comm, 3);
    try {
      retrieval.run(encoders, scope);
      FAIL() << "the logits would belong to other pictures";
    } catch (const DataError& error) {
      EXPECT_THAT(error.what(), AllOf(HasSubstr("toy"), HasSubstr("records 3 to 5 3 could"), HasSubstr("2 now")));
    }
  });
}

TEST(Rerank, AnObjectiveWithoutAFusionEncoderIsRefusedOnlyWhenItIsNeeded) {
  const auto made = toy(2, true);
  const auto encoders = toy_encoders(made, at::eye(2), at::eye(2), std::nullopt);
  const Retrieval first_stage({}, std::make_unique<ToyCorpus>(made.captions), {});
  check_served(first_stage, encoders, "clip");
  RetrievalConfig config;
  config.rerank = 5;
  const Retrieval both(config, std::make_unique<ToyCorpus>(made.captions), {});
  try {
    check_served(both, encoders, "clip");
    FAIL() << "there is nothing to match with";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("retrieval"), HasSubstr("a fusion encoder"), HasSubstr("clip")));
  }
  check_served(both, toy_encoders(made, at::eye(2), at::eye(2), toy_matcher(made.texts, truth(made.owner_T, 1, 0))),
               "tcl");
}

}  // namespace
}  // namespace triptych
