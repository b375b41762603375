// What job_end_test starts under mpirun: a few steps of collectives, then rank 1 does what argv[1] says. main() handles
// errors as the real program's does.
#include <signal.h>
#include <unistd.h>

#include <ATen/ATen.h>

#include <cstdio>
#include <string>
#include <thread>

#include "core/base/errors.h"
#include "distributed/launch.h"

namespace triptych {
namespace {

void misbehave(const std::string& how, Collectives& comm) {
  if (how == "place" || how == "preempted") return;
  std::fprintf(stderr, "FAULT\n");
  if (how == "throw") throw std::runtime_error("surprise on rank 1");
  if (how == "exit") _exit(3);
  if (how == "exit_zero") _exit(0);
  if (how == "kill") kill(getpid(), SIGKILL);
  if (how == "late") std::this_thread::sleep_for(std::chrono::seconds(60));
  if (how == "other") comm.barrier();
}

int run(const std::string& how, const std::string& device) {
  Launch launch({.device = device, .timeout_s = 2});
  auto& comm = launch.comm();
  if (how == "place" && comm.rank() == 0) {
    std::printf("%s %d %s|%s\n", launch.place().launcher.c_str(), comm.size(), launch.place().device.c_str(),
                launch.place().device_note.c_str());
  }
  for (int step = 0; step < 5; ++step) {
    if (step == 3 && comm.rank() == 1) misbehave(how, comm);
    auto x = at::ones({1000});
    comm.all_reduce_sum(x);
  }
  return how == "preempted" ? 75 : 0;
}

}  // namespace
}  // namespace triptych

int main(int argc, char** argv) {
  const std::string how = argc > 1 ? argv[1] : "place", device = argc > 2 ? argv[2] : "auto";
  try {
    return triptych::run(how, device);
  } catch (const triptych::Error& e) {
    if (!e.agreed() || triptych::environment_rank() <= 0) std::fprintf(stderr, "ERROR %s\n", e.what());
    triptych::abort_job(static_cast<int>(e.code()));
  } catch (const std::exception& e) {
    std::fprintf(stderr, "ERROR %s\n", e.what());
    triptych::abort_job(1);
  }
}
