// How often classes are named and noun phrases occur in captions, against counts made by hand.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/errors.h"
#include "data/tools/concepts.h"
#include "data/tools/phrase_concepts.h"
#include "data/tools/words.h"
#include "tests/support/corpus_configs.h"
#include "tests/support/small_corpora.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_pictures.h"

namespace triptych {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(WordsTest, AreFoldedRunsOfLettersMarksAndDigits) {
  EXPECT_THAT(words_of("A cat's T-shirt, 2nd."), ElementsAre("a", "cat's", "t", "shirt", "2nd"));
  EXPECT_THAT(words_of("Stra\xC3\x9F"
                       "e  \xC3\x89t\xC3\xA9"),
              ElementsAre("strasse", "\xC3\xA9t\xC3\xA9"));
  EXPECT_THAT(words_of("the dogs' 'quoted' o\xE2\x80\x99"
                       "clock"),
              ElementsAre("the", "dogs", "quoted", "o'clock"));
  EXPECT_THAT(words_of("\xEF\xBC\xA1\xEF\xBC\xA2"), ElementsAre("ab"));  // full-width letters
  EXPECT_THAT(words_of("... \xF0\x9F\x98\x80 !"), IsEmpty());
  EXPECT_THAT(words_of("a\xFF"
                       "b"),
              ElementsAre("a", "b"));
  EXPECT_THAT(words_of(""), IsEmpty());
  EXPECT_EQ(compared_text(" The  CAT!"), "the cat");
  EXPECT_EQ(compared_text("\xF0\x9F\x98\x80!"), "\xF0\x9F\x98\x80!");
}

TEST(ConceptsTest, NamesShareAConceptWhenAnyIsEqual) {
  ConceptNames names;
  EXPECT_THAT(names.add({{"cat", "kitty"}, {"Golden_Retriever"}}), ElementsAre(0, 1));
  EXPECT_THAT(names.add({{"golden-retriever"}, {"tom cat", "KITTY"}, {"bird"}}), ElementsAre(1, 0, 2));
  EXPECT_EQ(names.size(), 3);
  EXPECT_EQ(names.find("tom cat"), 0);
  EXPECT_EQ(names.find("retriever"), -1);
  EXPECT_EQ(names.most_words(), 2U);
  EXPECT_EQ(names.name(1), "Golden_Retriever");
  // Two classes in training are two here, although captions cannot tell them apart.
  EXPECT_THAT(names.add({{"C"}, {"C++"}, {"c"}}), ElementsAre(3, 4, 3));
  EXPECT_EQ(names.find("c"), 3);
}

TEST(ConceptsTest, CountsOccurrencesRecordsAndLabels) {
  const TempDir folder;
  const auto texts = open_corpus(text_corpus(
      write_records(folder / "t.tar", {{"png", "p", {"A cat and a Cat; a golden retriever."}},
                                       {"png", "p", {"Kitty!", "no concept here", "retrievers and category"}},
                                       {"png", "p", {"golden, retriever"}},
                                       {"png", "p", {"the retriever"}}})));
  write_test_file(folder / "classes.txt", "cat|kitty\nretriever\ngolden retriever\nbird\n");
  const auto labels = open_corpus(label_corpus(write_small_shards(folder / "l", {5}, 2), folder / "classes.txt"));
  ConceptNames names;
  const auto concept_of = names.add(labels->class_names());
  for (const int threads : {1, 3}) {
    const auto counts = count_concepts(*texts, names, {}, {.threads = threads});
    EXPECT_EQ(counts[0].occurrences, 3);  // cat, Cat, Kitty; not category
    EXPECT_EQ(counts[0].records, 2);
    EXPECT_EQ(counts[1].occurrences, 3) << "inside of golden retriever too; not retrievers";
    EXPECT_EQ(counts[2].occurrences, 2) << "words are neighbours across the comma";
    EXPECT_EQ(counts[2].records, 2);
    EXPECT_EQ(counts[3].occurrences, 0);
    const auto labelled = count_concepts(*labels, names, concept_of, {.threads = threads});
    EXPECT_EQ(labelled[0].labelled, 3);
    EXPECT_EQ(labelled[1].labelled, 2);
    EXPECT_EQ(labelled[0].occurrences, 0);
  }
}

TEST(ConceptsTest, RecordsThatCannotBeReadAreLeftOut) {
  const TempDir folder;
  TarWriter tar;
  tar.file("0.png", "p").file("0.txt", "a cat");
  tar.file("1.png", "p").file("1.txt", " ");  // an empty caption
  write_test_file(folder / "t.tar", tar.end().bytes());
  ConceptNames names;
  names.add({{"cat"}});
  EXPECT_EQ(count_concepts(*open_corpus(text_corpus(folder / "t.tar")), names, {}, {})[0].records, 1);
}

TEST(PhraseConceptsTest, AreTheWordsBehindTheDeterminers) {
  EXPECT_EQ(concept_of_phrase("The Red  CAR"), "red car");
  EXPECT_EQ(concept_of_phrase("their another dog's bowl"), "dog's bowl");
  EXPECT_EQ(concept_of_phrase("man of the house"), "man of the house");
  EXPECT_EQ(concept_of_phrase("a"), "");
}

/// A file of phrases where each caption has the phrases that are given, as many as a record has captions.
PhraseFile phrases_in(const std::filesystem::path& path, const Corpus& corpus,
                      const std::vector<std::vector<std::vector<std::string>>>& phrases) {
  PhraseWriter writer(path, {1, 2, corpus.size()});
  std::vector<RecordPhrases> block(phrases.size());
  for (std::size_t i = 0; i < phrases.size(); ++i) {
    if (phrases[i].empty()) continue;
    const auto captions = corpus.read(static_cast<std::int64_t>(i)).captions;
    for (std::size_t c = 0; c < captions.size(); ++c) {
      std::vector<ByteSpan> spans;
      for (const auto& phrase : phrases[i][c]) {
        const auto at = static_cast<std::uint32_t>(captions[c].find(phrase));
        spans.push_back({at, at + static_cast<std::uint32_t>(phrase.size())});
      }
      block[i].push_back(phrases_of_caption(captions[c], std::move(spans)));
    }
  }
  writer.append(block);
  writer.finish();
  return PhraseFile(path.string());
}

TEST(PhraseConceptsTest, CountsOccurrencesAndRecords) {
  const TempDir folder;
  const auto corpus =
      open_corpus(text_corpus(write_records(folder / "t.tar", {{"png", "p", {"A cat saw the cat on her red mat."}},
                                                               {"png", "p", {"the cat", "a red mat"}},
                                                               {"png", "p", {" "}}})));
  const auto file =
      phrases_in(folder / "p", *corpus, {{{"A cat", "the cat", "her red mat"}}, {{"the cat"}, {"a red mat"}}, {}});
  for (const int threads : {1, 3}) {
    PhraseConcepts counts;
    EXPECT_EQ(count_phrases(*corpus, file, {.threads = threads}, counts), 1);  // the caption of blanks
    ASSERT_EQ(counts.size(), 2U);
    EXPECT_EQ(counts["cat"].occurrences, 3);
    EXPECT_EQ(counts["cat"].records, 2);
    EXPECT_EQ(counts["red mat"].occurrences, 2);
    count_phrases(*corpus, file, {.threads = threads}, counts);
    EXPECT_EQ(counts["cat"].occurrences, 6) << "corpora are added";
  }
}

TEST(PhraseConceptsTest, RecordsOfOtherCaptionsAreLeftOutAndCounted) {
  const TempDir folder;
  const auto corpus = open_corpus(
      text_corpus(write_records(folder / "t.tar", {{"png", "p", {"a cat", "a mat"}}, {"png", "p", {"a cat"}}})));
  const auto other = open_corpus(
      text_corpus(write_records(folder / "o.tar", {{"png", "p", {"a cat", "a dog"}}, {"png", "p", {"a cat"}}})));
  const auto file = phrases_in(folder / "p", *corpus, {{{"a cat"}, {"a mat"}}, {{"a cat"}}});
  PhraseConcepts counts;
  EXPECT_EQ(count_phrases(*other, file, {}, counts), 1);
  ASSERT_EQ(counts.size(), 1U);
  EXPECT_EQ(counts["cat"].occurrences, 1) << "nothing of the record with another caption";
}

TEST(PhraseConceptsTest, RecordsWithoutPhrasesAreNoError) {
  const TempDir folder;
  const auto corpus =
      open_corpus(text_corpus(write_records(folder / "t.tar", {{"png", "p", {"a cat"}}, {"png", "p", {"a cat"}}})));
  const auto file = phrases_in(folder / "p", *corpus, {{}, {{"a cat"}}});  // an import without a line for record 0
  PhraseConcepts counts;
  EXPECT_EQ(count_phrases(*corpus, file, {}, counts), 0);
  EXPECT_EQ(counts["cat"].records, 1);
}

}  // namespace
}  // namespace triptych
