// Position to lane, lane to corpus, corpus to record: three bijections, each evaluated at one place.
#include "data/schedule.h"

#include <algorithm>
#include <numeric>

#include "core/base/errors.h"
#include "core/base/random_key.h"
#include "data/corpus_order.h"
#include "data/mixture.h"

namespace triptych {
namespace {

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

std::vector<double> weights_of(const std::vector<SampleSchedule::Source>& sources) {
  std::vector<double> weights;
  for (const auto& source : sources) weights.push_back(source.weight);
  return weights;
}

}  // namespace

struct SampleSchedule::Impl {
  Draw (Impl::*rule)(std::int64_t) const;  // how a position becomes a draw
  Lanes lanes;
  std::int64_t records;  // of all corpora
  std::vector<std::int64_t> sizes;
  Mixture mixture;  // over E (proportional) or a block (weighted), in rows (mixed) or batches (single)
  std::vector<std::unique_ptr<CorpusOrder>> orders;

  Draw proportional(std::int64_t position) const {
    const auto epoch = position / records, begin = epoch * records, end = begin + records;
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
    const auto slot = mixture.at(at % mixture.period());
    return in_own_epochs(slot.source, lane, dealt_before(slot, at / mixture.period()));
  }

  /// The mixture deals whole batches; a lane's rows of them are consecutive draws of that lane from that corpus.
  Draw by_batch(std::int64_t position) const {
    const auto batch = position / (lanes.rows * lanes.count);
    const auto slot = mixture.at(batch % mixture.period());
    const auto drawn = dealt_before(slot, batch / mixture.period()) * lanes.rows + position % lanes.rows;
    return in_own_epochs(slot.source, lanes.lane_of(position), drawn);
  }

  /// Slots of this source before this one, `periods` whole periods included.
  std::int64_t dealt_before(const Mixture::Slot& slot, std::int64_t periods) const {
    return periods * mixture.before(slot.source, mixture.period()) + slot.index;
  }

  /// What a lane takes from a corpus that it has drawn from `drawn` times: the lane's part of the corpus, again and
  /// again.
  Draw in_own_epochs(int corpus, std::int64_t lane, std::int64_t drawn) const {
    const auto source = static_cast<std::size_t>(corpus);
    const LanePart part{lane, sizes[source] * lane / lanes.count, sizes[source] * (lane + 1) / lanes.count};
    const auto part_size = part.end - part.begin, epoch = drawn / part_size;
    return {corpus, orders[source]->record(epoch, part, part.begin + drawn % part_size), epoch};
  }
};

SampleSchedule::SampleSchedule(std::vector<Source> sources, const std::string& mixing, const ShuffleConfig& shuffle,
                               std::uint64_t seed, BatchForm form) {
  if (sources.empty()) throw ConfigError("data.corpora: is empty; name at least one corpus");
  if (mixing != "proportional" && mixing != "weighted") throw ConfigError("data.mixing: unknown '" + mixing + "'");
  if (form.lane_rows < 1) throw std::invalid_argument("lane_rows must be at least 1");
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
  const auto rule = form.single_source ? &Impl::by_batch : weighted ? &Impl::by_weight : &Impl::proportional;
  impl_ = std::make_unique<Impl>(Impl{.rule = rule,
                                      .lanes = {shuffle.lanes, form.lane_rows},
                                      .records = total,
                                      .sizes = sizes,
                                      .mixture = Mixture(weighted ? block_quotas(weights_of(sources)) : sizes),
                                      .orders = {}});
  for (std::size_t i = 0; i < sources.size(); ++i) {
    impl_->orders.push_back(std::make_unique<CorpusOrder>(std::move(sources[i].shards), sizes[i], shuffle,
                                                          random_key(seed, Purpose::kShuffle, {i})));
  }
}

SampleSchedule::~SampleSchedule() = default;

Draw SampleSchedule::at(std::int64_t position) const {
  if (position < 0) throw std::out_of_range("position " + std::to_string(position));
  return (*impl_.*impl_->rule)(position);
}

std::int64_t samples_per_epoch(const DataConfig& config, const std::vector<std::int64_t>& sizes) {
  if (!config.epoch) return std::accumulate(sizes.begin(), sizes.end(), std::int64_t{0});
  if (config.epoch->samples > 0) return config.epoch->samples;
  std::vector<double> weights;
  for (const auto& corpus : config.corpora) weights.push_back(corpus.weight);
  const auto quotas = block_quotas(weights);
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    if (config.corpora[i].name == config.epoch->corpus) return (sizes[i] * kQuotaBlock + quotas[i] - 1) / quotas[i];
  }
  throw ConfigError("data.epoch.corpus: no corpus is called '" + config.epoch->corpus + "'");
}

}  // namespace triptych
