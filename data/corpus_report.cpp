// Ranges of records are reported by threads and joined in order.
#include "data/corpus_report.h"

#include <algorithm>
#include <filesystem>

#include "core/base/errors.h"
#include "data/formats/parallel_for.h"
#include "data/formats/record_error.h"
#include "data/image/decode.h"

namespace triptych {
namespace {

constexpr std::int64_t kPiece = 64, kWave = 64;  // records of a thread's piece, pieces between two joins
constexpr std::size_t kMostReasons = 200;        // told apart; a reason may hold a value of the record

void count_reason(const std::string& reason, std::int64_t count, CorpusReport& report) {
  const bool full = report.reasons.size() >= kMostReasons && !report.reasons.contains(reason);
  report.reasons[full ? "other reasons" : reason] += count;
}

void add_bad(CorpusReport& report, BadRecord bad, std::int64_t most_bad) {
  ++report.unusable;
  count_reason(bad.reason, 1, report);
  if (static_cast<std::int64_t>(report.bad.size()) < most_bad) report.bad.push_back(std::move(bad));
}

void add_record(const Corpus& corpus, std::int64_t index, const ReportRequest& request, CorpusReport& report) {
  ++report.records;
  try {
    const auto record = corpus.read(index);
    if (request.decode) {
      const auto image = decode_image(record.image, request.decoding);
      report.width.add(image.width);
      report.height.add(image.height);
    }
    ++report.usable;
    report.image_bytes.add(static_cast<std::int64_t>(record.image.size()));
    if (record.label >= 0) ++report.label_counts.at(static_cast<std::size_t>(record.label));
    if (record.captions.empty()) return;
    report.captions.add(static_cast<std::int64_t>(record.captions.size()));
    for (const auto& caption : record.captions) report.caption_bytes.add(static_cast<std::int64_t>(caption.size()));
  } catch (const RecordError& error) {
    const auto& place = error.place();
    add_bad(report, {index, index, corpus.config().name, place.shard, place.key, error.reason(), place.offset},
            request.most_bad);
  } catch (const DataError& error) {
    const auto place = corpus.place(index);
    add_bad(report, {index, index, corpus.config().name, place.shard, place.key, error.what(), place.offset},
            request.most_bad);
  }
}

}  // namespace

void Spread::add(std::int64_t value) {
  add({value, value, value, 1});
}

void Spread::add(const Spread& other) {
  min = std::min(min, other.min);
  max = std::max(max, other.max);
  sum += other.sum;
  count += other.count;
}

CorpusReport joined(const CorpusReport& front, const CorpusReport& back, std::int64_t most_bad) {
  auto all = front;
  all.records += back.records;
  all.usable += back.usable;
  all.unusable += back.unusable;
  all.image_bytes.add(back.image_bytes);
  all.captions.add(back.captions);
  all.caption_bytes.add(back.caption_bytes);
  all.width.add(back.width);
  all.height.add(back.height);
  all.label_counts.resize(std::max(all.label_counts.size(), back.label_counts.size()));
  for (std::size_t i = 0; i < back.label_counts.size(); ++i) all.label_counts[i] += back.label_counts[i];
  for (const auto& [reason, count] : back.reasons) count_reason(reason, count, all);
  for (const auto& bad : back.bad) {
    if (static_cast<std::int64_t>(all.bad.size()) < most_bad) all.bad.push_back(bad);
  }
  return all;
}

CorpusReport report_corpus(const Corpus& corpus, const ReportRequest& request) {
  const auto last = request.last < 0 ? corpus.size() : request.last;
  if (request.first < 0 || request.first > last || last > corpus.size()) {
    throw std::out_of_range("records of " + corpus.config().name);
  }
  CorpusReport empty;
  empty.label_counts.resize(corpus.class_names().size());
  auto all = empty;
  for (auto wave = request.first; wave < last;
       wave += kPiece * kWave) {  // so that memory does not grow with the corpus
    std::vector<CorpusReport> reports(static_cast<std::size_t>(kWave), empty);
    parallel_for(kWave, request.workers, [&](std::int64_t piece) {
      const auto begin = wave + piece * kPiece, end = std::min(begin + kPiece, last);
      for (auto i = begin; i < end; ++i) add_record(corpus, i, request, reports[static_cast<std::size_t>(piece)]);
    });
    for (const auto& report : reports) all = joined(all, report, request.most_bad);
  }
  return all;
}

std::vector<ShardFacts> shard_facts(const Corpus& corpus) {
  std::vector<ShardFacts> facts;
  for (const auto& span : corpus.shards()) {
    if (span.count == 0) continue;
    auto path = corpus.place(span.first).shard;
    if (facts.empty() || facts.back().path != path) {
      std::error_code ignored;
      const auto bytes =
          std::filesystem::is_regular_file(path, ignored) ? std::filesystem::file_size(path, ignored) : 0;
      facts.push_back({std::move(path), 0, static_cast<std::int64_t>(bytes)});
    }
    facts.back().records += span.count;
  }
  return facts;
}

}  // namespace triptych
