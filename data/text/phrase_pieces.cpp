// Spans by overlap.
#include "data/text/phrase_pieces.h"

#include <algorithm>

namespace triptych {

std::vector<TokenSpan> phrase_positions(std::span<const ByteSpan> phrases, std::span<const WordPiece> pieces,
                                        std::int64_t positions) {
  std::vector<TokenSpan> found;
  for (const auto& phrase : phrases) {
    // Pieces are in order, so those that overlap a phrase are neighbours.
    const auto first = std::partition_point(pieces.begin(), pieces.end(),
                                            [&](const WordPiece& piece) { return piece.source.end <= phrase.begin; });
    const auto last = std::partition_point(first, pieces.end(),
                                           [&](const WordPiece& piece) { return piece.source.begin < phrase.end; });
    const TokenSpan span{1 + (first - pieces.begin()), 1 + (last - pieces.begin())};
    const bool twice = std::find(found.begin(), found.end(), span) != found.end();
    if (first != last && span.end <= positions && !twice) found.push_back(span);
  }
  return found;
}

std::vector<WordPiece> caption_pieces(const BertWordPiece& tokenizer, std::string_view caption, TextClean clean) {
  return tokenizer.pieces(clean_text(caption, clean));
}

}  // namespace triptych
