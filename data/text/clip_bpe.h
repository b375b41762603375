// CLIP's byte-pair tokenizer (Radford et al. 2021, arXiv:2103.00020), with the ids of OpenCLIP's SimpleTokenizer: text
// repaired as ftfy does (fix_text.h), HTML entities resolved twice, white space collapsed, lower case, words split by
// CLIP's pattern, bytes merged by rank.
#pragma once
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "data/text/tokenizer.h"

namespace triptych {

class ClipBpe : public Tokenizer {
 public:
  /// Reads the merges (gzip, one pair a line after a first comment line). Throws ConfigError when the file is missing,
  /// damaged or has fewer than 48,894 merges.
  explicit ClipBpe(const std::filesystem::path& merges_file);
  ~ClipBpe() override;

  static constexpr std::int64_t kStart = 49406;  ///< <start_of_text>
  static constexpr std::int64_t kEnd = 49407;    ///< <end_of_text>, the largest id

  std::int64_t vocabulary_size() const override { return 49408; }
  /// Invalid UTF-8 counts as U+FFFD. `<start_of_text>` and `<end_of_text>` written at the start of a word become their
  /// ids, as in OpenCLIP. Linear in the text but for one logarithm in the longest word.
  std::vector<std::int64_t> encode(std::string_view text) const override;
  /// kStart, ids, kEnd, zeros. A text that is too long is cut so that kEnd stays the last id.
  void encode_row(std::string_view text, std::span<std::int64_t> row) const override;

 private:
  struct Merges;
  void append_ids(std::string_view text, std::size_t limit, std::vector<std::int64_t>& ids) const;
  std::unique_ptr<const Merges> merges_;
};

}  // namespace triptych
