// The sidecar of a corpus with the noun phrases of its captions: written in blocks, so that an interrupted writer goes
// on, read at random by record.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/atomic_file.h"
#include "data/formats/input_file.h"
#include "data/text/characters.h"

namespace triptych {

/// Phrases of one caption, as bytes of the raw caption; `caption_bytes` and `caption_hash` say of which.
struct CaptionPhrases {
  std::uint32_t caption_bytes = 0, caption_hash = 0;
  std::vector<ByteSpan> spans;
};
/// By caption, in the order of Record::captions. Empty: no caption has phrases, because the record could not be read or
/// because an import had no line for it.
using RecordPhrases = std::vector<CaptionPhrases>;

/// Throws DataError when a span is empty, leaves the caption or cuts a character.
CaptionPhrases phrases_of_caption(std::string_view caption, std::vector<ByteSpan> spans);

/// What a file of phrases belongs to.
struct PhraseSource {
  std::uint64_t corpus = 0;  ///< of the captions: shards, caption keys
  std::uint64_t finder = 0;  ///< hash of the parser's version, or of an imported file
  std::int64_t records = 0;  ///< of the corpus
  bool operator==(const PhraseSource&) const = default;
};

/// Throws DataError when the file is missing, no file of phrases, or damaged in header or table.
class PhraseFile {
 public:
  explicit PhraseFile(const std::string& path);
  const PhraseSource& source() const { return source_; }
  /// Throws ConfigError unless the file was made for this corpus and this many records.
  void check_corpus(std::uint64_t corpus, std::int64_t records) const;
  /// Thread safe; two reads of the file. Throws DataError when the record's bytes are damaged.
  RecordPhrases read(std::int64_t record) const;
  /// The phrases of a caption of a record; none where the record is empty. Throws DataError also when `text` is not the
  /// caption they were found in.
  std::vector<ByteSpan> spans(std::int64_t record, std::size_t caption, std::string_view text) const;

 private:
  [[noreturn]] void fail(const std::string& what) const;
  InputFile file_;
  PhraseSource source_;
  std::vector<std::uint64_t> block_begins_;  ///< and the end of the last block
};

/// Whether `path` is a sound file of this source.
bool holds_source(const std::filesystem::path& path, const PhraseSource& source);

/// Writes `path` by way of `path`.part.
class PhraseWriter {
 public:
  static constexpr std::int64_t kBlockRecords = 64;
  /// What an earlier writer of the same source left in `path`.part: its blocks are kept, or dropped.
  enum class Left { kKeep, kDrop };
  /// What stands in `path` or `path`.part and is not of this source (another parser, an import, another corpus,
  /// damage).
  enum class Others { kRefuse, kReplace };
  /// Throws StorageError when the file cannot be written; ConfigError when another process writes it, or to spare
  /// `others`, which then stay as they are.
  PhraseWriter(std::filesystem::path path, const PhraseSource& source, Left left = Left::kKeep,
               Others others = Others::kRefuse);
  /// The record that is to come next: a multiple of kBlockRecords, or the end.
  std::int64_t next_record() const { return next_; }
  /// The next kBlockRecords records, fewer at the end of the corpus. Throws StorageError.
  void append(std::span<const RecordPhrases> block);
  /// After the last record: the table, onto the disk, renamed to `path`.
  void finish();
  /// Removes `path`.part: nobody can go on with it.
  void discard();

 private:
  void refuse_others() const;
  void recover(Left left);
  std::filesystem::path path_, part_;
  PhraseSource source_;
  FileHandle file_;
  std::vector<std::uint64_t> block_begins_;
  std::int64_t next_ = 0;
};

}  // namespace triptych
