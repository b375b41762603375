// Paths are kept in one packed string, because folders of millions of pictures are common. A "shard" is a short run of
// files: files are opened one by one anyway, and short runs mix classes well that the sorted list keeps apart.
#include "data/formats/image_folder.h"

#include <algorithm>
#include <filesystem>
#include <set>
#include <unordered_map>

#include "core/base/errors.h"
#include "core/base/hash.h"
#include "core/base/log.h"
#include "core/base/strings.h"
#include "data/formats/class_names.h"
#include "data/formats/file_list.h"
#include "data/formats/input_file.h"
#include "data/formats/printable.h"
#include "data/formats/record_error.h"
#include "data/formats/record_text.h"

namespace triptych {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kLargestImage = 256 << 20, kLargestText = 1 << 20, kRunOfFiles = 16;

enum class FileType { kPicture, kUnreadPicture, kOther };

/// By the ending, in any case.
FileType type_of(const fs::path& path) {
  constexpr std::string_view kRead[] = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp"};
  constexpr std::string_view kUnread[] = {".gif",  ".bmp",  ".tif", ".tiff", ".heic", ".heif",
                                          ".avif", ".apng", ".jp2", ".jxl",  ".ppm",  ".svg"};
  auto ending = path.extension().string();
  for (auto& c : ending) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  if (std::find(std::begin(kRead), std::end(kRead), ending) != std::end(kRead)) return FileType::kPicture;
  const bool unread = std::find(std::begin(kUnread), std::end(kUnread), ending) != std::end(kUnread);
  return unread ? FileType::kUnreadPicture : FileType::kOther;
}

bool hidden(const fs::path& path) {
  return path.filename().string().starts_with(".");
}

/// A link that leads nowhere, or to itself.
bool dangling(const fs::directory_entry& entry) {
  std::error_code ignored;
  return entry.is_symlink() && !entry.exists(ignored);
}

/// A link to a folder that holds `root` or lies in it: what is below it would stand twice.
bool leads_back(const fs::directory_entry& entry, const fs::path& root) {
  if (!entry.is_symlink()) return false;
  const auto from = fs::canonical(root), to = fs::canonical(entry.path());
  const auto [rest_of_to, rest_of_from] = std::mismatch(to.begin(), to.end(), from.begin(), from.end());
  return rest_of_to == to.end() || rest_of_from == from.end();
}

/// Files of one sort that somebody may miss.
struct Skipped {
  std::int64_t count = 0;
  std::string first;
  void add(const fs::path& path) {
    if (count++ == 0) first = path.string();
  }
  void warn(const std::string& corpus, const std::string& what) const {
    if (count == 0) return;
    log_warning("corpus " + printable(corpus) + ": passed over " + std::to_string(count) + " " + what +
                "; the first is " + printable(first));
  }
};

/// What is not read although others like it are.
struct PassedOver {
  Skipped links, pictures;
  void warn(const std::string& corpus) const {
    links.warn(corpus, "links that lead nowhere or to a folder above them, or into the corpus itself");
    pictures.warn(corpus, "pictures of formats that are not read (JPEG, PNG and WebP are)");
  }
};

/// Appends the pictures below `folder`, relative to `root`. Links to folders are not followed: they can form
/// circles.
void append_pictures(const fs::path& folder, const fs::path& root, PassedOver& passed_over,
                     std::vector<std::string>& files) {
  for (auto entry = fs::recursive_directory_iterator(folder); entry != fs::recursive_directory_iterator(); ++entry) {
    if (hidden(entry->path())) {
      if (entry->is_directory()) entry.disable_recursion_pending();
    } else if (dangling(*entry)) {
      passed_over.links.add(entry->path());
    } else if (entry->is_regular_file()) {
      const auto type = type_of(entry->path());
      if (type == FileType::kPicture) files.push_back(entry->path().lexically_relative(root).string());
      if (type == FileType::kUnreadPicture) passed_over.pictures.add(entry->path());
    }
  }
}

/// The text of a file; nothing when there is none. Throws DataError: it is there and cannot be read.
std::string text_if_there(const fs::path& path) {
  try {
    return InputFile(path.string()).read_all(kLargestText);
  } catch (const DataError&) {
    std::error_code ignored;
    if (fs::status(path, ignored).type() == fs::file_type::not_found) return {};
    throw;
  }
}

class ImageFolder : public Corpus {
 public:
  explicit ImageFolder(const CorpusConfig& config) : config_(config), roots_(list_files("path", config.path)) {
    for (const auto& root : roots_) {
      if (!fs::is_directory(root)) throw ConfigError("path: '" + printable(root) + "' is no folder");
    }
    try {
      config.kind == "image_label" ? list_classes() : list_pictures();
    } catch (const fs::filesystem_error& error) {
      throw ConfigError("path: " + printable(error.what()));
    }
    passed_over_.warn(config.name);
    ends_.shrink_to_fit();
    if (size() == 0)
      throw ConfigError("path: '" + printable(config.path) +
                        "' holds no .jpg (.jpeg, .jpe, .jfif), .png or .webp file");
    for (std::int64_t first = 0; first < size(); first += kRunOfFiles) {
      spans_.push_back({first, std::min(kRunOfFiles, size() - first)});
    }
    Xxh64 hash;
    hash.add(config.kind)
        .add(join(config.captions_at(), "\n"))
        .add(paths_)
        .add(ends_.data(), ends_.size() * sizeof(ends_[0]));
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
  RecordPlace place(std::int64_t index) const override { return {roots_[run_of(index).root], relative_path(index), 0}; }

  Record read(std::int64_t index) const override {
    auto where = place(index);
    try {
      Record record;
      const auto path = fs::path(where.shard) / where.key;
      const auto bytes = InputFile(path.string()).read_all(kLargestImage);
      if (bytes.empty()) throw DataError("the file is empty");
      record.image.assign(bytes.begin(), bytes.end());
      if (config_.kind == "image_text") {
        for (const auto& extension : config_.captions_at()) {
          const auto text = text_if_there(fs::path(path).replace_extension(extension));
          if (!is_empty_caption(text)) record.captions.push_back(clean_caption(text));
        }
        if (record.captions.empty()) {
          throw DataError("no caption: the files " + join(config_.captions_at(), ", ") +
                          " beside the picture are absent or empty");
        }
      } else {
        record.label = run_of(index).label;
      }
      record.place = std::move(where);
      return record;
    } catch (const DataError& error) {
      throw RecordError(std::move(where), error.what());
    }
  }

 private:
  /// Files of one root and one class, one behind the other.
  struct Run {
    std::int64_t end;  ///< behind its last record
    std::size_t root;
    std::int64_t label;
  };

  void list_pictures() {
    for (std::size_t root = 0; root < roots_.size(); ++root) {
      std::vector<std::string> files;
      append_pictures(roots_[root], roots_[root], passed_over_, files);
      for (const auto& entry : fs::directory_iterator(roots_[root])) {
        const bool linked = !hidden(entry.path()) && entry.is_symlink() && !dangling(entry) && entry.is_directory();
        if (!linked) continue;
        if (leads_back(entry, roots_[root])) {
          passed_over_.links.add(entry.path());
        } else {
          append_pictures(entry.path(), roots_[root], passed_over_, files);
        }
      }
      std::sort(files.begin(), files.end());
      append(files, root, -1);
    }
  }

  /// Folders of the same name in several roots are one class.
  void list_classes() {
    std::vector<std::vector<std::string>> folders;  // by root
    std::set<std::string> all;
    for (const auto& root : roots_) {
      folders.push_back(class_folders(root));
      all.insert(folders.back().begin(), folders.back().end());
    }
    const std::vector<std::string> names(all.begin(), all.end());
    for (std::size_t root = 0; root < roots_.size(); ++root) {
      for (const auto& folder : folders[root]) {
        const auto label = std::lower_bound(names.begin(), names.end(), folder) - names.begin();
        std::vector<std::string> files;
        append_pictures(fs::path(roots_[root]) / folder, roots_[root], passed_over_, files);
        std::sort(files.begin(), files.end());
        append(files, root, label);
      }
    }
    name_classes(names);
  }

  std::vector<std::string> class_folders(const fs::path& root) {
    std::vector<std::string> folders;
    for (const auto& entry : fs::directory_iterator(root)) {
      if (hidden(entry.path())) continue;
      if (dangling(entry) || (entry.is_directory() && leads_back(entry, root))) {
        passed_over_.links.add(entry.path());
        continue;
      }
      if (entry.is_directory()) folders.push_back(entry.path().filename().string());
      if (entry.is_regular_file() && type_of(entry.path()) == FileType::kPicture) {
        throw ConfigError("path: " + printable(entry.path().string()) +
                          " lies in no class folder; image_label expects path/CLASS/picture");
      }
    }
    std::sort(folders.begin(), folders.end());
    return folders;
  }

  /// From the file, line i for folder i, or the folders' own names with underscores as blanks.
  void name_classes(const std::vector<std::string>& folders) {
    if (!config_.class_names.empty()) {
      class_names_ = read_class_names(config_.class_names);
      if (class_names_.size() == folders.size()) return check_order(folders);
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

  /// A list in another order than the folders would swap labels: a line may give its folder any names, but not the
  /// name of another folder instead of its own.
  void check_order(const std::vector<std::string>& folders) const {
    std::unordered_map<std::string, std::size_t> folder_of;  // by normalised name; of equal ones the first
    for (std::size_t i = 0; i < folders.size(); ++i) folder_of.try_emplace(normalized_name(folders[i]), i);
    for (std::size_t i = 0; i < folders.size(); ++i) {
      const auto own = normalized_name(folders[i]);
      const auto& names = class_names_[i];
      const auto is_own = [&](const std::string& name) { return normalized_name(name) == own; };
      if (std::any_of(names.begin(), names.end(), is_own)) continue;
      for (const auto& name : names) {
        const auto other = folder_of.find(normalized_name(name));
        if (other == folder_of.end()) continue;
        throw ConfigError("class_names: " + printable(config_.class_names) + ":" + std::to_string(i + 1) + ": got '" +
                          printable(name) + "', the name of folder '" + printable(folders[other->second]) +
                          "'; expected a name of folder '" + printable(folders[i]) + "', which is number " +
                          std::to_string(i + 1) +
                          " in sorted order; bring the lines into the order of the folders, or leave class_names out "
                          "where the folders' own names will do");
      }
    }
  }

  void append(const std::vector<std::string>& files, std::size_t root, std::int64_t label) {
    for (const auto& file : files) {
      paths_ += file;
      ends_.push_back(paths_.size());
    }
    if (!files.empty()) runs_.push_back({size(), root, label});
  }

  std::string relative_path(std::int64_t index) const {
    const auto i = static_cast<std::size_t>(index);
    const auto begin = i == 0 ? 0 : ends_[i - 1];
    return paths_.substr(begin, ends_[i] - begin);
  }

  const Run& run_of(std::int64_t index) const {
    if (index < 0 || index >= size())
      throw std::out_of_range("record " + std::to_string(index) + " of " + config_.name);
    return *std::upper_bound(runs_.begin(), runs_.end(), index,
                             [](std::int64_t i, const Run& run) { return i < run.end; });
  }

  CorpusConfig config_;
  std::vector<std::string> roots_;
  std::string paths_;              // relative, one behind the other
  std::vector<std::size_t> ends_;  // of each path
  std::vector<Run> runs_;
  ClassNames class_names_;
  PassedOver passed_over_;
  std::vector<ShardSpan> spans_;
  std::uint64_t fingerprint_ = 0;
};

}  // namespace

std::unique_ptr<Corpus> open_image_folder(const CorpusConfig& config) {
  return std::make_unique<ImageFolder>(config);
}

}  // namespace triptych
