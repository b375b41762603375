// The same ten pictures, captions and classes as a corpus of every format.
#pragma once
#include <zlib.h>
#include <zstd.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <ostream>
#include <string>
#include <vector>

#include "data/corpus_config.h"
#include "data/formats/base64.h"
#include "tests/support/tar_writer.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tiny_png.h"
#include "tests/support/zip_writer.h"

namespace triptych::format_corpora {

inline constexpr int kRecords = 10;
inline const std::vector<std::string> kClasses = {"ant", "brown bear", "na\xC3\xAFve cat"};

/// What every corpus below is made of. Captions hold what breaks careless writers: commas, quotes, two bytes a letter.
struct Sample {
  std::string name, picture;
  std::vector<std::string> captions;
  int label;
};
inline std::vector<Sample> samples() {
  std::vector<Sample> all;
  for (int i = 0; i < kRecords; ++i) {
    const auto n = std::to_string(i);
    all.push_back({"p" + n,
                   tiny_png(8 + i, 6, 7 * i),
                   {"caption " + n + ", \"quoted\" caf\xC3\xA9", "another one of " + n},
                   i % 3});
  }
  return all;
}

inline std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) out += c == '"' ? "\"\"" : std::string(1, c);
  return out + "\"";
}

/// Writes a corpus into the folder; kind image_text or image_label.
using Writer = std::function<void(const TempDir&, CorpusConfig&)>;

inline bool has_captions(const CorpusConfig& config) {
  return config.kind == "image_text";
}

inline void write_pictures(const TempDir& dir) {
  for (const auto& s : samples()) write_test_file(dir / ("pictures/" + s.name + ".png"), s.picture);
}

inline std::string tar_of(const CorpusConfig& config) {
  TarWriter tar;
  for (const auto& s : samples()) {
    tar.file(s.name + ".png", s.picture);
    if (has_captions(config)) tar.file(s.name + ".json", nlohmann::json({{"texts", s.captions}}).dump());
    if (!has_captions(config)) tar.file(s.name + ".cls", std::to_string(s.label));
  }
  return tar.end().bytes();
}

inline void write_tar(const TempDir& dir, CorpusConfig& config) {
  write_test_file(dir / "a.tar", tar_of(config));
  config.path = (dir / "a.tar").string();
  if (has_captions(config)) config.caption_keys = {"texts"};
}

inline void write_tar_gz(const TempDir& dir, CorpusConfig& config) {
  write_tar(dir, config);
  config.path = (dir / "b.tar.gz").string();
  const auto tar = tar_of(config);
  auto* file = gzopen(config.path.c_str(), "wb");
  gzwrite(file, tar.data(), static_cast<unsigned>(tar.size()));
  gzclose(file);
}

inline void write_tar_zst(const TempDir& dir, CorpusConfig& config) {
  write_tar(dir, config);
  config.path = (dir / "c.tar.zst").string();
  const auto tar = tar_of(config);
  std::string packed(ZSTD_compressBound(tar.size()), '\0');
  packed.resize(ZSTD_compress(packed.data(), packed.size(), tar.data(), tar.size(), 3));
  write_test_file(config.path, packed);
}

inline void write_unicl(const TempDir& dir, CorpusConfig& config) {
  std::string texts, images;
  for (const auto& s : samples()) {
    const auto json =
        has_captions(config)
            ? nlohmann::json({{"captions", s.captions}, {"source", "made"}})
            : nlohmann::json({{"class_name", kClasses[static_cast<std::size_t>(s.label)]}, {"class", "n01"}});
    texts += s.name + "\t" + json.dump() + "\n";
    images += s.name + "\t" + encode_base64(s.picture) + "\n";
  }
  write_test_file(dir / "text.tsv", texts);
  write_test_file(dir / "image.tsv", images);
  config.path = (dir / "text.tsv").string();
  config.images = (dir / "image.tsv").string();
}

inline void write_csv(const TempDir& dir, CorpusConfig& config) {
  write_pictures(dir);
  std::string table = "\xEF\xBB\xBF\"file\",kind of,one,two\r\n";
  for (const auto& s : samples()) {
    table += "pictures/" + s.name + ".png," + kClasses[static_cast<std::size_t>(s.label)] + "," +
             quoted(s.captions[0]) + "," + s.captions[1] + "\r\n";
  }
  write_test_file(dir / "table.csv", table);
  config.path = (dir / "table.csv").string();
  config.image_key = "file";
  if (has_captions(config)) config.caption_keys = {"one", "two"};
  if (!has_captions(config)) config.label_key = "kind of";
}

inline nlohmann::json json_of(const Sample& s) {
  return {{"image", "pictures/" + s.name + ".png"}, {"caption", s.captions}, {"label", s.label}};
}

inline void write_json_array(const TempDir& dir, CorpusConfig& config) {
  write_pictures(dir);
  auto array = nlohmann::json::array();
  for (const auto& s : samples()) array.push_back(json_of(s));
  write_test_file(dir / "list.json", array.dump(2));
  config.path = (dir / "list.json").string();
}

inline void write_json_lines(const TempDir& dir, CorpusConfig& config) {
  write_pictures(dir);
  std::string lines;
  for (const auto& s : samples()) lines += json_of(s).dump() + "\n\n";
  write_test_file(dir / "list.jsonl", lines);
  config.path = (dir / "list.jsonl").string();
}

/// One caption or class a picture is all that these can hold.
inline void write_folder(const TempDir& dir, CorpusConfig& config) {
  for (const auto& s : samples()) {
    const auto folder = has_captions(config) ? "" : kClasses[static_cast<std::size_t>(s.label)] + "/";
    write_test_file(dir / (config.kind + "/" + folder + s.name + ".png"), s.picture);
    write_test_file(dir / (config.kind + "/" + folder + s.name + ".first"), s.captions[0]);
    write_test_file(dir / (config.kind + "/" + folder + s.name + ".second"), s.captions[1]);
  }
  config.path = (dir / config.kind).string();
  if (has_captions(config)) config.caption_keys = {"first", "second"};
  config.class_names.clear();
}

inline void write_zip(const TempDir& dir, CorpusConfig& config) {
  ZipWriter zip;
  std::string map;
  for (const auto& s : samples()) {
    zip.file("train/" + s.name + ".png", s.picture, {.deflate = s.label == 1});
    map += "train/" + s.name + ".png\t" + (has_captions(config) ? s.captions[0] : std::to_string(s.label)) + "\n";
  }
  write_test_file(dir / "train.zip", zip.bytes());
  write_test_file(dir / "train_map.txt", map);
  config.path = (dir / "train.zip").string();
  config.map = (dir / "train_map.txt").string();
}

/// A way to write the corpus, and the format that it is read by.
struct Case {
  const char* name;
  const char* format;
  Writer write;
  bool one_caption = false;
};
inline const std::vector<Case>& cases() {
  static const std::vector<Case> all = {{"tar", "webdataset", write_tar},
                                        {"tar_gz", "webdataset", write_tar_gz},
                                        {"tar_zst", "webdataset", write_tar_zst},
                                        {"unicl_tsv", "unicl_tsv", write_unicl},
                                        {"csv", "csv", write_csv},
                                        {"json_array", "json", write_json_array},
                                        {"json_lines", "json", write_json_lines},
                                        {"image_folder", "image_folder", write_folder},
                                        {"zip_map", "zip_map", write_zip, true}};
  return all;
}
inline void PrintTo(const Case& c, std::ostream* out) {
  *out << c.name;
}

/// Writes the corpus of a case into a folder of its own; `kind` is image_text or image_label.
inline CorpusConfig write_corpus(const Case& c, const std::string& kind, const TempDir& dir) {
  CorpusConfig config;
  config.name = kind == "image_text" ? "texts" : "labels";
  config.kind = kind;
  config.format = c.format;
  if (kind == "image_label") {
    write_test_file(dir / "classes.txt", "ant\nbrown bear\nna\xC3\xAFve cat\n");
    config.class_names = (dir / "classes.txt").string();
  }
  c.write(dir, config);
  return config;
}

}  // namespace triptych::format_corpora
