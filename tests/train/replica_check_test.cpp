// One bit of one rank is found and named; clean ranks never are, whatever they share or hold alone.
#include "core/train/replica_check.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "core/module/flip_bit.h"
#include "core/objective/objective_table.h"
#include "core/train/trainer.h"
#include "tests/support/tensors.h"
#include "tests/support/thread_ranks.h"
#include "tests/train/tiny_run.h"

namespace triptych {
namespace {

struct Held {
  at::Tensor weight = draw({1}, {40, 3}).to(at::kFloat), moment = draw({2}, {40, 3}), nothing = at::empty({0});
  at::Tensor large = draw({3}, {200, 100});  // 160 kB: hashed by the thread
  std::int64_t steps = 7;
  double scale = 0.5;
  std::string ids = "3 5";
  VisitState visit() {
    return [this](StateVisitor& visitor) {
      visitor.tensor("weight", weight);
      visitor.tensor("moment", moment);
      visitor.tensor("nothing", nothing);
      visitor.tensor("large", large);
      visitor.integer("steps", steps);
      visitor.real("scale", scale);
      visitor.text("ids", ids);
    };
  }
};

/// What rank 0 is told when each rank has done `harm` to its state; empty if nothing. All ranks must be told the same.
std::string told(int ranks, const std::function<void(Held&, int rank)>& harm, int culprit = -1) {
  std::vector<std::string> texts(static_cast<std::size_t>(ranks));
  run_ranks(ranks, [&](Collectives& comm) {
    Held held;
    harm(held, comm.rank());
    try {
      ReplicaCheck check(comm, "host" + std::to_string(comm.rank()));
      check.begin(held.visit(), 9);
      check.finish();
    } catch (const ReplicaError& error) {
      EXPECT_EQ(error.code(), ExitCode::kLostPeer);
      EXPECT_TRUE(error.agreed());
      EXPECT_EQ(error.culprit(), culprit);
      texts[static_cast<std::size_t>(comm.rank())] = error.what();
    }
  });
  for (const auto& text : texts) EXPECT_EQ(text, texts[0]);
  return texts[0];
}

TEST(ReplicaCheck, EqualRanksAreEqual) {
  for (const int ranks : {1, 2, 3}) EXPECT_EQ(told(ranks, [](Held&, int) {}), "");
}

TEST(ReplicaCheck, TheMinorityIsNamed) {
  const auto harm = [](Held& held, int rank) {
    if (rank == 2) flip_bit(held.weight);
  };
  const auto text = told(4, harm, /*culprit=*/2);
  EXPECT_EQ(told(3, harm, /*culprit=*/2).find("cannot tell"), std::string::npos);
  EXPECT_NE(text.find("step 9: the ranks no longer hold the same state. weight: "), std::string::npos) << text;
  EXPECT_NE(text.find("rank 2 on host2 has "), std::string::npos) << text;
  EXPECT_NE(text.find("3 others have "), std::string::npos) << text;
  for (const char* other : {"rank 0 on", "rank 1 on", "rank 3 on", "more items"}) {
    EXPECT_EQ(text.find(other), std::string::npos) << text;
  }
}

TEST(ReplicaCheck, WithoutAMajorityAllAreNamed) {
  const auto two = told(2, [](Held& held, int rank) {
    if (rank == 1) flip_bit(held.moment);
  });
  EXPECT_NE(two.find("moment: rank "), std::string::npos) << two;
  for (const char* each : {"rank 0 on host0 has ", "rank 1 on host1 has "})
    EXPECT_NE(two.find(each), std::string::npos);
  EXPECT_NE(two.find("two ranks cannot tell which of them is wrong"), std::string::npos) << two;
  const auto four = told(4, [](Held& held, int rank) { held.steps += rank / 2; });
  EXPECT_NE(four.find("steps: rank "), std::string::npos) << four;
  EXPECT_NE(four.find("rank 3 on host3"), std::string::npos) << four;
  EXPECT_NE(four.find("no majority tells which of them are wrong"), std::string::npos) << four;
}

TEST(ReplicaCheck, EveryKindOfItemCounts) {
  const std::function<void(Held&)> harms[] = {[](Held& held) { held.nothing = at::zeros({1}); },
                                              [](Held& held) { held.steps = 8; },
                                              [](Held& held) { held.scale = -0.5; },
                                              [](Held& held) { held.ids += ' '; },
                                              [](Held& held) { flip_bit(held.moment); },
                                              [](Held& held) { held.large[199][99] += 1; },
                                              [](Held& held) { held.weight[0][0] *= -1; }};
  for (const auto& harm : harms) {
    const auto text = told(
        3,
        [&](Held& held, int rank) {
          if (rank == 0) harm(held);
        },
        /*culprit=*/0);
    EXPECT_NE(text.find("rank 0 on host0"), std::string::npos) << text;
  }
  const auto harm_both = [](Held& held, int rank) {
    if (rank != 1) return;
    flip_bit(held.weight);
    held.scale = 2;
  };
  const auto both = told(3, harm_both, /*culprit=*/1);
  EXPECT_NE(both.find("; 1 more items differ"), std::string::npos) << both;
}

TEST(ReplicaCheck, WhatIsSmallIsTakenAtOnce) {
  run_ranks(2, [](Collectives& comm) {
    Held held;
    ReplicaCheck check(comm, "host");
    check.finish();  // of nothing
    check.begin(held.visit(), 9);
    held.moment.fill_(static_cast<double>(comm.rank()));
    held.steps = comm.rank();
    EXPECT_NO_THROW(check.finish());
    check.begin(held.visit(), 10);
    EXPECT_THROW(check.finish(), ReplicaError);
    check.begin(Held().visit(), 11);  // after a difference, and never finished
  });
}

TEST(ReplicaCheck, AFlippedBitStaysInItsRankAndIsFoundStepsLater) {
  run_ranks(3, [](Collectives& comm) {
    TrainConfig config;
    config.model.image = VitConfig{.image_size = 8, .patch_size = 4, .width = 8, .depth = 1, .heads = 2};
    config.model.text = CausalTransformerConfig{.context = 6, .width = 8, .depth = 1, .heads = 2, .vocabulary = 30};
    config.model.embed_dim = 6;
    config.objective = UniclConfig{};
    config.train.global_batch = 6;
    config.schedule.total = steps(20);
    auto objective = make_objective(config.objective, config.model, {}, {});
    Trainer trainer(config, plan_steps(config, 3, 100), *objective, comm);
    const auto step = [&](std::int64_t number) {
      Batch batch;
      batch.images = draw({static_cast<std::uint64_t>(number * 3 + comm.rank()), 1}, {2, 1, 8, 8, 3}).to(at::kFloat);
      batch.tokens = at::ones({2, 1, 6}, at::kLong);
      batch.tokens.select(2, 3).fill_(29);
      batch.labels = at::arange(2, at::kLong) + 2 * comm.rank();
      batch.sample_ids = at::arange(2, at::kLong);
      batch.first_position = number * 6 + comm.rank() * 2;
      trainer.step({batch});
    };
    ReplicaCheck replicas(comm, "host");
    const auto check = [&] {
      replicas.begin([&](StateVisitor& v) { trainer.visit_replicas(v); }, trainer.steps_done());
      replicas.finish();
    };
    step(0);
    EXPECT_NO_THROW(check());
    const auto name = objective->module().parameters().front().name;
    if (comm.rank() == 1) flip_bit(objective->module().parameters().front().tensor);
    for (int later = 1; later <= 5; ++later) step(later);
    try {
      check();
      FAIL() << "not found";
    } catch (const ReplicaError& error) {
      const std::string text = error.what();
      EXPECT_NE(text.find("step 6: "), std::string::npos) << text;
      EXPECT_NE(text.find(name + ": "), std::string::npos) << text;
      EXPECT_NE(text.find("rank 1 on host has "), std::string::npos) << text;
      EXPECT_EQ(text.find("rank 0 on"), std::string::npos) << text;
    }
  });
}

TEST(ReplicaCheck, CleanRunsRaiseNoAlarm) {
  const TinyRun tiny;
  auto config = tiny.config("plain");
  config.train.verify_every = steps(1);
  config.train.ema.emplace();
  EXPECT_EQ(TinyRun::train(config, 3), ExitCode::kDone);
  config.run.name = "sharded";
  config.optimizer.shard = true;
  EXPECT_EQ(TinyRun::train(config, 3), ExitCode::kDone);
  config.run.name = "frozen";
  config.optimizer.freeze = {"visual.*"};
  config.train.precision = "bf16";
  EXPECT_EQ(TinyRun::train(config, 2), ExitCode::kDone);
  config.run.name = "resnet";  // batch norm's running statistics
  config.optimizer.freeze = {};
  config.train.precision = "fp32";
  ResNetConfig resnet;
  resnet.image_size = 32;
  resnet.width = 2;
  resnet.depths = {1, 1, 1, 1};
  config.model.image = resnet;
  EXPECT_EQ(TinyRun::train(config, 2), ExitCode::kDone);
}

}  // namespace
}  // namespace triptych
