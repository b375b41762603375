// Parse, or chunk.
#include "data/text/noun_phrases.h"

namespace triptych {

std::vector<ByteSpan> NounPhraseFinder::find(std::string_view caption) const {
  std::vector<ByteSpan> found;
  for (const auto& segment : caption_segments(caption)) {
    const auto words = segment_words(segment);
    // One word has no grammar.
    auto phrases = words.size() > 1 ? parser_.noun_phrases(segment) : std::nullopt;
    if (!phrases) phrases = noun_chunks(words, [&](const std::string& word) { return parser_.classes(word); });
    for (const auto& phrase : *phrases) found.push_back({segment.begin + phrase.begin, segment.begin + phrase.end});
  }
  return found;
}

std::string NounPhraseFinder::version() const {
  return parser_.version() + ", base noun phrases 1";
}

}  // namespace triptych
