// Every state of a folder that a power cut may leave, from a record of what was done to it (after Pillai et al., "All
// File Systems Are Not Created Equal", OSDI 2014). What a file system promises is taken to be no more than this:
//  - bytes of a file are on the disk after its sync; before it none, half, all, or as many zeros may be;
//  - a change of names is on the disk after a sync of its folder; before it each may be there or not, in any choice;
//  - a rename and an exchange happen whole or not at all.
#pragma once
#include <fstream>
#include <functional>
#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/recording_disk.h"

namespace triptych {

/// File -> bytes; a folder is "path/" -> "".
using DiskImage = std::map<std::string, std::string>;

inline void write_image(const DiskImage& image, const std::filesystem::path& root) {
  std::filesystem::create_directories(root);
  for (const auto& [path, bytes] : image) {
    if (path.ends_with('/')) {
      std::filesystem::create_directories(root / path);
    } else {
      std::ofstream(root / path, std::ios::binary) << bytes;
    }
  }
}

class CrashStates {
 public:
  /// `root`: the folder as it is now, all of it on the disk.
  explicit CrashStates(const std::filesystem::path& root) { nodes_[0] = load(root); }

  /// Follows one more operation.
  void apply(const DiskOp& op) {
    using Kind = DiskOp::Kind;
    switch (op.kind) {
      case Kind::kMakeFolder:
      case Kind::kCreate: {
        const int fresh = static_cast<int>(nodes_.size());
        nodes_[fresh].folder = op.kind == Kind::kMakeFolder;
        return change({{place(op.path), fresh}});
      }
      case Kind::kWrite:
        node(op.path).bytes += op.bytes;
        return;
      case Kind::kSync:
        node(op.path).synced = node(op.path).bytes;
        return;
      case Kind::kSyncFolder:
        return sync_names(find(op.path));
      case Kind::kRename:
        return change({{place(op.path), kNone}, {place(op.to), find(op.path)}});
      case Kind::kExchange:
        return change({{place(op.path), find(op.to)}, {place(op.to), find(op.path)}});
      default:
        return change({{place(op.path), kNone}});
    }
  }

  /// Calls `visit` with every image that a power cut now may leave.
  void each_image(const std::function<void(const DiskImage&)>& visit) const {
    std::vector<std::size_t> open;  // changes that may be there or not
    for (std::size_t i = 0; i < changes_.size(); ++i)
      if (!changes_[i].synced) open.push_back(i);
    if (open.size() > 12) throw std::logic_error("too many states: " + std::to_string(open.size()) + " open changes");
    for (std::size_t chosen = 0; chosen < (std::size_t{1} << open.size()); ++chosen) {
      std::set<std::size_t> left_out;
      for (std::size_t bit = 0; bit < open.size(); ++bit)
        if ((chosen >> bit & 1) == 0) left_out.insert(open[bit]);
      each_content(names_without(left_out), visit);
    }
  }

 private:
  static constexpr int kNone = -1;
  struct Node {
    bool folder = false;
    std::string bytes, synced;
    std::map<std::string, int> names, first_names;  ///< of a folder: now, and when the record began
  };
  using Place = std::pair<int, std::string>;  ///< folder, name
  struct Change {
    std::vector<std::pair<Place, int>> entries;
    bool synced = false;
  };
  using Names = std::map<int, std::map<std::string, int>>;  ///< of every folder

  Node load(const std::filesystem::path& path) {
    Node loaded;
    loaded.folder = std::filesystem::is_directory(path);
    if (!loaded.folder) {
      std::ifstream file(path, std::ios::binary);
      loaded.bytes.assign(std::istreambuf_iterator<char>(file), {});
      loaded.synced = loaded.bytes;
      return loaded;
    }
    nodes_.try_emplace(0);
    for (const auto& entry : std::filesystem::directory_iterator(path)) {
      const int id = static_cast<int>(nodes_.size());
      nodes_[id];  // takes the number before those inside take theirs
      nodes_[id] = load(entry.path());
      loaded.names[entry.path().filename().string()] = id;
    }
    loaded.first_names = loaded.names;
    return loaded;
  }
  int find(const std::filesystem::path& path) const {
    int at = 0;
    for (const auto& part : path)
      if (part != "." && !part.empty()) at = nodes_.at(at).names.at(part.string());
    return at;
  }
  Node& node(const std::filesystem::path& path) { return nodes_.at(find(path)); }
  Place place(const std::filesystem::path& path) const { return {find(path.parent_path()), path.filename().string()}; }

  static void enter(std::map<std::string, int>& names, const std::string& name, int id) {
    if (id == kNone) {
      names.erase(name);
    } else {
      names[name] = id;
    }
  }
  void change(std::vector<std::pair<Place, int>> entries) {
    for (const auto& [where, id] : entries) enter(nodes_.at(where.first).names, where.second, id);
    changes_.push_back({std::move(entries)});
  }
  void sync_names(int folder) {
    for (auto& one : changes_)
      for (const auto& entry : one.entries) one.synced = one.synced || entry.first.first == folder;
  }
  Names names_without(const std::set<std::size_t>& left_out) const {
    Names names;
    for (const auto& [id, one] : nodes_) names[id] = one.first_names;
    for (std::size_t i = 0; i < changes_.size(); ++i) {
      if (left_out.contains(i)) continue;
      for (const auto& [where, id] : changes_[i].entries) enter(names.at(where.first), where.second, id);
    }
    return names;
  }
  /// What of a file may be on the disk.
  static std::vector<std::string> contents(const Node& file) {
    if (file.bytes == file.synced) return {file.bytes};
    const auto half = file.synced.size() + (file.bytes.size() - file.synced.size()) / 2;
    return {file.synced, file.bytes.substr(0, half), file.bytes,
            file.synced + std::string(file.bytes.size() - file.synced.size(), '\0')};
  }
  void each_content(const Names& names, const std::function<void(const DiskImage&)>& visit) const {
    std::vector<std::pair<std::string, int>> files;
    DiskImage image;
    list(names, 0, "", image, files);
    fill(files, 0, image, visit);
  }
  void list(const Names& names, int folder, const std::string& prefix, DiskImage& image,
            std::vector<std::pair<std::string, int>>& files) const {
    for (const auto& [name, id] : names.at(folder)) {
      if (!nodes_.at(id).folder) {
        files.emplace_back(prefix + name, id);
        continue;
      }
      image[prefix + name + "/"];
      list(names, id, prefix + name + "/", image, files);
    }
  }
  void fill(const std::vector<std::pair<std::string, int>>& files, std::size_t next, DiskImage& image,
            const std::function<void(const DiskImage&)>& visit) const {
    if (next == files.size()) return visit(image);
    for (const auto& bytes : contents(nodes_.at(files[next].second))) {
      image[files[next].first] = bytes;
      fill(files, next + 1, image, visit);
    }
  }

  std::map<int, Node> nodes_;
  std::vector<Change> changes_;
};

}  // namespace triptych
