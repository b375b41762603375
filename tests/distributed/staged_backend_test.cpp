// Staging through another device, with the CPU in the part of that device.
#include "distributed/staged_backend.h"

#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>

#include "tests/support/collective_cases.h"
#include "tests/support/thread_ranks.h"

namespace triptych {
namespace {

TEST(StagedBackend, GivesWhatItsTransportGives) {
  for (const int n : {1, 3}) {
    run_ranks(n, [n](Collectives& direct) {
      auto inner = direct.group()->getBackend(at::kCPU);
      auto group = c10::make_intrusive<c10d::ProcessGroup>(direct.rank(), n);
      group->setBackend(at::kCPU, c10d::ProcessGroup::BackendType::CUSTOM,
                        c10::make_intrusive<StagedBackend>(inner, c10::Device(at::kCPU)));
      group->setDefaultBackend(c10d::ProcessGroup::BackendType::CUSTOM);
      Collectives staged(group);
      for (const auto dtype : {at::kDouble, at::kLong, at::kByte}) check_collectives(staged, 7, dtype);
      check_shapes(staged);
      check_host_calls(staged);
    });
  }
}

}  // namespace
}  // namespace triptych
