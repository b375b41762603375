// Logs of a run that resume exactly: what a checkpoint did not know is cut off.
#include "core/train/run_log.h"

#include <chrono>
#include <nlohmann/json.hpp>

#include "core/base/log.h"

namespace triptych {
namespace {

namespace fs = std::filesystem;
using Lengths = std::map<std::string, std::int64_t>;

bool is_log(const std::string& name) {
  return name == "metrics.jsonl" || name == "steps.jsonl" || name == "ledger.jsonl" || name == "skipped.jsonl" ||
         name.starts_with("events.out.tfevents.");
}

std::vector<fs::path> logs_of(const fs::path& folder) {
  std::vector<fs::path> found;
  std::error_code error;
  fs::directory_iterator entries(folder, error);
  if (error) throw storage_error("cannot list", folder, error.value());
  for (const auto& entry : entries) {
    if (is_log(entry.path().filename().string())) found.push_back(entry.path());
  }
  return found;
}

/// Cuts all logs of the folder back before any is opened.
void cut_back(const fs::path& folder, const Lengths& lengths) {
  for (const auto& path : logs_of(folder)) {
    const auto known = lengths.find(path.filename().string());
    const std::int64_t length = known == lengths.end() ? 0 : known->second;
    const AppendFile file(path, length);
    if (file.length() < length) {
      log_warning(path.string() + " has " + std::to_string(file.length()) + " bytes, the checkpoint knew " +
                  std::to_string(length) + ": lines were lost");
    }
  }
}

constexpr std::int64_t kWhole = INT64_MAX;

std::string line(const nlohmann::ordered_json& object) {
  return object.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

const fs::path& cut(const fs::path& folder, const Lengths& lengths) {
  cut_back(folder, lengths);
  return folder;
}

}  // namespace

RunLog::RunLog(const fs::path& folder, const LogConfig& config, const Lengths& lengths)
    : folder_(cut(folder, lengths)),
      metrics_(folder / "metrics.jsonl", kWhole),
      skipped_(folder / "skipped.jsonl", kWhole),
      steps_(config.step_record ? std::make_unique<AppendFile>(folder / "steps.jsonl", kWhole) : nullptr),
      ledger_(config.ledger ? std::make_unique<AppendFile>(folder / "ledger.jsonl", kWhole) : nullptr),
      tensorboard_(config.tensorboard ? std::make_unique<TensorBoardFile>(folder, kWhole) : nullptr) {}

RunLog::~RunLog() = default;

void RunLog::metrics(const nlohmann::ordered_json& object) {
  metrics_.append(line(object));
  if (!tensorboard_) return;
  std::vector<std::pair<std::string, double>> scalars;
  for (const auto& [name, value] : object.items()) {
    if (value.is_number() && name != "step") scalars.emplace_back(name, value.get<double>());
  }
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  tensorboard_->scalars(object.at("step"), std::chrono::duration<double>(now).count(), scalars);
}

void RunLog::step_record(const nlohmann::ordered_json& object) {
  if (steps_) steps_->append(line(object));
}

void RunLog::ledger(const std::string& lines) {
  if (ledger_) ledger_->append(lines);
}

void RunLog::skipped(const BadRecord& record, std::int64_t step) {
  skipped_.append(line({{"corpus", record.corpus},
                        {"shard", record.shard},
                        {"key", record.key},
                        {"offset", record.offset},
                        {"reason", record.reason},
                        {"step", step},
                        {"position", record.position}}));
}

Lengths RunLog::lengths() {
  metrics_.flush();
  skipped_.flush();
  if (steps_) steps_->flush();
  if (ledger_) ledger_->flush();
  if (tensorboard_) tensorboard_->flush();
  Lengths lengths;
  for (const auto& path : files()) {
    std::error_code error;
    const auto bytes = fs::file_size(path, error);
    if (error) throw storage_error("cannot look at", path, error.value());
    lengths[path.filename().string()] = static_cast<std::int64_t>(bytes);
  }
  return lengths;
}

std::vector<fs::path> RunLog::files() const {
  return logs_of(folder_);
}

}  // namespace triptych
