// Position to lane, lane to corpus, corpus to record: three bijections, each evaluated at one place.
#include "data/schedule.h"

#include <algorithm>
#include <cmath>

#include "core/base/errors.h"
#include "core/base/random_key.h"
#include "data/corpus_order.h"
#include "data/mixture.h"

namespace triptych {
namespace {

constexpr std::int64_t kBlock = 1000;  // positions over which weighted quotas are exact

/// Rows of the stream of all positions dealt to lanes, `rows` at a time.
struct Lanes {
  std::int64_t count = 1, rows = 1;

  std::int64_t lane_of(std::int64_t position) const { return position / rows % count; }
  /// Positions below `position` that belong to `lane`.
  std::int64_t before(std::int64_t lane, std::int64_t position) const {
    const auto round = rows * count;
    return position / round * rows + std::clamp<std::int64_t>(position % round - lane * rows, 0, rows);
  }
  /// The same summed over the lanes 0 .. lane-1.
  std::int64_t before_all_under(std::int64_t lane, std::int64_t position) const {
    const auto round = rows * count;
    return position / round * rows * lane + std::min(position % round, lane * rows);
  }
};

std::vector<std::int64_t> sizes_of(const std::vector<SampleSchedule::Source>& sources) {
  std::vector<std::int64_t> sizes;
  for (const auto& source : sources) sizes.push_back(source.size);
  return sizes;
}

std::vector<std::int64_t> block_quotas(const std::vector<SampleSchedule::Source>& sources) {
  std::vector<double> weights;
  for (const auto& source : sources) {
    if (!(source.weight > 0) || !std::isfinite(source.weight))
      throw ConfigError("data.corpora: a weight is not positive");
    weights.push_back(source.weight);
  }
  auto quotas = whole_quotas(weights, kBlock);
  for (std::size_t i = 0; i < quotas.size(); ++i) {
    if (quotas[i] == 0) {
      throw ConfigError("data.corpora[" + std::to_string(i) + "].weight: less than half a record in a block of " +
                        std::to_string(kBlock) + ", so the corpus would never be drawn; raise its weight");
    }
  }
  return quotas;
}

}  // namespace

struct SampleSchedule::Impl {
  bool weighted;
  Lanes lanes;
  std::int64_t epoch_size;
  std::vector<std::int64_t> sizes;
  Mixture mixture;  // over an epoch (proportional) or a block (weighted)
  std::vector<std::unique_ptr<CorpusOrder>> orders;

  Draw proportional(std::int64_t position) const {
    const auto epoch = position / epoch_size, begin = epoch * epoch_size, end = begin + epoch_size;
    const auto lane = lanes.lane_of(position);
    // Lanes lie behind one another in the epoch's line; each holds as many places as positions of it are in the epoch.
    const auto lane_begin = lanes.before_all_under(lane, end) - lanes.before_all_under(lane, begin);
    const auto lane_size = lanes.before(lane, end) - lanes.before(lane, begin);
    const auto slot = mixture.at(lane_begin + lanes.before(lane, position) - lanes.before(lane, begin));
    const LanePart part{lane, mixture.before(slot.source, lane_begin),
                        mixture.before(slot.source, lane_begin + lane_size)};
    return {slot.source, orders[static_cast<std::size_t>(slot.source)]->record(epoch, part, slot.index), epoch};
  }

  Draw by_weight(std::int64_t position) const {
    const auto lane = lanes.lane_of(position), at = lanes.before(lane, position);
    const auto slot = mixture.at(at % kBlock);
    const auto source = static_cast<std::size_t>(slot.source);
    const auto drawn = at / kBlock * mixture.before(slot.source, kBlock) + slot.index;  // by this lane from this corpus
    const LanePart part{lane, sizes[source] * lane / lanes.count, sizes[source] * (lane + 1) / lanes.count};
    const auto part_size = part.end - part.begin, epoch = drawn / part_size;
    return {slot.source, orders[source]->record(epoch, part, part.begin + drawn % part_size), epoch};
  }
};

SampleSchedule::SampleSchedule(std::vector<Source> sources, const std::string& mixing, const ShuffleConfig& shuffle,
                               std::uint64_t seed, std::int64_t lane_rows) {
  if (sources.empty()) throw ConfigError("data.corpora: is empty; name at least one corpus");
  if (mixing != "proportional" && mixing != "weighted") throw ConfigError("data.mixing: unknown '" + mixing + "'");
  if (lane_rows < 1) throw std::invalid_argument("lane_rows must be at least 1");
  const bool weighted = mixing == "weighted";
  const auto sizes = sizes_of(sources);
  std::int64_t total = 0;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    const auto which = "data.corpora[" + std::to_string(i) + "]: ";
    if (sizes[i] < 1) throw ConfigError(which + "has no records");
    if (sizes[i] < shuffle.lanes) {
      throw ConfigError(which + std::to_string(sizes[i]) +
                        " records cannot fill data.shuffle.lanes: " + std::to_string(shuffle.lanes));
    }
    total += sizes[i];
  }
  impl_ = std::make_unique<Impl>(Impl{.weighted = weighted,
                                      .lanes = {shuffle.lanes, lane_rows},
                                      .epoch_size = total,
                                      .sizes = sizes,
                                      .mixture = Mixture(weighted ? block_quotas(sources) : sizes),
                                      .orders = {}});
  for (std::size_t i = 0; i < sources.size(); ++i) {
    impl_->orders.push_back(std::make_unique<CorpusOrder>(std::move(sources[i].shards), sizes[i], shuffle,
                                                          random_key(seed, Purpose::kShuffle, {i})));
  }
}

SampleSchedule::~SampleSchedule() = default;

Draw SampleSchedule::at(std::int64_t position) const {
  if (position < 0) throw std::out_of_range("position " + std::to_string(position));
  return impl_->weighted ? impl_->by_weight(position) : impl_->proportional(position);
}

std::int64_t SampleSchedule::records_per_epoch() const {
  return impl_->epoch_size;
}

}  // namespace triptych
