// Rules for renaming: a pattern is found by what only that library calls so.
#include "core/model/foreign_names.h"

#include <algorithm>
#include <functional>
#include <optional>
#include <utility>

namespace triptych {
namespace {

using Replacements = std::vector<std::pair<std::string, std::string>>;
/// A file's name to the model's; nothing: no place for it.
using Rename = std::function<std::optional<std::string>(const std::string& name)>;

std::string replaced(std::string name, const Replacements& parts) {
  for (const auto& [from, to] : parts) {
    const auto at = name.find(from);
    if (at != std::string::npos) name.replace(at, from.size(), to);
  }
  return name;
}

bool starts_with_any(const std::string& name, const std::vector<std::string>& prefixes) {
  return std::any_of(prefixes.begin(), prefixes.end(), [&](const auto& prefix) { return name.starts_with(prefix); });
}

/// Swin's tables that follow from its sizes.
bool is_derived(const std::string& name) {
  return name.ends_with("relative_position_index") || name.ends_with("attn_mask");
}

std::optional<std::string> from_timm_vit(const std::string& name) {
  if (starts_with_any(name, {"head.", "head_dist.", "fc_norm.", "pre_logits."})) return std::nullopt;
  if (name.starts_with("norm.")) return "visual.ln_post." + name.substr(5);
  return "visual." + replaced(name, {{"cls_token", "class_embedding"},
                                     {"pos_embed", "positional_embedding"},
                                     {"patch_embed.proj.", "conv1."},
                                     {"blocks.", "transformer.resblocks."},
                                     {".norm1.", ".ln_1."},
                                     {".norm2.", ".ln_2."},
                                     {".attn.qkv.", ".attn.in_proj_"},
                                     {".attn.proj.", ".attn.out_proj."},
                                     {".mlp.fc1.", ".mlp.c_fc."},
                                     {".mlp.fc2.", ".mlp.c_proj."}});
}

std::optional<std::string> from_swin(const std::string& name) {
  if (is_derived(name) || name.starts_with("head.")) return std::nullopt;
  return "visual." + name;
}

/// timm merges patches at the start of a stage, the authors at the end of the one before.
std::optional<std::string> from_timm_swin(const std::string& name) {
  const auto at = name.find(".downsample.");
  if (at == std::string::npos) return from_swin(name);
  const std::string layers = "layers.";
  const int stage = std::stoi(name.substr(layers.size(), at - layers.size()));
  return "visual.layers." + std::to_string(stage - 1) + name.substr(at);
}

std::optional<std::string> from_unicl(const std::string& name) {
  if (name == "image_projection") return "visual.proj";
  const std::string image = "image_encoder.", text = "text_encoder.";
  if (name.starts_with(image)) return from_swin(name.substr(image.size()));
  if (name.starts_with(text)) return replaced(name.substr(text.size()), {{"resblocks.", "transformer.resblocks."}});
  return name;
}

std::optional<std::string> from_torchvision(const std::string& name) {
  if (name.starts_with("fc.")) return std::nullopt;
  return "visual." + name;
}

std::optional<std::string> from_hugging_face_bert(const std::string& name) {
  const std::string prefix = "bert.";
  const std::string bare = name.starts_with(prefix) ? name.substr(prefix.size()) : name;
  // The decoder is tied to the word table.
  const bool spare = starts_with_any(bare, {"cls.seq_relationship.", "cls.predictions.decoder.", "pooler."});
  if (spare || bare == "embeddings.position_ids") return std::nullopt;
  return replaced(bare, {{"LayerNorm.gamma", "LayerNorm.weight"}, {"LayerNorm.beta", "LayerNorm.bias"}});  // old files
}

/// TCL's release: the student; momentum copies ("_m") and queues are of a run, not of a model.
std::optional<std::string> from_tcl(const std::string& name) {
  const std::string image = "visual_encoder.", text = "text_encoder.";
  if (name.starts_with(image)) return from_timm_vit(name.substr(image.size()));
  if (name.starts_with(text)) return from_hugging_face_bert(name.substr(text.size()));
  if (name == "temp") return "temperature";
  if (starts_with_any(name, {"vision_proj.", "text_proj.", "itm_head."})) return name;
  return std::nullopt;
}

struct Library {
  const char* name;
  std::vector<std::string> has;  ///< all of these
  std::string lacks;             ///< and not this, unless empty
  Rename rename;
  bool backbone;
};

const std::vector<Library>& libraries() {
  static const std::vector<Library> all = {
      {"TCL's release",
       {"visual_encoder.cls_token", "text_encoder.bert.embeddings.word_embeddings.weight"},
       "",
       from_tcl,
       false},
      {"UniCL's release", {"image_encoder.patch_embed.proj.weight"}, "", from_unicl, false},
      {"timm's ViT", {"cls_token", "blocks.0.attn.qkv.weight"}, "", from_timm_vit, true},
      {"the authors' Swin",
       {"layers.0.blocks.0.attn.qkv.weight", "layers.0.downsample.norm.weight"},
       "",
       from_swin,
       true},
      {"timm's Swin", {"layers.0.blocks.0.attn.qkv.weight"}, "layers.0.downsample.norm.weight", from_timm_swin, true},
      {"torchvision's ResNet", {"layer1.0.conv1.weight", "bn1.weight"}, "", from_torchvision, true},
      {"this program's TCL",
       {"embeddings.word_embeddings.weight", "text_proj.weight"},
       "",
       [](const std::string& name) { return std::optional(name); },
       false},
      {"Hugging Face's BERT", {"bert.embeddings.word_embeddings.weight"}, "", from_hugging_face_bert, true},
      {"Hugging Face's BERT", {"embeddings.word_embeddings.weight"}, "text_projection", from_hugging_face_bert, true},
  };
  return all;
}

}  // namespace

ForeignNames foreign_names(const std::vector<std::string>& names) {
  const auto has = [&](const std::string& name) { return std::find(names.begin(), names.end(), name) != names.end(); };
  ForeignNames result{.library = "OpenCLIP", .file_name = {}, .backbone = false};
  Rename rename = [](const std::string& name) { return std::optional(name); };
  for (const auto& library : libraries()) {
    if (!std::all_of(library.has.begin(), library.has.end(), has)) continue;
    if (!library.lacks.empty() && has(library.lacks)) continue;
    result.library = library.name;
    result.backbone = library.backbone;
    rename = library.rename;
    break;
  }
  for (const auto& name : names) {
    if (const auto ours = rename(name)) result.file_name.emplace(*ours, name);
  }
  return result;
}

}  // namespace triptych
