// The names that other libraries give to the same tensors.
#pragma once
#include <map>
#include <string>
#include <vector>

namespace triptych {

struct ForeignNames {
  std::string library;  ///< "OpenCLIP", "timm's ViT", ...: for messages
  /// The model's name of each tensor of the file; what a model has no place for (classifier heads, tables that follow
  /// from sizes) is left out.
  std::map<std::string, std::string> file_name;  ///< by the model's name
  /// The file holds a backbone: projections into the shared embedding start as they are.
  bool backbone = false;
};

/// Tells by the names: OpenCLIP's (and this program's own), timm's ViT and Swin, Microsoft's Swin, UniCL's release,
/// torchvision's ResNet, Hugging Face's BERT, TCL's release. Names that nobody knows are passed on as they
/// are.
ForeignNames foreign_names(const std::vector<std::string>& names);

}  // namespace triptych
