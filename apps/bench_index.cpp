// A synthetic index is real to the last byte but for its pictures: the shards are holes of the right size.
#include "apps/bench_index.h"

#include <fcntl.h>
#include <gperftools/malloc_extension.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <optional>
#include <vector>

#include "apps/scratch_folder.h"
#include "core/base/atomic_file.h"
#include "core/base/clock.h"
#include "core/base/errors.h"
#include "core/base/random_key.h"
#include "core/base/strings.h"
#include "core/train/run_environment.h"
#include "data/formats/index_file.h"
#include "data/loader.h"

namespace triptych {
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

constexpr std::int64_t kRecordsPerShard = 10'000, kStarts = 5, kSeeks = 1000, kEpochs = 1000;
constexpr std::int64_t kBytesPerRecord = 24 + 2 * 24 + 9;  // entry, two members, key

/// Processor time of all threads of this process: what is left of a figure when others use the machine too.
double cpu_seconds() {
  timespec time = {};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

/// Pictures of 8 to 16 KiB and captions of `records` records, as they would stand in a tar file of `end` bytes.
std::vector<TarMember> made_up_members(std::int64_t records, std::int64_t& end) {
  std::vector<TarMember> members;
  RandomStream draws(random_key(1, Purpose::kTest));
  end = 0;
  const auto add = [&](const std::string& name, std::int64_t size) {
    TarMember member;
    member.name = name;
    member.offset = end;
    member.data_offset = end + kTarBlock;
    member.size = size;
    member.header_hash = static_cast<std::uint32_t>(draws.bits());
    end = member.data_offset + (size + kTarBlock - 1) / kTarBlock * kTarBlock;
    members.push_back(std::move(member));
  };
  for (std::int64_t record = 0; record < records; ++record) {
    char key[24];
    std::snprintf(key, sizeof(key), "%09lld", static_cast<long long>(record));
    add(std::string(key) + ".jpg", 8192 + draws.below(8192));
    add(std::string(key) + ".txt", 40);
  }
  return members;
}

FileHandle create(const fs::path& path) {
  FileHandle file(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (file.get() < 0) throw storage_error("cannot write", path, errno);
  return file;
}

void write_hole(const fs::path& path, std::int64_t bytes) {
  if (ftruncate(create(path).get(), bytes) != 0) throw storage_error("cannot stretch", path, errno);
}

/// Shards [first, last) of `records` records each; returns the bytes of their index files. All have the same keys,
/// which shards may: one index is built, and written as often as there are shards.
std::int64_t write_shards(const fs::path& folder, std::int64_t first, std::int64_t last, std::int64_t records) {
  std::int64_t end = 0;
  const auto members = made_up_members(records, end);
  std::optional<ShardIndex> index;
  for (auto shard = first; shard < last; ++shard) {
    char name[32];
    std::snprintf(name, sizeof(name), "%08lld.tar", static_cast<long long>(shard));
    const auto path = (folder / name).string();
    write_hole(path, end);
    if (!index) index = ShardIndex::of_members(members, end, shard_content_hash(InputFile(path)));
    write_fully(create(index_path(path, "")).get(), index->bytes().data(), index->bytes().size(), path);
  }
  return index ? (last - first) * static_cast<std::int64_t>(index->bytes().size()) : 0;
}

/// Milliseconds of each seek: from a position, in a random epoch, to the place of its record in a shard.
std::vector<double> seek_times(const SampleSchedule& schedule, const Corpus& corpus) {
  std::vector<double> times;
  RandomStream draws(random_key(2, Purpose::kTest));
  for (std::int64_t n = 0; n < kSeeks; ++n) {
    const auto position = draws.below(corpus.size() * kEpochs);
    const auto start = Clock::now();
    const auto place = corpus.place(schedule.at(position).record);
    times.push_back(seconds_since(start) * 1e3);
    if (place.key.size() != 9) throw std::logic_error("the made-up index reads back wrong");
  }
  std::sort(times.begin(), times.end());
  return times;
}

}  // namespace

Json bench_index(std::int64_t records) {
  const ScratchFolder folder;
  const auto room = fs::space(folder.path()).available, needed = static_cast<std::uintmax_t>(records * kBytesPerRecord);
  if (room < needed + needed / 10) {
    throw ConfigError("bench index: --records " + std::to_string(records) + " needs " + human_size(needed) + " in " +
                      fs::temp_directory_path().string() + ", which has " + human_size(room) +
                      " free; set TMPDIR or lower it");
  }
  const auto written = Clock::now();
  const auto whole = records / kRecordsPerShard, rest = records % kRecordsPerShard;
  const auto bytes = write_shards(folder.path(), 0, whole, kRecordsPerShard) +
                     write_shards(folder.path(), whole, whole + (rest > 0 ? 1 : 0), rest);
  const auto write_s = seconds_since(written);
  MallocExtension::instance()
      ->ReleaseFreeMemory();  // so that what writing leaves behind does not hide what opening needs
  const auto private_before = memory_use(at::kCPU).private_rss_mb;

  DataConfig data;
  data.corpora.emplace_back();
  data.corpora[0].name = "made up";
  data.corpora[0].path = (folder.path() / "*.tar").string();
  std::vector<double> starts, cpu;
  std::optional<CorpusSet> corpora;
  std::optional<SampleSchedule> schedule;
  for (int n = 0; n < kStarts; ++n) {
    schedule.reset();
    corpora.reset();
    const auto start = Clock::now();
    const auto cpu_before = cpu_seconds();
    corpora.emplace(data);
    const auto& corpus = *corpora->corpora().front();
    schedule.emplace(std::vector<SampleSchedule::Source>{{corpus.shards(), corpus.size(), 1.0}}, data.mixing,
                     data.shuffle, 1);
    schedule->at(0);
    starts.push_back(seconds_since(start));
    cpu.push_back(cpu_seconds() - cpu_before);
  }
  const auto& corpus = *corpora->corpora().front();
  const auto times = seek_times(*schedule, corpus);
  const auto private_mib = memory_use(at::kCPU).private_rss_mb;
  return {{"records", corpus.size()},
          {"shards", corpus.shards().size()},
          {"index_mib", static_cast<double>(bytes) / (1 << 20)},
          {"write_s", write_s},
          {"start_s", *std::min_element(starts.begin(), starts.end())},
          {"start_most_s", *std::max_element(starts.begin(), starts.end())},
          {"start_cpu_s", *std::min_element(cpu.begin(), cpu.end())},
          {"private_mib", private_mib},
          {"private_growth_mib", private_mib - private_before},
          {"seek_median_ms", times[times.size() / 2]},
          {"seek_p99_ms", times[times.size() * 99 / 100]},
          {"seek_most_ms", times.back()}};
}

}  // namespace triptych
