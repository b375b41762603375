// Prompt templates.
#include "data/text/prompts.h"

#include <cctype>
#include <filesystem>
#include <fstream>

#include "core/base/errors.h"

namespace triptych {
namespace {

constexpr std::string_view kPlace = "{}";

std::vector<std::string> read_prompts(const std::filesystem::path& path) {
  std::ifstream file(path);
  if (!file || std::filesystem::is_directory(path))
    throw ConfigError("prompts: cannot read " + path.string() +
                      "; data.prompts is clip81, plain or a text file with one template a line");
  std::vector<std::string> prompts;
  std::string line;
  for (int number = 1; std::getline(file, line); ++number) {
    if (line.ends_with('\r')) line.pop_back();
    if (line.empty() || line[0] == '#') continue;
    const auto place = line.find(kPlace);
    if (place == std::string::npos || line.find(kPlace, place + 2) != std::string::npos)
      throw ConfigError(path.string() + ":" + std::to_string(number) + ": got '" + line +
                        "', expected a template with exactly one {} for the class name");
    prompts.push_back(line);
  }
  if (prompts.empty())
    throw ConfigError(path.string() + ": no templates, expected one a line, such as 'a photo of a {}.'");
  return prompts;
}

std::filesystem::path find_clip80() {
  const std::filesystem::path here = "configs/prompts/clip80.txt";
  return std::filesystem::exists(here) ? here : std::filesystem::path(TRIPTYCH_PROMPTS_DIR) / "clip80.txt";
}

}  // namespace

std::vector<std::string> load_prompts(const std::string& name) {
  if (name == "plain") return {std::string(kPlace)};
  if (name != "clip81") return read_prompts(name);
  auto prompts = read_prompts(find_clip80());
  prompts.push_back("{}.");
  return prompts;
}

std::string fill_prompt(std::string_view prompt, std::string_view class_name) {
  const auto place = prompt.find(kPlace);
  std::string text(prompt.substr(0, place));
  text += class_name;
  return text += prompt.substr(place + kPlace.size());
}

std::string clean_class_name(std::string_view class_name) {
  std::string clean;
  bool space = false;
  for (const char c : class_name) {
    if (c == ',') continue;
    if (c == '+' || std::isspace(static_cast<unsigned char>(c))) {
      space = !clean.empty();
      continue;
    }
    if (space) clean += ' ';
    space = false;
    clean += c;
  }
  return clean;
}

}  // namespace triptych
