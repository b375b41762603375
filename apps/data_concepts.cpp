// `triptych data concepts`: how often the classes of the corpora are named in captions.
#include <algorithm>

#include "apps/data_actions.h"
#include "apps/result.h"
#include "data/tools/concepts.h"

namespace triptych {
namespace {

using Json = nlohmann::ordered_json;

Json rows_of(const ConceptNames& names, const std::vector<ConceptCount>& counts) {
  Json rows = Json::array();
  for (std::int64_t id = 0; id < names.size(); ++id) {
    const auto& count = counts[static_cast<std::size_t>(id)];
    rows.push_back({{"concept", names.name(id)},
                    {"occurrences", count.occurrences},
                    {"records", count.records},
                    {"labelled", count.labelled}});
  }
  std::stable_sort(rows.begin(), rows.end(), [](const Json& a, const Json& b) {
    return a["occurrences"].get<std::int64_t>() > b["occurrences"].get<std::int64_t>();
  });
  return rows;
}

}  // namespace

ExitCode data_concepts(const DataCommand& command) {
  const auto& a = command.arguments;
  ConceptNames names;
  // Names come from all corpora of the configuration, also where --corpus counts in one of them.
  auto all = training_corpora(command.config);
  const auto held_out = held_out_corpora(command.config);
  all.insert(all.end(), held_out.begin(), held_out.end());
  for (const auto& config : all) {
    if (config.kind == "image_label") names.add(open_corpus(config)->class_names());
  }
  if (names.size() == 0) {
    throw ConfigError(
        "data concepts: the configuration has no corpus with class names to look for; add an image_label "
        "corpus to data.corpora or eval");
  }
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
  const auto seen =
      std::count_if(counts.begin(), counts.end(), [&](const auto& c) { return c.occurrences > a.more_than; });
  auto rows = rows_of(names, counts);
  if (const auto most = static_cast<std::size_t>(a.most); a.format == Format::kTable && rows.size() > most) {
    rows.erase(rows.begin() + a.most, rows.end());
  }
  print_result({{"concepts", names.size()}, {"more_than", a.more_than}, {"seen", seen}, {"counts", rows}}, a.format);
  return ExitCode::kDone;
}

}  // namespace triptych
