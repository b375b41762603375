// Blocks of records are worked on side by side and written in order.
#include "data/phrase_builder.h"

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "core/base/atomic_file.h"
#include "core/base/clock.h"
#include "core/base/errors.h"
#include "core/base/hash.h"
#include "core/base/json_lines.h"
#include "data/formats/parallel_for.h"
#include "data/formats/printable.h"
#include "data/formats/record_text.h"
#include "data/text/noun_phrases.h"

namespace triptych {
namespace {

constexpr std::int64_t kBlock = PhraseWriter::kBlockRecords;
constexpr std::int64_t kBlocksOfAWave = 4;  // a worker, between two writes
constexpr std::streamsize kLongestLine = 4 << 20;

void require_captions(const Corpus& corpus) {
  if (corpus.config().kind == "image_text") return;
  throw ConfigError("corpus " + printable(corpus.config().name) +
                    ": phrases are found in captions, but this corpus is " + corpus.config().kind +
                    "; choose one of kind image_text with --corpus");
}

/// Nothing: the record cannot be read.
std::optional<std::vector<std::string>> captions_of(const Corpus& corpus, std::int64_t index) {
  try {
    return corpus.read(index).captions;
  } catch (const DataError&) {
    return std::nullopt;
  }
}

struct Block {
  std::vector<RecordPhrases> records;
  PhraseCounts counts;
};

void add(const PhraseCounts& part, PhraseCounts& sum) {
  sum.records += part.records;
  sum.unusable += part.unusable;
  sum.captions += part.captions;
  sum.phrases += part.phrases;
}

Block find_block(const Corpus& corpus, const NounPhraseFinder& finder, std::int64_t first) {
  Block block;
  for (auto index = first; index < std::min(first + kBlock, corpus.size()); ++index) {
    const auto captions = captions_of(corpus, index);
    ++block.counts.records;
    block.counts.unusable += captions ? 0 : 1;
    auto& record = block.records.emplace_back();
    if (!captions) continue;
    for (const auto& caption : *captions) {
      record.push_back(phrases_of_caption(caption, finder.find(caption)));
      ++block.counts.captions;
      block.counts.phrases += static_cast<std::int64_t>(record.back().spans.size());
    }
  }
  return block;
}

/// Already says which line.
class ImportError : public DataError {
 public:
  using DataError::DataError;
};

/// The lines of an import, one record ahead.
class ImportLines {
 public:
  explicit ImportLines(const std::string& path) : path_(path), file_(path), buffer_(kLongestLine) {
    if (!file_) throw ConfigError("--import " + path + ": cannot be read");
    advance();
  }

  /// The phrases that the file has for this record; nothing when it has none. Asked in ascending order.
  RecordPhrases take(std::int64_t record, const std::vector<std::string>& captions) {
    if (!line_ || record_ != record) return {};
    RecordPhrases found;
    try {
      if (line_->contains("captions") && line_->at("captions").get<std::vector<std::string>>() != captions)
        fail("its captions are not those of the corpus");
      const auto& lists = line_->at("phrases");
      if (!lists.is_array() || lists.size() != captions.size())
        fail("got " + std::to_string(lists.size()) + " lists of phrases, expected one for each of " +
             std::to_string(captions.size()) + " captions");
      for (std::size_t i = 0; i < lists.size(); ++i) {
        std::vector<ByteSpan> spans;
        for (const auto& pair : lists[i]) spans.push_back({offset(pair.at(0)), offset(pair.at(1))});
        found.push_back(phrases_of_caption(captions[i], std::move(spans)));
      }
    } catch (const ImportError&) {
      throw;
    } catch (const nlohmann::json::exception& error) {
      fail(error.what());
    } catch (const DataError& error) {
      fail(error.what());
    }
    advance();
    return found;
  }

  void require_end(std::int64_t records) {
    if (line_) fail("record " + std::to_string(record_) + ", but the corpus has " + std::to_string(records));
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw ImportError(printable(path_) + ":" + std::to_string(number_) + ": " + what +
                      R"(; expected {"record": 0, "phrases": [[[begin, end], ...], ...]})");
  }

  std::uint32_t offset(const nlohmann::json& number) const {
    if (!number.is_number_unsigned() || number.get<std::uint64_t>() > UINT32_MAX)
      fail("got the offset " + (number.is_number() ? number.dump() : number.type_name()) +
           ", expected a count of bytes");
    return static_cast<std::uint32_t>(number.get<std::uint64_t>());
  }

  void advance() {
    const auto last = record_;
    line_.reset();
    const auto bytes = next_line();
    if (bytes == 0) return;
    try {
      line_ = parse_json({buffer_.data(), static_cast<std::size_t>(bytes)}, "the line");
      record_ = offset(line_->at("record"));
    } catch (const ImportError&) {
      throw;
    } catch (const nlohmann::json::exception& error) {
      fail(error.what());
    } catch (const DataError& error) {
      fail(error.what());
    }
    if (record_ <= last) fail("record " + std::to_string(record_) + " behind " + std::to_string(last) + ": sort them");
  }

  /// Bytes of the next line that is not empty, now in the buffer; 0 at the end of the file.
  std::streamsize next_line() {
    while (file_.getline(buffer_.data(), kLongestLine)) {
      ++number_;
      const auto bytes = file_.gcount() - (file_.eof() ? 0 : 1);
      if (bytes > 0) return bytes;
    }
    if (file_.eof()) return 0;
    ++number_;
    fail("a line of more than " + std::to_string(kLongestLine) + " bytes");
  }

  std::string path_;
  std::ifstream file_;
  std::vector<char> buffer_;
  std::optional<nlohmann::json> line_;
  std::int64_t record_ = -1, number_ = 0;
};

void append_lines(const Corpus& corpus, ImportLines& lines, PhraseWriter& writer, PhraseCounts& counts) {
  std::vector<RecordPhrases> block;
  for (std::int64_t index = 0; index < corpus.size(); ++index) {
    const auto captions = captions_of(corpus, index);
    counts.unusable += captions ? 0 : 1;
    block.push_back(lines.take(index, captions.value_or(std::vector<std::string>())));
    ++counts.records;
    counts.captions += static_cast<std::int64_t>(block.back().size());
    for (const auto& caption : block.back()) counts.phrases += static_cast<std::int64_t>(caption.spans.size());
    if (static_cast<std::int64_t>(block.size()) < kBlock && index + 1 < corpus.size()) continue;
    writer.append(block);
    block.clear();
  }
  lines.require_end(corpus.size());
}

/// Records that could not be read when the file was made: all others have a caption.
std::int64_t records_without_captions(const std::string& path) {
  const PhraseFile file(path);
  std::int64_t count = 0;
  for (std::int64_t record = 0; record < file.source().records; ++record) count += file.read(record).empty() ? 1 : 0;
  return count;
}

}  // namespace

std::uint64_t caption_fingerprint(const Corpus& corpus) {
  const auto shards = corpus.fingerprint();
  Xxh64 hash;
  hash.add(&shards, sizeof shards);
  for (const auto& key : corpus.config().captions_at()) hash.add(key + "\n");
  return hash.value();
}

PhraseCounts find_phrases(const Corpus& corpus, const std::string& path, int workers, const PhraseProgress& progress,
                          PhraseWriter::Others others) {
  require_captions(corpus);
  const NounPhraseFinder finder;
  const PhraseSource source{caption_fingerprint(corpus), xxh64(finder.version()), corpus.size()};
  PhraseCounts counts;
  // Who asks for a new one may know of damage inside that only reading finds.
  if (others == PhraseWriter::Others::kRefuse && holds_source(path, source)) {
    counts.kept = corpus.size();
    counts.unusable = records_without_captions(path);
    return counts;
  }
  PhraseWriter writer(path, source, PhraseWriter::Left::kKeep, others);
  counts.kept = writer.next_record();
  const auto start = Clock::now();
  while (writer.next_record() < corpus.size()) {
    const auto first = writer.next_record();
    const auto left = (corpus.size() - first + kBlock - 1) / kBlock;
    std::vector<Block> wave(static_cast<std::size_t>(std::min(left, kBlocksOfAWave * workers)));
    parallel_for(static_cast<std::int64_t>(wave.size()), workers, [&](std::int64_t i) {
      wave[static_cast<std::size_t>(i)] = find_block(corpus, finder, first + i * kBlock);
    });
    for (const auto& block : wave) {
      writer.append(block.records);
      add(block.counts, counts);
    }
    counts.seconds = seconds_since(start);
    if (progress) progress(counts, corpus.size());
  }
  writer.finish();
  return counts;
}

PhraseCounts export_captions(const Corpus& corpus, const std::string& json_lines) {
  require_captions(corpus);
  PhraseCounts counts;
  const auto start = Clock::now();
  const auto part = json_lines + ".part";
  JsonLines out(part);
  out.truncate_to(0);
  for (std::int64_t index = 0; index < corpus.size(); ++index) {
    const auto captions = captions_of(corpus, index);
    ++counts.records;
    counts.unusable += captions ? 0 : 1;
    if (!captions) continue;
    counts.captions += static_cast<std::int64_t>(captions->size());
    out.write({{"record", index}, {"captions", *captions}});
  }
  out.sync();
  rename_durably(part, json_lines);
  counts.seconds = seconds_since(start);
  return counts;
}

PhraseCounts import_phrases(const Corpus& corpus, const std::string& json_lines, const std::string& path,
                            PhraseWriter::Others others) {
  require_captions(corpus);
  PhraseCounts counts;
  const auto start = Clock::now();
  ImportLines lines(json_lines);
  // Anew each time: reading lines is quick.
  PhraseWriter writer(path, {caption_fingerprint(corpus), xxh64_of_file(json_lines), corpus.size()},
                      PhraseWriter::Left::kDrop, others);
  try {
    append_lines(corpus, lines, writer, counts);
  } catch (...) {
    writer.discard();  // lines that are put right are another source
    throw;
  }
  writer.finish();
  counts.seconds = seconds_since(start);
  return counts;
}

}  // namespace triptych
