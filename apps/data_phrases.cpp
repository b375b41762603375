// `triptych data phrases`: finds, exports or imports the noun phrases of captions.
#include "apps/data_actions.h"
#include "apps/result.h"
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

PhraseWriter::Others others_by(const DataArguments& arguments) {
  return arguments.overwrite ? PhraseWriter::Others::kReplace : PhraseWriter::Others::kRefuse;
}

Json find_row(const CorpusConfig& config, int threads, PhraseWriter::Others others) {
  const auto corpus = open_corpus(config);
  const auto progress = [&](const PhraseCounts& so_far, std::int64_t all) {
    show_progress(progress_line(config.name, so_far, all));
  };
  const auto counts = find_phrases(*corpus, config.phrases, threads, progress, others);
  end_progress();
  if (counts.unusable > 0) {
    log_warning("data phrases: " + std::to_string(counts.unusable) + " records of " + config.name +
                " could not be read and have no phrases; --overwrite looks at them again");
  }
  return row_of(config, config.phrases, counts, threads);
}

void require_one(const std::vector<CorpusConfig>& corpora, const std::string& option) {
  if (corpora.size() == 1) return;
  throw ConfigError("data phrases: " + option + " is for one corpus, got " + std::to_string(corpora.size()) +
                    "; name it with --corpus");
}

Json export_for_parser(const DataCommand& command) {
  require_one(command.corpora, "--export");
  const auto& config = command.corpora.front();
  const auto corpus = open_corpus(config);
  const auto counts = export_captions(*corpus, command.arguments.export_file);
  return {{"corpus", config.name},
          {"file", command.arguments.export_file},
          {"records", counts.records},
          {"unusable", counts.unusable},
          {"captions", counts.captions}};
}

Json import_from_parser(const DataCommand& command, const std::vector<CorpusConfig>& chosen) {
  require_one(chosen, "--import");
  const auto& config = chosen.front();
  const auto corpus = open_corpus(config);
  const auto counts =
      import_phrases(*corpus, command.arguments.import_file, config.phrases, others_by(command.arguments));
  return row_of(config, config.phrases, counts, 1);
}

std::vector<CorpusConfig> corpora_with_phrases(const std::vector<CorpusConfig>& corpora) {
  std::vector<CorpusConfig> chosen;
  for (const auto& corpus : corpora) {
    if (!corpus.phrases.empty()) chosen.push_back(corpus);
  }
  if (chosen.empty()) {
    throw ConfigError(
        "data phrases: no corpus names the file that is to be written; give it, as in "
        "--set data.corpora.0.phrases=captions.phrases");
  }
  return chosen;
}

}  // namespace

ExitCode data_phrases(const DataCommand& command) {
  const auto& a = command.arguments;
  Json table = Json::array();
  if (!a.export_file.empty()) {
    table.push_back(export_for_parser(command));
  } else if (const auto chosen = corpora_with_phrases(command.corpora); !a.import_file.empty()) {
    table.push_back(import_from_parser(command, chosen));
  } else {
    for (const auto& corpus : chosen) table.push_back(find_row(corpus, command.threads(), others_by(a)));
  }
  print_result({{a.export_file.empty() ? "phrases" : "captions", table}}, a.format);
  return ExitCode::kDone;
}

}  // namespace triptych
