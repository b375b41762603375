// TrainConfig from and to YAML, compiled once: reading so many sections takes the compiler ten seconds a file.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "core/train/train_config.h"

namespace triptych {

/// A file with what it extends and the --set assignments ("optimizer.lr=1e-3"), read strictly. Throws ConfigError.
TrainConfig load_train_config(const std::filesystem::path& file, const std::vector<std::string>& assignments = {});

/// Every field with its value as YAML, defaults included.
std::string train_config_text(const TrainConfig& config);

}  // namespace triptych
