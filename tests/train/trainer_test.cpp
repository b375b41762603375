// What a step does when numbers break: the same decision on every rank, and nothing is touched.
#include "core/train/trainer.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "core/base/errors.h"
#include "core/module/tensor_hash.h"
#include "core/objective/objective_table.h"
#include "core/train/bad_records.h"
#include "core/train/state_snapshot.h"
#include "tests/support/tensors.h"
#include "tests/support/thread_ranks.h"

namespace triptych {
namespace {

TrainConfig tiny_config() {
  TrainConfig config;
  config.model.image = VitConfig{.image_size = 8, .patch_size = 4, .width = 8, .depth = 1, .heads = 2};
  config.model.text = CausalTransformerConfig{.context = 6, .width = 8, .depth = 1, .heads = 2, .vocabulary = 30};
  config.model.embed_dim = 6;
  config.objective = UniclConfig{};
  config.train.global_batch = 8;
  config.train.max_skipped_steps = 2;
  config.schedule.total = steps(20);
  return config;
}

std::vector<Batch> rows_of(std::int64_t step, int rank, std::int64_t count, bool broken) {
  Batch batch;
  const auto key = static_cast<std::uint64_t>(step * 10 + rank);
  batch.images = draw({key, 1}, {count, 1, 8, 8, 3}).to(at::kFloat);
  if (broken) batch.images[0][0][0][0][0] = NAN;
  batch.tokens = at::ones({count, 1, 6}, at::kLong);
  for (std::int64_t row = 0; row < count; ++row) batch.tokens[row][0][1] = 2 + (row + step + rank) % 20;
  batch.tokens.select(2, 3).fill_(29);
  batch.labels = at::arange(count, at::kLong) - 1;
  batch.sample_ids = at::arange(count, at::kLong) + 100 * rank;
  batch.first_position = step * count * 2 + rank * count;
  return {batch};
}

std::uint64_t hash_of(const VisitState& visit) {
  StateHash hash;
  visit(hash);
  return hash.value();
}

TEST(Trainer, NotANumberOnOneRankSkipsTheStepOnAllAndTouchesNothing) {
  run_ranks(2, [](Collectives& comm) {
    const auto config = tiny_config();
    auto objective = make_objective(config.objective, config.model, {}, {});
    Trainer trainer(config, plan_steps(config, 2, 100), *objective, comm);
    const auto weights = [&] { return hash_of([&](StateVisitor& v) { objective->visit_state(v); }); };
    EXPECT_EQ(trainer.step(rows_of(0, comm.rank(), 4, false)).verdict, Verdict::kTake);
    const auto before = weights();
    for (int i = 0; i < 2; ++i) {
      const auto report = trainer.step(rows_of(1, comm.rank(), 4, comm.rank() == 1));
      EXPECT_EQ(report.verdict, Verdict::kNotFinite);
      EXPECT_EQ(weights(), before);
    }
    EXPECT_EQ(trainer.steps_done(), 3);
    EXPECT_EQ(trainer.samples_seen(), 24);
    EXPECT_EQ(trainer.step(rows_of(2, comm.rank(), 4, false)).verdict, Verdict::kTake);
    EXPECT_NE(weights(), before);
  });
}

TEST(Trainer, TooManyInARowEndTheRunOnEveryRankNamingStepAndSamples) {
  std::atomic<int> ended = 0;
  run_ranks(2, [&](Collectives& comm) {
    const auto config = tiny_config();
    auto objective = make_objective(config.objective, config.model, {}, {});
    Trainer trainer(config, plan_steps(config, 2, 100), *objective, comm);
    try {
      for (int i = 0; i < 5; ++i) trainer.step(rows_of(i, comm.rank(), 4, comm.rank() == 1));
    } catch (const NotFiniteError& error) {
      const std::string text = error.what();
      EXPECT_NE(text.find("step 3: 3 steps in a row"), std::string::npos) << text;
      EXPECT_NE(text.find("100, 101, 102, 103"), std::string::npos) << text;
      ++ended;
    }
    EXPECT_EQ(trainer.steps_done(), 3);
  });
  EXPECT_EQ(ended, 2);
}

TEST(Trainer, AnUpdateLeavesTorchsDefaultGeneratorAlone) {
  run_ranks(1, [](Collectives& comm) {
    const auto before = at::globalContext().defaultGenerator(at::kCPU).get_state();
    const auto config = tiny_config();
    auto objective = make_objective(config.objective, config.model, {}, {});
    Trainer trainer(config, plan_steps(config, 1, 100), *objective, comm);
    trainer.step(rows_of(0, 0, 8, false));
    EXPECT_TRUE(at::globalContext().defaultGenerator(at::kCPU).get_state().equal(before));
  });
}

TEST(BadRecords, CountOnceOnAllRanksAndEndTheRunTogether) {
  std::atomic<int> ended = 0;
  run_ranks(3, [&](Collectives& comm) {
    BadRecords book(0.001, 1000);  // one record by share, ten always
    const auto bad = [&](std::int64_t id, std::int64_t position) {
      return BadRecord{
          .sample_id = id, .position = position, .corpus = "c", .shard = "s.tar", .key = "k", .reason = "\xff?"};
    };
    const std::int64_t r = comm.rank();
    auto fresh = book.add({bad(7, 20 - r), bad(8 + r, 30 + r)}, comm);
    EXPECT_EQ(fresh.size(), 4u);
    EXPECT_EQ(fresh[0].position, 18);  // record 7 was met first by rank 2
    EXPECT_TRUE(book.add({bad(7, 40)}, comm).empty());
    EXPECT_NO_THROW(book.check_budget(fresh, 1));
    fresh = book.add({bad(100 + 3 * r, 50), bad(101 + 3 * r, 51)}, comm);
    EXPECT_NO_THROW(book.check_budget(fresh, 2));
    EXPECT_EQ(book.count(), 10);
    fresh = book.add(r == 1 ? std::vector{bad(200, 60)} : std::vector<BadRecord>{}, comm);
    try {
      book.check_budget(fresh, 3);
    } catch (const DataBudgetError& error) {
      EXPECT_NE(std::string(error.what()).find("step 3: 11 distinct records"), std::string::npos) << error.what();
      ++ended;
    }
  });
  EXPECT_EQ(ended, 3);
}

}  // namespace
}  // namespace triptych
