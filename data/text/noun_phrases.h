// Noun phrases of captions, as LOUPE needs them (Li et al. 2022, arXiv:2208.02515: phrases come from an off-the-shelf
// parser, offline).
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "data/text/link_parser.h"

namespace triptych {

class NounPhraseFinder {
 public:
  /// Loads the parser's dictionary. Throws ConfigError when it is missing.
  NounPhraseFinder() = default;
  /// Bytes of base noun phrases in the raw caption: disjoint, in order, on character boundaries, not empty. Each
  /// segment of the caption is parsed by itself; one that cannot be parsed is cut into chunks by word classes. Invalid
  /// UTF-8 separates segments. Thread safe.
  std::vector<ByteSpan> find(std::string_view caption) const;
  /// What decides the spans: the parser's version and that of these rules.
  std::string version() const;

 private:
  LinkParser parser_;
};

}  // namespace triptych
