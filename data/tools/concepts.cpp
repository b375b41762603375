// Each piece of records counts for itself; the pieces are added.
#include "data/tools/concepts.h"

#include <algorithm>
#include <mutex>
#include <set>

#include "core/base/errors.h"
#include "core/base/strings.h"
#include "data/formats/parallel_for.h"
#include "data/tools/words.h"

namespace triptych {
namespace {

constexpr std::int64_t kPiece = 256, kWave = 64;  // records of a piece, pieces between two words on the progress

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
      if (const auto found = by_words_.find(compared_text(name)); id < 0 && found != by_words_.end())
        id = found->second;
    }
    if (id < 0) {
      id = size();
      shown_.push_back(names.front());
    }
    for (const auto& name : names) {
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
  std::vector<ConceptCount> all(static_cast<std::size_t>(names.size()));
  std::mutex mutex;
  for (std::int64_t wave = 0; wave < corpus.size(); wave += kPiece * kWave) {
    const auto end = std::min(wave + kPiece * kWave, corpus.size());
    parallel_for((end - wave + kPiece - 1) / kPiece, request.threads, [&](std::int64_t piece) {
      std::map<std::int64_t, ConceptCount> counts;
      const auto begin = wave + piece * kPiece;
      for (auto i = begin; i < std::min(begin + kPiece, end); ++i) {
        try {
          const auto record = corpus.read(i);
          if (record.label >= 0) ++counts[concept_of.at(static_cast<std::size_t>(record.label))].labelled;
          count_captions(record.captions, names, counts);
        } catch (const DataError&) {  // `data verify` lists them
        }
      }
      const std::lock_guard lock(mutex);
      for (const auto& [id, count] : counts) {
        auto& sum = all[static_cast<std::size_t>(id)];
        sum.occurrences += count.occurrences;
        sum.records += count.records;
        sum.labelled += count.labelled;
      }
    });
    if (request.progress) request.progress(end);
  }
  return all;
}

}  // namespace triptych
