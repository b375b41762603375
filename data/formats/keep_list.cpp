// The size of the file is compared with what its header announces before anything is allocated.
#include "data/formats/keep_list.h"

#include <algorithm>
#include <bit>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "core/base/atomic_file.h"
#include "core/base/errors.h"
#include "core/base/hash.h"
#include "data/formats/input_file.h"
#include "data/formats/printable.h"

namespace triptych {
namespace {

static_assert(std::endian::native == std::endian::little, "words are stored as they stand in memory");
constexpr std::string_view kFirstLine = "triptych keep-list 1\n";
constexpr std::size_t kLongestHead = 64 << 10;  // both lines
constexpr std::size_t kBlock = 8;               // words between two stored counts
constexpr std::int64_t kWord = 64;

std::uint64_t hash_of(const std::vector<std::uint64_t>& words) {
  return xxh64(words.data(), words.size() * sizeof(words[0]));
}

struct Head {
  std::string corpus, fingerprint, hash;
  std::int64_t records = 0, kept = 0;
  std::size_t size = 0;  // of both lines
};

[[noreturn]] void fail(const std::string& path, const std::string& what) {
  throw ConfigError("keep_list: " + printable(path) + ": " + what);
}

Head read_head(const InputFile& file) {
  std::string text(std::min(kLongestHead, static_cast<std::size_t>(file.size())), '\0');
  text.resize(file.read_at(0, {reinterpret_cast<unsigned char*>(text.data()), text.size()}));
  if (!text.starts_with(kFirstLine)) {
    fail(file.path(), "is no keep-list: the first line must be '" + std::string(kFirstLine, 0, 20) + "'");
  }
  const auto end = text.find('\n', kFirstLine.size());
  const auto line = text.substr(kFirstLine.size(), end == std::string::npos ? end : end - kFirstLine.size());
  const auto json = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
  const auto is = [&](const char* key, auto test) { return json.is_object() && json.contains(key) && test(json[key]); };
  const auto text_at = [&](const char* key) { return is(key, [](const auto& v) { return v.is_string(); }); };
  const auto count_at = [&](const char* key) { return is(key, [](const auto& v) { return v.is_number_unsigned(); }); };
  if (end == std::string::npos || !text_at("corpus") || !text_at("fingerprint") || !text_at("hash") ||
      !count_at("records") || !count_at("kept")) {
    fail(file.path(), "line 2 must be an object with corpus, fingerprint, records, kept, hash; write it again");
  }
  return {json["corpus"], json["fingerprint"], json["hash"], json["records"], json["kept"], end + 1};
}

KeepBits read_bits(const InputFile& file, const Head& head) {
  const auto bytes = static_cast<std::uint64_t>(file.size()) - head.size;
  const auto records = static_cast<std::uint64_t>(head.records);
  const auto expected = (records / 64 + (records % 64 != 0)) * 8;
  if (bytes != expected) {
    fail(file.path(), "has " + std::to_string(bytes) + " bytes of bits, expected " + std::to_string(expected) +
                          " for " + std::to_string(head.records) + " records; it was cut or changed, write it again");
  }
  std::vector<std::uint64_t> words(bytes / 8);
  const auto got = file.read_at(static_cast<std::int64_t>(head.size),
                                {reinterpret_cast<unsigned char*>(words.data()), static_cast<std::size_t>(bytes)});
  if (got != bytes || hash_text(hash_of(words)) != head.hash) {
    fail(file.path(), "is damaged: its bits do not have the hash that line 2 names; write it again");
  }
  if (records % 64 != 0 && words.back() >> (records % 64) != 0) fail(file.path(), "keeps records beyond the last");
  KeepBits bits(std::move(words), head.records);
  if (bits.kept() != head.kept) fail(file.path(), "does not keep as many records as line 2 says; write it again");
  return bits;
}

/// The records of another corpus whose bits are set.
class KeptCorpus : public Corpus {
 public:
  KeptCorpus(std::unique_ptr<Corpus> source, KeepBits bits) : source_(std::move(source)), bits_(std::move(bits)) {
    for (const auto& span : source_->shards()) {
      const auto first = bits_.kept_before(span.first);
      const auto count = bits_.kept_before(span.first + span.count) - first;
      if (count > 0) spans_.push_back({first, count});
    }
    const auto source_fingerprint = source_->fingerprint(), kept = hash_of(bits_.words());
    fingerprint_ = Xxh64().add(&source_fingerprint, sizeof(source_fingerprint)).add(&kept, sizeof(kept)).value();
  }

  std::int64_t size() const override { return bits_.kept(); }
  const std::vector<ShardSpan>& shards() const override { return spans_; }
  Record read(std::int64_t index) const override { return source_->read(bits_.record(index)); }
  RecordPlace place(std::int64_t index) const override { return source_->place(bits_.record(index)); }
  const std::vector<std::vector<std::string>>& class_names() const override { return source_->class_names(); }
  const CorpusConfig& config() const override { return source_->config(); }
  std::uint64_t fingerprint() const override { return fingerprint_; }

 private:
  std::unique_ptr<Corpus> source_;
  KeepBits bits_;
  std::vector<ShardSpan> spans_;
  std::uint64_t fingerprint_ = 0;
};

}  // namespace

KeepBits::KeepBits(std::vector<std::uint64_t> words, std::int64_t records)
    : words_(std::move(words)), records_(records) {
  std::int64_t sum = 0;
  for (std::size_t i = 0; i < words_.size(); ++i) {
    if (i % kBlock == 0) before_.push_back(sum);
    sum += std::popcount(words_[i]);
  }
  before_.push_back(sum);
}

std::int64_t KeepBits::kept_before(std::int64_t end) const {
  const auto word = static_cast<std::size_t>(end / kWord), block = word / kBlock;
  if (word == words_.size()) return kept();
  auto count = before_[block];
  for (auto i = block * kBlock; i < word; ++i) count += std::popcount(words_[i]);
  return count + std::popcount(words_[word] & ((std::uint64_t{1} << (end % kWord)) - 1));
}

std::int64_t KeepBits::record(std::int64_t i) const {
  if (i < 0 || i >= kept()) throw std::out_of_range("kept record " + std::to_string(i));
  const auto block = std::upper_bound(before_.begin(), before_.end(), i) - before_.begin() - 1;
  auto left = i - before_[static_cast<std::size_t>(block)];
  auto word = static_cast<std::size_t>(block) * kBlock;
  while (left >= std::popcount(words_[word])) left -= std::popcount(words_[word++]);
  auto bits = words_[word];
  for (; left > 0; --left) bits &= bits - 1;  // drops the lowest set bit
  return static_cast<std::int64_t>(word) * kWord + std::countr_zero(bits);
}

void write_keep_list(const std::filesystem::path& path, const Corpus& source, const KeepBits& bits) {
  const nlohmann::ordered_json head = {{"corpus", source.config().name},
                                       {"fingerprint", hash_text(source.fingerprint())},
                                       {"records", bits.records()},
                                       {"kept", bits.kept()},
                                       {"hash", hash_text(hash_of(bits.words()))}};
  auto text = std::string(kFirstLine) + head.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  text.append(reinterpret_cast<const char*>(bits.words().data()), bits.words().size() * sizeof(std::uint64_t));
  write_file_atomically(path, text);
}

std::unique_ptr<Corpus> with_keep_list(std::unique_ptr<Corpus> source, const std::string& path) {
  try {
    const InputFile file(path);
    const auto head = read_head(file);
    const auto fingerprint = hash_text(source->fingerprint());
    if (head.fingerprint != fingerprint || head.records != source->size()) {
      fail(path, "was written for corpus '" + printable(head.corpus) + "' with fingerprint " +
                     printable(head.fingerprint) + " and " + std::to_string(head.records) +
                     " records, but this corpus has fingerprint " + fingerprint + " and " +
                     std::to_string(source->size()) +
                     " records: its files or its keys are others; run `triptych data filter` again");
    }
    auto bits = read_bits(file, head);
    if (bits.kept() == 0) fail(path, "keeps no record");
    return std::make_unique<KeptCorpus>(std::move(source), std::move(bits));
  } catch (const DataError& error) {
    throw ConfigError(std::string("keep_list: ") + error.what());
  }
}

}  // namespace triptych
