// How often noun phrases occur in captions: `triptych data concepts --phrases`.
#pragma once
#include <string>
#include <string_view>
#include <unordered_map>

#include "data/corpus.h"
#include "data/text/phrase_file.h"
#include "data/tools/concepts.h"

namespace triptych {

/// The words that a phrase is counted by: without the articles, demonstratives and possessives that it begins with, so
/// that "A cat", "the cat" and "her cat" are one. Empty when none is left.
std::string concept_of_phrase(std::string_view phrase);

/// By concept_of_phrase; `labelled` stays 0. About 100 bytes for each different phrase.
using PhraseConcepts = std::unordered_map<std::string, ConceptCount>;

/// Adds the phrases that `phrases` has of the captions of its corpus. Returns how many records were left out: those
/// that cannot be read, and those whose phrases are damaged or of other captions.
std::int64_t count_phrases(const Corpus& corpus, const PhraseFile& phrases, const ConceptRequest& request,
                           PhraseConcepts& counts);

}  // namespace triptych
