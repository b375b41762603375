// Averaging in both forms: against the mean written plainly, against each other bit by bit, and with gradients missing.
#include "distributed/gradient_sync.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <malloc.h>

#include <mutex>
#include <thread>

#include "core/base/errors.h"
#include "tests/support/small_net.h"
#include "tests/support/thread_ranks.h"

namespace triptych {
namespace {

constexpr GradientSyncOptions kSmallBuckets{.first_bucket_bytes = 64, .bucket_bytes = 400};

/// Gradients of every rank's loss after `steps` steps, from rank 0.
std::vector<at::Tensor> averaged(SyncForm form, int n, int micro_batches, int steps = 2) {
  std::vector<at::Tensor> result;
  run_ranks(n, [&](Collectives& comm) {
    SmallNet net(/*seed=*/comm.rank());  // the constructor makes them all equal to rank 0's
    GradientSync sync(form, net.names, net.parameters, comm, kSmallBuckets);
    for (int s = 0; s < steps; ++s) net.step(sync, comm.rank(), s, micro_batches);
    if (comm.rank() == 0) {
      for (const auto& p : net.parameters) result.push_back(p.grad().clone());
    }
    for (const auto& p : net.parameters) {
      const auto all = comm.all_gather(p.grad().view({1, -1}));
      for (int r = 0; r < n; ++r) EXPECT_TRUE(all[r].equal(all[0]));
    }
  });
  return result;
}

/// The mean over ranks of each rank's gradient, every rank computed alone.
std::vector<at::Tensor> mean_written_plainly(int n, int micro_batches, int last_step) {
  std::vector<at::Tensor> mean;
  for (int r = 0; r < n; ++r) {
    SmallNet net(0);
    for (int m = 0; m < micro_batches; ++m) net.loss(r, last_step, m).backward();
    for (std::size_t i = 0; i < net.parameters.size(); ++i) {
      const auto share = net.parameters[i].grad().to(at::kDouble) / n;
      r == 0 ? mean.push_back(share) : (void)(mean[i] += share);
    }
  }
  return mean;
}

TEST(GradientSync, BothFormsGiveTheMean) {
  for (const int n : {1, 2, 3, 4}) {
    for (const int micro_batches : {1, 3}) {
      const auto expected = mean_written_plainly(n, micro_batches, 1);
      for (const auto form : {SyncForm::kReducer, SyncForm::kFlat}) {
        const auto got = averaged(form, n, micro_batches);
        ASSERT_EQ(got.size(), expected.size());
        for (std::size_t i = 0; i < got.size(); ++i) {
          EXPECT_TRUE(at::allclose(got[i].to(at::kDouble), expected[i], 1e-5, 1e-6)) << n << " ranks, parameter " << i;
        }
      }
    }
  }
}

TEST(GradientSync, BothFormsGiveTheSameBits) {
  for (const int n : {1, 2, 3}) {
    const auto reducer = averaged(SyncForm::kReducer, n, 2), flat = averaged(SyncForm::kFlat, n, 2);
    for (std::size_t i = 0; i < flat.size(); ++i) EXPECT_TRUE(reducer[i].equal(flat[i])) << n << " ranks, " << i;
  }
}

TEST(GradientSync, BucketsAreNeverRebuilt) {
  // With 3 ranks the order of summation would show; on threads what shows is memory that grows with every step.
  run_ranks(1, [](Collectives& comm) {
    SmallNet net(0);
    GradientSync sync(SyncForm::kReducer, net.names, net.parameters, comm, kSmallBuckets);
    std::size_t before = 0;
    for (int s = 0; s < 1500; ++s) {
      net.step(sync, 0, 0, 1);
      if (s == 499) before = mallinfo2().uordblks;
    }
    EXPECT_LT(mallinfo2().uordblks, before + (64 << 10));
  });
}

TEST(GradientSync, ParametersComeFromRankZero) {
  run_ranks(3, [](Collectives& comm) {
    SmallNet net(comm.rank()), first(0);
    const GradientSync sync(SyncForm::kFlat, net.names, net.parameters, comm);
    for (std::size_t i = 0; i < net.parameters.size(); ++i) EXPECT_TRUE(net.parameters[i].equal(first.parameters[i]));
  });
}

std::string error_on_rank(int which, int n, SyncForm form,
                          const std::function<void(SmallNet&, GradientSync&, int)>& step) {
  std::string error = "no error";
  std::mutex mutex;
  run_ranks(n, [&](Collectives& comm) {
    SmallNet net(0);
    GradientSync sync(form, net.names, net.parameters, comm, kSmallBuckets);
    try {
      step(net, sync, comm.rank());
    } catch (const Error& e) {
      EXPECT_TRUE(e.agreed());
      const std::lock_guard lock(mutex);
      if (comm.rank() == which) error = e.what();
    }
    comm.barrier();  // whoever threw is still in step with the others
  });
  return error;
}

TEST(GradientSync, AMissingGradientOnOneRankIsNamedOnAll) {
  for (const auto form : {SyncForm::kReducer, SyncForm::kFlat}) {
    for (const int n : {1, 2, 3}) {
      const auto step = [n](SmallNet& net, GradientSync& sync, int rank) {
        net.skip_middle = rank == n - 1;
        net.step(sync, rank, 0, 1);
      };
      for (int which = 0; which < n; ++which) {
        const auto error = error_on_rank(which, n, form, step);
        const auto expected = "no gradient for [rank " + std::to_string(n - 1) + "] middle.bias, middle.weight;";
        EXPECT_EQ(error.find(expected), 0u) << error;
      }
    }
  }
}

TEST(GradientSync, ReducerNamesGradientsFromBeforeTheLastBackward) {
  const auto error = error_on_rank(0, 2, SyncForm::kReducer, [](SmallNet& net, GradientSync& sync, int rank) {
    sync.zero_grad();
    sync.before_forward();
    net.loss(rank, 0, 0).backward();
    net.skip_middle = true;
    const auto loss = net.loss(rank, 0, 1);
    sync.before_last_backward({loss});
    loss.backward();
    sync.finish();
  });
  EXPECT_NE(error.find("middle.weight (not in the last backward)"), std::string::npos) << error;
}

TEST(GradientSync, DifferentParametersAreRefused) {
  std::atomic<int> refused{0};
  run_ranks(2, [&](Collectives& comm) {
    SmallNet net(0);
    if (comm.rank() == 1) net.parameters[1] = at::zeros({9}).requires_grad_();
    try {
      const GradientSync sync(SyncForm::kFlat, net.names, net.parameters, comm);
    } catch (const ConfigError& e) {
      ++refused;
      EXPECT_NE(std::string(e.what()).find("rank 1 has 'first.bias [9]"), std::string::npos) << e.what();
    }
  });
  EXPECT_EQ(refused, 2);
}

TEST(GradientSync, DtypesMayMix) {
  for (const auto form : {SyncForm::kReducer, SyncForm::kFlat}) {
    run_ranks(2, [&](Collectives& comm) {
      const auto a = at::ones({3}, at::kDouble).requires_grad_(), b = at::ones({2}).requires_grad_();
      GradientSync sync(form, {"a", "b"}, {a, b}, comm);
      sync.zero_grad();
      sync.before_forward();
      const auto loss = (a.sum() + b.sum().to(at::kDouble)) * (comm.rank() + 1);
      sync.before_last_backward({loss});
      loss.backward();
      sync.finish();
      EXPECT_TRUE(a.grad().equal(at::full({3}, 1.5, at::kDouble)));
      EXPECT_TRUE(b.grad().equal(at::full({2}, 1.5f)));
    });
  }
}

}  // namespace
}  // namespace triptych
