// Phrases of whole corpora: found, imported, resumed.
#include "data/phrase_builder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <functional>

#include "core/base/errors.h"
#include "data/text/noun_phrases.h"
#include "tests/support/corpus_configs.h"
#include "tests/support/tar_writer.h"
#include "tests/support/temp_dir.h"

namespace triptych {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::string caption_of(int i) {
  return "a red bus and " + std::to_string(i + 2) + " old dogs";
}

/// Records with the captions "txt" and "alt"; record 5 cannot be read.
std::unique_ptr<Corpus> corpus_of(const TempDir& dir, int records, std::vector<std::string> keys = {"txt", "alt"}) {
  TarWriter tar;
  for (int i = 0; i < records; ++i) {
    const auto key = "k" + std::to_string(1000 + i);
    tar.file(key + ".jpg", "p").file(key + ".txt", i == 5 ? "\xFF" : caption_of(i)).file(key + ".alt", "été: a cat");
  }
  write_test_file(dir / "a.tar", tar.end().bytes());
  auto config = text_corpus(dir / "a.tar");
  config.caption_keys = std::move(keys);
  return open_corpus(config);
}

std::vector<std::string> phrases(const PhraseFile& file, const Corpus& corpus, std::int64_t record,
                                 std::size_t caption) {
  const auto text = corpus.read(record).captions.at(caption);
  std::vector<std::string> found;
  for (const auto& span : file.spans(record, caption, text))
    found.push_back(text.substr(span.begin, span.end - span.begin));
  return found;
}

std::string bytes_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

template <class Error>
std::string error_of(const std::function<void()>& act) {
  try {
    act();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(FindPhrases, OfEveryCaptionOfEveryRecord) {
  const TempDir dir;
  const auto corpus = corpus_of(dir, 70);
  const auto path = (dir / "p").string();
  std::vector<std::int64_t> seen;
  const auto counts =
      find_phrases(*corpus, path, 2, [&](const PhraseCounts& so_far, std::int64_t) { seen.push_back(so_far.records); });
  EXPECT_EQ(counts.records, 70);
  EXPECT_EQ(counts.unusable, 1);
  EXPECT_EQ(counts.captions, 138);
  EXPECT_THAT(seen, ElementsAre(70));
  const PhraseFile file(path);
  file.check_corpus(caption_fingerprint(*corpus), corpus->size());
  EXPECT_THAT(phrases(file, *corpus, 69, 0), ElementsAre("a red bus", "71 old dogs"));
  EXPECT_THAT(phrases(file, *corpus, 0, 1), testing::Contains("a cat"));
  EXPECT_THAT(file.read(5), IsEmpty());
}

TEST(FindPhrases, TheSameForAnyThreadsAndInterruptions) {
  const TempDir dir;
  const auto corpus = corpus_of(dir, 200);
  const auto path = (dir / "p").string();
  find_phrases(*corpus, path, 1, {});
  const auto whole = bytes_of(path);
  const auto again = find_phrases(*corpus, path, 1, {});
  EXPECT_EQ(again.records, 0);  // it is there already
  EXPECT_EQ(again.kept, 200);
  std::filesystem::remove(path);
  {
    const PhraseFile done = [&] {
      find_phrases(*corpus, path, 3, {});
      return PhraseFile(path);
    }();
    PhraseWriter half((dir / "q").string(), done.source());
    std::vector<RecordPhrases> block;
    for (int i = 0; i < PhraseWriter::kBlockRecords; ++i) block.push_back(done.read(i));
    half.append(block);
  }
  EXPECT_EQ(bytes_of(path), whole);
  const auto rest = find_phrases(*corpus, (dir / "q").string(), 2, {});
  EXPECT_EQ(rest.kept, PhraseWriter::kBlockRecords);
  EXPECT_EQ(rest.records, 200 - PhraseWriter::kBlockRecords);
  EXPECT_EQ(bytes_of(dir / "q"), whole);
  std::ofstream(path, std::ios::binary) << "damaged";
  EXPECT_THAT(error_of<ConfigError>([&] { find_phrases(*corpus, path, 1, {}); }), HasSubstr("--overwrite"));
  EXPECT_EQ(find_phrases(*corpus, path, 1, {}, PhraseWriter::Others::kReplace).records, 200);
  EXPECT_EQ(bytes_of(path), whole);
}

TEST(FindPhrases, NeitherParserNorImportReplacesTheOther) {
  const TempDir dir;
  const auto corpus = corpus_of(dir, 70, {"txt"});
  const auto lines = (dir / "lines.jsonl").string(), path = (dir / "p").string();
  std::ofstream(lines) << R"({"record": 0, "phrases": [[[2, 9]]]})";
  import_phrases(*corpus, lines, path);
  const auto imported = bytes_of(path);
  import_phrases(*corpus, lines, path);  // the same lines again
  EXPECT_THAT(error_of<ConfigError>([&] { find_phrases(*corpus, path, 1, {}); }), HasSubstr("there already"));
  std::ofstream(lines) << R"({"record": 1, "phrases": [[[2, 9]]]})";
  EXPECT_THAT(error_of<ConfigError>([&] { import_phrases(*corpus, lines, path); }), HasSubstr("there already"));
  EXPECT_EQ(bytes_of(path), imported);
  import_phrases(*corpus, lines, path, PhraseWriter::Others::kReplace);
  EXPECT_THAT(phrases(PhraseFile(path), *corpus, 1, 0), ElementsAre("red bus"));
  std::filesystem::rename(path, path + ".part");  // as if a parser of another source had been stopped
  EXPECT_THAT(error_of<ConfigError>([&] { find_phrases(*corpus, path, 1, {}); }), HasSubstr("unfinished work"));
}

TEST(FindPhrases, OtherCaptionKeysAreAnotherCorpus) {
  const TempDir dir;
  const auto both = corpus_of(dir, 3), one = corpus_of(dir, 3, {"txt"});
  EXPECT_NE(caption_fingerprint(*both), caption_fingerprint(*one));
  EXPECT_EQ(caption_fingerprint(*both), caption_fingerprint(*corpus_of(dir, 3)));
  EXPECT_EQ(caption_fingerprint(*one), caption_fingerprint(*corpus_of(dir, 3, {}))) << "txt is what the format takes";
}

TEST(FindPhrases, NeedCaptions) {
  const TempDir dir;
  write_test_file(dir / "a.tar", TarWriter().file("x.jpg", "p").file("x.cls", "0").end().bytes());
  write_test_file(dir / "classes.txt", "cat\n");
  const auto corpus = open_corpus(label_corpus(dir / "a.tar", dir / "classes.txt"));
  EXPECT_THAT(error_of<ConfigError>([&] { find_phrases(*corpus, (dir / "p").string(), 1, {}); }),
              HasSubstr("image_label"));
}

TEST(ImportPhrases, TakesWhatAnotherParserFound) {
  const TempDir dir;
  const auto corpus = corpus_of(dir, 70);
  const auto lines = (dir / "lines.jsonl").string(), path = (dir / "p").string();
  const auto written = export_captions(*corpus, lines);
  EXPECT_EQ(written.captions, 138);
  EXPECT_FALSE(std::filesystem::exists(lines + ".part"));
  std::ifstream exported(lines);
  std::string first;
  std::getline(exported, first);
  EXPECT_EQ(first, R"({"record":0,"captions":["a red bus and 2 old dogs","été: a cat"]})");
  std::ofstream(lines) << R"({"record": 0, "captions": ["a red bus and 2 old dogs", "été: a cat"], )"
                       << R"("phrases": [[[2, 9], [0, 9]], [[0, 5]]]})"
                       << "\n\n"
                       << R"({"phrases": [[], [[7, 12]]], "record": 69})";  // no line feed at the end
  const auto counts = import_phrases(*corpus, lines, path);
  EXPECT_EQ(counts.captions, 4);
  EXPECT_EQ(counts.phrases, 4);
  const PhraseFile file(path);
  EXPECT_THAT(phrases(file, *corpus, 0, 0), ElementsAre("red bus", "a red bus"));
  EXPECT_THAT(phrases(file, *corpus, 0, 1), ElementsAre("été"));
  EXPECT_THAT(phrases(file, *corpus, 69, 1), ElementsAre("a cat"));
  EXPECT_THAT(file.read(1), IsEmpty());
}

TEST(ImportPhrases, NamesTheLineThatIsWrong) {
  const TempDir dir;
  const auto corpus = corpus_of(dir, 7, {"txt"});
  const auto lines = (dir / "lines.jsonl").string(), path = (dir / "p").string();
  const auto refused = [&](const std::string& second) {
    std::ofstream(lines) << R"({"record": 0, "phrases": [[]]})"
                         << "\n"
                         << second << "\n";
    const auto message = error_of<DataError>([&] { import_phrases(*corpus, lines, path); });
    EXPECT_THAT(message, HasSubstr("lines.jsonl:2: "));
    return message;
  };
  EXPECT_THAT(refused("{"), HasSubstr("parse"));
  EXPECT_THAT(refused("[]"), HasSubstr("array"));
  EXPECT_THAT(refused(R"({"record": 0, "phrases": [[]]})"), HasSubstr("record 0 behind 0"));
  EXPECT_THAT(refused(R"({"record": 7, "phrases": [[]]})"), HasSubstr("the corpus has 7"));
  EXPECT_THAT(refused(R"({"record": -1, "phrases": [[]]})"), HasSubstr("-1"));
  EXPECT_THAT(refused(R"({"record": 1e30, "phrases": [[]]})"), HasSubstr("1e+30"));
  EXPECT_THAT(refused(R"({"record": 1})"), HasSubstr("phrases"));
  EXPECT_THAT(refused(R"({"record": 1, "phrases": 3})"), HasSubstr("expected one for each of 1 captions"));
  EXPECT_THAT(refused(R"({"record": 1, "phrases": [[], []]})"), HasSubstr("got 2 lists"));
  EXPECT_THAT(refused(R"({"record": 5, "phrases": [[]]})"), HasSubstr("0 captions"));  // cannot be read
  EXPECT_THAT(refused(R"({"record": 1, "phrases": [[[0]]]})"), HasSubstr("array index 1"));
  EXPECT_THAT(refused(R"({"record": 1, "phrases": [[[0, 99]]]})"), HasSubstr("[0, 99]"));
  EXPECT_THAT(refused(R"({"record": 1, "phrases": [[[0, 5000000000]]]})"), HasSubstr("5000000000"));
  EXPECT_THAT(refused(R"({"record": 1, "captions": ["x"], "phrases": [[]]})"), HasSubstr("not those of the corpus"));
  EXPECT_THAT(refused(R"({"record": 1, "phrases": [[[[0], 1]]]})"), HasSubstr("got the offset array"));
  const auto deep = std::string(200'000, '[') + std::string(200'000, ']');
  EXPECT_THAT(refused(R"({"record": 1, "phrases": [[[)" + deep + ", 1]]]}"), HasSubstr("nested deeper than 100"));
  EXPECT_THAT(refused(std::string(5 << 20, ' ')), HasSubstr("4194304 bytes"));
  EXPECT_THAT(refused(std::string("{\0}", 3)), HasSubstr("parse"));
  EXPECT_FALSE(std::filesystem::exists(path) || std::filesystem::exists(path + ".part"));
  EXPECT_THAT(error_of<ConfigError>([&] { import_phrases(*corpus, (dir / "none").string(), path); }),
              HasSubstr("cannot be read"));
}

}  // namespace
}  // namespace triptych
