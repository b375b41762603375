// Layout, little endian:
//   header     FileHeader
//   blocks     of 64 records: u32 size of the rest but the hash; u32 offsets of the records and their end, from the
//              first record on; records; u64 xxh64 of all of it
//   table      u64 begin of each block and the end of the last
//   trailer    u64 xxh64 of the table, kEnd
// A record: u32 hash of the rest, u32 captions; per caption u32 bytes, hash, spans, and per span u32 begin, end.
#include "data/text/phrase_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <optional>

#include "core/base/errors.h"
#include "core/base/hash.h"
#include "data/formats/printable.h"

namespace triptych {
namespace {

static_assert(std::endian::native == std::endian::little, "files of phrases are little endian");

constexpr char kMagic[8] = {'T', 'R', 'I', 'P', 'H', 'R', 'A', 'S'};
constexpr std::uint64_t kEnd = 0x53455341524850ULL;
constexpr std::uint32_t kVersion = 1;
constexpr std::int64_t kBlock = PhraseWriter::kBlockRecords;

struct FileHeader {
  char magic[8];
  std::uint32_t version, block_records;
  std::uint64_t corpus, finder, records;
  std::uint64_t checksum;  ///< xxh64 of what stands before it
};
static_assert(sizeof(FileHeader) == 48);

FileHeader header_of(const PhraseSource& source) {
  FileHeader header{};
  std::memcpy(header.magic, kMagic, sizeof(kMagic));
  header.version = kVersion;
  header.block_records = static_cast<std::uint32_t>(kBlock);
  header.corpus = source.corpus;
  header.finder = source.finder;
  header.records = static_cast<std::uint64_t>(source.records);
  header.checksum = xxh64(&header, offsetof(FileHeader, checksum));
  return header;
}

std::uint32_t hash32(std::string_view bytes) {
  return static_cast<std::uint32_t>(xxh64(bytes));
}

template <class T>
void put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

/// Takes numbers off the front of bytes that may be anything.
class Taker {
 public:
  explicit Taker(std::string_view bytes) : rest_(bytes) {}
  std::optional<std::uint32_t> number() {
    if (rest_.size() < sizeof(std::uint32_t)) return std::nullopt;
    std::uint32_t value = 0;
    std::memcpy(&value, rest_.data(), sizeof value);
    rest_.remove_prefix(sizeof value);
    return value;
  }
  std::string_view rest() const { return rest_; }

 private:
  std::string_view rest_;
};

std::string encode(const RecordPhrases& record) {
  std::string body;
  put(body, static_cast<std::uint32_t>(record.size()));
  for (const auto& caption : record) {
    put(body, caption.caption_bytes);
    put(body, caption.caption_hash);
    put(body, static_cast<std::uint32_t>(caption.spans.size()));
    for (const auto& span : caption.spans) put(body, span.begin), put(body, span.end);
  }
  std::string out;
  put(out, hash32(body));
  return out += body;
}

// Nothing: the bytes are no record.
std::optional<RecordPhrases> decode(std::string_view bytes) {
  Taker taker(bytes);
  const auto hash = taker.number();
  if (!hash || hash32(taker.rest()) != *hash) return std::nullopt;
  const auto captions = taker.number();
  if (!captions) return std::nullopt;
  RecordPhrases record;
  for (std::uint32_t c = 0; c < *captions; ++c) {
    const auto size = taker.number(), text = taker.number(), count = taker.number();
    if (!count || *count > taker.rest().size() / sizeof(ByteSpan)) return std::nullopt;
    CaptionPhrases caption{*size, *text, {}};
    for (std::uint32_t i = 0; i < *count; ++i) {
      const ByteSpan span{*taker.number(), *taker.number()};
      if (span.begin >= span.end || span.end > *size) return std::nullopt;
      caption.spans.push_back(span);
    }
    record.push_back(std::move(caption));
  }
  return record;
}

std::string encode_block(std::span<const RecordPhrases> records) {
  std::string offsets, bodies;
  for (const auto& record : records) {
    put(offsets, static_cast<std::uint32_t>(bodies.size()));
    bodies += encode(record);
  }
  put(offsets, static_cast<std::uint32_t>(bodies.size()));
  std::string block;
  put(block, static_cast<std::uint32_t>(offsets.size() + bodies.size()));
  block += offsets + bodies;
  put(block, xxh64(block));
  return block;
}

std::int64_t block_count(std::int64_t records) {
  return (records + kBlock - 1) / kBlock;
}

std::string read_bytes(const InputFile& file, std::uint64_t offset, std::uint64_t size) {
  std::string bytes(size, '\0');
  bytes.resize(file.read_at(static_cast<std::int64_t>(offset), {reinterpret_cast<unsigned char*>(bytes.data()), size}));
  return bytes;
}

/// The bytes of a header, fewer where the file has fewer.
std::string head_of(const InputFile& file) {
  return read_bytes(file, 0, std::min<std::uint64_t>(sizeof(FileHeader), static_cast<std::uint64_t>(file.size())));
}

// The end of the block at `begin`, or nothing when it is not whole.
std::optional<std::uint64_t> end_of_block(const InputFile& file, std::uint64_t begin) {
  const auto size = static_cast<std::uint64_t>(file.size());
  const auto head = read_bytes(file, begin, std::min<std::uint64_t>(sizeof(std::uint32_t), size - begin));
  const auto inner = Taker(head).number();
  if (!inner) return std::nullopt;
  const auto hashed = sizeof(std::uint32_t) + std::uint64_t{*inner}, whole = hashed + sizeof(std::uint64_t);
  if (whole > size - begin) return std::nullopt;
  const auto block = read_bytes(file, begin, whole);
  std::uint64_t hash = 0;
  if (block.size() != whole) return std::nullopt;
  std::memcpy(&hash, block.data() + hashed, sizeof hash);
  if (hash != xxh64(std::string_view(block).substr(0, hashed))) return std::nullopt;
  return begin + whole;
}

}  // namespace

CaptionPhrases phrases_of_caption(std::string_view caption, std::vector<ByteSpan> spans) {
  const auto between_characters = [&](std::uint32_t at) {
    return at == caption.size() || (static_cast<unsigned char>(caption[at]) & 0xc0) != 0x80;
  };
  for (const auto& span : spans) {
    const bool inside = span.begin < span.end && span.end <= caption.size();
    if (!inside || !between_characters(span.begin) || !between_characters(span.end))
      throw DataError("the span [" + std::to_string(span.begin) + ", " + std::to_string(span.end) +
                      "] is no part of the caption '" + printable(caption) + "' of " + std::to_string(caption.size()) +
                      " bytes; expected begin < end <= bytes, both between characters of UTF-8");
  }
  return {static_cast<std::uint32_t>(caption.size()), hash32(caption), std::move(spans)};
}

bool holds_source(const std::filesystem::path& path, const PhraseSource& source) {
  try {
    return std::filesystem::exists(path) && PhraseFile(path.string()).source() == source;
  } catch (const DataError&) {
    return false;
  }
}

PhraseFile::PhraseFile(const std::string& path) : file_(path) {
  const auto size = static_cast<std::uint64_t>(file_.size());
  const auto head = head_of(file_);
  FileHeader header{};
  if (head.size() == sizeof(header)) std::memcpy(&header, head.data(), sizeof(header));
  if (std::memcmp(header.magic, kMagic, sizeof(kMagic)) != 0) fail("no file of phrases");
  if (header.version != kVersion) fail("of version " + std::to_string(header.version) + ", known: 1");
  if (header.checksum != xxh64(&header, offsetof(FileHeader, checksum)) || header.block_records != kBlock)
    fail("its header is damaged");
  source_ = {header.corpus, header.finder, static_cast<std::int64_t>(header.records)};
  constexpr std::uint64_t kTrailer = 2 * sizeof(std::uint64_t);
  // Each block is longer than its entry in the table, so a count that the file's size allows can be trusted with
  // memory.
  if (source_.records < 0 || header.records / kBlock > size / sizeof(std::uint64_t)) fail("its header is damaged");
  const auto entries = static_cast<std::uint64_t>(block_count(source_.records)) + 1;
  const auto table_bytes = entries * sizeof(std::uint64_t);
  if (size < sizeof(header) + table_bytes + kTrailer) fail("it is cut");
  const auto table_begin = size - kTrailer - table_bytes;
  const auto table = read_bytes(file_, table_begin, table_bytes + kTrailer);
  if (table.size() != table_bytes + kTrailer) fail("it is cut");
  std::uint64_t trailer[2];
  std::memcpy(trailer, table.data() + table_bytes, sizeof trailer);
  if (trailer[1] != kEnd || trailer[0] != xxh64(std::string_view(table).substr(0, table_bytes)))
    fail("its table is cut or damaged");
  block_begins_.resize(entries);
  std::memcpy(block_begins_.data(), table.data(), table_bytes);
  if (!std::is_sorted(block_begins_.begin(), block_begins_.end()) || block_begins_.back() > table_begin)
    fail("its table is cut or damaged");
}

void PhraseFile::fail(const std::string& what) const {
  throw DataError("phrases " + printable(file_.path()) + ": " + what +
                  "; make it again with `triptych data phrases CONFIG --overwrite`");
}

void PhraseFile::check_corpus(std::uint64_t corpus, std::int64_t records) const {
  if (source_.corpus == corpus && source_.records == records) return;
  throw ConfigError("phrases " + printable(file_.path()) + ": made for another corpus or other caption keys (" +
                    std::to_string(source_.records) + " records, fingerprint " + hash_text(source_.corpus) +
                    "), expected " + std::to_string(records) + " records, fingerprint " + hash_text(corpus) +
                    "; make it again with `triptych data phrases CONFIG --overwrite`");
}

RecordPhrases PhraseFile::read(std::int64_t record) const {
  if (record < 0 || record >= source_.records) throw std::out_of_range("record " + std::to_string(record));
  const auto block = static_cast<std::size_t>(record / kBlock);
  const auto place = static_cast<std::uint64_t>(record % kBlock);
  const auto count = static_cast<std::uint64_t>(std::min(kBlock, source_.records - record / kBlock * kBlock));
  const auto offsets_begin = block_begins_[block] + sizeof(std::uint32_t);
  const auto bodies_begin = offsets_begin + (count + 1) * sizeof(std::uint32_t);
  const auto pair = read_bytes(file_, offsets_begin + place * sizeof(std::uint32_t), 2 * sizeof(std::uint32_t));
  Taker taker(pair);
  const auto begin = taker.number(), end = taker.number();
  const bool sound = end && *begin <= *end && bodies_begin + *end <= block_begins_[block + 1];
  auto found = sound ? decode(read_bytes(file_, bodies_begin + *begin, *end - *begin)) : std::nullopt;
  if (!found) fail("record " + std::to_string(record) + " is damaged");
  return std::move(*found);
}

std::vector<ByteSpan> PhraseFile::spans(std::int64_t record, std::size_t caption, std::string_view text) const {
  auto captions = read(record);
  if (captions.empty()) return {};
  const bool same = caption < captions.size() && captions[caption].caption_bytes == text.size() &&
                    captions[caption].caption_hash == hash32(text);
  if (!same)
    fail("record " + std::to_string(record) + ", caption " + std::to_string(caption) +
         ": its phrases are not of the caption '" + printable(text) + "'");
  return std::move(captions[caption].spans);
}

PhraseWriter::PhraseWriter(std::filesystem::path path, const PhraseSource& source, Left left, Others others)
    : path_(std::move(path)), part_(path_), source_(source) {
  part_ += ".part";
  file_ = FileHandle(::open(part_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666));
  if (file_.get() < 0) throw storage_error("cannot write", part_, errno);
  if (flock(file_.get(), LOCK_EX | LOCK_NB) != 0)
    throw ConfigError("phrases " + part_.string() + ": another process is writing it; wait for its end");
  if (others == Others::kRefuse) refuse_others();
  recover(left);
}

void PhraseWriter::refuse_others() const {
  constexpr const char* kRemedy = "; name another file in `phrases`, or give --overwrite to replace it";
  if (std::filesystem::exists(path_) && !holds_source(path_, source_))
    throw ConfigError("phrases " + printable(path_.string()) +
                      ": there already, and not of this corpus by this parser or import (or damaged)" + kRemedy);
  // Less than a header is what a writer leaves that is killed at once.
  const auto head = head_of(InputFile(part_.string()));
  const auto header = header_of(source_);
  if (head.size() == sizeof(header) && std::memcmp(head.data(), &header, sizeof(header)) != 0)
    throw ConfigError("phrases " + printable(part_.string()) +
                      ": the unfinished work of another parser, import or corpus" + kRemedy);
}

void PhraseWriter::recover(Left left) {
  const InputFile part(part_.string());
  const auto header = header_of(source_);
  const auto head = head_of(part);
  const bool same = head.size() == sizeof(header) && std::memcmp(head.data(), &header, sizeof(header)) == 0;
  block_begins_ = {sizeof(header)};
  while (same && left == Left::kKeep && next_ < source_.records) {
    const auto end = end_of_block(part, block_begins_.back());
    if (!end) break;
    block_begins_.push_back(*end);
    next_ = std::min(next_ + kBlock, source_.records);
  }
  // What stands behind the last whole block, or belongs to another source, goes away.
  const auto keep = next_ > 0 ? block_begins_.back() : 0;
  const bool cut = ::ftruncate(file_.get(), static_cast<off_t>(keep)) == 0 && ::lseek(file_.get(), 0, SEEK_END) >= 0;
  if (!cut) throw storage_error("cannot write", part_, errno);
  if (keep == 0) write_fully(file_.get(), &header, sizeof(header), part_);
}

void PhraseWriter::append(std::span<const RecordPhrases> block) {
  const auto expected = std::min(kBlock, source_.records - next_);
  if (static_cast<std::int64_t>(block.size()) != expected)
    throw std::invalid_argument("PhraseWriter: a block of " + std::to_string(block.size()) + " records, expected " +
                                std::to_string(expected));
  const auto bytes = encode_block(block);
  write_fully(file_.get(), bytes.data(), bytes.size(), part_);
  block_begins_.push_back(block_begins_.back() + bytes.size());
  next_ += expected;
}

void PhraseWriter::discard() {
  std::error_code ignored;
  std::filesystem::remove(part_, ignored);
}

void PhraseWriter::finish() {
  if (next_ != source_.records) throw std::logic_error("PhraseWriter: finished before the last record");
  std::string table;
  for (const auto begin : block_begins_) put(table, begin);
  put(table, xxh64(table));
  put(table, kEnd);
  write_fully(file_.get(), table.data(), table.size(), part_);
  if (!file_.close()) throw storage_error("cannot write", part_, errno);
  sync_file(part_);
  rename_durably(part_, path_);
}

}  // namespace triptych
