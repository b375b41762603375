// Noun phrases by word classes alone: what is used where a sentence cannot be parsed. Internal to the search for noun
// phrases.
#pragma once
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/text/caption_segment.h"

namespace triptych {

/// What a dictionary says a word can be; all false: it does not know the word.
struct WordClasses {
  bool noun = false, adjective = false, verb = false, other = false;
};
using WordLookup = std::function<WordClasses(const std::string& word)>;

/// "the", "two", "her", in any case.
bool is_determiner(std::string_view word);

/// Chunks (determiner) (adjective | number)* noun+, the longest from left to right; spans count from the start of the
/// segment. A word that the dictionary does not know is a noun, and an adjective where it ends in -ing or -ed. A word
/// that is noun and verb is a verb behind a noun and before a determiner ("a dog watches the cat").
std::vector<ByteSpan> noun_chunks(std::span<const SegmentWord> words, const WordLookup& lookup);

}  // namespace triptych
