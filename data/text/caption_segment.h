// Parts of a caption that hold whole phrases. Internal to the search for noun phrases.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "data/text/characters.h"

namespace triptych {

/// Bytes [begin, begin + text.size()) of a caption, ready for a parser of English: white space is written as spaces,
/// and letters of a segment that is all capitals are small. Byte i of `text` stands for byte begin + i of the caption.
struct CaptionSegment {
  std::uint32_t begin = 0;
  std::string text;
};

/// A word of a segment, without punctuation at its ends; `at` counts from the start of the segment.
struct SegmentWord {
  std::string_view text;
  ByteSpan at;
};

/// Splits at commas, brackets, quotes, colons, line feeds, symbols, full stops before a blank, hyphens between blanks,
/// bytes that are not UTF-8. In order; none is empty.
std::vector<CaptionSegment> caption_segments(std::string_view caption);

/// Words between spaces. The views live as long as the segment.
std::vector<SegmentWord> segment_words(const CaptionSegment& segment);

}  // namespace triptych
