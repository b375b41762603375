// Linkages to noun phrases. Constituent trees are not used: they put most bare captions under one VP, while the links
// between a noun and what stands before it are right more often.
#include "data/text/link_parser.h"

#include <link-grammar/dict-api.h>
#include <link-grammar/link-includes.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>

#include "core/base/errors.h"

namespace triptych {
namespace {

constexpr std::size_t kMostWords = 24, kLongestWord = 60;
constexpr char kSubscript = '\3';  // between a word and its class in the dictionary's own strings

// Links inside a base noun phrase, by the capitals of their names: adjectives, nouns before nouns, determiners, adverbs
// of adjectives, names of several words, numbers, possessives, a before a vowel, superlatives.
constexpr auto kInsidePhrase =
    std::to_array<std::string_view>({"A", "AA", "AJ", "AL", "AN", "D",  "DD", "DG", "DT", "EA", "EE",
                                     "G", "GN", "L",  "NA", "ND", "NM", "NN", "PH", "YP", "YS"});

struct DeleteOptions {
  void operator()(Parse_Options options) const { parse_options_delete(options); }
};
struct DeleteSentence {
  void operator()(Sentence sentence) const { sentence_delete(sentence); }
};
struct DeleteLinkage {
  void operator()(Linkage linkage) const { linkage_delete(linkage); }
};
template <class Handle, class Delete>
using Owned = std::unique_ptr<std::remove_pointer_t<Handle>, Delete>;

// The library's handler of messages belongs to a thread; without one it writes to stdout and stderr.
void silence_library() {
  lg_error_set_handler([](lg_errinfo*, void*) {}, nullptr);
}

Owned<Parse_Options, DeleteOptions> make_options() {
  silence_library();
  Owned<Parse_Options, DeleteOptions> options(parse_options_create());
  parse_options_set_verbosity(options.get(), 0);
  parse_options_set_linkage_limit(options.get(), 10);
  parse_options_set_max_null_count(options.get(), 0);
  parse_options_set_spell_guess(options.get(), 0);
  parse_options_set_max_parse_time(options.get(), 1);
  return options;
}

bool can_be_parsed(const CaptionSegment& segment) {
  const auto words = segment_words(segment);
  return words.size() <= kMostWords &&
         std::all_of(words.begin(), words.end(), [](const auto& word) { return word.text.size() <= kLongestWord; });
}

// The classes of nouns and names in the English dictionary: n nouns, s nouns without article, p plurals without s, c
// currencies, l places, b m f given names.
bool is_noun_class(std::string_view subscript) {
  return !subscript.empty() && std::string_view("nspclbmf").find(subscript[0]) != std::string_view::npos;
}

// `word` as the linkage spells it: "dog.n", "frisbee[?].n", "Honda[!<CAPITALIZED-WORDS>]", "States".
bool is_noun(std::string_view word) {
  if (word.starts_with('\'')) return false;  // 's.p, the possessive
  const auto point = word.rfind('.');
  const bool has_class = point != word.npos && point > 0 && point + 1 < word.size();
  if (has_class) return is_noun_class(word.substr(point + 1));
  return word.size() > 1 && word[0] >= 'A' && word[0] <= 'Z';
}

// A command or a bare verb phrase: what the parser makes of "open hands", where a caption means hands that are open. A
// participle may begin a caption ("riding a bike").
bool is_command(Linkage linkage) {
  for (LinkIdx link = 0; link < linkage_get_num_links(linkage); ++link) {
    const std::string_view label = linkage_get_link_label(linkage, link);
    if (label.starts_with("Wi")) return true;
    const std::string_view word = linkage_get_word(linkage, linkage_get_link_rword(linkage, link));
    if (label.starts_with("Wg") && word.ends_with(".v")) return true;
  }
  return false;
}

bool is_inside_phrase(std::string_view label) {
  if (label.starts_with("_I")) return true;  // between the words of an idiom: United States
  const auto end = std::find_if(label.begin(), label.end(), [](char c) { return c < 'A' || c > 'Z'; });
  const auto name = label.substr(0, static_cast<std::size_t>(end - label.begin()));
  return std::find(kInsidePhrase.begin(), kInsidePhrase.end(), name) != kInsidePhrase.end();
}

// Words of one phrase have one number: that of its first word.
std::vector<std::size_t> phrase_of_word(Linkage linkage) {
  std::vector<std::size_t> phrase(linkage_get_num_words(linkage));
  std::iota(phrase.begin(), phrase.end(), std::size_t{0});
  for (LinkIdx link = 0; link < linkage_get_num_links(linkage); ++link) {
    if (!is_inside_phrase(linkage_get_link_label(linkage, link))) continue;
    const auto left = phrase[linkage_get_link_lword(linkage, link)];
    const auto right = phrase[linkage_get_link_rword(linkage, link)];
    std::replace(phrase.begin(), phrase.end(), std::max(left, right), std::min(left, right));
  }
  return phrase;
}

// The library's byte offsets are a new part of its interface: they are not trusted.
bool is_part_of(const std::string& text, ByteSpan span) {
  const auto between_characters = [&](std::uint32_t at) {
    return at == text.size() || (static_cast<unsigned char>(text[at]) & 0xc0) != 0x80;
  };
  return span.begin < span.end && span.end <= text.size() && between_characters(span.begin) &&
         between_characters(span.end);
}

std::vector<ByteSpan> phrases_of(Linkage linkage, const std::string& text) {
  const auto phrase = phrase_of_word(linkage);
  std::vector<ByteSpan> spans;
  for (std::size_t first = 0; first < phrase.size(); ++first) {
    if (phrase[first] != first) continue;
    auto last = phrase.size();  // one past the last noun of the phrase
    while (last > first && !(phrase[last - 1] == first && is_noun(linkage_get_word(linkage, last - 1)))) --last;
    if (last == first) continue;
    const ByteSpan span{static_cast<std::uint32_t>(linkage_get_word_byte_start(linkage, first)),
                        static_cast<std::uint32_t>(linkage_get_word_byte_end(linkage, last - 1))};
    if (is_part_of(text, span) && (spans.empty() || spans.back().end <= span.begin)) spans.push_back(span);
  }
  return spans;
}

}  // namespace

struct LinkParser::Impl {
  Dictionary dictionary = nullptr;
  ~Impl() {
    if (dictionary) dictionary_delete(dictionary);
  }
};

LinkParser::LinkParser() : impl_(std::make_unique<Impl>()) {
  silence_library();
  impl_->dictionary = dictionary_create_lang("en");
  if (!impl_->dictionary)
    throw ConfigError(
        "phrases: link-grammar finds no English dictionary; install it: apt-get install link-grammar-dictionaries-en");
}

LinkParser::~LinkParser() = default;

std::optional<std::vector<ByteSpan>> LinkParser::noun_phrases(const CaptionSegment& segment) const {
  if (!can_be_parsed(segment)) return std::nullopt;
  const auto options = make_options();
  const Owned<Sentence, DeleteSentence> sentence(sentence_create(segment.text.c_str(), impl_->dictionary));
  if (!sentence || sentence_split(sentence.get(), options.get()) < 0) return std::nullopt;
  const bool found = sentence_parse(sentence.get(), options.get()) > 0;
  if (!found || parse_options_resources_exhausted(options.get())) return std::nullopt;
  const int valid = sentence_num_valid_linkages(sentence.get());
  for (int i = 0; i < valid; ++i) {
    const Owned<Linkage, DeleteLinkage> linkage(
        linkage_create(static_cast<LinkageIdx>(i), sentence.get(), options.get()));
    if (linkage && !is_command(linkage.get())) return phrases_of(linkage.get(), segment.text);
  }
  return std::nullopt;
}

WordClasses LinkParser::classes(const std::string& word) const {
  silence_library();
  WordClasses classes;
  Dict_node* const nodes = dictionary_lookup_list(impl_->dictionary, word.c_str());
  for (const Dict_node* node = nodes; node; node = node->right) {
    const char* mark = std::strchr(node->string, kSubscript);
    const std::string_view subscript = mark ? mark + 1 : "";
    if (subscript.starts_with('_')) continue;  // part of an idiom
    if (is_noun_class(subscript))
      classes.noun = true;
    else if (subscript.starts_with('a'))
      classes.adjective = true;
    else if (subscript.starts_with('v') || subscript.starts_with('q') || subscript.starts_with('w'))
      classes.verb = true;
    else
      classes.other = true;
  }
  free_lookup_list(impl_->dictionary, nodes);
  return classes;
}

std::string LinkParser::version() const {
  return std::string(linkgrammar_get_version());
}

}  // namespace triptych
