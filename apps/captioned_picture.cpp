// Records and files, prepared as evaluations prepare them.
#include "apps/captioned_picture.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

#include "core/base/atomic_file.h"
#include "core/base/errors.h"
#include "core/base/strings.h"
#include "core/eval/evaluator_table.h"
#include "data/formats/printable.h"
#include "data/image/augment.h"
#include "data/image/decode.h"
#include "data/loader.h"
#include "data/phrase_builder.h"
#include "data/text/phrase_pieces.h"

namespace triptych {
namespace {

struct NamedCorpus {
  std::string name;
  CorpusConfig corpus;
};

std::vector<NamedCorpus> captioned_corpora(const TrainConfig& config) {
  std::vector<NamedCorpus> found;
  const auto add = [&](const std::string& name, CorpusConfig corpus) {
    if (corpus.kind != "image_text") return;
    if (corpus.name.empty()) corpus.name = "eval " + name;
    corpus.inherit_index_dir(config.data.index_dir);
    found.push_back({name, std::move(corpus)});
  };
  for (const auto& entry : config.eval)
    add(evaluator_name(entry), std::visit([](const auto& c) { return c.corpus; }, entry));
  for (const auto& corpus : config.data.corpora) add(corpus.name, corpus);
  return found;
}

std::shared_ptr<const BertWordPiece> word_piece_tokenizer(const TextForm& form) {
  if (auto found = std::dynamic_pointer_cast<const BertWordPiece>(make_tokenizer(form.tokenizer, "none"))) return found;
  throw ConfigError("phrases are places of word pieces, which model.text.tokenizer: " + form.tokenizer +
                    " does not give; a model with a bert text tower is expected");
}

std::string span_text(const ByteSpan& span) {
  return std::to_string(span.begin) + ":" + std::to_string(span.end);
}

}  // namespace

CorpusConfig captioned_corpus(const TrainConfig& config, const std::string& name, const std::string& who) {
  const auto corpora = captioned_corpora(config);
  if (corpora.empty())
    throw ConfigError(who + ": the configuration names no image_text corpus; give a CONFIG whose eval section has one");
  if (name.empty()) return corpora.front().corpus;
  std::vector<std::string> names;
  for (const auto& corpus : corpora) {
    if (corpus.name == name) return corpus.corpus;
    if (std::find(names.begin(), names.end(), corpus.name) == names.end()) names.push_back(corpus.name);
  }
  throw ConfigError(who + ": no eval entry or training corpus with captions is called '" + printable(name) +
                    "', there are: " + printable(join(names, ", ")));
}

PictureReader::PictureReader(DecodeConfig decode, const BatchSpec& needs, at::Device device)
    : decode_(std::move(decode)),
      needs_(needs),
      device_(device),
      rows_(make_tokenizer(needs.form.tokenizer, needs.form.clean)),
      tokenizer_(word_piece_tokenizer(needs.form)) {
  check_test_size(decode_, needs_.image_size);
}

void PictureReader::open(const CorpusConfig& corpus) {
  corpus_ = open_corpus(corpus);
  if (corpus.phrases.empty()) return;
  try {
    phrase_file_ = std::make_unique<PhraseFile>(corpus.phrases);
  } catch (const DataError& error) {
    throw ConfigError("corpus " + printable(corpus.name) + ": " + error.what());
  }
  phrase_file_->check_corpus(caption_fingerprint(*corpus_), corpus_->size());
}

at::Tensor PictureReader::view(std::span<const unsigned char> encoded) const {
  const auto side = needs_.image_size;
  const auto pixels = at::empty({1, side, side, 3}, at::kByte);
  test_view(decode_image(encoded, decode_), decode_.test_resize, static_cast<int>(side),
            {pixels.mutable_data_ptr<std::uint8_t>(), static_cast<std::size_t>(pixels.numel())},
            static_cast<int>(decode_.test_short_side));
  return pixels.to(device_);
}

/// `must_fit`: phrases that somebody typed are not left out in silence.
void PictureReader::add_words(CaptionedPicture& picture, const std::vector<ByteSpan>& phrases, bool must_fit) const {
  const auto context = needs_.form.context;
  picture.pair.tokens = at::empty({1, context}, at::kLong);
  rows_->encode_row(picture.caption,
                    {picture.pair.tokens.mutable_data_ptr<std::int64_t>(), static_cast<std::size_t>(context)});
  const auto pieces = caption_pieces(*tokenizer_, picture.caption, text_clean(needs_.form.clean));
  const auto positions = context - (needs_.form.tokenizer == "bert_wordpiece" ? 1 : 0);
  std::vector<TokenSpan> places;
  for (const auto& phrase : phrases) {
    const auto place = phrase_positions({&phrase, 1}, pieces, positions);
    if (!place.empty() && std::find(places.begin(), places.end(), place.front()) == places.end()) {
      places.push_back(place.front());
      picture.phrases.push_back(phrase);
    } else if (must_fit) {
      throw ConfigError("--phrase " + span_text(phrase) + ": stands for no word pieces of its own among the first " +
                        std::to_string(positions - 1) + " of the caption; give other bytes");
    }
  }
  picture.pair.phrases = at::empty({static_cast<std::int64_t>(places.size()), 4}, at::kLong);
  auto* row = picture.pair.phrases.mutable_data_ptr<std::int64_t>();
  for (const auto& place : places) {
    for (const auto value : {std::int64_t{0}, std::int64_t{0}, place.begin, place.end}) *row++ = value;
  }
}

void PictureReader::add_found(CaptionedPicture& picture) const {
  if (!finder_) finder_ = std::make_unique<NounPhraseFinder>();
  picture.phrases_from = "found by " + finder_->version();
  add_words(picture, finder_->find(picture.caption), false);
}

CaptionedPicture PictureReader::record(std::int64_t record, const OwnWords& own) const {
  const auto read = corpus_->read(record);
  CaptionedPicture picture;
  picture.pair.images = view(read.image);
  picture.place = "record " + std::to_string(record) + " of " + corpus_->config().name + ", " + read.place.key;
  picture.caption = own.caption.empty() ? read.captions.front() : own.caption;
  if (!own.phrases.empty()) {
    picture.phrases_from = "given";
    add_words(picture, own.phrases, true);
  } else if (phrase_file_ && own.caption.empty()) {
    picture.phrases_from = corpus_->config().phrases;
    add_words(picture, phrase_file_->spans(record, 0, picture.caption), false);
  } else {
    add_found(picture);
  }
  return picture;
}

CaptionedPicture PictureReader::file(const std::string& path, const OwnWords& own) const {
  const auto bytes = read_file(path);
  CaptionedPicture picture;
  try {
    picture.pair.images = view({reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size()});
  } catch (const DataError& error) {
    throw DataError(printable(path) + ": " + error.what());
  }
  picture.place = path;
  picture.caption = own.caption;
  if (own.phrases.empty()) {
    add_found(picture);
  } else {
    picture.phrases_from = "given";
    add_words(picture, own.phrases, true);
  }
  return picture;
}

}  // namespace triptych
