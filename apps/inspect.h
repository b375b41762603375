// What `triptych inspect` shows of a checkpoint, a run directory and a tar shard, as JSON objects.
#pragma once
#include <filesystem>
#include <nlohmann/json.hpp>

namespace triptych {

/// Manifest, parameters by part of the model, the result of checking every file's size and hash. A damaged or
/// incomplete checkpoint throws CheckpointError.
nlohmann::ordered_json inspect_checkpoint(const std::filesystem::path& folder);

/// How far a run is: checkpoints (each verified), last metrics, last evaluations, records that were skipped, where it
/// ran, and goodput where a launcher ran it.
nlohmann::ordered_json inspect_run(const std::filesystem::path& folder);

/// Records, members by extension, damage, the first captions. Throws DataError when it is no tar archive.
nlohmann::ordered_json inspect_shard(const std::filesystem::path& file);

}  // namespace triptych
