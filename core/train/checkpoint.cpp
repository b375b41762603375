// Writing, verifying and loading of one checkpoint folder.
#include "core/train/checkpoint.h"

#include <ATen/ATen.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "core/base/atomic_file.h"
#include "core/base/errors.h"
#include "core/base/fault_plan.h"
#include "core/base/hash.h"
#include "core/base/strings.h"

namespace triptych {
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

constexpr const char* kManifest = "manifest.json";
constexpr const char* kModel = "model.safetensors";
constexpr const char* kState = "state.safetensors";
constexpr const char* kConfig = "config.yaml";

Json manifest_json(const Manifest& manifest) {
  Json files = Json::object();
  for (const auto& [name, file] : manifest.files) {
    files[name] = {{"bytes", file.bytes}, {"xxh64", file.xxh64}};
    for (const auto& part : file.parts) files[name]["parts"].push_back({part.bytes, part.xxh64});
  }
  return {{"format_version", manifest.format_version},
          {"step", manifest.step},
          {"samples_seen", manifest.samples_seen},
          {"files", files},
          {"logs", Json(manifest.logs)},
          {"config_xxh64", manifest.config_xxh64},
          {"corpus_fingerprint", manifest.corpus_fingerprint},
          {"class_names_xxh64", manifest.class_names_xxh64},
          {"ranks", manifest.ranks},
          {"threads", manifest.threads},
          {"device", manifest.device},
          {"instruction_set", manifest.instruction_set},
          {"program", manifest.program}};
}

/// A file that counts and hashes what goes through it, also in parts where these are marked, and is on the disk when
/// finish() returns.
class HashedFile {
 public:
  HashedFile(fs::path path, DiskOps& disk) : path_(std::move(path)), disk_(disk), file_(disk.create(path_)) {}
  void add(const void* data, std::size_t bytes) {
    disk_.write(file_, data, bytes, path_);
    hash_.add(data, bytes);
    part_hash_.add(data, bytes);
    bytes_ += static_cast<std::int64_t>(bytes);
  }
  void end_part() {
    parts_.push_back({bytes_ - part_begin_, hash_text(part_hash_.value())});
    part_hash_ = Xxh64();
    part_begin_ = bytes_;
  }
  Manifest::File finish() {
    disk_.finish(std::move(file_), path_);
    return {bytes_, hash_text(hash_.value()), std::move(parts_)};
  }

 private:
  fs::path path_;
  DiskOps& disk_;
  FileHandle file_;
  Xxh64 hash_, part_hash_;
  std::int64_t bytes_ = 0, part_begin_ = 0;
  std::vector<Manifest::Part> parts_;
};

Manifest::File write_tensors(const fs::path& path, const std::vector<NamedTensor>& tensors, std::int64_t step,
                             DiskOps& disk) {
  HashedFile file(path, disk);
  write_safetensors(tensors, {{"format", "pt"}, {"step", std::to_string(step)}},
                    [&, pieces = 0](const void* data, std::size_t bytes) mutable {
                      file.add(data, bytes);
                      if (++pieces >= 2) file.end_part();  // the length and the header are one
                    });
  return file.finish();
}

Manifest::File write_text(const fs::path& path, const std::string& text, DiskOps& disk) {
  HashedFile file(path, disk);
  file.add(text.data(), text.size());
  return file.finish();
}

void write_files(const fs::path& folder, Manifest& manifest, const StateSnapshot& snapshot, const std::string& config,
                 DiskOps& disk) {
  manifest.files[kModel] = write_tensors(folder / kModel, snapshot.model, manifest.step, disk);
  manifest.files[kState] = write_tensors(folder / kState, snapshot.state, manifest.step, disk);
  manifest.files[kConfig] = write_text(folder / kConfig, config, disk);
  if (const auto order = fault_point(FaultPoint::kCheckpointManifest, FaultServes::kDisk)) {
    throw storage_error("cannot write", folder / kManifest, order.error_number());
  }
  write_text(folder / kManifest, manifest_text(manifest), disk);
  disk.sync_folder(folder);
}

/// What is left is removed by the next save or start.
void remove_quietly(const fs::path& path, DiskOps& disk) {
  try {
    disk.remove_all(path);
  } catch (const StorageError&) {
  }
}

void rename_quietly(const fs::path& from, const fs::path& to, DiskOps& disk) {
  try {
    disk.rename_durably(from, to);
  } catch (const StorageError&) {
  }
}

/// For file systems without an exchange (NFS): two renames. What is killed between them leaves the old one as
/// PATH.old, always whole, and the next start brings it back.
void replace_by_renames(const fs::path& finished, const fs::path& folder, DiskOps& disk) {
  const fs::path old = folder.string() + ".old";
  disk.remove_all(old);
  try {
    disk.rename_durably(folder, old);
    disk.rename_durably(finished, folder);
  } catch (const StorageError&) {
    if (!fs::exists(folder) && fs::exists(old)) rename_quietly(old, folder, disk);
    throw;
  }
  // Under the name of what is unfinished: half of it must not be taken for a whole one.
  disk.rename_durably(old, finished);
  disk.remove_all(finished);
}

/// Renames; a checkpoint of the same step that is there already changes places with the new one in one instant.
void put_in_place(const fs::path& finished, const fs::path& folder, DiskOps& disk) {
  if (!fs::exists(folder)) {
    disk.rename_durably(finished, folder);
  } else if (disk.exchange_durably(finished, folder)) {
    disk.remove_all(finished);
  } else {
    replace_by_renames(finished, folder, disk);
  }
}

}  // namespace

std::string class_names_hash(const std::vector<std::string>& names) {
  Xxh64 hash;
  for (const auto& name : names) hash.add(name.c_str(), name.size() + 1);
  return hash_text(hash.value());
}

std::string manifest_text(const Manifest& manifest) {
  auto json = manifest_json(manifest);
  json["xxh64"] = hash_text(xxh64(json.dump()));  // of all the rest, so that the manifest guards itself
  return json.dump(1) + "\n";
}

Manifest parse_manifest(std::string_view text, const std::string& where) {
  Manifest manifest;
  try {
    const auto json = Json::parse(text);
    manifest.format_version = json.at("format_version");
    if (manifest.format_version < Manifest::kOldestVersion || manifest.format_version > Manifest::kFormatVersion) {
      throw CheckpointError(where + ": format version " + std::to_string(manifest.format_version) +
                            ", this program reads versions " + std::to_string(Manifest::kOldestVersion) + " to " +
                            std::to_string(Manifest::kFormatVersion));
    }
    for (const auto& [name, file] : json.at("files").items()) {
      manifest.files[name] = {file.at("bytes"), file.at("xxh64")};
      if (!file.contains("parts")) continue;
      for (const auto& part : file["parts"]) manifest.files[name].parts.push_back({part.at(0), part.at(1)});
    }
    json.at("logs").get_to(manifest.logs);
    manifest.step = json.at("step");
    manifest.samples_seen = json.at("samples_seen");
    manifest.config_xxh64 = json.at("config_xxh64");
    manifest.corpus_fingerprint = json.at("corpus_fingerprint");
    manifest.class_names_xxh64 = json.at("class_names_xxh64");
    manifest.ranks = json.at("ranks");
    manifest.threads = json.at("threads");
    manifest.device = json.at("device");
    manifest.instruction_set = json.at("instruction_set");
    manifest.program = json.at("program");
  } catch (const nlohmann::json::exception& error) {
    throw DamagedCheckpoint(where + ": not a manifest: " + error.what());
  }
  if (manifest_text(manifest) != text) throw DamagedCheckpoint(where + ": damaged (its own hash does not fit)");
  return manifest;
}

namespace {

/// Name by offset in the file, from a sound header with the length before it.
std::map<std::int64_t, std::string> tensor_places(std::string_view header, std::int64_t file_bytes,
                                                  const fs::path& path) {
  const auto begin = static_cast<std::int64_t>(header.size());
  const auto parsed = parse_safetensors_header(header.substr(sizeof(std::uint64_t)),
                                               static_cast<std::uint64_t>(file_bytes - begin), path.string());
  std::map<std::int64_t, std::string> places;
  for (const auto& [name, tensor] : parsed.tensors) {
    if (tensor.begin < tensor.end) places[begin + static_cast<std::int64_t>(tensor.begin)] = name;
  }
  return places;
}

/// Which tensors of a damaged file are: "; damaged in it: visual.proj.weight". Empty where the file has no parts.
std::string damaged_parts(const fs::path& path, const Manifest::File& expected) {
  std::ifstream file(path, std::ios::binary);
  std::map<std::int64_t, std::string> places;
  std::vector<std::string> damaged;
  std::int64_t at = 0;
  for (const auto& part : expected.parts) {
    std::string bytes(static_cast<std::size_t>(part.bytes), '\0');
    if (!file.read(bytes.data(), part.bytes)) break;
    const bool sound = hash_text(xxh64(bytes)) == part.xxh64;
    if (sound && at == 0) places = tensor_places(bytes, expected.bytes, path);
    if (!sound)
      damaged.push_back(places.contains(at) ? places[at] : at == 0 ? "the header" : "byte " + std::to_string(at));
    at += part.bytes;
  }
  return damaged.empty() ? "" : "; damaged in it: " + join(damaged, ", ");
}

}  // namespace

void write_checkpoint(const fs::path& folder, Manifest manifest, const StateSnapshot& snapshot,
                      const std::string& config_text, DiskOps& disk, const std::function<void()>& before_rename) {
  const fs::path unfinished = folder.string() + ".tmp";
  disk.remove_all(unfinished);
  disk.make_folders(unfinished);
  try {
    write_files(unfinished, manifest, snapshot, config_text, disk);
    before_rename();
    put_in_place(unfinished, folder, disk);
  } catch (...) {
    remove_quietly(unfinished, disk);
    throw;
  }
}

Manifest verify_checkpoint(const fs::path& folder) {
  const auto path = folder / kManifest;
  if (!fs::exists(path))
    throw DamagedCheckpoint(folder.string() + " is no complete checkpoint: it has no " + kManifest);
  std::string text;
  try {
    text = read_file(path, 16 << 20);
  } catch (const StorageError& error) {
    throw CheckpointError(error.what());
  }
  const auto manifest = parse_manifest(text, path.string());
  for (const char* name : {kModel, kState, kConfig}) {
    if (!manifest.files.contains(name)) throw DamagedCheckpoint(path.string() + ": does not list " + name);
  }
  for (const auto& [name, expected] : manifest.files) {
    const auto file = folder / name;
    std::error_code error;
    const auto bytes = fs::file_size(file, error);
    if (error == std::errc::no_such_file_or_directory) throw DamagedCheckpoint(file.string() + " is missing");
    if (error) throw CheckpointError(file.string() + ": " + error.message());
    if (static_cast<std::int64_t>(bytes) != expected.bytes) {
      throw DamagedCheckpoint(file.string() + ": " + std::to_string(bytes) + " bytes, the manifest says " +
                              std::to_string(expected.bytes));
    }
    std::string hash;
    try {
      hash = hash_text(xxh64_of_file(file));
    } catch (const StorageError& failure) {
      throw CheckpointError(failure.what());
    }
    if (hash != expected.xxh64) {
      throw DamagedCheckpoint(file.string() + ": damaged: xxh64 " + hash + ", the manifest says " + expected.xxh64 +
                              damaged_parts(file, expected));
    }
  }
  return manifest;
}

void load_checkpoint(const fs::path& folder, const VisitState& visit, const std::set<std::string>& model_names) {
  const SafetensorsReader model(folder / kModel), state(folder / kState);
  try {
    load_snapshot(visit, model_names, model, state);
  } catch (const CheckpointError& error) {
    throw CheckpointError(folder.string() + ": " + error.what());
  }
}

}  // namespace triptych
