// One pass over the characters: a word is collected, and looked up when it ends.
#include "data/text/bert_wordpiece.h"

#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <functional>
#include <unordered_map>

#include "core/base/errors.h"
#include "core/base/strings.h"

namespace triptych {
namespace {

constexpr std::size_t kLongestWord = 100;  // characters

struct Special {
  std::string_view name;
  std::int64_t id;
};
constexpr Special kSpecials[] = {{"[PAD]", BertWordPiece::kPad},
                                 {"[UNK]", BertWordPiece::kUnknown},
                                 {"[CLS]", BertWordPiece::kCls},
                                 {"[SEP]", BertWordPiece::kSep},
                                 {"[MASK]", BertWordPiece::kMask}};

// Looks strings up by a part of another, without a copy.
using PieceIds = std::unordered_map<std::string, std::int32_t, StringHash, std::equal_to<>>;

std::uint32_t category(char32_t c) {
  return U_GET_GC_MASK(static_cast<UChar32>(c));
}

bool is_space(char32_t c) {
  return c < 0x80 ? c == ' ' || c == '\t' || c == '\n' || c == '\r' : (category(c) & U_GC_Z_MASK) != 0;
}

// Dropped from the text, unlike the white space among them (see is_space).
bool is_control(char32_t c) {
  return c < 0x80 ? c < 0x20 || c == 0x7f : c == 0xfffd || (category(c) & U_GC_C_MASK) != 0;
}

bool is_punctuation(char32_t c) {
  const bool ascii = (c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) || (c >= 123 && c <= 126);
  return c < 0x80 ? ascii : (category(c) & U_GC_P_MASK) != 0;
}

// The blocks that BERT calls Chinese: unified ideographs, extensions A to E, compatibility ideographs.
bool is_chinese(char32_t c) {
  constexpr std::array<std::array<char32_t, 2>, 8> kBlocks = {{{0x3400, 0x4dbf},
                                                               {0x4e00, 0x9fff},
                                                               {0xf900, 0xfaff},
                                                               {0x20000, 0x2a6df},
                                                               {0x2a700, 0x2b73f},
                                                               {0x2b740, 0x2b81f},
                                                               {0x2b820, 0x2ceaf},
                                                               {0x2f800, 0x2fa1f}}};
  return c >= 0x3400 &&
         std::any_of(kBlocks.begin(), kBlocks.end(), [&](const auto& block) { return c >= block[0] && c <= block[1]; });
}

const icu::Normalizer2& canonical() {
  static const icu::Normalizer2& nfc = [&]() -> const icu::Normalizer2& {
    UErrorCode error = U_ZERO_ERROR;
    const auto* found = icu::Normalizer2::getNFCInstance(error);
    if (!found) throw ConfigError(std::string("ICU's normalisation data is missing: ") + u_errorName(error));
    return *found;
  }();
  return nfc;
}

// Calls use(code) for each character of the canonical decomposition that is no mark. One character at a time: what
// whole-text NFD does besides, ordering marks, concerns characters that are dropped or in no piece.
template <class Use>
void without_marks(char32_t c, const Use& use) {
  if (c < 0xc0) return use(c);
  icu::UnicodeString parts;
  if (!canonical().getDecomposition(static_cast<UChar32>(c), parts)) parts.setTo(static_cast<UChar32>(c));
  for (std::int32_t i = 0; i < parts.length(); i = parts.moveIndex32(i, 1)) {
    const auto part = static_cast<char32_t>(parts.char32At(i));
    if (!(category(part) & U_GC_MN_MASK)) use(part);
  }
}

// The special token at text[at], or null.
const Special* special_at(const Characters& text, std::size_t at) {
  if (text[at].code != '[') return nullptr;
  for (const auto& special : kSpecials) {
    const auto size = special.name.size();
    const bool equal =
        at + size <= text.size() &&
        std::equal(special.name.begin(), special.name.end(), text.begin() + static_cast<std::ptrdiff_t>(at),
                   [](char a, const Character& b) { return char32_t(a) == b.code; });
    if (equal) return &special;
  }
  return nullptr;
}

}  // namespace

struct BertWordPiece::Vocabulary {
  PieceIds starts, inner;   // pieces that begin a word; those written with ## in front, without it
  std::size_t longest = 0;  // bytes of the longest piece
  std::int64_t size = 0;
  void add(std::string_view piece) {
    const bool is_inner = piece.size() > 2 && piece.starts_with("##");
    if (is_inner) piece.remove_prefix(2);
    longest = std::max(longest, piece.size());
    (is_inner ? inner : starts).try_emplace(std::string(piece), static_cast<std::int32_t>(size++));
  }
};

// The word that is being collected, and where its pieces go.
class BertWordPiece::Splitter {
 public:
  Splitter(const Vocabulary& vocabulary, std::vector<WordPiece>& out) : vocabulary_(vocabulary), out_(out) {}

  void add(char32_t code, ByteSpan source) {
    append_utf8(code, bytes_);
    letters_.push_back({bytes_.size(), source});
  }

  void end_word() {
    if (letters_.empty()) return;
    const auto first = out_.size();
    if (letters_.size() > kLongestWord || !append_longest_pieces()) {
      out_.resize(first);
      out_.push_back({kUnknown, {letters_.front().source.begin, letters_.back().source.end}});
    }
    bytes_.clear();
    letters_.clear();
  }

 private:
  struct Letter {
    std::size_t end;  // in bytes_
    ByteSpan source;
  };

  std::size_t begin_of(std::size_t letter) const { return letter == 0 ? 0 : letters_[letter - 1].end; }

  // False when some part of the word is in no piece.
  bool append_longest_pieces() {
    for (std::size_t first = 0; first < letters_.size();) {
      const auto& known = first == 0 ? vocabulary_.starts : vocabulary_.inner;
      const auto begin = begin_of(first);
      auto last = letters_.size();  // one past the piece
      auto found = known.end();
      for (; last > first; --last) {
        const auto size = letters_[last - 1].end - begin;
        if (size > vocabulary_.longest) continue;
        found = known.find(std::string_view(bytes_).substr(begin, size));
        if (found != known.end()) break;
      }
      if (last == first) return false;
      out_.push_back({found->second, {letters_[first].source.begin, letters_[last - 1].source.end}});
      first = last;
    }
    return true;
  }

  const Vocabulary& vocabulary_;
  std::vector<WordPiece>& out_;
  std::string bytes_;
  std::vector<Letter> letters_;
};

BertWordPiece::BertWordPiece(const std::filesystem::path& vocabulary_file, End end) : end_(end) {
  const std::string where = "BERT vocabulary " + vocabulary_file.string();
  std::ifstream file(vocabulary_file);
  if (!file || std::filesystem::is_directory(vocabulary_file))
    throw ConfigError(where + ": cannot be read; run scripts/setup, which fetches it");
  auto vocabulary = std::make_unique<Vocabulary>();
  std::string line;
  while (vocabulary->size <= kVocabularySize && std::getline(file, line)) {
    if (line.ends_with('\r')) line.pop_back();
    vocabulary->add(line);
  }
  const auto refuse = [&](const std::string& what) {
    throw ConfigError(where + ": " + what + ", expected the vocabulary of bert-base-uncased, " +
                      std::to_string(kVocabularySize) + " lines; delete it and run scripts/setup");
  };
  if (vocabulary->size != kVocabularySize)
    refuse(vocabulary->size > kVocabularySize ? "more lines" : std::to_string(vocabulary->size) + " lines");
  for (const auto& special : kSpecials) {
    const auto found = vocabulary->starts.find(special.name);
    if (found == vocabulary->starts.end() || found->second != special.id)
      refuse("line " + std::to_string(special.id + 1) + " is not " + std::string(special.name));
  }
  vocabulary_ = std::move(vocabulary);
}

BertWordPiece::~BertWordPiece() = default;

void BertWordPiece::append_pieces(const Characters& text, std::size_t limit, std::vector<WordPiece>& out) const {
  Splitter splitter(*vocabulary_, out);
  for (std::size_t at = 0; at < text.size() && out.size() < limit; ++at) {
    if (const Special* special = special_at(text, at)) {
      splitter.end_word();
      const auto last = at + special->name.size() - 1;
      out.push_back({static_cast<std::int32_t>(special->id), {text[at].source.begin, text[last].source.end}});
      at = last;
      continue;
    }
    const auto code = static_cast<char32_t>(u_tolower(static_cast<UChar32>(text[at].code)));
    if (is_space(code)) {
      splitter.end_word();
      continue;
    }
    if (is_control(code)) continue;
    const bool alone = is_chinese(code);
    if (alone) splitter.end_word();
    without_marks(code, [&](char32_t part) {
      const bool mark = is_punctuation(part);
      if (mark) splitter.end_word();
      splitter.add(part, text[at].source);
      if (mark) splitter.end_word();
    });
    if (alone) splitter.end_word();
  }
  if (out.size() < limit) splitter.end_word();
}

std::vector<WordPiece> BertWordPiece::pieces(const Characters& text) const {
  std::vector<WordPiece> out;
  append_pieces(text, out.max_size(), out);
  return out;
}

std::vector<std::int64_t> BertWordPiece::encode(std::string_view text) const {
  std::vector<std::int64_t> ids;
  for (const auto& piece : pieces(decode_utf8(text))) ids.push_back(piece.id);
  return ids;
}

void BertWordPiece::encode_row(std::string_view text, std::span<std::int64_t> row) const {
  if (row.empty()) return;
  const std::size_t reserved = end_ == End::kSep ? 2 : 1;
  const std::size_t room = row.size() - std::min(reserved, row.size());
  std::vector<WordPiece> found;
  append_pieces(decode_utf8(text), room, found);
  std::fill(row.begin(), row.end(), kPad);
  row[0] = kCls;
  std::size_t at = 1;
  for (std::size_t i = 0; i < std::min(room, found.size()); ++i) row[at++] = found[i].id;
  if (end_ == End::kSep && at < row.size()) row[at] = kSep;
}

}  // namespace triptych
