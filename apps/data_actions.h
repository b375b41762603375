// The actions of `triptych data`, each in its own data_<action>.cpp, and what they share. Internal to apps.
#pragma once
#include <chrono>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "apps/command_line.h"
#include "core/base/errors.h"
#include "core/train/train_config.h"
#include "data/corpus.h"

namespace triptych {

/// A configuration's corpora with the options of the command line.
struct DataCommand {
  const DataArguments& arguments;
  TrainConfig config;
  std::vector<CorpusConfig> corpora;  ///< those chosen: of training first, then `held_out` ones of evaluators
  std::size_t held_out = 0;           ///< the last so many of `corpora`

  /// The one corpus that is chosen. Throws ConfigError when there are several.
  const CorpusConfig& only() const;
  /// Of this process, where `local_ranks` share the machine.
  int threads(int local_ranks = 1) const;
};

/// Reads the configuration and chooses by --corpus. Throws ConfigError.
DataCommand read_data_command(const DataArguments& arguments);

/// Training corpora, or the evaluators' as "eval NAME", with data.index_dir where they name none. Banks are what
/// evaluators may learn from (knn's, linear_probe's), often a training corpus.
enum class Banks { kWith, kWithout };
std::vector<CorpusConfig> training_corpora(const TrainConfig& config);
std::vector<CorpusConfig> held_out_corpora(const TrainConfig& config, Banks banks);

/// Before hours of work: throws ConfigError when the folder of a file that `option` names is not there.
void require_folder(const std::string& option, const std::string& file);

/// The progress line of records that are gone through, and their rate.
class RecordProgress {
 public:
  RecordProgress(std::string what, std::int64_t records) : what_(std::move(what)), records_(records) {}
  void operator()(std::int64_t done) const;
  double seconds() const;
  /// Ends the line.
  void end() const;

 private:
  std::string what_;
  std::int64_t records_;
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

ExitCode data_stats(const DataCommand& command);
ExitCode data_verify(const DataCommand& command);
ExitCode data_pack(const DataCommand& command);
ExitCode data_filter(const DataCommand& command);
ExitCode data_concepts(const DataCommand& command);
ExitCode data_phrases(const DataCommand& command);
ExitCode data_show(const DataCommand& command);

}  // namespace triptych
