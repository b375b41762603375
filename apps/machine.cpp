// Asks /proc, the environment and the libraries.
#include "apps/machine.h"

#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <sched.h>
#include <torch/headeronly/version.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>

namespace triptych {
namespace {

/// The value of the first "key : value" line of /proc/cpuinfo.
std::string cpuinfo(const std::string& key) {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const auto colon = line.find(':');
    if (line.starts_with(key) && colon != std::string::npos && colon + 2 <= line.size()) return line.substr(colon + 2);
  }
  return "";
}

}  // namespace

bool CpuFacts::has(const std::string& flag) const {
  return std::find(flags.begin(), flags.end(), flag) != flags.end();
}

CpuFacts cpu_facts() {
  CpuFacts facts;
  facts.model = cpuinfo("model name");
  std::istringstream words(cpuinfo("flags"));
  for (std::string word; words >> word;) {
    for (const char* wanted : {"avx", "avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16"}) {
      if (word == wanted) facts.flags.push_back(word);
    }
  }
  facts.kernels = at::get_cpu_capability();
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  facts.cores = sched_getaffinity(0, sizeof(allowed), &allowed) == 0 ? CPU_COUNT(&allowed) : 1;
  return facts;
}

int tensor_threads() {
  return at::get_num_threads();
}

std::string find_program(const std::string& name) {
  const char* path = std::getenv("PATH");
  std::istringstream folders(path != nullptr ? path : "");
  for (std::string folder; std::getline(folders, folder, ':');) {
    const std::string candidate = folder + "/" + name;
    if (access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return "";
}

nlohmann::ordered_json library_versions() {
  auto versions = nlohmann::ordered_json::object();
  versions["LibTorch"] = TORCH_VERSION;
  // Written by CMake as "name version;name version".
  std::istringstream built(TRIPTYCH_LIBRARIES);
  for (std::string item; std::getline(built, item, '|');) {
    const auto space = item.rfind(' ');
    versions[item.substr(0, space)] = item.substr(space + 1);
  }
  return versions;
}

}  // namespace triptych
