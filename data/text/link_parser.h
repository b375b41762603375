// English grammar: the link-grammar library (Sleator and Temperley 1993, "Parsing English with a Link Grammar") and its
// dictionary, in this process. The only file that knows the library is link_parser.cpp.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/text/caption_segment.h"
#include "data/text/noun_chunk.h"

namespace triptych {

class LinkParser {
 public:
  /// Loads the English dictionary (0.5 to 2.5 s). Throws ConfigError when it is not installed.
  LinkParser();
  ~LinkParser();

  /// Base noun phrases of a segment: a noun with the determiners, adjectives, possessives and nouns before it, as
  /// linked by the cheapest linkage that is no command (a caption describes); disjoint, in order, counted from the
  /// start of the segment. Nothing when the segment has more than 24 words or a word of more than 60 bytes, when it has
  /// no complete linkage, or when parsing takes a thread more than a second. Thread safe.
  std::optional<std::vector<ByteSpan>> noun_phrases(const CaptionSegment& segment) const;
  /// What the dictionary has under this spelling. Thread safe.
  WordClasses classes(const std::string& word) const;
  /// Library and dictionary, for the file that spans are stored in: "link-grammar 5.12.0".
  std::string version() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace triptych
