// Classes of words, then chunks.
#include "data/text/noun_chunk.h"

#include <unicode/uchar.h>
#include <unicode/uscript.h>

#include <algorithm>
#include <array>

namespace triptych {
namespace {

constexpr auto kDeterminers = std::to_array<std::string_view>(
    {"a",   "all",  "an",  "another", "any",  "both",  "each",  "eight", "every", "few",   "five",  "four",
     "her", "his",  "its", "many",    "most", "my",    "nine",  "no",    "one",   "our",   "seven", "several",
     "six", "some", "ten", "that",    "the",  "their", "these", "this",  "those", "three", "two",   "your"});

// Words of closed classes that some dictionary also has as nouns or names.
constexpr auto kNoPart = std::to_array<std::string_view>(
    {"about", "above", "across", "after",   "against", "along",   "also",    "among",   "and",     "are",   "around",
     "as",    "at",    "be",     "been",    "behind",  "below",   "beside",  "between", "but",     "by",    "can",
     "do",    "down",  "during", "for",     "from",    "had",     "has",     "have",    "he",      "how",   "i",
     "if",    "in",    "inside", "into",    "is",      "it",      "like",    "me",      "near",    "next",  "not",
     "of",    "off",   "on",     "onto",    "or",      "out",     "outside", "over",    "per",     "she",   "so",
     "than",  "them",  "then",   "there",   "they",    "through", "to",      "toward",  "towards", "under", "up",
     "us",    "very",  "via",    "was",     "we",      "were",    "what",    "when",    "where",   "which", "while",
     "who",   "with",  "within", "without", "you"});

enum class Role { kDeterminer, kModifier, kNoun, kBreak };

template <std::size_t n>
bool contains(const std::array<std::string_view, n>& words, std::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

std::string small(std::string_view word) {
  std::string out(word);
  for (char& c : out) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  return out;
}

bool is_number(std::string_view word) {
  return std::all_of(word.begin(), word.end(), [](char c) { return (c >= '0' && c <= '9') || c == '.'; });
}

bool has_latin_letter(std::string_view word) {
  for (const auto& c : decode_utf8(word)) {
    UErrorCode error = U_ZERO_ERROR;
    const auto code = static_cast<UChar32>(c.code);
    if (u_isalpha(code) && uscript_getScript(code, &error) == USCRIPT_LATIN) return true;
  }
  return false;
}

struct Tagged {
  Role role;
  bool verb = false;  // may be one
};

Tagged tag(std::string_view word, const WordLookup& lookup) {
  const auto plain = small(word);
  if (contains(kDeterminers, plain)) return {Role::kDeterminer};
  if (contains(kNoPart, plain)) return {Role::kBreak};
  if (is_number(plain)) return {Role::kModifier};
  if (!has_latin_letter(word)) return {Role::kBreak};
  auto classes = lookup(std::string(word));
  if (plain != word) {
    const auto also = lookup(plain);
    classes = {classes.noun || also.noun, classes.adjective || also.adjective, classes.verb || also.verb,
               classes.other || also.other};
  }
  const bool known = classes.noun || classes.adjective || classes.verb || classes.other;
  const bool participle = plain.ends_with("ing") || plain.ends_with("ed");
  if (classes.noun || (!known && !participle)) return {Role::kNoun, classes.verb};
  if (classes.adjective || participle) return {Role::kModifier};
  return {Role::kBreak};
}

}  // namespace

bool is_determiner(std::string_view word) {
  return contains(kDeterminers, small(word));
}

std::vector<ByteSpan> noun_chunks(std::span<const SegmentWord> words, const WordLookup& lookup) {
  std::vector<Tagged> tags;
  for (const auto& word : words) tags.push_back(tag(word.text, lookup));
  for (std::size_t i = 1; i + 1 < tags.size(); ++i) {
    const bool between = tags[i - 1].role == Role::kNoun && tags[i + 1].role == Role::kDeterminer;
    if (between && tags[i].role == Role::kNoun && tags[i].verb) tags[i].role = Role::kBreak;
  }
  std::vector<ByteSpan> chunks;
  const auto role = [&](std::size_t i) { return i < tags.size() ? tags[i].role : Role::kBreak; };
  for (std::size_t first = 0; first < words.size();) {
    auto at = first;
    if (role(at) == Role::kDeterminer) ++at;
    while (role(at) == Role::kModifier) ++at;
    const auto head = at;
    while (role(at) == Role::kNoun) ++at;
    if (at > head) chunks.push_back({words[first].at.begin, words[at - 1].at.end});
    first = std::max(at, first + 1);
  }
  return chunks;
}

}  // namespace triptych
