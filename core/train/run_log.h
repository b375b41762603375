// The files of a run that grow with it: metrics.jsonl, steps.jsonl, ledger.jsonl, skipped.jsonl and TensorBoard events.
// Each can be cut back to the length that a checkpoint knew.
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <vector>

#include "core/train/append_file.h"
#include "core/train/log_config.h"
#include "core/train/tensorboard.h"
#include "core/types/batch.h"

namespace triptych {

class RunLog {
 public:
  /// Cuts every log of `folder` back to its length in `lengths` (one that is not listed did not exist then: to
  /// nothing), also those that this configuration does not write. Throws StorageError.
  RunLog(const std::filesystem::path& folder, const LogConfig& config,
         const std::map<std::string, std::int64_t>& lengths);
  ~RunLog();
  /// One line of metrics.jsonl; its numbers also go to TensorBoard, at object["step"].
  void metrics(const nlohmann::ordered_json& object);
  void step_record(const nlohmann::ordered_json& object);
  void ledger(const std::string& lines);
  void skipped(const BadRecord& record, std::int64_t step);
  /// Of every log that exists, as a checkpoint records them. Throws StorageError while a full disk holds lines back.
  std::map<std::string, std::int64_t> lengths();
  std::vector<std::filesystem::path> files() const;  ///< those that exist

 private:
  std::filesystem::path folder_;
  AppendFile metrics_, skipped_;
  std::unique_ptr<AppendFile> steps_, ledger_;
  std::unique_ptr<TensorBoardFile> tensorboard_;
};

}  // namespace triptych
