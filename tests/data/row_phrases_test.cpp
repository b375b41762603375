// Files of phrases in training: checked at start, and places of word pieces in batches.
#include "data/row_phrases.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <fstream>
#include <map>

#include "core/base/errors.h"
#include "data/phrase_builder.h"
#include "data/text/bert_wordpiece.h"
#include "tests/support/corpus_configs.h"
#include "tests/support/small_corpora.h"
#include "tests/support/temp_dir.h"

namespace triptych {
namespace {

using testing::AllOf;
using testing::HasSubstr;

/// 7 records with the caption "an unaffable record I" and 4 with a class; phrases of all captions but that of record 3
/// are "unaffable record I".
class RowPhrasesTest : public testing::Test {
 protected:
  RowPhrasesTest() {
    write_test_file(folder_ / "classes.txt", "cat\ndog\n");
    config_.corpora = {text_corpus(write_small_shards(folder_ / "text", {7}, 0, "an unaffable record")),
                       label_corpus(write_small_shards(folder_ / "label", {4}, 2), folder_ / "classes.txt")};
    config_.corpora[0].phrases = path_;
    config_.workers = 2;
    std::ofstream lines(folder_ / "lines");
    for (int i = 0; i < 7; ++i)
      if (i != 3) lines << "{\"record\": " << i << ", \"phrases\": [[[3, 21]]]}\n";
    lines.close();
    import_phrases(*open_corpus(config_.corpora[0]), (folder_ / "lines").string(), path_);
    spec_.image_size = 6;
    spec_.phrases = true;
    spec_.form = {"bert_wordpiece", "tcl_caption", 16};
  }

  std::string refusal() const {
    try {
      const CorpusSet corpora(config_);
      Loader(corpora, config_, spec_, 11, {0, 1, 11, 11});
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "no error";
  }

  TempDir folder_;
  std::string path_ = (folder_ / "p").string();
  DataConfig config_;
  BatchSpec spec_;
};

TEST_F(RowPhrasesTest, AreTheWordPiecesOfTheRow) {
  const CorpusSet corpora(config_);
  for (const int micro_batches : {1, 11}) {
    Loader loader(corpora, config_, spec_, 11, {0, 1, 11, 11 / micro_batches});
    std::int64_t rows_with_phrases = 0;
    for (const auto& batch : loader.next()) {
      ASSERT_EQ(batch.phrases.size(1), 4);
      rows_with_phrases += batch.phrases.size(0);
      for (std::int64_t i = 0; i < batch.phrases.size(0); ++i) {
        const auto* const place = batch.phrases.const_data_ptr<std::int64_t>() + 4 * i;
        const auto row = batch.tokens[place[0]][place[1]];
        // [CLS] an una ##ffa ##ble record I [SEP]
        EXPECT_EQ(row[place[2] - 1].item<std::int64_t>(), 2019) << "an";
        EXPECT_EQ(row[place[2]].item<std::int64_t>(), 14477) << "una";
        EXPECT_EQ(place[3] - place[2], 5);
        EXPECT_EQ(row[place[3]].item<std::int64_t>(), BertWordPiece::kSep);
      }
    }
    EXPECT_EQ(rows_with_phrases, 6) << "an epoch: 7 captions, one of them without a line, and 4 prompts";
  }
}

TEST_F(RowPhrasesTest, APhraseThatTheRowCutsIsLeftOut) {
  const CorpusSet corpora(config_);
  spec_.form.context = 7;  // no room for the number before [SEP]
  EXPECT_EQ(Loader(corpora, config_, spec_, 11, {0, 1, 11, 11}).next()[0].phrases.size(0), 0);
  spec_.form.tokenizer = "bert_wordpiece_no_sep";
  EXPECT_EQ(Loader(corpora, config_, spec_, 11, {0, 1, 11, 11}).next()[0].phrases.size(0), 6);
  spec_.phrases = false;
  EXPECT_FALSE(Loader(corpora, config_, spec_, 11, {0, 1, 11, 11}).next()[0].phrases.defined());
}

TEST_F(RowPhrasesTest, FilesAreCheckedAtStart) {
  EXPECT_EQ(refusal(), "no error");
  for (const bool asked : {true, false}) {
    spec_.phrases = asked;
    config_.corpora[0].phrases = (folder_ / "none").string();
    EXPECT_THAT(refusal(), AllOf(HasSubstr("corpus texts: "), HasSubstr("none")));
    write_test_file(folder_ / "damaged", "no phrases");
    config_.corpora[0].phrases = (folder_ / "damaged").string();
    EXPECT_THAT(refusal(), AllOf(HasSubstr("corpus texts: "), HasSubstr("data phrases")));
    config_.corpora[0].phrases = path_;
    config_.corpora[0].caption_keys = {"txt", "more"};
    EXPECT_THAT(refusal(), HasSubstr("other caption keys"));
    config_.corpora[0].caption_keys = {};
  }
}

TEST_F(RowPhrasesTest, NeedAFileAndWordPieces) {
  config_.corpora[0].phrases = "";
  EXPECT_THAT(refusal(), AllOf(HasSubstr("corpus texts"), HasSubstr("names no file")));
  config_.corpora[0].phrases = path_;
  spec_.form.tokenizer = "clip_bpe";
  spec_.form.clean = "none";
  EXPECT_THAT(refusal(), AllOf(HasSubstr("clip_bpe"), HasSubstr("bert_wordpiece")));
  spec_.text = false;
  EXPECT_THAT(refusal(), HasSubstr("without text"));
}

}  // namespace
}  // namespace triptych
