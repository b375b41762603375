// One row a part.
#include "apps/bench_parts.h"

#include <algorithm>
#include <utility>

namespace triptych {
namespace {

using Json = nlohmann::ordered_json;
using PartTimes = std::vector<std::pair<std::string, std::vector<double>>>;  ///< of each step in which it ran

PartTimes times_by_part(const std::vector<TimedStep>& steps) {
  PartTimes all;
  const auto add = [&](const std::string& name, double seconds) {
    const auto at = std::find_if(all.begin(), all.end(), [&](const auto& part) { return part.first == name; });
    at == all.end() ? all.push_back({name, {seconds}}) : at->second.push_back(seconds);
  };
  for (const auto& step : steps) {
    double other = step.seconds;
    for (const auto& part : step.parts) {
      add(part.name, part.seconds);
      other -= part.seconds;
    }
    add("other", other);
  }
  return all;
}

}  // namespace

Json part_table(const std::vector<TimedStep>& steps) {
  Json table = Json::array();
  double sum = 0;
  for (auto& [name, times] : times_by_part(steps)) {
    std::sort(times.begin(), times.end());
    const double median = times[times.size() / 2];
    sum += median;
    table.push_back({{"part", name}, {"median_s", median}, {"best_s", times.front()}});
  }
  for (auto& row : table) row["share"] = row["median_s"].get<double>() / sum;
  return table;
}

}  // namespace triptych
