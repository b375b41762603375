// Pieces of records are reported by threads and joined in order.
#include "data/tools/corpus_report.h"

#include <algorithm>
#include <numeric>
#include <stdexcept>

#include "core/base/errors.h"
#include "core/base/hash.h"
#include "data/formats/parallel_for.h"
#include "data/formats/record_error.h"
#include "data/image/decode.h"
#include "data/tools/words.h"

namespace triptych {
namespace {

constexpr std::int64_t kReportPiece = 64, kReportWave = 64;  // records of a thread's piece, pieces between two joins
constexpr std::size_t kMostReasons = 200;                    // told apart; a reason may hold a value of the record
constexpr std::size_t kMostOfGroup = 10;

void count_reason(const std::string& reason, std::int64_t count, CorpusReport& report) {
  const bool full = report.reasons.size() >= kMostReasons && !report.reasons.contains(reason);
  report.reasons[full ? "other reasons" : reason] += count;
}

void add_unusable(CorpusReport& report, std::int64_t index, const RecordPlace& place, const std::string& reason) {
  count_reason(reason, 1, report);
  report.unusable.push_back({index, place, reason});
}

void add_record(const Corpus& corpus, std::int64_t index, const ReportRequest& request, CorpusReport& report) {
  ++report.records;
  try {
    const auto record = corpus.read(index);
    const auto image = decode_image(record.image, request.decoding);
    ++report.usable;
    report.width.add(image.width);
    report.height.add(image.height);
    report.image_bytes.add(static_cast<std::int64_t>(record.image.size()));
    if (request.hashes) {
      report.image_hashes.push_back(xxh64(record.image.data(), record.image.size()));
      report.hashed_records.push_back(index);
    }
    if (record.label >= 0) ++report.label_counts.at(static_cast<std::size_t>(record.label));
    if (record.captions.empty()) return;
    report.captions.add(static_cast<std::int64_t>(record.captions.size()));
    for (const auto& caption : record.captions) {
      report.caption_bytes.add(static_cast<std::int64_t>(caption.size()));
      report.caption_words.add(static_cast<std::int64_t>(words_of(caption).size()));
    }
  } catch (const RecordError& error) {
    add_unusable(report, index, error.place(), error.reason());
  } catch (const DataError& error) {
    add_unusable(report, index, corpus.place(index), error.what());
  }
}

}  // namespace

void append(CorpusReport& front, CorpusReport&& back) {
  front.records += back.records;
  front.usable += back.usable;
  front.image_bytes.add(back.image_bytes);
  front.captions.add(back.captions);
  front.caption_bytes.add(back.caption_bytes);
  front.caption_words.add(back.caption_words);
  front.width.add(back.width);
  front.height.add(back.height);
  front.label_counts.resize(std::max(front.label_counts.size(), back.label_counts.size()));
  for (std::size_t i = 0; i < back.label_counts.size(); ++i) front.label_counts[i] += back.label_counts[i];
  for (const auto& [reason, count] : back.reasons) count_reason(reason, count, front);
  std::move(back.unusable.begin(), back.unusable.end(), std::back_inserter(front.unusable));
  front.image_hashes.insert(front.image_hashes.end(), back.image_hashes.begin(), back.image_hashes.end());
  front.hashed_records.insert(front.hashed_records.end(), back.hashed_records.begin(), back.hashed_records.end());
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
       wave += kReportPiece * kReportWave) {  // so that memory is that of one wave
    const auto pieces = std::min(kReportWave, (last - wave + kReportPiece - 1) / kReportPiece);
    std::vector<CorpusReport> reports(static_cast<std::size_t>(pieces), empty);
    parallel_for(pieces, request.threads, [&](std::int64_t piece) {
      const auto begin = wave + piece * kReportPiece, end = std::min(begin + kReportPiece, last);
      for (auto i = begin; i < end; ++i) add_record(corpus, i, request, reports[static_cast<std::size_t>(piece)]);
    });
    for (auto& report : reports) append(all, std::move(report));
    if (request.progress) request.progress(all.records);
  }
  return all;
}

Duplicates find_duplicates(const CorpusReport& report, std::size_t most_listed) {
  const auto& hashes = report.image_hashes;
  std::vector<std::size_t> order(hashes.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(),
            [&](auto a, auto b) { return hashes[a] != hashes[b] ? hashes[a] < hashes[b] : a < b; });
  Duplicates found;
  std::vector<std::vector<std::int64_t>> groups;
  for (std::size_t begin = 0, end = 0; begin < order.size(); begin = end) {
    while (end < order.size() && hashes[order[end]] == hashes[order[begin]]) ++end;
    if (end - begin < 2) continue;
    ++found.groups;
    found.records += static_cast<std::int64_t>(end - begin - 1);
    auto& group = groups.emplace_back();
    for (auto i = begin; i < std::min(end, begin + kMostOfGroup); ++i) {
      group.push_back(report.hashed_records[order[i]]);
    }
  }
  std::sort(groups.begin(), groups.end());  // by first record
  groups.resize(std::min(groups.size(), most_listed));
  found.listed = std::move(groups);
  return found;
}

}  // namespace triptych
