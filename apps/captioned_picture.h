// One held-out picture with its caption and phrases, as a model takes them: what `eval explain` and `bench
// interactions` look at.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/objective/pair_games.h"
#include "core/train/train_config.h"
#include "core/types/batch.h"
#include "data/corpus.h"
#include "data/text/bert_wordpiece.h"
#include "data/text/noun_phrases.h"
#include "data/text/phrase_file.h"

namespace triptych {

/// The image_text corpus of the eval entry called `name` (its label, or its kind as "retrieval"), or the training
/// corpus of that name; empty: the first of them in this order. Throws ConfigError, with the names that there are.
CorpusConfig captioned_corpus(const TrainConfig& config, const std::string& name, const std::string& who);

struct CaptionedPicture {
  PictureAndCaption pair;  ///< pictures on the model's device, the rest on the CPU
  std::string place;       ///< "collage-val-00003, record 3 of ..." or the file
  std::string caption;
  std::vector<ByteSpan> phrases;  ///< bytes of the caption, in the order of pair.phrases
  std::string phrases_from;       ///< who found them
  std::string words(std::size_t phrase) const {
    return caption.substr(phrases[phrase].begin, phrases[phrase].end - phrases[phrase].begin);
  }
};

/// What replaces a record's own; empty: its first caption, and the phrases found in it.
struct OwnWords {
  std::string caption;
  std::vector<ByteSpan> phrases;
};

class PictureReader {
 public:
  /// form, image_size: as the model needs them. Throws ConfigError when the tokenizer has no word pieces, in which
  /// phrases are places.
  PictureReader(DecodeConfig decode, const BatchSpec& needs, at::Device device);
  /// Opens `corpus`, and its file of phrases where it names one: else phrases are found by the parser, whose
  /// dictionary is loaded at the first caption that needs it. Throws ConfigError.
  void open(const CorpusConfig& corpus);
  std::int64_t records() const { return corpus_->size(); }
  /// Throws DataError when the record cannot be used, ConfigError for phrases of `own` that have no place among the
  /// model's word pieces.
  CaptionedPicture record(std::int64_t record, const OwnWords& own = {}) const;
  /// Of a picture's file; own.caption is its caption.
  CaptionedPicture file(const std::string& path, const OwnWords& own) const;

 private:
  at::Tensor view(std::span<const unsigned char> encoded) const;
  void add_words(CaptionedPicture& picture, const std::vector<ByteSpan>& phrases, bool must_fit) const;
  void add_found(CaptionedPicture& picture) const;

  DecodeConfig decode_;
  BatchSpec needs_;
  at::Device device_;
  std::shared_ptr<const Tokenizer> rows_;           ///< captions to rows of tokens
  std::shared_ptr<const BertWordPiece> tokenizer_;  ///< the same, where each piece knows its bytes
  std::unique_ptr<Corpus> corpus_;
  std::unique_ptr<PhraseFile> phrase_file_;
  mutable std::unique_ptr<NounPhraseFinder> finder_;
};

}  // namespace triptych
