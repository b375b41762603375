// One checkpoint on disk: complete or absent. Every file's size and xxh64 stand in manifest.json, which is written last
// and guards itself; tensors are in safetensors files, readable by Python's `safetensors`.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/disk_ops.h"
#include "core/train/state_snapshot.h"

namespace triptych {

/// manifest.json. docs/checkpoints.md explains every key.
struct Manifest {
  static constexpr std::int64_t kFormatVersion = 3, kOldestVersion = 2;
  struct Part {
    std::int64_t bytes = 0;
    std::string xxh64;
    bool operator==(const Part&) const = default;
  };
  struct File {
    std::int64_t bytes = 0;
    std::string xxh64;
    std::vector<Part> parts =
        {};  ///< of a tensor file: header, then each tensor, so that damage has a name (from 3 on)
    bool operator==(const File&) const = default;
  };
  std::int64_t format_version = kFormatVersion;
  std::int64_t step = 0, samples_seen = 0;
  std::map<std::string, File> files;
  std::map<std::string, std::int64_t> logs;  ///< file of the run directory -> its length when this state was taken
  std::string config_xxh64, corpus_fingerprint, class_names_xxh64;
  std::int64_t ranks = 1, threads = 1;
  std::string device, instruction_set, program;
  bool operator==(const Manifest&) const = default;
};

/// Of the names in their order: what label numbers mean.
std::string class_names_hash(const std::vector<std::string>& names);

std::string manifest_text(const Manifest& manifest);
/// Throws CheckpointError, beginning with `where`, if a single bit differs from what manifest_text wrote.
Manifest parse_manifest(std::string_view text, const std::string& where);

/// Writes FOLDER.tmp, syncs every file, writes the manifest (with `files` filled in) last, renames to FOLDER, syncs the
/// parent; one that is there already is replaced in one instant. Throws StorageError, or what `before_rename` does, and
/// leaves nothing but what was there before.
void write_checkpoint(
    const std::filesystem::path& folder, Manifest manifest, const StateSnapshot& snapshot,
    const std::string& config_text, DiskOps& disk = system_disk(), const std::function<void()>& before_rename = [] {});

/// Reads the manifest and checks size and hash of every file. Throws DamagedCheckpoint naming file, damaged tensors,
/// expected and actual; CheckpointError when it cannot be read or is of another format version.
Manifest verify_checkpoint(const std::filesystem::path& folder);

/// Loads a verified checkpoint into the state of this run. Throws CheckpointError; nothing is ever half loaded.
void load_checkpoint(const std::filesystem::path& folder, const VisitState& visit,
                     const std::set<std::string>& model_names);

}  // namespace triptych
