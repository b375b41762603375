// A checkpoint and a run directory from the outside.
#include <algorithm>
#include <fstream>
#include <map>
#include <set>

#include "apps/inspect.h"
#include "core/base/errors.h"
#include "core/base/strings.h"
#include "core/module/safetensors.h"
#include "core/train/checkpoint.h"
#include "core/train/checkpoint_store.h"
#include "distributed/launcher/goodput.h"

namespace triptych {
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

std::int64_t elements(const StoredTensor& tensor) {
  std::int64_t count = 1;
  for (const auto side : tensor.shape) count *= side;
  return count;
}

/// The part of the model that a parameter belongs to, by OpenCLIP's names: the image tower is "visual", the text
/// tower's tensors stand at the root.
std::string part_of(const std::string& name) {
  if (name.starts_with("visual.")) return "image tower";
  for (const char* text :
       {"transformer.", "token_embedding.", "positional_embedding", "ln_final.", "text_projection"}) {
    if (name.starts_with(text)) return "text tower";
  }
  return name.substr(0, name.find('.'));
}

Json parameter_table(const SafetensorsReader& model) {
  std::map<std::string, std::pair<std::int64_t, std::int64_t>> parts;
  for (const auto& [name, tensor] : model.tensors()) {
    auto& [tensors, parameters] = parts[part_of(name)];
    tensors += 1;
    parameters += elements(tensor);
  }
  Json rows = Json::array();
  for (const auto& [part, counts] : parts) {
    rows.push_back({{"part", part}, {"tensors", counts.first}, {"parameters", counts.second}});
  }
  return rows;
}

/// The objects of a JSON-lines file; a last line that was cut off is left out.
std::vector<Json> read_lines(const fs::path& path) {
  std::vector<Json> objects;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    auto object = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (object.is_object()) objects.push_back(std::move(object));
  }
  return objects;
}

Json read_object(const fs::path& path) {
  std::ifstream file(path);
  auto object = Json::parse(file, nullptr, /*allow_exceptions=*/false);
  return object.is_object() ? object : Json::object();
}

Json metrics_summary(const std::vector<Json>& lines) {
  Json summary = Json::object();
  for (const auto& line : lines) {
    for (const auto& [key, value] : line.items()) {
      if (!key.starts_with("eval/") && !value.is_structured()) summary[key] = value;  // the newest stays
    }
  }
  return summary;
}

Json evaluations(const std::vector<Json>& lines) {
  Json table = Json::array();
  std::map<std::string, std::map<std::string, Json>> newest;
  for (const auto& line : lines) {
    for (const auto& [key, value] : line.items()) {
      const auto slash = key.find('/', 5);
      if (!key.starts_with("eval/") || slash == std::string::npos) continue;
      auto& row = newest[key.substr(5, slash - 5)];
      if (row.contains("step") && row["step"] != line.value("step", Json())) row.clear();
      row["step"] = line.value("step", Json());
      row[key.substr(slash + 1)] = value;
    }
  }
  for (const auto& [name, values] : newest) {
    for (const auto& [metric, value] : values) {
      if (metric != "step") {
        table.push_back({{"evaluation", name}, {"step", values.at("step")}, {"metric", metric}, {"value", value}});
      }
    }
  }
  return table;
}

Json checkpoint_table(const CheckpointStore& store) {
  Json table = Json::array();
  for (const auto step : store.steps()) {
    Json row = {{"step", step}, {"folder", store.path(step).filename().string()}};
    try {
      const auto manifest = verify_checkpoint(store.path(step));
      std::int64_t bytes = 0;
      for (const auto& [name, file] : manifest.files) bytes += file.bytes;
      row["size"] = human_size(static_cast<std::uint64_t>(bytes));
      row["state"] = "sound";
    } catch (const CheckpointError& error) {
      row["size"] = nullptr;
      row["state"] = error.what();
    }
    table.push_back(row);
  }
  return table;
}

}  // namespace

Json inspect_checkpoint(const fs::path& folder) {
  const auto manifest = verify_checkpoint(folder);
  const SafetensorsReader model(folder / "model.safetensors"), state(folder / "state.safetensors");
  std::int64_t parameters = 0;
  for (const auto& [name, tensor] : model.tensors()) parameters += elements(tensor);
  Json files = Json::array();
  for (const auto& [name, file] : manifest.files) {
    files.push_back({{"file", name}, {"bytes", file.bytes}, {"xxh64", file.xxh64}, {"state", "sound"}});
  }
  Json logs = Json::object();
  for (const auto& [name, length] : manifest.logs) logs[name] = length;
  return {{"kind", "checkpoint"},
          {"path", folder.string()},
          {"step", manifest.step},
          {"samples_seen", manifest.samples_seen},
          {"parameters", parameters},
          {"state_tensors", state.tensors().size()},
          {"format_version", manifest.format_version},
          {"program", manifest.program},
          {"ranks", manifest.ranks},
          {"threads", manifest.threads},
          {"device", manifest.device},
          {"instruction_set", manifest.instruction_set},
          {"config_xxh64", manifest.config_xxh64},
          {"corpus_fingerprint", manifest.corpus_fingerprint},
          {"class_names_xxh64", manifest.class_names_xxh64},
          {"model", parameter_table(model)},
          {"files", files},
          {"log_lengths", logs}};
}

Json inspect_run(const fs::path& folder) {
  const CheckpointStore store(folder / "checkpoints");
  const auto lines = read_lines(folder / "metrics.jsonl");
  Json result = {{"kind", "run"}, {"path", folder.string()}};
  result["skipped_records"] = read_lines(folder / "skipped.jsonl").size();
  result["last_metrics"] = metrics_summary(lines);
  result["evaluations"] = evaluations(lines);
  result["checkpoints"] = checkpoint_table(store);
  result["environment"] = read_object(folder / "environment.json");
  if (const auto goodput = read_goodput(folder)) result["launches"] = goodput_json(*goodput);
  return result;
}

}  // namespace triptych
