#include "core/train/train_config_file.h"

#include "core/base/config_reader.h"

namespace triptych {

TrainConfig load_train_config(const std::filesystem::path& file, const std::vector<std::string>& assignments) {
  return load_config<TrainConfig>(file, assignments);
}

std::string train_config_text(const TrainConfig& config) {
  return config_text(config);
}

}  // namespace triptych
