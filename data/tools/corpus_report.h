// What a corpus holds: the numbers behind `triptych data stats` and `triptych data verify`.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "data/corpus.h"
#include "data/data_config.h"
#include "data/tools/histogram.h"

namespace triptych {

/// A record that cannot be used, and why.
struct UnusableRecord {
  std::int64_t record = 0;
  RecordPlace place;
  std::string reason;
};

struct CorpusReport {
  std::int64_t records = 0, usable = 0;
  Histogram image_bytes;                        ///< encoded; of usable records, as all that follow
  Histogram captions;                           ///< how many a record has
  Histogram caption_bytes, caption_words;       ///< of every caption; words: see words_of
  Histogram width, height;                      ///< pixels
  std::vector<std::int64_t> label_counts;       ///< by local class index; empty for image_text
  std::map<std::string, std::int64_t> reasons;  ///< why records are unusable: how many; at most 200 told apart
  std::vector<UnusableRecord> unusable;         ///< all of them, by record
  /// xxh64 of each usable record's encoded bytes, in the order of the records: equal ones are duplicates.
  std::vector<std::uint64_t> image_hashes;
  std::vector<std::int64_t> hashed_records;  ///< the record of each hash
};

struct ReportRequest {
  std::int64_t first = 0, last = -1;  ///< records [first, last); last = -1: to the end
  bool hashes = false;                ///< fill image_hashes: 16 bytes a record
  DecodeConfig decoding = {};
  int threads = 1;
  std::function<void(std::int64_t done)> progress = {};  ///< called between waves of records; may be empty
};

/// Reads and decodes every record of the range once. The same report for any number of threads.
CorpusReport report_corpus(const Corpus& corpus, const ReportRequest& request);

/// Appends the report of the range that stands behind the one of `front`.
void append(CorpusReport& front, CorpusReport&& back);

/// Records whose encoded pictures are byte for byte equal (by 64-bit hash).
struct Duplicates {
  std::int64_t records = 0;                       ///< beyond the first of each group
  std::int64_t groups = 0;                        ///< of two or more records
  std::vector<std::vector<std::int64_t>> listed;  ///< the first `most_listed` groups, each at most 10 records
};
Duplicates find_duplicates(const CorpusReport& report, std::size_t most_listed);

}  // namespace triptych
