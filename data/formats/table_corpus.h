// Rows of text files as records: what unicl_tsv, csv, json and zip_map share. A format says what a row means and where
// its picture is; everything else (index, places, labels, errors with their line) is here.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/hash.h"
#include "data/corpus.h"
#include "data/formats/input_file.h"
#include "data/formats/row_index.h"
#include "data/formats/row_scan.h"

namespace triptych {

/// What one row says.
struct TableRow {
  std::string picture;                ///< path, name in an archive, or id
  std::vector<std::string> captions;  ///< image_text: cleaned, at least one
  std::string label;                  ///< image_label: as it stands there
};

/// One kind of table. All members but add_shard() are thread safe; add_shard() is, for different shards.
class TableFormat {
 public:
  virtual ~TableFormat() = default;
  /// The text files whose rows are records.
  virtual const std::vector<std::string>& tables() const = 0;
  virtual RowRule rule() const = 0;
  /// Rows at the start of a file that are no records.
  virtual std::int64_t header_rows() const { return 0; }
  /// Called once before any row of the shard is parsed: reads a header, opens what belongs to the shard. Throws
  /// ConfigError or DataError.
  virtual void add_shard(std::size_t shard, const InputFile& file, IndexNotes& notes) = 0;
  /// Called with the index of a shard's table.
  virtual void table_opened(std::size_t, const RowIndex&) const {}
  /// Throws DataError with the column or key.
  virtual TableRow parse(std::size_t shard, std::string_view row) const = 0;
  /// The encoded picture of a row. Throws DataError.
  virtual std::vector<unsigned char> picture(std::size_t shard, std::int64_t row, const TableRow& fields) const = 0;
  /// Records of the shard beyond the rows of its table, all of them bad: what belongs to it is longer.
  virtual std::int64_t rows_without_text(std::size_t, std::int64_t) const { return 0; }
  /// Adds what the rows mean: keys, files that belong to a shard.
  virtual void add_to_fingerprint(Xxh64& hash) const = 0;
};

/// Opens and indexes all tables. Throws ConfigError, DataError.
std::unique_ptr<Corpus> make_table_corpus(const CorpusConfig& config, std::unique_ptr<TableFormat> format);

inline constexpr std::int64_t kLargestPicture = 256 << 20;  ///< bytes of an encoded picture

}  // namespace triptych
