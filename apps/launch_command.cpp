// `triptych launch` is triptych-launch: a launcher lives as long as the job and should not hold LibTorch's memory.
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "apps/commands.h"
#include "apps/own_program.h"

namespace triptych {
namespace {

std::vector<std::string> own_command_line() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  std::vector<std::string> words;
  for (std::string word; std::getline(file, word, '\0');) words.push_back(word);
  return words;
}

[[noreturn]] void become_launcher() {
  const auto launcher = beside_this_program("triptych-launch");
  auto words = own_command_line();
  std::vector<char*> arguments;
  for (auto& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  ::execv(launcher.c_str(), arguments.data());
  throw ConfigError("launch: " + launcher + " cannot be run: " + std::strerror(errno) +
                    "; it is built with triptych and must lie beside it");
}

}  // namespace

ExitCode run_command(const LaunchArguments&) {
  become_launcher();
}

ExitCode run_command(const ProbeArguments&) {
  become_launcher();
}

}  // namespace triptych
