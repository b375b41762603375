// Checks at start, look-ups for each caption.
#include "data/row_phrases.h"

#include "core/base/errors.h"
#include "data/formats/printable.h"
#include "data/phrase_builder.h"
#include "data/text/tokenizer.h"

namespace triptych {
namespace {

std::unique_ptr<PhraseFile> open_phrases(const Corpus& corpus) {
  const auto& path = corpus.config().phrases;
  if (path.empty()) return nullptr;
  const auto name = "corpus " + printable(corpus.config().name) + ": ";
  try {
    auto file = std::make_unique<PhraseFile>(path);
    file->check_corpus(caption_fingerprint(corpus), corpus.size());
    return file;
  } catch (const ConfigError& error) {
    throw ConfigError(name + error.what());
  } catch (const DataError& error) {
    throw ConfigError(name + error.what());
  }
}

std::shared_ptr<const BertWordPiece> word_pieces(const BatchSpec& spec) {
  auto found =
      spec.text ? std::dynamic_pointer_cast<const BertWordPiece>(make_tokenizer(spec.form.tokenizer, "none")) : nullptr;
  if (found) return found;
  throw ConfigError("objective: needs phrases as places of word pieces, which " +
                    (spec.text ? "model.text.tokenizer: " + spec.form.tokenizer : std::string("a run without text")) +
                    " does not give; use bert_wordpiece or bert_wordpiece_no_sep");
}

}  // namespace

RowPhrases::RowPhrases(const CorpusSet& corpora, const BatchSpec& spec) {
  for (const auto& corpus : corpora.corpora()) {
    files_.push_back(open_phrases(*corpus));
    if (spec.phrases && !files_.back() && corpus->config().kind == "image_text")
      throw ConfigError("corpus " + printable(corpus->config().name) +
                        ": the objective needs phrases, but the corpus names no file of them; make one with "
                        "`triptych data phrases CONFIG` and name it in `phrases`");
  }
  if (!spec.phrases) return;
  tokenizer_ = word_pieces(spec);
  clean_ = text_clean(spec.form.clean);
  positions_ = spec.form.context - (spec.form.tokenizer == "bert_wordpiece" ? 1 : 0);
}

std::vector<TokenSpan> RowPhrases::places(int corpus, std::int64_t record, std::size_t caption,
                                          const std::string& text) const {
  const auto& file = files_[static_cast<std::size_t>(corpus)];
  const auto spans = file ? file->spans(record, caption, text) : std::vector<ByteSpan>{};
  return phrase_positions(spans, caption_pieces(*tokenizer_, text, clean_), positions_);
}

}  // namespace triptych
