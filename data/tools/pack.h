// Any corpus as WebDataset shards: what `triptych data pack` does.
//
// Shard s holds the records [s n, (s + 1) n) of the corpus as NNNNNNNNN.jpg (or .png, .webp) with .txt (one caption),
// .json {"txt": [...]} (several) or .cls (the class, a line of classes.txt). Its bytes depend on the corpus and the
// settings alone, not on threads or interruptions.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>

#include "data/corpus.h"
#include "data/data_config.h"

namespace triptych {

struct PackRequest {
  std::filesystem::path folder = {};  ///< made if absent
  std::int64_t short_side = 0;  ///< > 0: larger pictures are resized to it and encoded as JPEG; 0: bytes are copied
  std::int64_t quality = 95;    ///< of JPEG, with short_side only
  std::int64_t shard_records = 2000;  ///< records of the corpus that a shard covers
  DecodeConfig decoding = {};         ///< with short_side only
  int threads = 1;
  std::function<void(std::int64_t done)> progress = {};  ///< after each wave of records; may be empty
};

struct PackReport {
  std::int64_t records = 0;                     ///< of the corpus
  std::int64_t written = 0;                     ///< records in the shards
  std::int64_t unusable = 0;                    ///< left out
  std::map<std::string, std::int64_t> reasons;  ///< of those left out by this call: how many
  std::int64_t shards = 0, shards_found = 0;    ///< in all; finished by an earlier, interrupted call
  std::int64_t resized = 0;                     ///< pictures encoded anew by this call
  std::int64_t bytes = 0;                       ///< of all shards
};

/// Packs into folder/shard-NNNNNN.tar with an index file each, and classes.txt for image_label. Finished shards of an
/// earlier call with the same corpus and settings (folder/pack.json says) are kept, a half one is made again. Records
/// that cannot be used are left out and counted; a shard without any usable record is not written. Throws ConfigError:
/// the folder holds a pack of another corpus or with other settings, or a class name cannot stand in classes.txt;
/// StorageError.
PackReport pack_corpus(const Corpus& corpus, const PackRequest& request);

}  // namespace triptych
