// Text to token ids.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace triptych {

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  virtual std::int64_t vocabulary_size() const = 0;
  /// Ids of `text` without special tokens or cut. Thread safe.
  virtual std::vector<std::int64_t> encode(std::string_view text) const = 0;
  /// A row as the text tower wants it: special tokens, cut to row.size(), padded.
  virtual void encode_row(std::string_view text, std::span<std::int64_t> row) const = 0;
};

/// `name`: clip_bpe, bert_wordpiece ([CLS] text [SEP]) or bert_wordpiece_no_sep (TCL's: [CLS] text). `clean`: what
/// happens to a text first, see text_clean.h. Vocabularies are looked for in `assets/` (see scripts/setup) and
/// $TRIPTYCH_ASSETS. Throws ConfigError naming the missing file and the command that fetches it.
std::shared_ptr<const Tokenizer> make_tokenizer(const std::string& name, const std::string& clean = "none");

}  // namespace triptych
