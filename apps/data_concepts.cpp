// `triptych data concepts`: how often the classes of the corpora are named in captions, or which noun phrases occur.
#include <algorithm>

#include "apps/data_actions.h"
#include "apps/result.h"
#include "core/base/log.h"
#include "core/base/strings.h"
#include "data/phrase_builder.h"
#include "data/tools/concepts.h"
#include "data/tools/phrase_concepts.h"

namespace triptych {
namespace {

using Json = nlohmann::ordered_json;

/// The most frequent first; a table is cut to --most rows.
void print_counts(const DataArguments& arguments, std::int64_t concepts, std::int64_t seen, Json rows) {
  std::stable_sort(rows.begin(), rows.end(), [](const Json& a, const Json& b) {
    return a["occurrences"].get<std::int64_t>() > b["occurrences"].get<std::int64_t>();
  });
  const auto most = static_cast<std::size_t>(arguments.most);
  if (arguments.format == Format::kTable && rows.size() > most) rows.erase(rows.begin() + arguments.most, rows.end());
  print_result({{"concepts", concepts}, {"more_than", arguments.more_than}, {"seen", seen}, {"counts", rows}},
               arguments.format);
}

Json row_of(const std::string& name, const ConceptCount& count) {
  return {{"concept", name}, {"occurrences", count.occurrences}, {"records", count.records}};
}

// Names come from all corpora of the configuration, also where --corpus counts in one of them.
ConceptNames names_of_classes(const TrainConfig& config) {
  ConceptNames names;
  auto all = training_corpora(config);
  const auto held_out = held_out_corpora(config, Banks::kWith);
  all.insert(all.end(), held_out.begin(), held_out.end());
  for (const auto& corpus : all) {
    if (corpus.kind == "image_label") names.add(open_corpus(corpus)->class_names());
  }
  if (names.size() > 0) return names;
  throw ConfigError(
      "data concepts: the configuration has no corpus with class names to look for; add an image_label corpus to "
      "data.corpora or eval, or count noun phrases with --phrases");
}

void concepts_of_classes(const DataCommand& command) {
  auto names = names_of_classes(command.config);
  std::vector<ConceptCount> counts(static_cast<std::size_t>(names.size()));
  for (const auto& config : command.corpora) {
    const auto corpus = open_corpus(config);
    const RecordProgress progress("concepts of " + config.name, corpus->size());
    const auto concept_of = names.add(corpus->class_names());  // known by now: only looked up
    const auto more = count_concepts(*corpus, names, concept_of, {.threads = command.threads(), .progress = progress});
    progress.end();
    for (std::size_t i = 0; i < counts.size(); ++i) {
      counts[i].occurrences += more[i].occurrences;
      counts[i].records += more[i].records;
      counts[i].labelled += more[i].labelled;
    }
  }
  Json rows = Json::array();
  std::int64_t seen = 0;
  for (std::int64_t id = 0; id < names.size(); ++id) {
    const auto& count = counts[static_cast<std::size_t>(id)];
    seen += count.occurrences > command.arguments.more_than;
    rows.push_back(row_of(names.name(id), count));
    rows.back()["labelled"] = count.labelled;
  }
  print_counts(command.arguments, names.size(), seen, std::move(rows));
}

/// Lists only what is seen: most of a corpus's phrases occur once.
void concepts_of_phrases(const DataCommand& command) {
  PhraseConcepts counts;
  std::int64_t unusable = 0;
  bool any = false;
  for (const auto& config : command.corpora) {
    if (config.phrases.empty()) continue;
    any = true;
    const auto corpus = open_corpus(config);
    const PhraseFile phrases(config.phrases);
    phrases.check_corpus(caption_fingerprint(*corpus), corpus->size());
    const RecordProgress progress("phrases of " + config.name, corpus->size());
    unusable += count_phrases(*corpus, phrases, {.threads = command.threads(), .progress = progress}, counts);
    progress.end();
  }
  if (!any) {
    throw ConfigError(
        "data concepts: --phrases counts by files of phrases, but no corpus names one; give it as in "
        "--set data.corpora.0.phrases=captions.phrases and make it with `triptych data phrases CONFIG`");
  }
  std::vector<std::pair<std::string, ConceptCount>> seen;
  for (const auto& entry : counts) {
    if (entry.second.occurrences > command.arguments.more_than) seen.push_back(entry);
  }
  std::sort(seen.begin(), seen.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  Json rows = Json::array();
  for (const auto& [words, count] : seen) rows.push_back(row_of(words, count));
  if (unusable > 0)
    log_warning("data concepts: " + std::to_string(unusable) +
                " records are left out: they cannot be read, or their phrases are damaged or of other captions");
  print_counts(command.arguments, static_cast<std::int64_t>(counts.size()), static_cast<std::int64_t>(seen.size()),
               std::move(rows));
}

}  // namespace

ExitCode data_concepts(const DataCommand& command) {
  if (command.arguments.count_phrases) {
    concepts_of_phrases(command);
  } else {
    concepts_of_classes(command);
  }
  return ExitCode::kDone;
}

}  // namespace triptych
