// What this machine offers, for `triptych doctor` and the head of bench results.
#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace triptych {

struct CpuFacts {
  std::string model;               ///< as the processor calls itself
  std::vector<std::string> flags;  ///< instruction sets that matter here and that the processor has
  std::string kernels;             ///< which of its kernels LibTorch takes: AVX512, AVX2, DEFAULT
  int cores = 1;                   ///< that this process may use
  bool has(const std::string& flag) const;
};
CpuFacts cpu_facts();

/// Threads of tensor operations that a process here takes: the core count or OMP_NUM_THREADS.
int tensor_threads();

/// Path of a program on PATH; empty if there is none.
std::string find_program(const std::string& name);

/// "name version" of everything linked, LibTorch as it runs, the rest as built.
nlohmann::ordered_json library_versions();

}  // namespace triptych
