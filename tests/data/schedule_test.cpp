// The order of a run against a plain one: whole epochs written out as lists, shuffled and interleaved step by step.
#include "data/schedule.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <thread>
#include <tuple>

#include "core/base/errors.h"
#include "core/base/random_key.h"
#include "data/mixture.h"

namespace triptych {
namespace {

using Source = SampleSchedule::Source;
using RecordId = std::pair<int, std::int64_t>;  // corpus, record

Source source(std::vector<std::int64_t> counts, double weight = 1) {
  Source made;
  made.weight = weight;
  for (const auto count : counts) {
    made.shards.push_back({made.size, count});
    made.size += count;
  }
  return made;
}

ShuffleConfig windows(std::int64_t window, std::int64_t lanes = 1) {
  ShuffleConfig config;
  config.window = window;
  config.lanes = lanes;
  return config;
}
ShuffleConfig unshuffled(std::int64_t lanes = 1) {
  auto config = windows(8192, lanes);
  config.enabled = false;
  return config;
}
ShuffleConfig full() {
  ShuffleConfig config;
  config.full = true;
  return config;
}

std::int64_t total(const std::vector<Source>& sources) {
  std::int64_t sum = 0;
  for (const auto& part : sources) sum += part.size;
  return sum;
}

// ---- the plain reference -------------------------------------------------------------------------------------------

/// One epoch of one corpus as a list: shards in their drawn order, laid end to end.
std::vector<std::int64_t> shuffled_shards(const Source& part, std::uint64_t key, std::uint64_t epoch) {
  std::vector<Corpus::ShardSpan> shards;
  for (const auto& span : part.shards) {
    if (span.count > 0) shards.push_back(span);
  }
  const KeyedPermutation drawn(random_key({key, 1, epoch}), static_cast<std::int64_t>(shards.size()));
  std::vector<std::int64_t> line;
  for (std::int64_t i = 0; i < drawn.size(); ++i) {
    const auto& span = shards[static_cast<std::size_t>(drawn(i))];
    for (std::int64_t r = 0; r < span.count; ++r) line.push_back(span.first + r);
  }
  return line;
}

/// Mixes [begin, end) of the line in ceil(length / window) windows, as equal as whole numbers allow.
void mix_windows(std::vector<std::int64_t>& line, std::int64_t begin, std::int64_t end, std::int64_t window,
                 std::uint64_t key, std::uint64_t epoch, std::uint64_t lane) {
  const auto length = end - begin, count = (length + window - 1) / window;
  for (std::int64_t w = 0; w < count; ++w) {
    const auto from = begin + w * length / count, to = begin + (w + 1) * length / count;
    const std::vector<std::int64_t> before(line.begin() + from, line.begin() + to);
    const KeyedPermutation drawn(random_key({key, 2, epoch, lane, static_cast<std::uint64_t>(w)}), to - from);
    for (std::int64_t i = 0; i < to - from; ++i)
      line[static_cast<std::size_t>(from + i)] = before[static_cast<std::size_t>(drawn(i))];
  }
}

/// All positions of proportional epochs 0 .. epochs-1, by lists and counters only.
std::vector<RecordId> plain_order(const std::vector<Source>& sources, const ShuffleConfig& shuffle, std::uint64_t seed,
                                  std::int64_t lane_rows, std::int64_t epochs) {
  const auto size = total(sources);
  std::vector<std::int64_t> sizes;
  for (const auto& part : sources) sizes.push_back(part.size);
  std::vector<RecordId> order(static_cast<std::size_t>(size * epochs));
  for (std::int64_t epoch = 0; epoch < epochs; ++epoch) {
    // Positions of this epoch, lane after lane.
    std::vector<std::int64_t> positions;
    std::vector<std::size_t> lane_ends;
    for (std::int64_t lane = 0; lane < shuffle.lanes; ++lane) {
      for (auto p = epoch * size; p < (epoch + 1) * size; ++p) {
        if (p / lane_rows % shuffle.lanes == lane) positions.push_back(p);
      }
      lane_ends.push_back(positions.size());
    }
    // Which corpus stands where in that line.
    const Mixture mixture(sizes);
    std::vector<int> corpus_at;
    for (std::int64_t i = 0; i < size; ++i) corpus_at.push_back(mixture.at(i).source);
    for (int c = 0; c < static_cast<int>(sources.size()); ++c) {
      const auto& part = sources[static_cast<std::size_t>(c)];
      const auto key = random_key(seed, Purpose::kShuffle, {static_cast<std::uint64_t>(c)});
      auto line = shuffled_shards(part, key, static_cast<std::uint64_t>(epoch));
      std::size_t begin = 0;
      for (std::size_t lane = 0; lane < lane_ends.size(); ++lane) {
        const auto upto = [&](std::size_t end) {
          return std::count(corpus_at.begin(), corpus_at.begin() + static_cast<std::ptrdiff_t>(end), c);
        };
        mix_windows(line, upto(begin), upto(lane_ends[lane]), shuffle.window, key, static_cast<std::uint64_t>(epoch),
                    lane);
        begin = lane_ends[lane];
      }
      std::size_t next = 0;
      for (std::size_t i = 0; i < positions.size(); ++i) {
        if (corpus_at[i] == c) order[static_cast<std::size_t>(positions[i])] = {c, line[next++]};
      }
    }
  }
  return order;
}

// ---- properties ----------------------------------------------------------------------------------------------------

std::vector<RecordId> order_of(const SampleSchedule& schedule, std::int64_t begin, std::int64_t end) {
  std::vector<RecordId> order;
  for (auto p = begin; p < end; ++p) {
    const auto draw = schedule.at(p);
    order.emplace_back(draw.corpus, draw.record);
  }
  return order;
}

void expect_every_record_once(const std::vector<Source>& sources, std::vector<RecordId> epoch) {
  std::sort(epoch.begin(), epoch.end());
  std::size_t at = 0;
  for (int c = 0; c < static_cast<int>(sources.size()); ++c) {
    for (std::int64_t r = 0; r < sources[static_cast<std::size_t>(c)].size; ++r)
      ASSERT_EQ(epoch.at(at++), RecordId(c, r));
  }
  ASSERT_EQ(at, epoch.size());
}

std::vector<std::vector<Source>> source_sets() {
  return {{source({10})},
          {source({1})},
          {source({5, 0, 7, 1})},
          {source({100, 100, 37}), source({50, 3})},
          {source({1, 1, 1, 1, 999})},
          {source({9, 9, 9}), source({4}), source({61, 61})}};
}

TEST(ScheduleTest, EqualsThePlainOrder) {
  for (const auto& sources : source_sets()) {
    for (const std::int64_t window : {1, 7, 64, 8192}) {
      for (const std::int64_t lanes : {1, 2, 3}) {
        const auto smallest =
            std::min_element(sources.begin(), sources.end(), [](auto& a, auto& b) { return a.size < b.size; })->size;
        if (lanes > smallest) continue;  // refused, see below
        for (const std::int64_t lane_rows : {1, 4}) {
          const SampleSchedule schedule(sources, "proportional", windows(window, lanes), 17, {lane_rows});
          const auto expected = plain_order(sources, windows(window, lanes), 17, lane_rows, 3);
          ASSERT_EQ(order_of(schedule, 0, 3 * total(sources)), expected) << window << " " << lanes << " " << lane_rows;
        }
      }
    }
  }
}

TEST(ScheduleTest, EachEpochHoldsEachRecordOnce) {
  for (const auto& sources : source_sets()) {
    const auto size = total(sources);
    for (const auto& shuffle : {windows(8192), windows(5), full(), unshuffled()}) {
      const SampleSchedule schedule(sources, "proportional", shuffle, 3);
      for (std::int64_t epoch = 0; epoch < 3; ++epoch) {
        expect_every_record_once(sources, order_of(schedule, epoch * size, (epoch + 1) * size));
        EXPECT_EQ(schedule.at(epoch * size).epoch, epoch);
        EXPECT_EQ(schedule.at((epoch + 1) * size - 1).epoch, epoch);
      }
    }
  }
}

TEST(ScheduleTest, EpochsAndSeedsDiffer) {
  const std::vector<Source> sources = {source({100, 100, 100, 100})};
  for (const auto& shuffle : {windows(50), full()}) {
    const SampleSchedule one(sources, "proportional", shuffle, 1), two(sources, "proportional", shuffle, 2);
    const auto first = order_of(one, 0, 400);
    EXPECT_NE(first, order_of(one, 400, 800));
    EXPECT_NE(first, order_of(two, 0, 400));
  }
}

TEST(ScheduleTest, UnshuffledIsTheOrderOfTheCorpusEveryEpoch) {
  const SampleSchedule schedule({source({4, 3})}, "proportional", unshuffled(), 1);
  for (std::int64_t p = 0; p < 21; ++p) EXPECT_EQ(schedule.at(p).record, p % 7);
}

/// A window mixes well and stays narrow: no more shards are open at a time than its records span.
TEST(ScheduleTest, ReadingStaysSequential) {
  std::vector<std::int64_t> counts(40, 50);
  const SampleSchedule schedule({source(counts)}, "proportional", windows(100), 1);
  for (std::int64_t begin = 0; begin < 2000; begin += 100) {
    std::set<std::int64_t> shards;
    for (auto p = begin; p < begin + 100; ++p) shards.insert(schedule.at(p).record / 50);
    EXPECT_LE(shards.size(), 3U) << begin;
  }
  std::set<std::int64_t> distinct;
  for (std::int64_t p = 0; p < 100; ++p) distinct.insert(schedule.at(p).record / 50);
  EXPECT_GE(distinct.size(), 2U);
}

TEST(ScheduleTest, RanksThatDivideTheLanesReadDisjointShards) {
  constexpr std::int64_t kLanes = 4, kGlobalBatch = 32, kShard = 50;
  const std::vector<Source> sources = {source(std::vector<std::int64_t>(32, kShard))};  // 1,600 = 50 batches
  const SampleSchedule schedule(sources, "proportional", windows(64, kLanes), 5, {kGlobalBatch / kLanes});
  for (const std::int64_t ranks : {2, 4}) {
    for (std::int64_t epoch = 0; epoch < 2; ++epoch) {
      std::vector<std::set<std::int64_t>> shards(static_cast<std::size_t>(ranks));
      for (std::int64_t p = epoch * 1600; p < (epoch + 1) * 1600; ++p) {
        const auto rank = p % kGlobalBatch / (kGlobalBatch / ranks);
        shards[static_cast<std::size_t>(rank)].insert(schedule.at(p).record / kShard);
      }
      for (std::size_t a = 0; a < shards.size(); ++a) {
        EXPECT_EQ(shards[a].size(), 32U / static_cast<std::size_t>(ranks));
        for (std::size_t b = 0; b < a; ++b) {
          std::vector<std::int64_t> both;
          std::set_intersection(shards[a].begin(), shards[a].end(), shards[b].begin(), shards[b].end(),
                                std::back_inserter(both));
          EXPECT_TRUE(both.empty()) << "ranks " << a << " and " << b << " share a shard";
        }
      }
    }
  }
}

TEST(ScheduleTest, LanesHoldEqualCountsUpToOne) {
  const std::vector<Source> sources = {source({31, 22}), source({17})};
  constexpr std::int64_t kLanes = 4;
  const SampleSchedule schedule(sources, "proportional", windows(8, kLanes), 5);
  for (std::int64_t epoch = 0; epoch < 4; ++epoch) {
    std::vector<std::int64_t> counts(kLanes, 0);
    for (std::int64_t p = epoch * 70; p < (epoch + 1) * 70; ++p) ++counts[static_cast<std::size_t>(p % kLanes)];
    EXPECT_LE(*std::max_element(counts.begin(), counts.end()) - *std::min_element(counts.begin(), counts.end()), 1);
    expect_every_record_once(sources, order_of(schedule, epoch * 70, (epoch + 1) * 70));
  }
}

TEST(ScheduleTest, WeightedQuotasAreExactInEveryBlock) {
  const std::vector<Source> sources = {source({70, 30}, 2), source({10}, 1), source({5000}, 4)};
  const SampleSchedule schedule(sources, "weighted", windows(16), 9);
  for (std::int64_t block = 0; block < 20; ++block) {
    std::vector<std::int64_t> counts(3, 0);
    for (std::int64_t p = block * 1000; p < (block + 1) * 1000; ++p)
      ++counts[static_cast<std::size_t>(schedule.at(p).corpus)];
    EXPECT_THAT(counts, testing::ElementsAre(286, 143, 571));  // 2/7, 1/7, 4/7 of 1,000
  }
}

/// Each corpus by itself goes through all its records before any comes again, in every lane's part.
TEST(ScheduleTest, WeightedCorporaWrapByThemselves) {
  const std::vector<Source> sources = {source({70, 30}, 2), source({11}, 1), source({500}, 4)};
  for (const std::int64_t lanes : {1, 2, 3}) {
    const SampleSchedule schedule(sources, "weighted", windows(16, lanes), 9, {8});
    std::map<std::tuple<int, std::int64_t, std::int64_t>, std::set<std::int64_t>> seen;  // corpus, lane, epoch
    std::map<std::pair<int, std::int64_t>, std::int64_t> current;
    for (std::int64_t p = 0; p < 20000; ++p) {
      const auto draw = schedule.at(p);
      const auto lane = p / 8 % lanes;
      auto& epoch = current[{draw.corpus, lane}];
      const auto part = [&](std::int64_t e) -> auto& {
        return seen[{draw.corpus, lane, e}];
      };
      if (draw.epoch != epoch) {
        ASSERT_EQ(draw.epoch, epoch + 1);
        const auto size = sources[static_cast<std::size_t>(draw.corpus)].size;
        ASSERT_EQ(static_cast<std::int64_t>(part(epoch).size()), size * (lane + 1) / lanes - size * lane / lanes);
        ++epoch;
      }
      ASSERT_TRUE(part(epoch).insert(draw.record).second) << "corpus " << draw.corpus << " repeats " << draw.record;
    }
    for (std::int64_t e = 0; e < 20; ++e) {  // the lanes of one epoch are disjoint
      std::set<std::int64_t> all;
      std::size_t sum = 0;
      for (std::int64_t lane = 0; lane < lanes; ++lane) {
        const auto& records = seen[{0, lane, e}];
        all.insert(records.begin(), records.end());
        sum += records.size();
      }
      EXPECT_EQ(all.size(), sum);
      EXPECT_EQ(all.size(), 100U);
    }
  }
}

// ---- batches of one corpus -----------------------------------------------------------------------------------------

constexpr BatchForm kSingle12{.lane_rows = 12, .single_source = true};

/// The corpus of each of the first `batches` batches of `rows` rows; every row of a batch must have the same.
std::vector<int> corpus_of_batches(const SampleSchedule& schedule, std::int64_t rows, std::int64_t batches) {
  std::vector<int> corpora;
  for (std::int64_t batch = 0; batch < batches; ++batch) {
    corpora.push_back(schedule.at(batch * rows).corpus);
    for (std::int64_t row = 1; row < rows; ++row) {
      EXPECT_EQ(schedule.at(batch * rows + row).corpus, corpora.back()) << "batch " << batch << " row " << row;
    }
  }
  return corpora;
}

TEST(SingleSourceTest, WeightedQuotasOfBatchesAreExactInEveryBlock) {
  const std::vector<Source> sources = {source({70, 30}, 2), source({10}, 1), source({5000}, 4)};
  const SampleSchedule schedule(sources, "weighted", windows(16), 9, kSingle12);
  const auto corpora = corpus_of_batches(schedule, 12, 3000);
  for (int block = 0; block < 3; ++block) {
    const auto begin = corpora.begin() + block * 1000;
    std::vector<std::int64_t> counts;
    for (int corpus = 0; corpus < 3; ++corpus) counts.push_back(std::count(begin, begin + 1000, corpus));
    EXPECT_THAT(counts, testing::ElementsAre(286, 143, 571));
  }
}

/// Proportional: E batches hold exactly as many of a corpus as it has records, and no prefix strays by more than a
/// batch for each corpus before it.
TEST(SingleSourceTest, ProportionalBatchesKeepTheShares) {
  const std::vector<Source> sources = {source({25, 12}), source({9}), source({54})};
  const SampleSchedule schedule(sources, "proportional", windows(16), 9, kSingle12);
  const auto corpora = corpus_of_batches(schedule, 12, 200);
  std::vector<std::int64_t> counts(3, 0);
  for (std::size_t n = 0; n < corpora.size(); ++n) {
    if (n % 100 == 0) {
      const auto epochs = static_cast<std::int64_t>(n / 100);
      EXPECT_THAT(counts, testing::ElementsAre(37 * epochs, 9 * epochs, 54 * epochs));
    }
    ++counts[static_cast<std::size_t>(corpora[n])];
    for (std::size_t c = 0; c < 3; ++c) {
      const double share = static_cast<double>(sources[c].size) * static_cast<double>(n + 1) / 100;
      EXPECT_LE(std::abs(static_cast<double>(counts[c]) - share), 2) << n;
    }
  }
}

/// Written plainly: each corpus (and lane) draws from an endless line of its epochs, `lane_rows` at a time.
TEST(SingleSourceTest, EveryCorpusWalksItsOwnEpochsInOrder) {
  const std::vector<Source> sources = {source({25, 12}, 1), source({9}, 1), source({54}, 3)};
  for (const auto* mixing : {"proportional", "weighted"}) {
    for (const std::int64_t lanes : {1, 2, 3}) {
      const BatchForm form{.lane_rows = 12 / lanes, .single_source = true};
      const SampleSchedule schedule(sources, mixing, windows(16, lanes), 9, form);
      std::map<std::pair<int, std::int64_t>, std::vector<std::int64_t>> lines;  // corpus, lane -> records as they came
      for (std::int64_t p = 0; p < 12 * 250; ++p) {
        const auto draw = schedule.at(p);
        const auto lane = p / form.lane_rows % lanes;
        auto& line = lines[{draw.corpus, lane}];
        const auto size = sources[static_cast<std::size_t>(draw.corpus)].size;
        const auto part = size * (lane + 1) / lanes - size * lane / lanes;
        ASSERT_EQ(draw.epoch, static_cast<std::int64_t>(line.size()) / part) << mixing << " " << lanes;
        line.push_back(draw.record);
      }
      for (std::size_t c = 0; c < sources.size(); ++c) {
        const auto key = random_key(9, Purpose::kShuffle, {c});
        auto expected = shuffled_shards(sources[c], key, 1);  // the second epoch
        for (std::int64_t lane = 0; lane < lanes; ++lane) {
          const auto begin = sources[c].size * lane / lanes, end = sources[c].size * (lane + 1) / lanes;
          mix_windows(expected, begin, end, 16, key, 1, static_cast<std::uint64_t>(lane));
          const auto& line = lines[{static_cast<int>(c), lane}];
          ASSERT_GE(static_cast<std::int64_t>(line.size()), 2 * (end - begin));
          for (auto i = begin; i < end; ++i) {
            ASSERT_EQ(line[static_cast<std::size_t>(end - begin + i - begin)], expected[static_cast<std::size_t>(i)]);
          }
        }
      }
    }
  }
}

// ---- what an epoch is ----------------------------------------------------------------------------------------------

DataConfig named_corpora(std::vector<double> weights) {
  DataConfig config;
  config.mixing = "weighted";
  for (std::size_t i = 0; i < weights.size(); ++i) {
    config.corpora.emplace_back();
    config.corpora.back().name = std::string(1, static_cast<char>('a' + i));
    config.corpora.back().weight = weights[i];
  }
  return config;
}

TEST(EpochTest, IsAllRecordsOrSamplesOrOneCorpus) {
  auto config = named_corpora({2, 1, 4});
  const std::vector<std::int64_t> sizes = {100, 10, 5000};
  EXPECT_EQ(samples_per_epoch(config, sizes), 5110);
  config.epoch = EpochConfig{"", 777};
  EXPECT_EQ(samples_per_epoch(config, sizes), 777);
  config.epoch = EpochConfig{"a", 0};
  EXPECT_EQ(samples_per_epoch(config, sizes), 350);  // 100 records at 286 of 1,000: 349.65
}

/// After E samples the corpus was walked once, and not much earlier: by the schedule itself.
TEST(EpochTest, OfOneCorpusEndsWhenItWasWalked) {
  auto config = named_corpora({2, 1, 4});
  const std::vector<Source> sources = {source({70, 30}, 2), source({10}, 1), source({5000}, 4)};
  const SampleSchedule schedule(sources, "weighted", windows(16), 9);
  for (int corpus = 0; corpus < 3; ++corpus) {
    config.epoch = EpochConfig{config.corpora[static_cast<std::size_t>(corpus)].name, 0};
    const auto epoch = samples_per_epoch(config, {100, 10, 5000});
    const auto seen_before = [&](std::int64_t end) {
      std::set<std::int64_t> seen;
      for (std::int64_t p = 0; p < end; ++p) {
        const auto draw = schedule.at(p);
        if (draw.corpus == corpus) seen.insert(draw.record);
      }
      return static_cast<std::int64_t>(seen.size());
    };
    const auto size = sources[static_cast<std::size_t>(corpus)].size;
    const auto apart = 1000 / 143 + 1;  // positions between two records of the rarest corpus; interleaving rounds
    EXPECT_EQ(seen_before(epoch + apart), size) << corpus;
    EXPECT_LT(seen_before(epoch - 2 * apart), size) << corpus;
  }
}

TEST(EpochTest, ContradictionsAreRefused) {
  const auto key_of = [](const auto& config) -> std::string {
    try {
      config.validate();
    } catch (const FieldError& error) {
      return error.key();
    }
    return "accepted";
  };
  EXPECT_EQ(key_of(EpochConfig{}), "corpus");
  EXPECT_EQ(key_of(EpochConfig{"a", 3}), "corpus");
  EXPECT_EQ(key_of(EpochConfig{"", 3}), "accepted");
  auto config = named_corpora({1, 1});
  config.epoch = EpochConfig{"b", 0};
  EXPECT_EQ(key_of(config), "accepted");
  config.mixing = "proportional";
  EXPECT_EQ(key_of(config), "epoch.corpus");
  config.epoch = EpochConfig{"", 3};
  EXPECT_EQ(key_of(config), "accepted");
  config.mixing = "weighted";
  config.epoch = EpochConfig{"c", 0};
  EXPECT_EQ(key_of(config), "epoch.corpus");
}

TEST(ScheduleTest, AnyPositionInAnyOrderByAnyThread) {
  const std::vector<Source> sources = {source({100, 40, 60}), source({77})};
  for (const auto& [mixing, single] : {std::pair("proportional", false), std::pair("weighted", false),
                                       std::pair("proportional", true), std::pair("weighted", true)}) {
    const BatchForm form{.lane_rows = 3, .single_source = single};
    const SampleSchedule schedule(sources, mixing, windows(32, 2), 4, form);
    const auto expected = order_of(schedule, 0, 3000);
    const SampleSchedule again(sources, mixing, windows(32, 2), 4, form);
    std::vector<RecordId> found(3000);
    const KeyedPermutation anywhere(random_key(1, Purpose::kTest), 3000);
    std::vector<std::thread> threads;
    for (int t = 0; t < 3; ++t) {
      threads.emplace_back([&, t] {
        for (std::int64_t i = t; i < 3000; i += 3) {
          const auto p = anywhere(i);
          const auto draw = again.at(p);
          found[static_cast<std::size_t>(p)] = {draw.corpus, draw.record};
        }
      });
    }
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(found, expected) << mixing;
  }
}

TEST(ScheduleTest, FarPositionsCostNoMore) {
  const SampleSchedule schedule({source(std::vector<std::int64_t>(1000, 10000)), source({77})}, "proportional",
                                windows(8192), 4);
  const auto far = schedule.at(std::int64_t{1} << 50);
  EXPECT_EQ(far.epoch, (std::int64_t{1} << 50) / 10000077);
}

TEST(ScheduleTest, RefusesWhatItCannotServe) {
  EXPECT_THROW(SampleSchedule({}, "proportional", windows(8), 1), ConfigError);
  EXPECT_THROW(SampleSchedule({source({0})}, "proportional", windows(8), 1), ConfigError);
  EXPECT_THROW(SampleSchedule({source({3})}, "proportional", windows(8, 4), 1), ConfigError);
  EXPECT_THROW(SampleSchedule({source({3}, 1e-6), source({3})}, "weighted", windows(8), 1), ConfigError);
  EXPECT_THROW(SampleSchedule({source({3}, 0), source({3})}, "weighted", windows(8), 1), ConfigError);
  EXPECT_THROW(SampleSchedule({source({3})}, "shuffled", windows(8), 1), ConfigError);
  EXPECT_THROW(SampleSchedule({source({3})}, "proportional", windows(8), 1).at(-1), std::out_of_range);
}

}  // namespace
}  // namespace triptych
