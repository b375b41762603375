// BERT's tokenizer, uncased (Devlin et al. 2019, arXiv:1810.04805): words, then the longest pieces of the vocabulary.
#pragma once
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "data/text/characters.h"
#include "data/text/tokenizer.h"

namespace triptych {

/// A token and the bytes of the raw text that it stands for.
struct WordPiece {
  std::int32_t id = 0;
  ByteSpan source;
};

/// Lower case character by character, control characters dropped, Chinese characters and punctuation words of their
/// own, marks (accents) dropped after canonical decomposition; a word of more than 100 characters, or one that no
/// pieces make up, is [UNK]. [PAD] [UNK] [CLS] [SEP] [MASK] written in the text become their ids, as in the library
/// `tokenizers`. Invalid UTF-8 counts as U+FFFD, which is dropped.
class BertWordPiece : public Tokenizer {
 public:
  static constexpr std::int64_t kPad = 0, kUnknown = 100, kCls = 101, kSep = 102, kMask = 103;
  static constexpr std::int64_t kVocabularySize = 30522;
  /// How encode_row ends a text: as BERT does, or not at all (TCL's tokenizer, Yang et al. 2022).
  enum class End { kSep, kNone };

  /// Reads the vocabulary of bert-base-uncased, one piece a line. Throws ConfigError when the file is missing or is
  /// another vocabulary.
  BertWordPiece(const std::filesystem::path& vocabulary_file, End end);
  ~BertWordPiece() override;

  std::int64_t vocabulary_size() const override { return kVocabularySize; }
  std::vector<std::int64_t> encode(std::string_view text) const override;
  /// kCls, ids, kSep unless End::kNone, kPad. A text that is too long is cut so that kSep stays the last id.
  void encode_row(std::string_view text, std::span<std::int64_t> row) const override;
  /// As encode, with the places: spans in order, on character boundaries, none empty. Two pieces share bytes only when
  /// they are parts of one character (a Hangul syllable).
  std::vector<WordPiece> pieces(const Characters& text) const;

 private:
  struct Vocabulary;
  class Splitter;
  void append_pieces(const Characters& text, std::size_t limit, std::vector<WordPiece>& out) const;
  std::unique_ptr<const Vocabulary> vocabulary_;
  End end_;
};

}  // namespace triptych
