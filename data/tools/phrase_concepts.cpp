// The words of every span of the sidecar, counted in pieces.
#include "data/tools/phrase_concepts.h"

#include <algorithm>
#include <array>
#include <set>

#include "core/base/strings.h"
#include "data/tools/record_pieces.h"
#include "data/tools/words.h"

namespace triptych {
namespace {

constexpr std::array<std::string_view, 15> kDeterminers = {
    "a", "an", "the", "this", "that", "these", "those", "my", "your", "his", "her", "its", "our", "their", "another"};

bool is_determiner(const std::string& word) {
  return std::find(kDeterminers.begin(), kDeterminers.end(), word) != kDeterminers.end();
}

/// Adds the phrases of one record. Changes nothing when it throws.
void count_record(const Record& record, std::int64_t index, const PhraseFile& phrases, PhraseConcepts& counts) {
  std::vector<std::string> met;
  for (std::size_t i = 0; i < record.captions.size(); ++i) {
    const std::string_view caption = record.captions[i];
    for (const auto& span : phrases.spans(index, i, caption)) {
      auto words = concept_of_phrase(caption.substr(span.begin, span.end - span.begin));
      if (!words.empty()) met.push_back(std::move(words));
    }
  }
  for (const auto& words : met) ++counts[words].occurrences;
  for (const auto& words : std::set<std::string>(met.begin(), met.end())) ++counts[words].records;
}

}  // namespace

std::string concept_of_phrase(std::string_view phrase) {
  auto words = words_of(phrase);
  words.erase(words.begin(), std::find_if_not(words.begin(), words.end(), is_determiner));
  return join(words, " ");
}

std::int64_t count_phrases(const Corpus& corpus, const PhraseFile& phrases, const ConceptRequest& request,
                           PhraseConcepts& counts) {
  return for_record_pieces<PhraseConcepts>(
      corpus, request.threads, request.progress,
      [&](PhraseConcepts& part, std::int64_t index, const Record& record) {
        count_record(record, index, phrases, part);
      },
      [&](const PhraseConcepts& part) {
        for (const auto& [words, count] : part) {
          auto& sum = counts[words];
          sum.occurrences += count.occurrences;
          sum.records += count.records;
        }
      });
}

}  // namespace triptych
