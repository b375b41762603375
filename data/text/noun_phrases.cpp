// Parse, or chunk.
#include "data/text/noun_phrases.h"

#include "data/text/noun_chunk.h"

namespace triptych {
namespace {

/// "a book left of a car": grammars know "left" as a noun and an adjective, and take it into the phrase before it. "the
/// left of a car" stays whole.
ByteSpan without_side(std::string_view text, ByteSpan span) {
  for (const std::string_view side : {" left", " right"}) {
    const auto phrase = text.substr(span.begin, span.end - span.begin);
    if (!phrase.ends_with(side) || !text.substr(span.end).starts_with(" of ")) continue;
    const auto thing = phrase.substr(0, phrase.size() - side.size());
    if (!is_determiner(thing)) span.end = span.begin + static_cast<std::uint32_t>(thing.size());
  }
  return span;
}

}  // namespace

std::vector<ByteSpan> NounPhraseFinder::find(std::string_view caption) const {
  std::vector<ByteSpan> found;
  for (const auto& segment : caption_segments(caption)) {
    const auto words = segment_words(segment);
    // One word has no grammar.
    auto phrases = words.size() > 1 ? parser_.noun_phrases(segment) : std::nullopt;
    if (!phrases) phrases = noun_chunks(words, [&](const std::string& word) { return parser_.classes(word); });
    for (const auto& phrase : *phrases) {
      const auto span = without_side(segment.text, phrase);
      found.push_back({segment.begin + span.begin, segment.begin + span.end});
    }
  }
  return found;
}

std::string NounPhraseFinder::version() const {
  return parser_.version() + ", base noun phrases 2";
}

}  // namespace triptych
