// Collectives and gradient averaging over real MPI: `mpirun -np N transport_test` runs the same tests on every rank.
#include <unistd.h>

#include <cstdio>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>

#include "core/base/errors.h"
#include "core/base/random_key.h"
#include "distributed/gather_with_grad.h"
#include "distributed/gradient_sync.h"
#include "distributed/launch.h"
#include "distributed/mpi_backend.h"
#include "tests/support/collective_cases.h"
#include "tests/support/small_net.h"

namespace triptych {
namespace {

Launch* the_launch = nullptr;  // of main: Google Test makes the test objects itself
Collectives& comm() {
  return the_launch->comm();
}

at::Tensor noise(int rank, std::int64_t length, at::ScalarType dtype) {
  RandomStream stream(random_key(9, Purpose::kTest, {static_cast<std::uint64_t>(rank)}));
  auto values = at::empty({length}, at::kDouble);
  for (std::int64_t i = 0; i < length; ++i) values.data_ptr<double>()[i] = stream.normal();
  return values.to(dtype);
}

TEST(Transport, Place) {
  const auto& place = the_launch->place();
  EXPECT_EQ(place.rank, comm().rank());
  EXPECT_EQ(place.size, comm().size());
  EXPECT_GE(place.size, 2) << "start it with mpirun -np 2";
  EXPECT_EQ(place.local_rank, place.rank);
  EXPECT_EQ(place.local_size, place.size);
  EXPECT_EQ(place.launcher, "mpirun");
  EXPECT_EQ(place.device, "cpu");
  EXPECT_EQ(environment_rank(), place.rank);
  char host[256] = "";
  gethostname(host, sizeof host);
  EXPECT_EQ(place.host, host);
}

TEST(Transport, Vectors) {
  for (const auto dtype : {at::kDouble, at::kFloat, at::kBFloat16, at::kHalf, at::kLong, at::kInt, at::kByte}) {
    for (const std::int64_t length : {0, 1, 2, 7, 1000, 70001}) check_collectives(comm(), length, dtype);
  }
}

TEST(Transport, Shapes) {
  check_shapes(comm());
}

TEST(Transport, HostCalls) {
  check_host_calls(comm());
}

TEST(Transport, SumsAreAccurateRepeatableAndTheSameEverywhere) {
  const int n = comm().size();
  for (const std::int64_t length : {5, 3000, 70001, 1 << 20}) {
    auto expected = at::zeros({length}, at::kDouble);
    for (int r = 0; r < n; ++r) expected += noise(r, length, at::kFloat).to(at::kDouble);
    auto first = noise(comm().rank(), length, at::kFloat), again = first.clone();
    comm().all_reduce_sum(first);
    comm().all_reduce_sum(again);
    EXPECT_TRUE(at::allclose(first.to(at::kDouble), expected, 1e-6, 1e-6)) << length;
    EXPECT_TRUE(again.equal(first)) << length;
    const auto all = comm().all_gather(first.view({1, -1}));
    for (int r = 0; r < n; ++r) EXPECT_TRUE(all[r].equal(all[0])) << length;
  }
}

TEST(Transport, NarrowSumsAreRoundedOnce) {
  for (const auto dtype : {at::kBFloat16, at::kHalf}) {
    auto expected = at::zeros({5003});
    for (int r = 0; r < comm().size(); ++r) expected += noise(r, 5003, dtype).to(at::kFloat);
    auto sum = noise(comm().rank(), 5003, dtype);
    comm().all_reduce_sum(sum);
    EXPECT_TRUE(sum.equal(expected.to(dtype)));
  }
}

TEST(Transport, LongMessagesAreCut) {
  auto backend = c10::make_intrusive<MpiBackend>(MpiOptions{.chunk_bytes = 48});
  auto group = c10::make_intrusive<c10d::ProcessGroup>(comm().rank(), comm().size());
  group->setBackend(at::kCPU, c10d::ProcessGroup::BackendType::CUSTOM, backend);
  group->setDefaultBackend(c10d::ProcessGroup::BackendType::CUSTOM);
  Collectives cut(group);
  for (const auto dtype : {at::kDouble, at::kBFloat16, at::kByte}) {
    for (const std::int64_t length : {1, 49, 200}) check_collectives(cut, length, dtype);
  }
}

TEST(Transport, UnsupportedDtypesAreRefusedBeforeAnythingIsSent) {
  auto complex = at::ones({2}, at::kComplexFloat);
  EXPECT_THROW(comm().all_reduce_sum(complex), PeerError);
  EXPECT_EQ(comm().sum(1.0), comm().size());  // the transport still works
}

TEST(Transport, ManyCollectivesInFlightKeepTheirOrder) {
  std::vector<at::Tensor> tensors;
  std::vector<c10::intrusive_ptr<c10d::Work>> running;
  for (int i = 0; i < 300; ++i) {
    tensors.push_back(at::full({i + 1}, i + comm().rank(), at::kLong));
    std::vector<at::Tensor> one{tensors.back()};
    running.push_back(comm().group()->allreduce(one));
  }
  const std::int64_t n = comm().size();
  for (int i = 0; i < 300; ++i) {
    running[i]->wait();
    EXPECT_TRUE(tensors[i].equal(at::full({i + 1}, n * i + n * (n - 1) / 2, at::kLong)));
  }
}

TEST(Transport, GatherGradientIsTheSumOverRanks) {
  auto local = at::ones({2, 3}).requires_grad_();
  const auto all = all_gather_with_grad(local, comm());
  (all * (comm().rank() + 1)).sum().backward();
  const int n = comm().size();
  EXPECT_TRUE(local.grad().equal(at::full({2, 3}, n * (n + 1) / 2.0f)));
}

/// Parameters after some steps of plain gradient descent with averaged gradients.
std::vector<at::Tensor> trained(SyncForm form, int steps) {
  SmallNet net(comm().rank());
  GradientSync sync(form, net.names, net.parameters, comm(), {.first_bucket_bytes = 64, .bucket_bytes = 400});
  for (int s = 0; s < steps; ++s) {
    net.step(sync, comm().rank(), s, /*micro_batches=*/2);
    const at::NoGradGuard no_grad;
    for (auto& p : net.parameters) p.sub_(p.grad(), 0.1);
  }
  return net.parameters;
}

TEST(Transport, ReducerAndFlatTrainToTheSameBits) {
  const auto reducer = trained(SyncForm::kReducer, 10), flat = trained(SyncForm::kFlat, 10);
  for (std::size_t i = 0; i < flat.size(); ++i) {
    EXPECT_TRUE(reducer[i].equal(flat[i])) << i;
    const auto all = comm().all_gather(flat[i].view({1, -1}));
    for (int r = 0; r < comm().size(); ++r) EXPECT_TRUE(all[r].equal(all[0])) << i;
  }
}

TEST(Transport, AMissingGradientIsNamedOnAllRanks) {
  for (const auto form : {SyncForm::kReducer, SyncForm::kFlat}) {
    SmallNet net(0);
    GradientSync sync(form, net.names, net.parameters, comm(), {.first_bucket_bytes = 64, .bucket_bytes = 400});
    net.skip_middle = comm().rank() == 1;
    try {
      net.step(sync, comm().rank(), 0, 1);
      ADD_FAILURE() << "no error";
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find("[rank 1] middle.bias, middle.weight"), std::string::npos) << e.what();
    }
  }
}

/// Ranks other than 0 print failures only.
class FailurePrinter : public testing::EmptyTestEventListener {
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (!result.failed()) return;
    std::fprintf(stderr, "rank %d, %s:%d: %s\n", comm().rank(), result.file_name(), result.line_number(),
                 result.message());
  }
};

int run_tests() {
  Launch launch({.device = "cpu", .timeout_s = 60});
  the_launch = &launch;
  if (launch.place().rank != 0) {
    auto& listeners = testing::UnitTest::GetInstance()->listeners();
    delete listeners.Release(listeners.default_result_printer());
    listeners.Append(new FailurePrinter);
  }
  return RUN_ALL_TESTS();
}

}  // namespace
}  // namespace triptych

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  try {
    return triptych::run_tests();
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    triptych::abort_job(1);
  }
}
