// Prints what the transport costs: mpirun -np 2 transport_bench [seconds per line]. Figures: docs/distributed.md.
#include <ATen/ATen.h>
#include <mpi.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>

#include "distributed/gradient_sync.h"
#include "distributed/launch.h"

namespace triptych {
namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Median seconds of a call over about `budget_s` seconds.
double median_time(Collectives& comm, double budget_s, const std::function<void()>& call) {
  call();
  comm.barrier();
  const double once_start = now();
  call();
  const auto repeats = comm.max(static_cast<std::int64_t>(budget_s / (now() - once_start)) + 5);
  std::vector<double> times;
  for (std::int64_t i = 0; i < repeats; ++i) {
    const double start = now();
    call();
    times.push_back(now() - start);
  }
  std::nth_element(times.begin(), times.begin() + repeats / 2, times.end());
  return times[repeats / 2];
}

void measure_all_reduce(Collectives& comm, double budget_s) {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    for (const std::int64_t bytes : {64, 1 << 20, 25 << 20}) {
      auto x = at::zeros({bytes / static_cast<std::int64_t>(at::elementSize(dtype))}, dtype);
      const double own = median_time(comm, budget_s, [&] { comm.all_reduce_sum(x); });
      if (comm.rank() == 0) {
        std::printf("all-reduce %8ld bytes of %-8s %9.3f ms", static_cast<long>(bytes), c10::toString(dtype),
                    own * 1e3);
      }
      if (dtype == at::kFloat) {
        const double plain = median_time(comm, budget_s, [&] {
          MPI_Allreduce(MPI_IN_PLACE, x.data_ptr(), static_cast<int>(x.numel()), MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
        });
        if (comm.rank() == 0) std::printf("   blocking MPI_Allreduce %9.3f ms", plain * 1e3);
      }
      if (comm.rank() == 0) std::printf("\n");
    }
  }
}

/// A stack of square layers of 4 MiB: backward alone, then averaged in both forms.
void measure_overlap(Collectives& comm, double budget_s) {
  std::vector<at::Tensor> weights;
  std::vector<std::string> names;
  for (int i = 0; i < 12; ++i) {
    weights.push_back((at::ones({1024, 1024}) / 1024).requires_grad_());
    names.push_back("layer" + std::to_string(i));
  }
  const auto input = at::ones({256, 1024});
  const auto loss = [&] {
    auto x = input;
    for (const auto& w : weights) x = at::linear(x, w).tanh();
    return x.square().mean();
  };
  const auto drop = [&] {
    for (auto& w : weights) w.mutable_grad().reset();
  };
  const double alone = median_time(comm, budget_s, [&] {
    drop();
    loss().backward();
  });
  if (comm.rank() == 0) std::printf("forward and backward of 12 layers (48 MiB of gradients) %9.3f ms\n", alone * 1e3);
  for (const auto form : {SyncForm::kFlat, SyncForm::kReducer}) {
    GradientSync sync(form, names, weights, comm);
    double waited = 0;
    const double with = median_time(comm, budget_s, [&] {
      sync.zero_grad();
      sync.before_forward();
      const auto value = loss();
      sync.before_last_backward({value});
      value.backward();
      const double start = now();
      sync.finish();
      waited = now() - start;
    });
    if (comm.rank() == 0) {
      std::printf("  averaged, %-8s %9.3f ms, of which after backward %9.3f ms\n",
                  form == SyncForm::kFlat ? "flat" : "reducer", with * 1e3, waited * 1e3);
    }
  }
}

}  // namespace
}  // namespace triptych

int main(int argc, char** argv) {
  triptych::Launch launch({.device = "cpu"});
  const double budget_s = argc > 1 ? std::stod(argv[1]) : 1.0;
  triptych::measure_all_reduce(launch.comm(), budget_s);
  triptych::measure_overlap(launch.comm(), budget_s);
}
