// `triptych data index|stats|show|verify|phrases CONFIG`: the corpora of a configuration, held-out ones included.
#include <algorithm>

#include "apps/commands.h"
#include "apps/phrases.h"
#include "apps/result.h"
#include "core/base/config_reader.h"
#include "core/base/log.h"
#include "core/base/strings.h"
#include "core/train/agreement.h"
#include "core/train/train_config.h"
#include "data/corpus.h"
#include "data/corpus_report.h"
#include "data/formats/printable.h"
#include "distributed/launch.h"

namespace triptych {
namespace {

using Json = nlohmann::ordered_json;
constexpr auto kReplace = Json::error_handler_t::replace;
constexpr std::int64_t kMostBad = 50;  // of a rank and corpus, in the list of bad records

/// Training corpora, then the evaluators' by "eval NAME"; with --corpus only the one of that name.
std::vector<CorpusConfig> chosen_corpora(const TrainConfig& config, const std::string& only) {
  std::vector<CorpusConfig> all = config.data.corpora;
  const auto add = [&](const std::string& name, CorpusConfig corpus) {
    if (corpus.path.empty()) return;
    if (corpus.name.empty()) corpus.name = "eval " + name;
    all.push_back(std::move(corpus));
  };
  for (const auto& entry : config.eval) {
    std::visit(
        [&](const auto& e) {
          const std::string name = e.label.empty() ? e.kTag : e.label;
          add(name, e.corpus);
          if constexpr (requires { e.bank; }) add(name + " bank", e.bank);
        },
        entry);
  }
  for (auto& corpus : all) {
    if (corpus.index_dir.empty()) corpus.index_dir = config.data.index_dir;
  }
  if (only.empty()) return all;
  std::vector<CorpusConfig> chosen;
  std::vector<std::string> names;
  for (const auto& corpus : all) {
    names.push_back(corpus.name);
    if (corpus.name == only) chosen.push_back(corpus);
  }
  if (chosen.empty()) throw ConfigError("data: no corpus is called '" + only + "'; there are: " + join(names, ", "));
  return chosen;
}

Json index_row(const CorpusConfig& config) {
  const auto corpus = open_corpus(config);
  return {{"corpus", config.name},     {"kind", config.kind},
          {"format", config.format},   {"shards", corpus->shards().size()},
          {"records", corpus->size()}, {"classes", corpus->class_names().size()}};
}

/// Reads every record without decoding its picture.
Json stats_of(const TrainConfig& config, const CorpusConfig& entry) {
  const auto corpus = open_corpus(entry);
  const auto report = report_corpus(
      *corpus, {.decode = false, .decoding = config.data.decode, .workers = static_cast<int>(config.data.workers)});
  Json stats = {{"kind", entry.kind},
                {"shards", corpus->shards().size()},
                {"records", report.records},
                {"unusable", report.unusable},
                {"picture_bytes_mean", report.image_bytes.mean()},
                {"picture_bytes_most", report.image_bytes.max}};
  if (entry.kind == "image_text") {
    stats["captions"] = report.captions.sum;
    stats["captions_a_record"] = report.captions.mean();
    stats["caption_bytes_mean"] = report.caption_bytes.mean();
    return stats;
  }
  const auto& counts = report.label_counts;
  const auto largest = std::max_element(counts.begin(), counts.end());
  stats["classes"] = counts.size();
  stats["classes_without_records"] = std::count(counts.begin(), counts.end(), 0);
  if (largest != counts.end()) {
    stats["largest_class"] = corpus->class_names()[static_cast<std::size_t>(largest - counts.begin())].front();
    stats["largest_class_records"] = *largest;
  }
  return stats;
}

Json show_rows(const CorpusConfig& config, std::int64_t first, std::int64_t count) {
  const auto corpus = open_corpus(config);
  Json rows = Json::array();
  const auto last = std::min(corpus->size(), first + count);
  for (std::int64_t index = first; index < last; ++index) {
    const auto place = corpus->place(index);
    Json row = {{"record", index}, {"shard", place.shard}, {"key", printable(place.key)}};
    try {
      const auto record = corpus->read(index);
      row["bytes"] = record.image.size();
      std::vector<std::string> texts = record.captions;
      if (record.label >= 0) texts = corpus->class_names()[static_cast<std::size_t>(record.label)];
      for (auto& text : texts) text = printable(text);
      row["text"] = join(texts, " | ");
    } catch (const DataError& error) {
      row["bytes"] = nullptr;
      row["text"] = std::string("unusable: ") + error.what();
    }
    rows.push_back(row);
  }
  return rows;
}

/// What one rank says of its share, as text for rank 0.
Json share_json(const CorpusReport& report) {
  Json bad = Json::array();
  for (const auto& record : report.bad) {
    bad.push_back({{"record", record.sample_id},
                   {"shard", record.shard},
                   {"key", printable(record.key)},
                   {"offset", record.offset},
                   {"reason", record.reason}});
  }
  return {{"records", report.records}, {"unusable", report.unusable}, {"bad", bad}};
}

ExitCode verify(const TrainConfig& config, const std::vector<CorpusConfig>& corpora, Format format) {
  Launch launch({.device = "cpu", .timeout_s = config.train.timeout_s});
  auto& comm = launch.comm();
  const auto& place = launch.place();
  start_log(place.rank, place.size);
  Json table = Json::array(), bad = Json::array();
  std::int64_t unusable = 0;
  for (const auto& entry : corpora) {
    std::unique_ptr<Corpus> corpus;
    agreed(comm, [&] {
      if (place.local_rank == 0) corpus = open_corpus(entry);
    });
    agreed(comm, [&] {
      if (!corpus) corpus = open_corpus(entry);
    });
    const auto report = report_corpus(*corpus, {.first = corpus->size() * comm.rank() / comm.size(),
                                                .last = corpus->size() * (comm.rank() + 1) / comm.size(),
                                                .decoding = config.data.decode,
                                                .workers = static_cast<int>(config.data.workers),
                                                .most_bad = kMostBad});
    Json row = {{"corpus", entry.name}, {"records", 0}, {"unusable", 0}};
    for (const auto& text : comm.all_gather_text(share_json(report).dump(-1, ' ', false, kReplace))) {
      const auto share = Json::parse(text);
      row["records"] = row["records"].get<std::int64_t>() + share["records"].get<std::int64_t>();
      row["unusable"] = row["unusable"].get<std::int64_t>() + share["unusable"].get<std::int64_t>();
      for (const auto& record : share["bad"]) bad.push_back(record);
    }
    unusable += row["unusable"].get<std::int64_t>();
    table.push_back(row);
  }
  if (place.rank == 0) print_result({{"corpora", table}, {"unusable", unusable}, {"bad_records", bad}}, format);
  return ExitCode::kDone;
}

}  // namespace

ExitCode run_command(const DataArguments& arguments) {
  const bool for_phrases = !arguments.import_file.empty() || !arguments.export_file.empty() || arguments.threads > 0;
  if (for_phrases && arguments.action != "phrases")
    throw ConfigError("data " + arguments.action + ": --threads, --import and --export belong to `data phrases`");
  const auto config = load_config<TrainConfig>(arguments.config, arguments.set);
  const auto corpora = chosen_corpora(config, arguments.corpus);
  if (arguments.action == "verify") return verify(config, corpora, arguments.format);
  if (environment_rank() > 0) return ExitCode::kDone;  // one process reads; the others have nothing to add
  Json result = Json::object();
  if (arguments.action == "phrases") result = make_phrases(arguments, corpora);
  if (arguments.action == "index") {
    Json table = Json::array();
    for (const auto& corpus : corpora) table.push_back(index_row(corpus));
    result["corpora"] = table;
  }
  for (const auto& corpus : corpora) {
    if (arguments.action == "stats") result[corpus.name] = stats_of(config, corpus);
    if (arguments.action == "show") result[corpus.name] = show_rows(corpus, arguments.first, arguments.count);
  }
  print_result(result, arguments.format);
  return ExitCode::kDone;
}

}  // namespace triptych
