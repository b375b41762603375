// Runs the real binary as a user does, and catches what it says.
#pragma once
#include <sys/wait.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>

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

}  // namespace triptych
