// What a corpus holds: the numbers behind `triptych data stats` and `triptych data verify`.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/types/batch.h"
#include "data/corpus.h"
#include "data/data_config.h"

namespace triptych {

/// Smallest, largest and sum of a number over records; min > max when there was none.
struct Spread {
  std::int64_t min = INT64_MAX, max = INT64_MIN, sum = 0, count = 0;
  void add(std::int64_t value);
  void add(const Spread& other);
  double mean() const { return count == 0 ? 0 : static_cast<double>(sum) / static_cast<double>(count); }
};

struct CorpusReport {
  std::int64_t records = 0, usable = 0, unusable = 0;
  Spread image_bytes, captions, caption_bytes;  ///< of usable records; captions = how many a record has
  Spread width, height;                         ///< when pictures were decoded
  std::vector<std::int64_t> label_counts;       ///< by local class index; empty for image_text
  std::map<std::string, std::int64_t> reasons;  ///< why records are unusable: how many
  std::vector<BadRecord> bad;                   ///< the first of them by record; sample_id is the record
};

struct ReportRequest {
  std::int64_t first = 0, last = -1;  ///< records [first, last); last = -1: to the end
  bool decode = true;                 ///< pictures too; false: only what index, captions and labels tell
  DecodeConfig decoding;
  int workers = 1;
  std::int64_t most_bad = 20;  ///< entries of `bad`
};

/// Reads every record of the range once. The same report for any number of workers.
CorpusReport report_corpus(const Corpus& corpus, const ReportRequest& request);

/// The report of two ranges that stand behind one another, as when ranks share a corpus.
CorpusReport joined(const CorpusReport& front, const CorpusReport& back, std::int64_t most_bad);

/// One shard as the index knows it.
struct ShardFacts {
  std::string path;
  std::int64_t records = 0, bytes = 0;
};
/// By shard; an image folder is one entry (bytes 0: its files are not measured).
std::vector<ShardFacts> shard_facts(const Corpus& corpus);

}  // namespace triptych
