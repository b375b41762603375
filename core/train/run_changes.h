// "Changing a run": what may differ between the configuration that a checkpoint was made with and the one that goes on.
#pragma once
#include <string>
#include <vector>

namespace triptych {

/// True for keys that may change at resume without being asked for: what is learned stays the same (other threads or
/// another device may change the last bits; the log then says so).
bool free_to_change(const std::string& key);

/// Throws ConfigError that lists every key whose value differs, unless it is free or named by `allow_change` (a key, or
/// a section that holds it; of an unknown one it says so). Both texts are resolved configurations.
void check_changes(const std::string& saved_yaml, const std::string& yaml,
                   const std::vector<std::string>& allow_change);

}  // namespace triptych
