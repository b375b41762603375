// Where every row of one text shard begins: packed arrays, as they stand in the index file, read in place. 8 bytes a
// row.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/formats/index_file.h"
#include "data/formats/input_file.h"
#include "data/formats/row_scan.h"

namespace triptych {

/// The class that a row names, for corpora without a list of classes. Throws DataError when the row has none.
struct LabelOfRow {
  std::function<std::string(std::string_view row)> label;  ///< empty: labels are not collected
  std::uint64_t settings = 0;                              ///< of `label`: what an index file must have been made with
};

class RowIndex {
 public:
  /// Reads the whole shard once. Throws DataError: unreadable, more than kMostLabels different labels.
  static RowIndex build(const InputFile& shard, RowRule rule, const LabelOfRow& labels);
  /// The bytes of an index file, which `owner` keeps alive (8-byte aligned). Nothing when they are not an index of this
  /// version, damaged, of other settings, of a shard that was written at another time, or of another one than the one
  /// with this hash (of its ends).
  static std::optional<RowIndex> view(std::span<const unsigned char> bytes, std::shared_ptr<const void> owner,
                                      const InputFile& shard, std::uint64_t shard_hash, RowRule rule,
                                      const LabelOfRow& labels);

  std::int64_t size() const { return static_cast<std::int64_t>(begins_.size()) - 1; }
  std::int64_t begin(std::int64_t row) const {
    return static_cast<std::int64_t>(begins_[static_cast<std::size_t>(row)]);
  }
  /// Where the next row begins; of the last row its end.
  std::int64_t end(std::int64_t row) const { return begin(row + 1); }
  /// The line in which the row begins, from 1: known every 256 rows, counted in `shard` from there.
  std::int64_t line(const InputFile& shard, std::int64_t row) const;
  /// Different labels of all rows, sorted by bytes; empty when they were not collected.
  const std::vector<std::string>& labels() const { return labels_; }
  std::int64_t shard_size() const;
  /// Of every byte of the shard and of how it is read; the same for a copy.
  std::uint64_t fingerprint() const;
  std::span<const unsigned char> bytes() const { return bytes_; }

 private:
  std::shared_ptr<const void> owner_;
  std::span<const unsigned char> bytes_;
  std::span<const std::uint64_t> begins_, lines_;
  std::vector<std::string> labels_;
};

inline constexpr std::size_t kMostLabels = 1'000'000;

/// Maps the index file of a shard, builds and writes it otherwise.
Opened<RowIndex> open_row_index(const InputFile& shard, const std::string& index_dir, RowRule rule,
                                const LabelOfRow& labels = {});

/// The bytes of one row without its line end. Throws DataError: longer than `limit`, or the shard is not the one that
/// was indexed (shorter, another size, another row boundary).
std::string read_row(const InputFile& shard, const RowIndex& index, RowRule rule, std::int64_t row, std::int64_t limit);

}  // namespace triptych
