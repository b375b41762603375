// Runs the real binary as a user does, and catches what it says.
#pragma once
#include <sys/wait.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/paths.h"
#include "tests/support/temp_dir.h"

namespace triptych {

struct Outcome {
  int code = -1;  ///< exit code; 128 + n after signal n
  std::string out, err;
  std::int64_t error_lines() const { return std::count(err.begin(), err.end(), '\n'); }
};

inline std::string slurp(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

inline void spill(const std::filesystem::path& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  if (!file.flush()) throw std::runtime_error("cannot write " + path.string());
}

/// `command` by the shell, in the project's folder, with the binary under test first on the PATH.
inline Outcome run_shell(const std::string& command) {
  const TempDir scratch;
  const auto out = (scratch / "out").string(), err = (scratch / "err").string();
  const int status = std::system(
      ("cd " + source_path("") + " && PATH=" + build_path("") + ":$PATH " + command + " >" + out + " 2>" + err)
          .c_str());
  Outcome outcome;
  outcome.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  outcome.out = slurp(out);
  outcome.err = slurp(err);
  return outcome;
}

/// Many commands, as many at a time as there are cores; their outcomes in order.
inline std::vector<Outcome> run_each(const std::vector<std::string>& commands) {
  std::vector<Outcome> outcomes(commands.size());
  std::atomic<std::size_t> next = 0;
  std::vector<std::jthread> threads(std::max(1u, std::thread::hardware_concurrency()));
  for (auto& thread : threads) {
    thread = std::jthread([&] {
      for (auto i = next++; i < commands.size(); i = next++) outcomes[i] = run_shell(commands[i]);
    });
  }
  threads.clear();  // joins
  return outcomes;
}

/// What is on stderr beyond the lines that tell of work that is going on.
inline std::string complaint(const Outcome& outcome) {
  std::istringstream lines(outcome.err);
  std::string rest;
  for (std::string line; std::getline(lines, line);) {
    const bool work = line.find(": indexed ") != std::string::npos || line.find(" verifying ") != std::string::npos ||
                      line.find(" unpacking ") != std::string::npos;
    if (!work || line.find(" error: ") != std::string::npos) rest += line + "\n";
  }
  return rest;
}

}  // namespace triptych
