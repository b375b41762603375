// Weights to start from: compare names and shapes first, then copy.
#include "core/model/initial_weights.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <map>
#include <sstream>

#include "core/base/errors.h"
#include "core/module/safetensors.h"

namespace triptych {
namespace {

/// What one key of the section starts.
struct Part {
  const char* key;
  bool (*holds)(const std::string& name);
  std::string spare;  ///< may lie in the file although the model has no place for it
};

bool is_image(const std::string& name) {
  return name.starts_with("visual.");
}
bool is_text(const std::string& name) {
  return !is_image(name) && name != "logit_scale" && name != "logit_bias" && !name.starts_with("head.");
}
bool is_any(const std::string&) {
  return true;
}

std::string shape_text(at::IntArrayRef shape) {
  std::ostringstream text;
  text << shape;
  return text.str();
}

/// One line for each difference; long tables end in a count.
std::string differences(const SafetensorsReader& file, const std::vector<NamedTensor>& wanted, const Part& part) {
  constexpr int kMostLines = 20;
  int lines = 0;
  std::ostringstream table;
  const auto add = [&](const std::string& line) {
    if (++lines <= kMostLines) table << "\n  " << line;
  };
  std::map<std::string, const at::Tensor*> known;
  for (const auto& [name, tensor] : wanted) {
    known.emplace(name, &tensor);
    if (!file.contains(name)) add("missing     " + name + " " + shape_text(tensor.sizes()));
  }
  for (const auto& [name, stored] : file.tensors()) {
    if (!part.holds(name)) continue;
    const auto found = known.find(name);
    if (found == known.end()) {
      if (name != part.spare) add("unexpected  " + name + " " + shape_text(stored.shape));
    } else if (found->second->sizes() != at::IntArrayRef(stored.shape)) {
      add("shape       " + name + " " + shape_text(stored.shape) + " in the file, " +
          shape_text(found->second->sizes()) + " in the model");
    }
  }
  if (lines > kMostLines) table << "\n  and " << lines - kMostLines << " more";
  return table.str();
}

void load(Module& model, const std::string& path, const Part& part) try {
  if (path.empty()) return;
  const SafetensorsReader file(path);
  std::vector<NamedTensor> wanted;
  for (const auto& list : {model.parameters(), model.buffers()}) {
    for (const auto& item : list) {
      if (part.holds(item.name)) wanted.push_back(item);
    }
  }
  if (wanted.empty())
    throw ConfigError("model.init_from." + std::string(part.key) +
                      ": this objective has no such tower; remove the key");
  const std::string table = differences(file, wanted, part);
  if (!table.empty()) {
    throw ConfigError("model.init_from." + std::string(part.key) + ": the tensors of " + path +
                      " do not fit the model:" + table +
                      "\n  change the model section to the file's sizes, or choose another file");
  }
  const c10::NoGradGuard no_grad;
  for (const auto& [name, tensor] : wanted) tensor.copy_(file.read(name));
} catch (const CheckpointError& e) {
  throw ConfigError("model.init_from." + std::string(part.key) + ": " + e.what());
}

}  // namespace

void load_initial_weights(Module& model, const InitConfig& config) {
  load(model, config.whole, {"whole", is_any, ""});
  load(model, config.image, {"image", is_image, "visual.proj"});
  load(model, config.text, {"text", is_text, ""});
}

}  // namespace triptych
