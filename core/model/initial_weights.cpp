// Weights to start from: compare names and shapes first, then copy.
#include "core/model/initial_weights.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <cmath>
#include <set>
#include <sstream>

#include "core/base/errors.h"
#include "core/model/foreign_names.h"
#include "core/model/position_table.h"
#include "core/module/safetensors.h"

namespace triptych {
namespace {

/// What one key of the section starts.
struct Part {
  const char* key;
  bool (*holds)(const std::string& name);
  bool spare_projection;  ///< a projection may lie in the file although the model has no place for it
};

bool is_image(const std::string& name) {
  return name.starts_with("visual.");
}
/// What belongs to no tower: heads, projections beside them, scales, the networks of LOUPE.
bool is_own(const std::string& name) {
  for (const char* prefix : {"head.", "itm_head.", "vision_proj.", "text_proj.", "logit_", "temperature", "region_",
                             "unsil.", "image_pool."})
    if (name.starts_with(prefix)) return true;
  return false;
}
bool is_text(const std::string& name) {
  return !is_image(name) && !is_own(name);
}
bool is_word_head(const std::string& name) {
  return name.starts_with("cls.predictions.");
}
bool is_projection(const std::string& name) {
  return name == "visual.proj" || name.starts_with("visual.attnpool.c_proj.");
}
bool is_any(const std::string&) {
  return true;
}

std::string shape_text(at::IntArrayRef shape) {
  std::ostringstream text;
  text << shape;
  return text.str();
}

/// A safetensors file under the model's names.
class WeightFile {
 public:
  WeightFile(const std::string& path, const std::string& positions) : file_(path), positions_(positions) {
    std::vector<std::string> names;
    for (const auto& [name, stored] : file_.tensors()) names.push_back(name);
    names_ = foreign_names(names);
  }
  const ForeignNames& names() const { return names_; }
  bool contains(const std::string& name) const { return names_.file_name.contains(name); }
  const std::vector<std::int64_t>& shape(const std::string& name) const {
    return file_.tensors().at(names_.file_name.at(name)).shape;
  }

  /// Whether read() can give the tensor in this shape.
  bool fits(const std::string& name, at::IntArrayRef wanted) const {
    const auto bare = without_leading_ones(shape(name), wanted.size());
    return wanted == at::IntArrayRef(bare) || can_resample(name, bare, wanted);
  }
  at::Tensor read(const std::string& name, at::IntArrayRef wanted) const {
    const at::Tensor stored = file_.read(names_.file_name.at(name));
    const at::Tensor bare = stored.view(without_leading_ones(shape(name), wanted.size()));
    if (bare.sizes() == wanted) return bare;
    const std::int64_t prefix = table_prefix(name);
    return resampled_positions(bare, prefix, side_of(wanted[0] - prefix),
                               positions_ == "plain" ? TableResampling::kPlain : TableResampling::kAntialias);
  }

 private:
  /// timm's class token is [1, 1, width], its table [1, tokens, width].
  static std::vector<std::int64_t> without_leading_ones(std::vector<std::int64_t> shape, std::size_t dims) {
    while (shape.size() > dims && shape.front() == 1) shape.erase(shape.begin());
    return shape;
  }
  static std::int64_t side_of(std::int64_t cells) { return std::llround(std::sqrt(static_cast<double>(cells))); }
  static bool square(std::int64_t cells) { return cells > 0 && side_of(cells) * side_of(cells) == cells; }
  bool can_resample(const std::string& name, at::IntArrayRef stored, at::IntArrayRef wanted) const {
    const std::int64_t prefix = table_prefix(name);
    if (positions_ == "refuse" || prefix < 0 || stored.size() != 2 || wanted.size() != 2) return false;
    return stored[1] == wanted[1] && square(stored[0] - prefix) && square(wanted[0] - prefix);
  }

  SafetensorsReader file_;
  ForeignNames names_;
  std::string positions_;
};

/// A backbone's file has no projection into the shared embedding, no scale, and no cross-attention.
bool may_lack(const WeightFile& file, const std::string& name) {
  return file.names().backbone &&
         (name == "visual.proj" || name.starts_with("visual.attnpool.") || name == "text_projection" || is_own(name) ||
          is_word_head(name) || name.find(".crossattention.") != std::string::npos);
}

/// One line for each difference; long tables end in a count.
std::string differences(const WeightFile& file, const std::vector<NamedTensor>& wanted, const Part& part) {
  constexpr int kMostLines = 20;
  int lines = 0;
  std::ostringstream table;
  const auto add = [&](const std::string& line) {
    if (++lines <= kMostLines) table << "\n  " << line;
  };
  std::set<std::string> known;
  for (const auto& [name, tensor] : wanted) {
    known.insert(name);
    if (!file.contains(name) && !may_lack(file, name)) add("missing     " + name + " " + shape_text(tensor.sizes()));
  }
  for (const auto& [name, stored] : file.names().file_name) {
    if (part.holds(name) && !known.contains(name) && !(part.spare_projection && is_projection(name)) &&
        !(file.names().backbone && is_word_head(name)))
      add("unexpected  " + name + " " + shape_text(file.shape(name)));
  }
  for (const auto& [name, tensor] : wanted) {
    if (!file.contains(name) || file.fits(name, tensor.sizes())) continue;
    const bool another_grid = table_prefix(name) >= 0 && file.shape(name).back() == tensor.sizes().back();
    add("shape       " + name + " " + shape_text(file.shape(name)) + " in the file, " + shape_text(tensor.sizes()) +
        " in the model" + (another_grid ? " (another grid: see model.init_from.positions)" : ""));
  }
  if (lines > kMostLines) table << "\n  and " << lines - kMostLines << " more";
  return table.str();
}

void load(Module& model, const std::string& path, const std::string& positions, const Part& part) try {
  if (path.empty()) return;
  const WeightFile file(path, positions);
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
    throw ConfigError("model.init_from." + std::string(part.key) + ": the tensors of " + path + " (names of " +
                      file.names().library + ") do not fit the model:" + table +
                      "\n  change the model section to the file's sizes, or choose another file");
  }
  const c10::NoGradGuard no_grad;
  for (const auto& [name, tensor] : wanted) {
    if (file.contains(name)) tensor.copy_(file.read(name, tensor.sizes()));
  }
} catch (const CheckpointError& e) {
  throw ConfigError("model.init_from." + std::string(part.key) + ": " + e.what());
}

}  // namespace

void load_initial_weights(Module& model, const InitConfig& config) {
  load(model, config.whole, config.positions, {"whole", is_any, false});
  load(model, config.image, config.positions, {"image", is_image, true});
  load(model, config.text, config.positions, {"text", is_text, false});
}

}  // namespace triptych
