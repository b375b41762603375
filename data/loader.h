// From positions to batches: threads read, decode, augment and tokenise ahead; the order never depends on them.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "core/base/errors.h"
#include "core/types/batch.h"
#include "data/corpus.h"
#include "data/data_config.h"
#include "data/schedule.h"
#include "data/text/tokenizer.h"

namespace triptych {

/// All corpora of a run, opened, with one label table: class names that are equal after normalisation share an id,
/// unless data.labels is "separate".
class CorpusSet {
 public:
  explicit CorpusSet(const DataConfig& config);
  ~CorpusSet();
  const std::vector<std::unique_ptr<Corpus>>& corpora() const;
  /// Names by global concept id; the first is the one shown, the others are drawn as synonyms.
  const std::vector<std::vector<std::string>>& class_names() const;
  std::int64_t global_label(int corpus, std::int64_t local_label) const;
  /// The label table as JSON, one class a line: id, names, and the class's index in each corpus that has it.
  std::string class_table() const;
  std::int64_t size() const;  ///< records of all corpora
  /// E, texts a picture, label count, names, pixel statistics for this configuration.
  CorpusFacts facts(std::int64_t global_batch) const;
  std::uint64_t fingerprint() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// The order of a run's samples. Throws ConfigError as SampleSchedule does, and where lanes do not divide the batch.
SampleSchedule make_schedule(const CorpusSet& corpora, const DataConfig& config, std::uint64_t seed,
                             std::int64_t global_batch);

struct LoaderPart {
  int rank = 0, size = 1;
  std::int64_t local_batch = 1;  ///< rows of this rank in a step; the global batch is size * local_batch
  std::int64_t micro_batch = 1;  ///< divides local_batch
};

/// Numbers of the last step, for the log.
struct LoaderTimes {
  double wait_s = 0;  ///< how long next() blocked
};

/// Seconds of all worker threads together since the loader was made, by stage.
struct StageTimes {
  double read_s = 0, decode_s = 0, resize_s = 0, color_s = 0, text_s = 0;
  std::int64_t bytes = 0;    ///< encoded pictures
  std::int64_t rows = 0;     ///< rows made, those ahead of next() included
  std::int64_t reduced = 0;  ///< pictures that were decoded at less than their size
};

/// None of the records tried for a row can be used; `met` lists them.
class NoUsableRecord : public DataError {
 public:
  NoUsableRecord(const std::string& what, std::vector<BadRecord> met) : DataError(what), met_(std::move(met)) {}
  const std::vector<BadRecord>& met() const { return met_; }

 private:
  std::vector<BadRecord> met_;
};

class Loader {
 public:
  /// `corpora` must outlive the loader. Work starts with the first seek() or next(). Throws ConfigError when an
  /// image_text corpus meets a spec that needs labels, when rows are to be mixed and a corpus has no labels, the spec
  /// takes no mixed ones or a micro-batch is one row, when shuffle.lanes does not divide the global batch, when the
  /// tokenizer's files are missing.
  Loader(const CorpusSet& corpora, const DataConfig& config, const BatchSpec& spec, std::uint64_t seed,
         LoaderPart part);
  ~Loader();
  /// The rows [position + rank*local_batch, + local_batch) of the global batch that starts at `position`, in
  /// micro-batches. Sequential calls advance by one global batch. Throws what a worker thread threw, NoUsableRecord
  /// among it.
  std::vector<Batch> next();
  /// Makes `position` (of the global batch) the next one and starts work there. O(1); what was ahead is thrown away.
  void seek(std::int64_t position);
  LoaderTimes times() const;
  StageTimes stage_times() const;
  const SampleSchedule& schedule() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Throws ConfigError when held-out pictures of `image_size` cannot be cut from what decode.test_short_side makes.
void check_test_size(const DecodeConfig& decode, std::int64_t image_size);

/// How held-out pictures are prepared: decoded whole, then by decode.test_resize with antialiased bicubic.
/// Reads records [first, last) of one corpus in order, for evaluation: labels are LOCAL class indices, unusable records
/// are left out and counted, nothing is drawn: a row has all captions of its record.
struct EvalRows {
  at::Tensor images;                               ///< uint8 [n, h, w, 3]
  at::Tensor labels;                               ///< int64 [n], kNoLabel without classes
  at::Tensor records;                              ///< int64 [n], record index
  std::vector<std::vector<std::string>> captions;  ///< per row
  at::Tensor sizes;                                ///< int64 [n, 2], width and height of the decoded pictures
  std::int64_t unusable = 0;
};
EvalRows read_eval_rows(const Corpus& corpus, std::int64_t first, std::int64_t last, std::int64_t image_size,
                        const DecodeConfig& decode, int workers);

}  // namespace triptych
