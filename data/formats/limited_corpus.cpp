// Indices are mapped, nothing is copied.
#include "data/formats/limited_corpus.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <utility>

#include "core/base/hash.h"
#include "core/base/log.h"
#include "data/formats/printable.h"

namespace triptych {
namespace {

class LimitedCorpus : public Corpus {
 public:
  LimitedCorpus(std::unique_ptr<Corpus> whole, std::int64_t size) : whole_(std::move(whole)), size_(size) {
    for (const auto& span : whole_->shards()) {
      const auto first = first_at(span.first);
      spans_.push_back({first, first_at(span.first + span.count) - first});
    }
  }

  std::int64_t size() const override { return size_; }
  const std::vector<ShardSpan>& shards() const override { return spans_; }
  Record read(std::int64_t index) const override { return whole_->read(in_whole(index)); }
  RecordPlace place(std::int64_t index) const override { return whole_->place(in_whole(index)); }
  const std::vector<std::vector<std::string>>& class_names() const override { return whole_->class_names(); }
  const CorpusConfig& config() const override { return whole_->config(); }
  std::uint64_t fingerprint() const override {
    const auto part = whole_->fingerprint();
    return Xxh64().add(&part, sizeof(part)).add(&size_, sizeof(size_)).value();
  }

 private:
  __extension__ using Wide = __int128;

  std::int64_t in_whole(std::int64_t index) const {
    if (index < 0 || index >= size_) {
      throw std::out_of_range("record " + std::to_string(index) + " of " + config().name);
    }
    return static_cast<std::int64_t>(static_cast<Wide>(index) * whole_->size() / size_);
  }
  /// The first record of ours that is not before record `index` of the whole: the smallest k with floor(k N / n) >=
  /// index.
  std::int64_t first_at(std::int64_t index) const {
    return static_cast<std::int64_t>((static_cast<Wide>(index) * size_ + whole_->size() - 1) / whole_->size());
  }

  std::unique_ptr<Corpus> whole_;
  std::int64_t size_;
  std::vector<ShardSpan> spans_;
};

}  // namespace

std::int64_t limited_size(double limit, std::int64_t whole) {
  const auto all = static_cast<double>(whole);
  // 0.29 * 100 is a little below 29.
  const auto wanted = limit < 1 ? std::max(std::floor(limit * all + 1e-9), 1.0) : limit;
  return limit == 0 || wanted >= all ? whole : static_cast<std::int64_t>(wanted);
}

std::unique_ptr<Corpus> limit_records(std::unique_ptr<Corpus> corpus) {
  const auto limit = corpus->config().max_records;
  const auto wanted = limited_size(limit, corpus->size());
  if (wanted >= corpus->size()) return corpus;
  if (limit == 1) {  // the reader gives 1.0 as 1
    log_warning("corpus " + printable(corpus->config().name) +
                ": max_records: 1 is one record; leave the key out to use all of them");
  }
  return std::make_unique<LimitedCorpus>(std::move(corpus), wanted);
}

}  // namespace triptych
