// Noun phrases of the captions that a run trains on: the corpora's files of phrases, as places in rows of tokens.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/types/batch.h"
#include "data/loader.h"
#include "data/text/phrase_file.h"
#include "data/text/phrase_pieces.h"

namespace triptych {

class RowPhrases {
 public:
  /// Opens the files that the corpora name, whether the spec asks for phrases or not: a run must not start with a file
  /// that is missing, damaged or of other captions. Throws ConfigError then, and when the spec asks for phrases but the
  /// tokenizer has no word pieces or a corpus with captions names no file.
  RowPhrases(const CorpusSet& corpora, const BatchSpec& spec);
  /// Places of the phrases of caption number `caption` of a record, whose text is `text`, in its row of tokens. Thread
  /// safe. Throws DataError when they are damaged or of another caption.
  std::vector<TokenSpan> places(int corpus, std::int64_t record, std::size_t caption, const std::string& text) const;

 private:
  std::vector<std::unique_ptr<PhraseFile>> files_;  ///< by corpus; null: it names none
  std::shared_ptr<const BertWordPiece> tokenizer_;
  TextClean clean_ = TextClean::kNone;
  std::int64_t positions_ = 0;  ///< of a row, without that of [SEP]
};

}  // namespace triptych
