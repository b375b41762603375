// CLIP's byte-pair merging. Symbols are token ids from the start: 0 .. 255 bytes, 256 .. 511 bytes that end a word,
// then one id a merge in the order of the file, so that the id of a merge is also its rank.
#include "data/text/clip_bpe.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <unordered_map>

#include "core/base/errors.h"
#include "core/base/strings.h"
#include "data/text/clip_clean.h"

namespace triptych {
namespace {

constexpr int kMergeCount = 48894;
constexpr std::int32_t kFirstMerge = 512;
constexpr std::int32_t kNone = -1;

// The order of bytes in CLIP's vocabulary (from GPT-2): printable ones first.
std::array<std::uint8_t, 256> bytes_in_order() {
  const auto printable = [](int b) { return (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174; };
  std::array<std::uint8_t, 256> order{};
  std::size_t n = 0;
  for (const bool wanted : {true, false})
    for (int b = 0; b < 256; ++b)
      if (printable(b) == wanted) order[n++] = static_cast<std::uint8_t>(b);
  return order;
}

// How the file spells a byte: itself where printable, else the letters from U+0100 on. UTF-8.
std::string spelling(std::size_t place, std::uint8_t byte) {
  constexpr std::size_t kPrintable = 188;
  const unsigned code = place < kPrintable ? byte : static_cast<unsigned>(0x100 + place - kPrintable);
  if (code < 0x80) return {static_cast<char>(code)};
  return {static_cast<char>(0xc0 | code >> 6), static_cast<char>(0x80 | (code & 0x3f))};
}

// The first `lines` lines of a gzip file, or all there are. CLIP uses a fifth of its file.
std::string read_gzip(const std::filesystem::path& path, std::ptrdiff_t lines) {
  const std::string where = "CLIP merges " + path.string();
  gzFile file = gzopen(path.c_str(), "rb");
  if (!file) throw ConfigError(where + ": " + std::strerror(errno) + "; run scripts/setup, which fetches it");
  std::string text;
  char block[1 << 16];
  int got = 0;
  while (lines > 0 && (got = gzread(file, block, sizeof block)) > 0) {
    text.append(block, static_cast<std::size_t>(got));
    lines -= std::count(block, block + got, '\n');
  }
  if (gzclose_r(file) != Z_OK || got < 0)
    throw ConfigError(where + ": cut or damaged gzip data after " + std::to_string(text.size()) +
                      " bytes; delete it and run scripts/setup");
  return text;
}

// Looks strings up by a part of another, without a copy.
using SymbolIds = std::unordered_map<std::string, std::int32_t, StringHash, std::equal_to<>>;

}  // namespace

// The id that two neighbours merge to, in an open hash table.
struct ClipBpe::Merges {
  struct Slot {
    std::uint32_t pair = kEmpty;
    std::int32_t id = kNone;
  };
  static constexpr std::uint32_t kEmpty = 0xffffffff;  // no pair: ids are below 49408
  static constexpr int kBits = 17;                     // 48,894 pairs in 131,072 slots
  std::array<std::int32_t, 256> byte_ids{};
  std::vector<Slot> slots = std::vector<Slot>(std::size_t{1} << kBits);

  Slot& slot(std::uint32_t pair) { return slots[find(pair)]; }
  std::int32_t merged(std::int32_t left, std::int32_t right) const { return slots[find(pair_of(left, right))].id; }
  static std::uint32_t pair_of(std::int32_t left, std::int32_t right) {
    return static_cast<std::uint32_t>(left) << 16 | static_cast<std::uint32_t>(right);
  }

 private:
  std::size_t find(std::uint32_t pair) const {
    std::size_t at = pair * 0x9e3779b1u >> (32 - kBits);
    while (slots[at].pair != pair && slots[at].pair != kEmpty) at = (at + 1) & (slots.size() - 1);
    return at;
  }
};

namespace {

// Merges the symbols of one word: always the pair of lowest rank, the leftmost first. A heap of candidate pairs over a
// linked list, so that a word of n bytes costs O(n log n). Reused from word to word.
class WordMerger {
 public:
  template <class Merged>
  void run(std::vector<std::int32_t>& symbols, const Merged& merged) {
    const auto count = static_cast<std::int32_t>(symbols.size());
    before_.resize(symbols.size());
    after_.resize(symbols.size());
    heap_.clear();
    for (std::int32_t i = 0; i < count; ++i) {
      before_[at(i)] = i - 1;
      after_[at(i)] = i + 1 < count ? i + 1 : kNone;
      if (i + 1 < count) consider(symbols, i, i + 1, merged);
    }
    std::make_heap(heap_.begin(), heap_.end(), std::greater<>());
    while (!heap_.empty()) {
      std::pop_heap(heap_.begin(), heap_.end(), std::greater<>());
      const Candidate best = heap_.back();
      heap_.pop_back();
      join(symbols, best, merged);
    }
    symbols.erase(std::remove(symbols.begin(), symbols.end(), kNone), symbols.end());
  }

 private:
  struct Candidate {
    std::int32_t id, left;
    auto operator<=>(const Candidate&) const = default;
  };
  static std::size_t at(std::int32_t i) { return static_cast<std::size_t>(i); }

  template <class Merged>
  void consider(const std::vector<std::int32_t>& symbols, std::int32_t left, std::int32_t right, const Merged& merged) {
    const std::int32_t id = merged(symbols[at(left)], symbols[at(right)]);
    if (id != kNone) heap_.push_back({id, left});
  }

  template <class Merged>
  void join(std::vector<std::int32_t>& symbols, Candidate best, const Merged& merged) {
    const std::int32_t left = best.left;
    if (symbols[at(left)] == kNone) return;  // merged away since
    const std::int32_t right = after_[at(left)];
    if (right == kNone || merged(symbols[at(left)], symbols[at(right)]) != best.id) return;
    symbols[at(left)] = best.id;
    symbols[at(right)] = kNone;
    const std::int32_t next = after_[at(right)], last = before_[at(left)];
    after_[at(left)] = next;
    if (next != kNone) before_[at(next)] = left;
    const std::size_t known = heap_.size();
    if (last != kNone) consider(symbols, last, left, merged);
    if (next != kNone) consider(symbols, left, next, merged);
    for (auto end = known + 1; end <= heap_.size(); ++end)
      std::push_heap(heap_.begin(), heap_.begin() + static_cast<std::ptrdiff_t>(end), std::greater<>());
  }

  std::vector<std::int32_t> before_, after_;
  std::vector<Candidate> heap_;
};

}  // namespace

ClipBpe::ClipBpe(const std::filesystem::path& merges_file) {
  const std::string text = read_gzip(merges_file, kMergeCount + 1);
  auto merges = std::make_unique<Merges>();
  SymbolIds ids;
  ids.reserve(2 * kMergeCount);
  const auto order = bytes_in_order();
  for (std::size_t i = 0; i < order.size(); ++i) {
    const auto id = static_cast<std::int32_t>(i);
    merges->byte_ids[order[i]] = id;
    ids[spelling(i, order[i])] = id;
    ids[spelling(i, order[i]) + "</w>"] = id + 256;
  }
  std::string_view rest = text;
  const auto next_line = [&] {
    const std::size_t end = rest.find('\n');
    const auto line = rest.substr(0, end == std::string_view::npos ? 0 : end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    return line;
  };
  next_line();  // a comment
  for (std::int32_t rank = 0; rank < kMergeCount; ++rank) {
    const std::string_view line = next_line();
    const std::size_t space = std::min(line.find(' '), line.size());
    const auto left = ids.find(line.substr(0, space)), right = ids.find(line.substr(std::min(space + 1, line.size())));
    if (left == ids.end() || right == ids.end())
      throw ConfigError("CLIP merges " + merges_file.string() + ":" + std::to_string(rank + 2) + ": got '" +
                        std::string(line) + "', expected two known symbols, " + std::to_string(kMergeCount) +
                        " lines in all; delete it and run scripts/setup");
    const auto pair = Merges::pair_of(left->second, right->second);
    merges->slot(pair) = {pair, kFirstMerge + rank};
    ids[left->first + right->first] = kFirstMerge + rank;
  }
  merges_ = std::move(merges);
}

ClipBpe::~ClipBpe() = default;

void ClipBpe::append_ids(std::string_view text, std::size_t limit, std::vector<std::int64_t>& ids) const {
  const std::string clean = clip_clean(text);
  std::string_view rest = clean;
  std::vector<std::int32_t> symbols;
  WordMerger merger;
  const auto merged = [&](std::int32_t left, std::int32_t right) { return merges_->merged(left, right); };
  while (ids.size() < limit) {
    const std::string_view word = next_clip_word(rest);
    if (word.empty()) return;
    if (word == "<start_of_text>" || word == "<end_of_text>") {
      ids.push_back(word == "<end_of_text>" ? kEnd : kStart);
      continue;
    }
    symbols.clear();
    for (const char byte : word) symbols.push_back(merges_->byte_ids[static_cast<unsigned char>(byte)]);
    symbols.back() += 256;
    merger.run(symbols, merged);
    ids.insert(ids.end(), symbols.begin(), symbols.end());
  }
}

std::vector<std::int64_t> ClipBpe::encode(std::string_view text) const {
  std::vector<std::int64_t> ids;
  append_ids(text, ids.max_size(), ids);
  return ids;
}

void ClipBpe::encode_row(std::string_view text, std::span<std::int64_t> row) const {
  if (row.empty()) return;
  std::vector<std::int64_t> ids = {kStart};
  ids.reserve(row.size());
  append_ids(text, row.size(), ids);
  ids.resize(std::min(ids.size(), row.size() - 1));
  ids.push_back(kEnd);
  std::fill(std::copy(ids.begin(), ids.end(), row.begin()), row.end(), 0);
}

}  // namespace triptych
