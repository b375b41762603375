// Paths are kept in one packed string, because folders of millions of pictures are common. A "shard" is a short run of
// files: files are opened one by one anyway, and short runs mix classes well that the sorted list keeps apart.
#include "data/formats/image_folder.h"

#include <algorithm>
#include <filesystem>
#include <unordered_map>

#include "core/base/errors.h"
#include "core/base/hash.h"
#include "data/formats/class_names.h"
#include "data/formats/input_file.h"
#include "data/formats/printable.h"
#include "data/formats/record_error.h"
#include "data/formats/record_text.h"

namespace triptych {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kLargestImage = 256 << 20, kLargestText = 1 << 20, kRunOfFiles = 16;

bool is_picture(const fs::path& path) {
  auto extension = path.extension().string();
  for (auto& c : extension) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return extension == ".jpg" || extension == ".jpeg" || extension == ".png" || extension == ".webp";
}

bool hidden(const fs::path& path) {
  return path.filename().string().starts_with(".");
}

/// Pictures below `folder`, relative to `root`, sorted. Links to folders are not followed: they can form circles.
std::vector<std::string> pictures_below(const fs::path& folder, const fs::path& root) {
  std::vector<std::string> files;
  for (auto entry = fs::recursive_directory_iterator(folder); entry != fs::recursive_directory_iterator(); ++entry) {
    if (hidden(entry->path())) {
      if (entry->is_directory()) entry.disable_recursion_pending();
    } else if (entry->is_regular_file() && is_picture(entry->path())) {
      files.push_back(entry->path().lexically_relative(root).string());
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

class ImageFolder : public Corpus {
 public:
  explicit ImageFolder(const CorpusConfig& config) : config_(config), root_(config.path) {
    if (!fs::is_directory(root_)) throw ConfigError("path: '" + printable(config.path) + "' is no folder");
    try {
      config.kind == "image_label" ? list_classes() : append(pictures_below(root_, root_));
    } catch (const fs::filesystem_error& error) {
      throw ConfigError("path: " + printable(error.what()));
    }
    ends_.shrink_to_fit();
    if (size() == 0)
      throw ConfigError("path: '" + printable(config.path) + "' holds no .jpg, .jpeg, .png or .webp file");
    for (std::int64_t first = 0; first < size(); first += kRunOfFiles) {
      spans_.push_back({first, std::min(kRunOfFiles, size() - first)});
    }
    Xxh64 hash;
    hash.add(config.kind).add(paths_).add(ends_.data(), ends_.size() * sizeof(ends_[0]));
    for (const auto& names : class_names_) {
      for (const auto& name : names) hash.add(name).add("|");
      hash.add("\n");
    }
    fingerprint_ = hash.value();
  }

  std::int64_t size() const override { return static_cast<std::int64_t>(ends_.size()); }
  const std::vector<ShardSpan>& shards() const override { return spans_; }
  const ClassNames& class_names() const override { return class_names_; }
  const CorpusConfig& config() const override { return config_; }
  std::uint64_t fingerprint() const override { return fingerprint_; }
  RecordPlace place(std::int64_t index) const override { return {config_.path, relative_path(index), 0}; }

  Record read(std::int64_t index) const override {
    auto where = place(index);
    try {
      Record record;
      const auto path = root_ / where.key;
      const auto bytes = InputFile(path.string()).read_all(kLargestImage);
      if (bytes.empty()) throw DataError("the file is empty");
      record.image.assign(bytes.begin(), bytes.end());
      if (config_.kind == "image_text") {
        const auto text = InputFile(fs::path(path).replace_extension(".txt").string()).read_all(kLargestText);
        record.captions.push_back(clean_caption(text));
      } else {
        record.label = label(index);
      }
      record.place = std::move(where);
      return record;
    } catch (const DataError& error) {
      throw RecordError(std::move(where), error.what());
    }
  }

 private:
  void list_classes() {
    std::vector<std::string> folders;
    for (const auto& entry : fs::directory_iterator(root_)) {
      if (hidden(entry.path())) continue;
      if (entry.is_directory()) folders.push_back(entry.path().filename().string());
      if (entry.is_regular_file() && is_picture(entry.path())) {
        throw ConfigError("path: " + printable(entry.path().string()) +
                          " lies in no class folder; image_label expects path/CLASS/picture");
      }
    }
    std::sort(folders.begin(), folders.end());
    for (const auto& folder : folders) {
      append(pictures_below(root_ / folder, root_));
      class_ends_.push_back(size());
    }
    name_classes(folders);
  }

  /// From the file, line i for folder i, or the folders' own names with underscores as blanks.
  void name_classes(const std::vector<std::string>& folders) {
    if (!config_.class_names.empty()) {
      class_names_ = read_class_names(config_.class_names);
      if (class_names_.size() == folders.size()) return;
      throw ConfigError("class_names: " + printable(config_.class_names) + " has " +
                        std::to_string(class_names_.size()) + " lines for " + std::to_string(folders.size()) +
                        " class folders; one line for each folder in sorted order is expected");
    }
    std::unordered_map<std::string, std::string> folder_of;  // by normalised name
    for (const auto& folder : folders) {
      if (!is_utf8(folder)) throw ConfigError("path: class folder " + printable(folder) + " is not UTF-8");
      const auto [other, fresh] = folder_of.try_emplace(normalized_name(folder), folder);
      if (!fresh) {
        throw ConfigError("path: class folders '" + other->second + "' and '" + folder +
                          "' have the same name up to case, blanks, _ and -; give class_names");
      }
      auto name = folder;
      std::replace(name.begin(), name.end(), '_', ' ');
      class_names_.push_back({name});
    }
  }

  void append(const std::vector<std::string>& files) {
    for (const auto& file : files) {
      paths_ += file;
      ends_.push_back(paths_.size());
    }
  }

  std::string relative_path(std::int64_t index) const {
    const auto i = static_cast<std::size_t>(index);
    if (index < 0 || i >= ends_.size())
      throw std::out_of_range("record " + std::to_string(index) + " of " + config_.name);
    const auto begin = i == 0 ? 0 : ends_[i - 1];
    return paths_.substr(begin, ends_[i] - begin);
  }

  std::int64_t label(std::int64_t index) const {
    return std::upper_bound(class_ends_.begin(), class_ends_.end(), index) - class_ends_.begin();
  }

  CorpusConfig config_;
  fs::path root_;
  std::string paths_;              // relative, one behind the other
  std::vector<std::size_t> ends_;  // of each path
  std::vector<std::int64_t> class_ends_;
  ClassNames class_names_;
  std::vector<ShardSpan> spans_;
  std::uint64_t fingerprint_ = 0;
};

}  // namespace

std::unique_ptr<Corpus> open_image_folder(const CorpusConfig& config) {
  return std::make_unique<ImageFolder>(config);
}

}  // namespace triptych
