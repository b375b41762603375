// Phrases of a raw caption to positions in its row of tokens.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "data/text/bert_wordpiece.h"
#include "data/text/text_clean.h"

namespace triptych {

/// Positions [begin, end) of a row of tokens.
struct TokenSpan {
  std::int64_t begin = 0, end = 0;
  auto operator<=>(const TokenSpan&) const = default;
};

/// Where each phrase stands in a row that holds [CLS] at 0 and then `pieces`, as many as have a position below
/// `positions` (those that a following [SEP] leaves). A piece belongs to a phrase when they share a byte. Left out: a
/// phrase without a piece (cleaning took it away), one that the row's end cuts, one with the place of an earlier one.
/// In the order of `phrases`.
std::vector<TokenSpan> phrase_positions(std::span<const ByteSpan> phrases, std::span<const WordPiece> pieces,
                                        std::int64_t positions);

/// Pieces of the clean text with their bytes in the raw caption: what encode_row makes of it.
std::vector<WordPiece> caption_pieces(const BertWordPiece& tokenizer, std::string_view caption, TextClean clean);

}  // namespace triptych
