// `triptych data filter`: the keep-list of a corpus.
#include <algorithm>
#include <map>

#include "apps/data_actions.h"
#include "apps/result.h"
#include "core/base/config_reader.h"
#include "core/base/log.h"
#include "data/formats/keep_list.h"
#include "data/formats/printable.h"
#include "data/tools/filter.h"

namespace triptych {
namespace {

using Json = nlohmann::ordered_json;

bool has_rule(const FilterConfig& config, const char* name) {
  return std::any_of(config.rules.begin(), config.rules.end(),
                     [&](const FilterRule& rule) { return rule_name(rule) == name; });
}

/// Without what takes a part of a corpus.
CorpusConfig whole(CorpusConfig config) {
  config.keep_list.clear();
  config.max_records = 0;
  return config;
}

Json rows_of(const Corpus& corpus, const FilterReport& report) {
  Json rows = Json::array();
  for (const auto& removed : report.removed) {
    Json examples = Json::array();
    for (const auto record : removed.examples) examples.push_back(printable(corpus.place(record).key));
    rows.push_back({{"rule", removed.rule}, {"removed", removed.records}, {"first_keys", examples}});
  }
  return rows;
}

}  // namespace

ExitCode data_filter(const DataCommand& command) {
  const auto& a = command.arguments;
  const auto rules = load_config<FilterConfig>(a.rules);
  require_folder("--out", a.out);
  const auto source = whole(command.only());  // also where the list replaces an older one
  const auto corpus = open_corpus(source);
  std::vector<std::unique_ptr<Corpus>> held_out;
  FilterRequest request{.decoding = command.config.data.decode, .threads = command.threads()};
  if (has_rule(rules, "evaluation_pictures")) {
    for (const auto& config : held_out_corpora(command.config, Banks::kWithout)) {
      if (config.name == source.name) {
        throw ConfigError("data filter: evaluation_pictures would compare corpus " + source.name + " with itself");
      }
      held_out.push_back(open_corpus(whole(config)));  // another run may evaluate on more of it
      request.evaluation.push_back(held_out.back().get());
    }
  }
  std::map<std::string, RecordProgress> progress;  // by what is done
  request.progress = [&](const std::string& what, std::int64_t done, std::int64_t of) {
    progress.try_emplace(what, what + ", " + source.name, of).first->second(done);
  };
  const RecordProgress clock(source.name, corpus->size());
  const auto [report, keep] = filter_corpus(*corpus, rules, request);
  clock.end();
  write_keep_list(a.out, *corpus, keep);
  if (report.kept == 0)
    log_warning("data filter: the rules remove every record of " + source.name + "; no run takes an empty list");
  print_result({{"corpus", source.name},
                {"records", report.records},
                {"kept", report.kept},
                {"unusable", report.unusable},
                {"ngrams", report.ngrams},
                {"evaluation_pictures", report.evaluation_pictures},
                {"evaluation_unusable", report.evaluation_unusable},
                {"records_per_s", static_cast<double>(report.records) / clock.seconds()},
                {"keep_list", a.out},
                {"rules", rows_of(*corpus, report)}},
               a.format);
  return ExitCode::kDone;
}

}  // namespace triptych
