// A named source of records with random access by index. One implementation per format in data/formats.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "data/corpus_config.h"

namespace triptych {

/// Where a record lies, for messages and skipped.jsonl.
struct RecordPlace {
  std::string shard, key;
  std::int64_t offset = 0;  ///< of the first member, in bytes
};

/// One row or tar group, read but not decoded.
struct Record {
  RecordPlace place;
  std::vector<unsigned char> image;   ///< encoded bytes
  std::vector<std::string> captions;  ///< image_text: at least one, none empty
  std::int64_t label = -1;            ///< image_label: index into class_names()
};

class Corpus {
 public:
  virtual ~Corpus() = default;
  virtual std::int64_t size() const = 0;
  /// Shards in order, as [first record, count]: what a two-level shuffle walks.
  struct ShardSpan {
    std::int64_t first = 0, count = 0;
  };
  virtual const std::vector<ShardSpan>& shards() const = 0;
  /// Thread safe. Throws DataError (what, shard, key, offset) when the record cannot be used.
  virtual Record read(std::int64_t index) const = 0;
  /// Cheap: from the index only.
  virtual RecordPlace place(std::int64_t index) const = 0;
  /// image_label: names by local class index (a line of classes.txt, or a folder; several names of one class are
  /// separated by '|' hence the inner list). Empty for image_text.
  virtual const std::vector<std::vector<std::string>>& class_names() const = 0;
  virtual const CorpusConfig& config() const = 0;
  /// Changes with the records: names, sizes and index contents of the shards, whatever their times say. Of an image
  /// folder only the names count, because sizes would cost a question to the file system for every picture.
  virtual std::uint64_t fingerprint() const = 0;
};

/// Opens (and, where needed, indexes) what the configuration names. Throws ConfigError with the corpus's name when
/// nothing matches, a shard is no archive, an image_label corpus lacks class names, ...
std::unique_ptr<Corpus> open_corpus(const CorpusConfig& config);

}  // namespace triptych
