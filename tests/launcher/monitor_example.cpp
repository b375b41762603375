// monitor_example PORT [ANSWERS]: prints its address and serves the live view of a made-up run, until it is killed or
// has answered so often. For tests/scripts/monitor_page_test.py and for looking at the page.
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <exception>

#include "distributed/launcher/monitor.h"

namespace triptych {
namespace {

const std::vector<MonitorRank> kExampleRanks = {
    {0, "node1", "step", 3217, 61.2, 0.86, 0.02, 0.3, RankState::kOk},
    {1, "node1", "step", 3217, 60.8, 0.84, 0.03, 0.7, RankState::kOk},
    {2, "node1", "step", 3217, 61.0, 0.72, 0.17, 0.4, RankState::kOk},
    {3, "node1", "step", 3217, 61.5, 0.85, 0.02, 0.9, RankState::kOk},
    {4, "node2", "step", 3217, 60.1, 0.98, 0.01, 0.2, RankState::kSlow},
    {5, "node2", "save", 3217, 61.1, 0.81, 0.05, 0.6, RankState::kOk},
    {6, "a-host-with-a-long-name.cluster.example", "step", 3216, 0, 0.4, 0.1, 8.4, RankState::kSilent},
    {7, "node2", "step", 3191, 0, 0, 0, 73.5, RankState::kGone},
};

MonitorState example_state() {
  MonitorState state;
  state.run = "<script>document.title='broken'</script> unicl & tcl \"quoted\"";
  state.config = "configs/quickstart.yaml";
  state.started = "2026-11-22T06:09:50.123Z";
  state.state = "training";
  state.uptime_s = 7231;
  state.attempt = state.restarts = 2;
  state.step = 3217;
  state.total = 12000;
  state.step_s = 1.043;
  state.samples_per_s = 486.7;
  state.goodput = 0.9731;
  LossHistory history;
  for (int step = 1; step <= 3217; ++step) {
    history.add(step, 1.9 + 3.6 * std::exp(-step / 700.0) + 0.12 * std::sin(step * 12.9898) * std::cos(step * 4.1414));
  }
  state.loss = history.points();
  state.ranks = kExampleRanks;
  for (int step = 500; step <= 3000; step += 500) state.checkpoints.push_back({step, 1.5 + step / 3000.0});
  state.events = {{"2026-11-22T06:09:51.000Z", "8 ranks started on node1, node2"},
                  {"2026-11-22T06:31:07.250Z", "rank 7 on node2 was killed by signal 9 at step 1,204"},
                  {"2026-11-22T06:31:08.900Z", "restart 1 of 3 from step 1,000 in 0.50 s"},
                  {"2026-11-22T07:12:40.010Z", "rank 4 on node2 is slow: 1.4 times the others' time"},
                  {"2026-11-22T07:40:00.000Z", "<img src=x onerror=alert(1)> is text"}};
  return state;
}

int run_example(int argc, char** argv) {
  if (argc < 2 || argc > 3) {
    std::fputs("usage: monitor_example PORT [ANSWERS]\n", stderr);
    return 2;
  }
  const int answers = argc == 3 ? std::atoi(argv[2]) : 0;
  int answered = 0;
  boost::asio::io_context io;
  boost::asio::steady_timer end(io);  // leaves the last answer time to get out
  const Monitor monitor(io, static_cast<std::uint16_t>(std::atoi(argv[1])), [&] {
    if (++answered == answers) {
      end.expires_after(std::chrono::milliseconds(50));
      end.async_wait([&](boost::system::error_code) { io.stop(); });
    }
    return example_state();
  });
  std::printf("%s\n", monitor.url().c_str());
  std::fflush(stdout);
  io.run();
  return 0;
}

}  // namespace
}  // namespace triptych

int main(int argc, char** argv) try { return triptych::run_example(argc, argv); } catch (const std::exception& error) {
  std::fprintf(stderr, "monitor_example: %s\n", error.what());
  return 1;
}
