// What came of reading damaged or odd records: for the tests formats_*_test.cpp.
#pragma once
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/base/errors.h"
#include "data/corpus.h"
#include "data/formats/record_error.h"
#include "tests/support/corpus_configs.h"
#include "tests/support/tar_writer.h"
#include "tests/support/temp_dir.h"

namespace triptych {

/// Why a record cannot be used, or nothing.
inline std::string reason_of(const Corpus& corpus, std::int64_t index) {
  try {
    corpus.read(index);
  } catch (const RecordError& error) {
    return error.reason();
  }
  return "";
}

/// What reading every record of a corpus gave.
struct Outcome {
  std::vector<std::string> read;  // first caption, or the name of the class
  std::vector<std::string> bad;   // the message
  std::string refused;            // the corpus could not be opened: exit code 2
};

inline Outcome read_all(const CorpusConfig& config) {
  Outcome outcome;
  try {
    const auto corpus = open_corpus(config);
    for (std::int64_t i = 0; i < corpus->size(); ++i) {
      try {
        const auto record = corpus->read(i);
        outcome.read.push_back(record.label < 0
                                   ? record.captions.at(0)
                                   : corpus->class_names().at(static_cast<std::size_t>(record.label)).at(0));
      } catch (const RecordError& error) {
        EXPECT_EQ(error.code(), ExitCode::kData);
        outcome.bad.emplace_back(error.what());
      }
    }
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kUsage);
    outcome.refused = error.what();
  }
  return outcome;
}

inline void expect_outcome(const Outcome& outcome, const std::vector<std::string>& read,
                           const std::vector<std::string>& bad, const std::string& refused) {
  EXPECT_EQ(outcome.read, read);
  ASSERT_EQ(outcome.bad.size(), bad.size()) << testing::PrintToString(outcome.bad);
  for (std::size_t i = 0; i < bad.size(); ++i) EXPECT_THAT(outcome.bad[i], testing::HasSubstr(bad[i]));
  EXPECT_THAT(outcome.refused, testing::HasSubstr(refused));
  EXPECT_EQ(refused.empty(), outcome.refused.empty()) << outcome.refused;
}

/// One file of text and what comes of it.
struct TextCase {
  const char* name;
  std::string text;
  std::vector<std::string> read, bad = {};
  std::string refused = "";
};
inline std::string case_name(const testing::TestParamInfo<TextCase>& info) {
  return info.param.name;
}

/// One table with a picture x.png beside it.
inline CorpusConfig csv_corpus(const TempDir& dir, const std::string& table) {
  write_test_file(dir / "x.png", "picture");
  write_test_file(dir / "t.csv", table);
  auto config = text_corpus(dir / "t.csv");
  config.format = "csv";
  return config;
}

}  // namespace triptych
