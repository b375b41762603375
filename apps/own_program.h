// Where this program lies, and what lies beside it.
#pragma once
#include <filesystem>
#include <string>

namespace triptych {

/// Path of the program `name` in the folder of the one that runs.
inline std::string beside_this_program(const std::string& name) {
  return (std::filesystem::read_symlink("/proc/self/exe").parent_path() / name).string();
}

}  // namespace triptych
