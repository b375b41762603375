// How long a rank works for itself: its last steps, cut into two blocks.
#pragma once
#include <array>
#include <optional>
#include <vector>

#include "distributed/launcher/progress.h"

namespace triptych {

/// Of at least one value; the mean of the two in the middle of an even number.
double median_of(std::vector<double> values);

/// Where the time of a rank's last steps went; the three add up to 1.
struct TimeShares {
  double busy = 0, data_wait = 0, collective_wait = 0;
};

/// The seconds a step that a rank was busy. Two blocks of `steps`/2 steps (more where steps are faster than reports):
/// one slow step spoils one block only.
class Pace {
 public:
  explicit Pace(int steps) : block_steps_(steps / 2) {}
  /// True when a block became complete.
  bool add(const ProgressBoard::View& view);
  /// Mean of `busy_s` in the older and the newer block; nothing before both are complete.
  std::optional<std::array<double, 2>> busy_s() const;
  TimeShares shares() const;

 private:
  struct Sums {
    double steps = 0, step_s = 0, busy_s = 0, data_wait_s = 0;
  };
  static Sums of(const ProgressBoard::View& view);
  int block_steps_;
  std::optional<Sums> begin_;
  std::optional<Sums> older_, newer_;
};

}  // namespace triptych
