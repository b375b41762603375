// A shard is made in waves: threads read and encode, then the wave is written in order.
#include "data/tools/pack.h"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "core/base/atomic_file.h"
#include "core/base/errors.h"
#include "core/base/hash.h"
#include "core/base/strings.h"
#include "data/formats/class_names.h"
#include "data/formats/index_file.h"
#include "data/formats/parallel_for.h"
#include "data/formats/printable.h"
#include "data/formats/record_error.h"
#include "data/image/decode.h"
#include "data/image/encode.h"
#include "data/image/resize.h"
#include "data/tools/tar_file.h"

namespace triptych {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
constexpr std::int64_t kPackWave = 256;  // records in memory at a time

/// One record as members of a shard, or why it is left out.
struct Packed {
  std::vector<unsigned char> picture;
  std::string picture_extension, text_extension, text;
  std::string reason;
  bool resized = false;
};

/// By the first bytes; throws DataError when decode_image would know none of them.
std::string extension_of(std::span<const unsigned char> file) {
  const std::string_view bytes(reinterpret_cast<const char*>(file.data()), file.size());
  if (bytes.starts_with("\xFF\xD8\xFF")) return "jpg";
  if (bytes.starts_with("\x89PNG\r\n\x1A\n")) return "png";
  if (bytes.starts_with("RIFF") && bytes.size() >= 12 && bytes.substr(8, 4) == "WEBP") return "webp";
  throw DataError("the picture is neither JPEG, PNG nor WebP");
}

/// The picture with its short side at `side`, the long one at floor(side * long / short); nothing when the short side
/// is `side` or less already.
std::optional<Image> shrunk(const Image& image, std::int64_t side) {
  const auto short_side = std::min(image.width, image.height);
  if (short_side <= side) return std::nullopt;
  Image small;
  small.width = static_cast<int>(side * image.width / short_side);
  small.height = static_cast<int>(side * image.height / short_side);
  small.rgb.resize(static_cast<std::size_t>(small.width) * static_cast<std::size_t>(small.height) * 3);
  resize_bicubic(image, Box{0, 0, image.width, image.height}, {small.width, small.height},
                 {0, 0, small.width, small.height}, false, small.rgb);
  return small;
}

Packed pack_record(const Corpus& corpus, std::int64_t index, const PackRequest& request) {
  Packed packed;
  try {
    auto record = corpus.read(index);
    packed.picture_extension = extension_of(record.image);
    if (request.short_side > 0) {
      const auto small = shrunk(decode_image(record.image, request.decoding), request.short_side);
      if (small) {
        record.image = encode_jpeg(*small, static_cast<int>(request.quality));
        packed.picture_extension = "jpg";
        packed.resized = true;
      }
    }
    packed.picture = std::move(record.image);
    if (record.label >= 0) {
      packed.text_extension = "cls";
      packed.text = std::to_string(record.label);
    } else if (record.captions.size() == 1) {
      packed.text_extension = "txt";
      packed.text = record.captions.front();
    } else {
      packed.text_extension = "json";
      packed.text = Json{{"txt", record.captions}}.dump();
    }
  } catch (const RecordError& error) {
    packed.reason = error.reason();
  } catch (const DataError& error) {
    packed.reason = error.what();
  }
  return packed;
}

/// What must be equal for a folder to be gone on with.
Json settings_of(const Corpus& corpus, const PackRequest& request) {
  Json settings = {{"triptych_pack", 1},
                   {"corpus", printable(corpus.config().name)},
                   {"fingerprint", hash_text(corpus.fingerprint())},
                   {"records", corpus.size()},
                   {"shard_size", request.shard_records},
                   {"resize", request.short_side}};
  if (request.short_side > 0) {
    settings["quality"] = request.quality;
    settings["decode.alpha"] = request.decoding.alpha;
    settings["decode.exif"] = request.decoding.exif;
    settings["decode.max_pixels"] = request.decoding.max_pixels;
  }
  return settings;
}

/// Removes what a killed pack left of files that are written whole or not at all: NAME.tmp-PROCESS-NUMBER. Otherwise a
/// kill before pack.json is there would make the folder look like another's.
void remove_torn_files(const fs::path& folder) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    const auto name = entry.path().filename().string();
    const bool ours = name.starts_with("pack.json") || name.starts_with("classes.txt") || name.starts_with("shard-");
    if (ours && name.find(".tmp-") != name.npos) fs::remove(entry.path(), ignored);
  }
}

/// Makes the folder and its pack.json, or checks the one that is there.
void claim_folder(const fs::path& folder, const Json& settings) {
  std::error_code failure;
  fs::create_directories(folder, failure);
  if (failure) throw storage_error("cannot make the folder", folder, failure.value());
  remove_torn_files(folder);
  const auto path = folder / "pack.json";
  if (!fs::exists(path)) {
    if (!fs::is_empty(folder)) {
      throw ConfigError("pack: " + printable(folder.string()) +
                        " is not empty and holds no pack.json; name an empty or a new folder");
    }
    return write_file_atomically(path, settings.dump(2) + "\n");
  }
  const auto found = Json::parse(read_file(path, 1 << 20), nullptr, /*allow_exceptions=*/false);
  if (found == settings) return;
  std::vector<std::string> differ;
  for (const auto& [key, value] : settings.items()) {
    if (!found.is_object() || !found.contains(key) || found[key] != value) differ.push_back(key);
  }
  if (differ.empty()) differ.push_back("it has other keys");
  throw ConfigError("pack: " + printable(path.string()) + " says that the folder holds another pack (" +
                    join(differ, ", ") + "); name another folder, or remove this one");
}

/// Writes classes.txt and reads it back: a name with a '|' or a line end would become others.
void write_class_names(const fs::path& path, const ClassNames& classes) {
  std::string text;
  for (const auto& names : classes) text += join(names, "|") + "\n";
  write_file_atomically(path, text);
  const auto wrong = [&](const std::string& why) {
    throw ConfigError("pack: the class names cannot be written to " + printable(path.string()) + ": " + why +
                      "; give the corpus a class_names file without '|', line ends and blanks at the ends of names");
  };
  try {
    const auto read = read_class_names(path.string());
    for (std::size_t i = 0; i < std::min(read.size(), classes.size()); ++i) {
      if (read[i] != classes[i]) wrong("'" + printable(join(classes[i], "|")) + "' would be read as other names");
    }
    if (read.size() != classes.size()) wrong("a name holds a line end");
  } catch (const ConfigError& error) {
    if (std::string_view(error.what()).starts_with("pack: ")) throw;
    wrong(error.what());
  }
}

std::string numbered(const char* format, std::int64_t number) {
  char text[64];
  std::snprintf(text, sizeof(text), format, static_cast<long long>(number));
  return text;
}

std::span<const unsigned char> bytes_of(const std::string& text) {
  return {reinterpret_cast<const unsigned char*>(text.data()), text.size()};
}

class Packer {
 public:
  Packer(const Corpus& corpus, const PackRequest& request) : corpus_(corpus), request_(request) {}

  PackReport run() {
    claim_folder(request_.folder, settings_of(corpus_, request_));
    if (!corpus_.class_names().empty()) write_class_names(request_.folder / "classes.txt", corpus_.class_names());
    report_.records = corpus_.size();
    for (std::int64_t shard = 0; shard * request_.shard_records < corpus_.size(); ++shard) {
      const auto path = request_.folder / numbered("shard-%06lld.tar", shard);
      const auto first = shard * request_.shard_records,
                 last = std::min(first + request_.shard_records, corpus_.size());
      if (fs::exists(path)) {
        ++report_.shards_found;
        progress(last);
      } else if (!write_shard(path, first, last)) {
        continue;
      }
      const InputFile file(path.string());
      const auto opened = open_index(file, "");
      if (!opened.write_error.empty()) throw StorageError(opened.write_error);
      ++report_.shards;
      report_.written += opened.index.size();
      report_.bytes += file.size();
    }
    report_.unusable = report_.records - report_.written;
    return report_;
  }

 private:
  void progress(std::int64_t done) const {
    if (request_.progress) request_.progress(done);
  }

  /// False when no record of the range can be used: then there is no shard.
  bool write_shard(const fs::path& path, std::int64_t first, std::int64_t last) {
    std::optional<TarFile> tar;
    std::vector<Packed> wave;
    for (auto begin = first; begin < last; begin += kPackWave) {
      const auto count = std::min(kPackWave, last - begin);
      wave.assign(static_cast<std::size_t>(count), {});
      parallel_for(count, request_.threads, [&](std::int64_t i) {
        wave[static_cast<std::size_t>(i)] = pack_record(corpus_, begin + i, request_);
      });
      for (std::int64_t i = 0; i < count; ++i) {
        const auto& packed = wave[static_cast<std::size_t>(i)];
        if (!packed.reason.empty()) {
          ++report_.reasons[packed.reason];
          continue;
        }
        if (!tar) tar.emplace(path);
        const auto key = numbered("%09lld", begin + i) + ".";
        tar->add(key + packed.picture_extension, packed.picture);
        tar->add(key + packed.text_extension, bytes_of(packed.text));
        report_.resized += packed.resized;
      }
      progress(begin + count);
    }
    if (tar) tar->finish();
    return tar.has_value();
  }

  const Corpus& corpus_;
  const PackRequest& request_;
  PackReport report_;
};

}  // namespace

PackReport pack_corpus(const Corpus& corpus, const PackRequest& request) {
  return Packer(corpus, request).run();
}

}  // namespace triptych
