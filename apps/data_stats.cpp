// `triptych data stats`: what the corpora hold, as table, JSON and a page.
#include <algorithm>

#include "apps/data_actions.h"
#include "apps/result.h"
#include "core/base/atomic_file.h"
#include "data/formats/printable.h"
#include "data/tools/html_page.h"

namespace triptych {
namespace {

using Json = nlohmann::ordered_json;
constexpr std::size_t kListedDuplicates = 20, kClassesOfTable = 20;
constexpr std::int64_t kPictures = 96;
constexpr int kPictureSide = 144;

Json spread_row(const char* what, const Histogram& histogram) {
  return {{"of", what},
          {"least", histogram.min()},
          {"p5", histogram.quantile(0.05)},
          {"median", histogram.quantile(0.5)},
          {"p95", histogram.quantile(0.95)},
          {"most", histogram.max()},
          {"mean", histogram.mean()}};
}

Json spreads(const CorpusReport& report) {
  Json rows = {spread_row("width", report.width), spread_row("height", report.height),
               spread_row("picture bytes", report.image_bytes)};
  if (report.captions.count() == 0) return rows;
  rows.push_back(spread_row("captions of a record", report.captions));
  rows.push_back(spread_row("caption words", report.caption_words));
  rows.push_back(spread_row("caption bytes", report.caption_bytes));
  return rows;
}

Json numbers(const Corpus& corpus, const CorpusReport& report, const Duplicates& duplicates) {
  Json stats = {{"kind", corpus.config().kind},
                {"shards", corpus.shards().size()},
                {"records", report.records},
                {"unusable", report.records - report.usable},
                {"equal_pictures", duplicates.records},
                {"picture_bytes_mean", report.image_bytes.mean()},
                {"picture_bytes_most", report.image_bytes.max()}};
  if (report.captions.count() > 0) {
    stats["captions"] = report.captions.sum();
    stats["captions_a_record"] = report.captions.mean();
    stats["caption_bytes_mean"] = report.caption_bytes.mean();
  }
  const auto& counts = report.label_counts;
  if (counts.empty()) return stats;
  const auto largest = std::max_element(counts.begin(), counts.end());
  stats["classes"] = counts.size();
  stats["classes_without_records"] = std::count(counts.begin(), counts.end(), 0);
  stats["largest_class"] = corpus.class_names()[static_cast<std::size_t>(largest - counts.begin())].front();
  stats["largest_class_records"] = *largest;
  return stats;
}

/// By class index in JSON; in the table the largest first.
Json classes(const Corpus& corpus, const CorpusReport& report, Format format) {
  Json rows = Json::array();
  for (std::size_t i = 0; i < report.label_counts.size(); ++i) {
    rows.push_back({{"class", i}, {"name", corpus.class_names()[i].front()}, {"records", report.label_counts[i]}});
  }
  if (format == Format::kJson) return rows;
  std::stable_sort(rows.begin(), rows.end(), [](const Json& a, const Json& b) {
    return a["records"].get<std::int64_t>() > b["records"].get<std::int64_t>();
  });
  if (rows.size() > kClassesOfTable) rows.erase(rows.begin() + kClassesOfTable, rows.end());
  return rows;
}

Json stats_of(const Corpus& corpus, const CorpusReport& report, const Duplicates& duplicates, Format format) {
  Json stats = numbers(corpus, report, duplicates), reasons = Json::array(), groups = Json::array();
  stats["spread"] = spreads(report);
  if (!report.label_counts.empty()) stats["classes_by_size"] = classes(corpus, report, format);
  for (const auto& [reason, count] : report.reasons) reasons.push_back({{"records", count}, {"reason", reason}});
  for (const auto& group : duplicates.listed) groups.push_back({{"records", group}});
  stats["unusable_because"] = reasons;
  stats["equal_groups"] = groups;
  return stats;
}

/// For people: the tables inside of a corpus become tables of their own.
Json flattened(const Json& result) {
  Json flat = Json::object();
  for (const auto& [corpus, stats] : result.items()) {
    flat[corpus] = Json::object();
    for (const auto& [key, value] : stats.items()) {
      if (!value.is_array()) flat[corpus][key] = value;
      if (value.is_array() && !value.empty()) flat[corpus + ": " + key] = value;
    }
  }
  return flat;
}

CorpusPage page_of(const Corpus& corpus, CorpusReport report, Duplicates duplicates, const DataCommand& command) {
  CorpusPage page{corpus.config().name, corpus.config().kind, std::move(report), std::move(duplicates), {}, {}};
  for (const auto& names : corpus.class_names()) page.class_names.push_back(names.front());
  page.pictures = contact_sheet(corpus, kPictures, kPictureSide, command.config.data.decode, command.threads());
  return page;
}

}  // namespace

ExitCode data_stats(const DataCommand& command) {
  const auto& a = command.arguments;
  if (!a.html.empty()) require_folder("--html", a.html);
  Json result = Json::object();
  std::vector<CorpusPage> pages;
  for (const auto& config : command.corpora) {
    const auto corpus = open_corpus(config);
    const RecordProgress progress("stats of " + config.name, corpus->size());
    auto report = report_corpus(
        *corpus,
        {.hashes = true, .decoding = command.config.data.decode, .threads = command.threads(), .progress = progress});
    progress.end();
    auto duplicates = find_duplicates(report, kListedDuplicates);
    result[config.name] = stats_of(*corpus, report, duplicates, a.format);
    if (!a.html.empty()) pages.push_back(page_of(*corpus, std::move(report), std::move(duplicates), command));
  }
  if (!a.html.empty()) write_file_atomically(a.html, html_page(pages));
  print_result(a.format == Format::kJson ? result : flattened(result), a.format);
  return ExitCode::kDone;
}

}  // namespace triptych
