// Short ways to name corpora in tests.
#pragma once
#include <filesystem>
#include <string>

#include "data/corpus_config.h"

namespace triptych {

inline CorpusConfig text_corpus(const std::filesystem::path& path, const std::string& name = "texts") {
  CorpusConfig config;
  config.name = name;
  config.path = path.string();
  return config;
}

inline CorpusConfig label_corpus(const std::filesystem::path& path, const std::filesystem::path& class_names,
                                 const std::string& name = "labels") {
  CorpusConfig config = text_corpus(path, name);
  config.kind = "image_label";
  config.class_names = class_names.string();
  return config;
}

inline CorpusConfig folder_corpus(const std::filesystem::path& path, const std::string& kind,
                                  const std::string& name = "folder") {
  CorpusConfig config = text_corpus(path, name);
  config.kind = kind;
  config.format = "image_folder";
  return config;
}

}  // namespace triptych
