// Each piece of records counts for itself; the pieces are added.
#include "data/tools/concepts.h"

#include <algorithm>
#include <set>

#include "data/formats/class_names.h"
#include "data/tools/record_pieces.h"
#include "data/tools/words.h"

namespace triptych {
namespace {

/// Adds what the captions of one record name.
void count_captions(const std::vector<std::string>& captions, const ConceptNames& names,
                    std::map<std::int64_t, ConceptCount>& counts) {
  std::set<std::int64_t> met;
  for (const auto& caption : captions) {
    const auto words = words_of(caption);
    for (std::size_t begin = 0; begin < words.size(); ++begin) {
      std::string ngram;
      for (auto i = begin; i < std::min(words.size(), begin + names.most_words()); ++i) {
        ngram += (i == begin ? "" : " ") + words[i];
        if (const auto found = names.find(ngram); found >= 0) {
          ++counts[found].occurrences;
          met.insert(found);
        }
      }
    }
  }
  for (const auto found : met) ++counts[found].records;
}

}  // namespace

std::vector<std::int64_t> ConceptNames::add(const std::vector<std::vector<std::string>>& class_names) {
  std::vector<std::int64_t> concepts;
  for (const auto& names : class_names) {
    std::int64_t id = -1;
    for (const auto& name : names) {
      if (const auto found = by_name_.find(normalized_name(name)); id < 0 && found != by_name_.end())
        id = found->second;
    }
    if (id < 0) {
      id = size();
      shown_.push_back(names.front());
    }
    for (const auto& name : names) {
      by_name_.try_emplace(normalized_name(name), id);
      by_words_.try_emplace(compared_text(name), id);
      most_words_ = std::max(most_words_, words_of(name).size());
    }
    concepts.push_back(id);
  }
  return concepts;
}

std::int64_t ConceptNames::find(const std::string& words) const {
  const auto found = by_words_.find(words);
  return found == by_words_.end() ? -1 : found->second;
}

std::vector<ConceptCount> count_concepts(const Corpus& corpus, const ConceptNames& names,
                                         const std::vector<std::int64_t>& concept_of, const ConceptRequest& request) {
  using Counts = std::map<std::int64_t, ConceptCount>;
  std::vector<ConceptCount> all(static_cast<std::size_t>(names.size()));
  for_record_pieces<Counts>(
      corpus, request.threads, request.progress,
      [&](Counts& counts, std::int64_t, const Record& record) {
        if (record.label >= 0) ++counts[concept_of.at(static_cast<std::size_t>(record.label))].labelled;
        count_captions(record.captions, names, counts);
      },
      [&](const Counts& counts) {
        for (const auto& [id, count] : counts) {
          auto& sum = all[static_cast<std::size_t>(id)];
          sum.occurrences += count.occurrences;
          sum.records += count.records;
          sum.labelled += count.labelled;
        }
      });
  return all;
}

}  // namespace triptych
