// Captions: cleaning, CLIP's byte pairs, BERT's pieces, and where phrases of the raw caption stand among them.
#include <algorithm>
#include <memory>

#include "data/text/caption_segment.h"
#include "data/text/clip_bpe.h"
#include "data/text/clip_clean.h"
#include "data/text/phrase_pieces.h"
#include "data/text/tokenizer.h"
#include "tests/data/golden_file.h"
#include "tests/fuzz/fuzz_target.h"

namespace triptych {

std::vector<std::string> fuzz_seeds() {
  auto seeds = GoldenFile("tokenizers").texts("text");
  seeds.insert(seeds.end(),
               {"a &amp;amp; b &#x1F600; &nGt; <end_of_text> <start_of_text>x", "<person>'s dog-house/[SEP]",
                "\xED\x95\x9C\xEA\xB8\x80 \xC4\xB0 \xCE\xA3\xCE\x91\xCE\xA3\xF0\x9F\x98\x80 \xFF\xC3(",
                "A RED CAR, parked (near 2 trees): \"old\" - new. END\n"});
  return seeds;
}

namespace {

using Ids = std::vector<std::int64_t>;
constexpr std::int64_t kContext = 32;

/// `first`, as many of the ids as fit, `last` unless it is negative, zeros.
Ids expected_row(const Ids& ids, std::int64_t first, std::int64_t last) {
  const auto room = static_cast<std::size_t>(kContext - (last < 0 ? 1 : 2));
  Ids row = {first};
  row.insert(row.end(), ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(std::min(room, ids.size())));
  if (last >= 0) row.push_back(last);
  row.resize(kContext);
  return row;
}

void check_tokenizer(const Tokenizer& tokenizer, std::string_view text, std::int64_t first, std::int64_t last) {
  const auto ids = tokenizer.encode(text);
  for (const auto id : ids) require(id >= 0 && id < tokenizer.vocabulary_size());
  Ids row(kContext, -1);
  tokenizer.encode_row(text, row);
  require(row == expected_row(ids, first, last));
}

/// Spans go forward inside the text, none is empty, and none cuts a character.
void check_spans(const std::vector<ByteSpan>& spans, std::string_view text, const Characters& raw) {
  ByteSpan last;
  for (const auto& span : spans) {
    require(span.begin >= last.begin && span.end >= last.end && span.begin < span.end && span.end <= text.size());
    const auto begins = [](const Character& character, std::uint32_t at) { return character.source.begin < at; };
    const auto first = std::lower_bound(raw.begin(), raw.end(), span.begin, begins);
    const auto next = std::lower_bound(raw.begin(), raw.end(), span.end, begins);
    require(first != raw.end() && first->source.begin == span.begin);
    require(next == raw.end() ? span.end == text.size() : next->source.begin == span.end);
    last = span;
  }
}

void check_clip(std::string_view text) {
  static const auto tokenizer = make_tokenizer("clip_bpe");
  const auto clean = clip_clean(text);
  require(encode_utf8(decode_utf8(clean)) == clean);
  require(tokenizer->encode(text).size() <= clean.size());
  check_tokenizer(*tokenizer, text, ClipBpe::kStart, ClipBpe::kEnd);
}

const BertWordPiece& bert() {
  static const auto shared = make_tokenizer("bert_wordpiece");
  return dynamic_cast<const BertWordPiece&>(*shared);
}

/// The words of the caption's segments stand for phrases: finding real ones takes a parser.
std::vector<ByteSpan> words_of_segments(std::string_view text, const Characters& raw) {
  std::vector<ByteSpan> words;
  for (const auto& segment : caption_segments(text)) {
    require(!segment.text.empty() && segment.begin + segment.text.size() <= text.size());
    for (const auto& word : segment_words(segment))
      words.push_back({segment.begin + word.at.begin, segment.begin + word.at.end});
  }
  check_spans(words, text, raw);
  return words;
}

/// A tokenizer behind a cleaning, as a run has it.
struct Cleaning {
  TextClean clean;
  std::shared_ptr<const Tokenizer> tokenizer;
};
const std::vector<Cleaning>& cleanings() {
  static const std::vector<Cleaning> all = {
      {TextClean::kNone, make_tokenizer("bert_wordpiece", "none")},
      {TextClean::kTclCaption, make_tokenizer("bert_wordpiece", "tcl_caption")},
      {TextClean::kTclQuestion, make_tokenizer("bert_wordpiece", "tcl_question")}};
  return all;
}

void check_bert(std::string_view text, const Cleaning& cleaning, const Characters& raw,
                const std::vector<ByteSpan>& phrases) {
  const auto pieces = caption_pieces(bert(), text, cleaning.clean);
  std::vector<ByteSpan> sources;
  Ids ids;
  for (const auto& piece : pieces) sources.push_back(piece.source), ids.push_back(piece.id);
  check_spans(sources, text, raw);
  require(cleaning.tokenizer->encode(text) == ids);
  check_tokenizer(*cleaning.tokenizer, text, BertWordPiece::kCls, BertWordPiece::kSep);
  constexpr std::int64_t kPositions = kContext - 1;
  for (const auto& span : phrase_positions(phrases, pieces, kPositions)) {
    require(span.begin >= 1 && span.begin < span.end && span.end <= kPositions);
    require(static_cast<std::size_t>(span.end) <= pieces.size() + 1);
  }
}

}  // namespace
}  // namespace triptych

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace triptych;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto raw = decode_utf8(text);
  check_clip(text);
  const auto phrases = words_of_segments(text, raw);
  for (const auto& cleaning : cleanings()) check_bert(text, cleaning, raw, phrases);
  return 0;
}
