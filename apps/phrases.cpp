// Chooses the corpora, shows progress, prints what was found.
#include "apps/phrases.h"

#include "apps/machine.h"
#include "core/base/log.h"
#include "core/base/strings.h"
#include "data/phrase_builder.h"

namespace triptych {
namespace {

using Json = nlohmann::ordered_json;

std::string progress_line(const std::string& name, const PhraseCounts& counts, std::int64_t records) {
  const auto done = counts.kept + counts.records;
  const double rate = static_cast<double>(counts.records) / std::max(counts.seconds, 1e-9);
  return name + ": " + human_count(done) + " of " + human_count(records) + " records, " +
         human_count(static_cast<std::int64_t>(counts.captions_per_s())) + " captions/s, " +
         human_duration(static_cast<double>(records - done) / std::max(rate, 1e-9)) + " left";
}

Json row_of(const CorpusConfig& config, const std::string& file, const PhraseCounts& counts, int threads) {
  Json row = {{"corpus", config.name},       {"file", file},
              {"records", counts.records},   {"kept", counts.kept},
              {"unusable", counts.unusable}, {"captions", counts.captions}};
  row["phrases"] = counts.phrases;
  row["seconds"] = counts.seconds;
  row["captions_per_s"] = counts.captions_per_s();
  row["captions_per_s_core"] = counts.captions_per_s() / threads;
  return row;
}

Json find_row(const CorpusConfig& config, int threads) {
  const auto corpus = open_corpus(config);
  const auto counts = find_phrases(*corpus, config.phrases, threads, [&](const PhraseCounts& so_far, std::int64_t all) {
    show_progress(progress_line(config.name, so_far, all));
  });
  end_progress();
  return row_of(config, config.phrases, counts, threads);
}

void require_one(const std::vector<CorpusConfig>& corpora, const std::string& option) {
  if (corpora.size() == 1) return;
  throw ConfigError("data phrases: " + option + " is for one corpus, got " + std::to_string(corpora.size()) +
                    "; name it with --corpus");
}

}  // namespace

Json make_phrases(const DataArguments& arguments, const std::vector<CorpusConfig>& corpora) {
  Json table = Json::array();
  if (!arguments.export_file.empty()) {
    require_one(corpora, "--export");
    const auto corpus = open_corpus(corpora.front());
    const auto counts = export_captions(*corpus, arguments.export_file);
    table.push_back({{"corpus", corpora.front().name},
                     {"file", arguments.export_file},
                     {"records", counts.records},
                     {"unusable", counts.unusable},
                     {"captions", counts.captions}});
    return {{"captions", table}};
  }
  std::vector<CorpusConfig> chosen;
  for (const auto& corpus : corpora)
    if (!corpus.phrases.empty()) chosen.push_back(corpus);
  if (chosen.empty())
    throw ConfigError(
        "data phrases: no corpus names the file that is to be written; give it, as in "
        "--set data.corpora.0.phrases=captions.phrases");
  if (!arguments.import_file.empty()) {
    require_one(chosen, "--import");
    const auto corpus = open_corpus(chosen.front());
    const auto counts = import_phrases(*corpus, arguments.import_file, chosen.front().phrases);
    table.push_back(row_of(chosen.front(), chosen.front().phrases, counts, 1));
    return {{"phrases", table}};
  }
  const int threads = arguments.threads > 0 ? static_cast<int>(arguments.threads) : cpu_facts().cores;
  for (const auto& corpus : chosen) table.push_back(find_row(corpus, threads));
  return {{"phrases", table}};
}

}  // namespace triptych
