// Compressed tar shards: unpacked once, into a copy that is then read at random.
#pragma once
#include <string>

#include "data/formats/input_file.h"

namespace triptych {

/// The copy of a shard that gzip or zstd packed (told by its first bytes, not by its name): SHARD-HASH.unpacked beside
/// it, or in `index_dir`, where the hash covers the shard's size and its first and last 16 KiB; made when it is not
/// there. Nothing for a shard that is not packed.
///
/// Of a damaged or cut shard the copy holds what comes before the damage, and ends so that the damage counts as a bad
/// record. Throws DataError when nothing can be unpacked, or when it grows to more than kMostGrowth times its size (a
/// bomb); StorageError when the copy cannot be written.
std::string unpacked_shard(const InputFile& shard, const std::string& index_dir);

inline constexpr std::int64_t kMostGrowth = 200, kGrowthFree = 64 << 20;  ///< a copy of 64 MiB is never a bomb

}  // namespace triptych
