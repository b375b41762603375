// Which records of a corpus are used: a file that `triptych data filter` writes and a corpus entry names, and the
// corpus that has these records only. The source is never changed.
//
// The file: a line "triptych keep-list 1", a line of JSON {"corpus": name, "fingerprint": 16 hex digits of the source,
// "records": n, "kept": how many, "hash": xxh64 of the rest}, then one bit a record: 64-bit words, little-endian, bit
// i mod 64 of word i / 64.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "data/corpus.h"

namespace triptych {

/// One bit a record, with rank and select: an eighth of a byte a record, whatever is kept.
class KeepBits {
 public:
  /// `words` holds `records` bits; those beyond must be 0.
  KeepBits(std::vector<std::uint64_t> words, std::int64_t records);
  std::int64_t records() const { return records_; }
  std::int64_t kept() const { return before_.back(); }
  const std::vector<std::uint64_t>& words() const { return words_; }
  /// How many of the records [0, end) are kept.
  std::int64_t kept_before(std::int64_t end) const;
  /// The record that is the i-th kept one, i from 0. Throws std::out_of_range.
  std::int64_t record(std::int64_t i) const;

 private:
  std::vector<std::uint64_t> words_;
  std::vector<std::int64_t> before_;  // kept records before each block of kBlock words, and in all
  std::int64_t records_;
};

/// Collects bits by index.
class KeepBitsBuilder {
 public:
  explicit KeepBitsBuilder(std::int64_t records)
      : words_(static_cast<std::size_t>((records + 63) / 64)), records_(records) {}
  void keep(std::int64_t record) {
    words_.at(static_cast<std::size_t>(record / 64)) |= std::uint64_t{1} << (record % 64);
  }
  KeepBits finish() && { return {std::move(words_), records_}; }

 private:
  std::vector<std::uint64_t> words_;
  std::int64_t records_;
};

/// Writes the keep-list of `source`, atomically. Throws StorageError.
void write_keep_list(const std::filesystem::path& path, const Corpus& source, const KeepBits& bits);

/// The records of `source` that the keep-list names, in their order. Throws ConfigError: the file is missing, no
/// keep-list, damaged, of another corpus (its fingerprint differs), or keeps nothing.
std::unique_ptr<Corpus> with_keep_list(std::unique_ptr<Corpus> source, const std::string& path);

}  // namespace triptych
