// What a corpus of many records costs before its first picture: the figures of `triptych bench index`.
#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>

namespace triptych {

/// Writes index files of `records` made-up records (10,000 a shard, two members each) beside sparse shards into a new
/// folder in the system's temporary one, opens them as a run does, seeks, and removes the folder. Throws ConfigError
/// when the disk has no room, StorageError when it refuses a write.
nlohmann::ordered_json bench_index(std::int64_t records);

}  // namespace triptych
