// Files of phrases for whole corpora: found by the parser on all cores, or taken from a user's own parser.
#pragma once
#include <functional>
#include <string>

#include "data/corpus.h"
#include "data/text/phrase_file.h"

namespace triptych {

/// What a file of phrases has to fit: shards and the keys that captions are read from.
std::uint64_t caption_fingerprint(const Corpus& corpus);

struct PhraseCounts {
  std::int64_t records = 0;   ///< done by this call
  std::int64_t kept = 0;      ///< done by an earlier one that was interrupted
  std::int64_t unusable = 0;  ///< of `records`: they have no phrases
  std::int64_t captions = 0, phrases = 0;
  double seconds = 0;
  double captions_per_s() const { return seconds > 0 ? static_cast<double>(captions) / seconds : 0; }
};
/// Told after every piece of work.
using PhraseProgress = std::function<void(const PhraseCounts& so_far, std::int64_t records_of_corpus)>;

/// Parses all captions of an image_text corpus on `workers` threads and writes `path`. Goes on where an interrupted
/// call stopped; the file is the same. A finished one is left alone. Throws ConfigError (no captions, no dictionary,
/// another writer, `others` in the way), StorageError.
PhraseCounts find_phrases(const Corpus& corpus, const std::string& path, int workers, const PhraseProgress& progress,
                          PhraseWriter::Others others = PhraseWriter::Others::kRefuse);

/// Writes one JSON object a record: {"record": 0, "captions": ["..."]}; records that cannot be read are left out. The
/// file is there when it is whole.
PhraseCounts export_captions(const Corpus& corpus, const std::string& json_lines);

/// Reads {"record": 0, "phrases": [[[begin, end], ...], ...]} a line, records ascending, one list of spans a caption,
/// bytes of the raw caption; "captions", where it stands, must equal the corpus. Records without a line have no
/// phrases. Throws DataError naming the line, ConfigError when `others` are in the way.
PhraseCounts import_phrases(const Corpus& corpus, const std::string& json_lines, const std::string& path,
                            PhraseWriter::Others others = PhraseWriter::Others::kRefuse);

}  // namespace triptych
