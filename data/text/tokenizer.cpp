// The table of tokenizers and the search for their vocabularies.
#include "data/text/tokenizer.h"

#include <cstdlib>
#include <filesystem>

#include "core/base/errors.h"
#include "data/text/bert_wordpiece.h"
#include "data/text/clip_bpe.h"
#include "data/text/text_clean.h"

namespace triptych {
namespace {

std::filesystem::path find_asset(const std::string& name) {
  std::vector<std::filesystem::path> folders = {"assets", TRIPTYCH_ASSETS_DIR};
  if (const char* own = std::getenv("TRIPTYCH_ASSETS")) folders.insert(folders.begin(), own);
  std::string looked_in;
  for (const auto& folder : folders) {
    if (std::error_code ignored; std::filesystem::is_regular_file(folder / name, ignored)) return folder / name;
    looked_in += (looked_in.empty() ? "" : ", ") + folder.string();
  }
  throw ConfigError("the vocabulary " + name + " is missing (looked in " + looked_in +
                    "); run scripts/setup, which fetches it, or set TRIPTYCH_ASSETS to its folder");
}

std::shared_ptr<const Tokenizer> plain_tokenizer(const std::string& name) {
  // To add a tokenizer: one file, one line here, one test.
  using End = BertWordPiece::End;
  if (name == "clip_bpe") return std::make_shared<ClipBpe>(find_asset("clip_bpe_merges.txt.gz"));
  if (name == "bert_wordpiece") return std::make_shared<BertWordPiece>(find_asset("bert_vocab.txt"), End::kSep);
  if (name == "bert_wordpiece_no_sep") return std::make_shared<BertWordPiece>(find_asset("bert_vocab.txt"), End::kNone);
  throw ConfigError("tokenizer: got '" + name + "', known: clip_bpe, bert_wordpiece, bert_wordpiece_no_sep");
}

/// A tokenizer that sees clean text.
class CleaningTokenizer : public Tokenizer {
 public:
  CleaningTokenizer(std::shared_ptr<const Tokenizer> inner, TextClean clean)
      : inner_(std::move(inner)), clean_(clean) {}
  std::int64_t vocabulary_size() const override { return inner_->vocabulary_size(); }
  std::vector<std::int64_t> encode(std::string_view text) const override { return inner_->encode(cleaned(text)); }
  void encode_row(std::string_view text, std::span<std::int64_t> row) const override {
    inner_->encode_row(cleaned(text), row);
  }

 private:
  std::string cleaned(std::string_view text) const { return encode_utf8(clean_text(text, clean_)); }

  std::shared_ptr<const Tokenizer> inner_;
  TextClean clean_;
};

}  // namespace

std::shared_ptr<const Tokenizer> make_tokenizer(const std::string& name, const std::string& clean) {
  const auto how = text_clean(clean);
  auto tokenizer = plain_tokenizer(name);
  if (how == TextClean::kNone) return tokenizer;
  return std::make_shared<CleaningTokenizer>(std::move(tokenizer), how);
}

}  // namespace triptych
