// Two levels: shards in a drawn order, laid end to end; then a permutation within windows of that line.
#include "data/corpus_order.h"

#include <algorithm>

#include "core/base/random_key.h"

namespace triptych {
namespace {

constexpr std::size_t kRecentEpochs = 3;  // threads work on both sides of an epoch's end; lanes may be one epoch apart
constexpr std::uint64_t kShards = 1, kWindow = 2, kAll = 3;  // what a key orders

std::uint64_t as_word(std::int64_t n) {
  return static_cast<std::uint64_t>(n);
}

}  // namespace

/// The shards of one epoch, laid end to end.
struct CorpusOrder::ShardOrder {
  std::vector<std::int64_t> ends;    // place behind the i-th shard
  std::vector<std::int64_t> firsts;  // its first record
};

CorpusOrder::CorpusOrder(std::vector<Corpus::ShardSpan> shards, std::int64_t size, const ShuffleConfig& shuffle,
                         std::uint64_t key)
    : shards_(std::move(shards)), size_(size), shuffle_(shuffle), key_(key) {
  std::erase_if(shards_, [](const auto& span) { return span.count == 0; });
}

CorpusOrder::~CorpusOrder() = default;

std::shared_ptr<const CorpusOrder::ShardOrder> CorpusOrder::shard_order(std::int64_t epoch) const {
  const std::lock_guard lock(mutex_);
  if (const auto found = recent_.find(epoch); found != recent_.end()) return found->second;
  const auto count = static_cast<std::int64_t>(shards_.size());
  const KeyedPermutation drawn(random_key({key_, kShards, as_word(epoch)}), count);
  auto order = std::make_shared<ShardOrder>();
  order->ends.reserve(shards_.size());
  order->firsts.reserve(shards_.size());
  std::int64_t end = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto& span = shards_[static_cast<std::size_t>(drawn(i))];
    order->firsts.push_back(span.first);
    order->ends.push_back(end += span.count);
  }
  // The epoch farthest away goes; after a seek that is the old one.
  const auto distance = [&](const auto& entry) { return std::abs(entry.first - epoch); };
  if (recent_.size() == kRecentEpochs) {
    recent_.erase(std::max_element(recent_.begin(), recent_.end(),
                                   [&](const auto& a, const auto& b) { return distance(a) < distance(b); }));
  }
  recent_[epoch] = order;
  return order;
}

/// Windows of a part are equally long up to one record and never reach into another lane's part.
std::int64_t CorpusOrder::in_window(std::int64_t epoch, const LanePart& part, std::int64_t place) const {
  __extension__ using Wide = __int128;
  const auto length = part.end - part.begin, at = place - part.begin;
  const auto windows = (length + shuffle_.window - 1) / shuffle_.window;
  const auto edge = [&](std::int64_t w) { return static_cast<std::int64_t>(static_cast<Wide>(w) * length / windows); };
  const auto window = static_cast<std::int64_t>((static_cast<Wide>(at + 1) * windows - 1) / length);
  const auto begin = edge(window);
  const auto key = random_key({key_, kWindow, as_word(epoch), as_word(part.lane), as_word(window)});
  return part.begin + begin + KeyedPermutation(key, edge(window + 1) - begin)(at - begin);
}

std::int64_t CorpusOrder::record(std::int64_t epoch, const LanePart& part, std::int64_t place) const {
  if (!shuffle_.enabled) return place;
  if (shuffle_.full) return KeyedPermutation(random_key({key_, kAll, as_word(epoch)}), size_)(place);
  const auto mixed = in_window(epoch, part, place);
  const auto order = shard_order(epoch);
  const auto shard = std::upper_bound(order->ends.begin(), order->ends.end(), mixed) - order->ends.begin();
  const auto i = static_cast<std::size_t>(shard);
  return order->firsts[i] + (mixed - (i == 0 ? 0 : order->ends[i - 1]));
}

}  // namespace triptych
