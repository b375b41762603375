// The sidecar of a shard: `<shard>.tidx` beside it, or in a folder of its own when shards lie on a read-only mount.
#pragma once
#include <string>

#include "data/formats/input_file.h"
#include "data/formats/shard_index.h"

namespace triptych {

/// Where the index of a shard is kept: beside the shard, or in `index_dir` as NAME-HASH.tidx, where the hash of the
/// shard's absolute path keeps shards of one name apart.
std::string index_path(const std::string& shard_path, const std::string& index_dir);

struct OpenedIndex {
  ShardIndex index;
  bool built = false;       ///< false: the index file was sound and fits
  std::string write_error;  ///< not empty: it was built but could not be written
};
/// Maps the index file if it fits the shard, builds and writes it (atomically) otherwise. Throws DataError as
/// ShardIndex::build does.
OpenedIndex open_index(const InputFile& shard, const std::string& index_dir);

}  // namespace triptych
