// Files of named tensors in the safetensors format: 8 bytes little-endian length, a JSON header (name -> dtype, shape,
// byte range), then raw little-endian data. Readable by Python's `safetensors`. Nothing in a file is ever executed, and
// every claim of a header is checked before a byte is allocated for it.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/atomic_file.h"
#include "core/module/module.h"

namespace triptych {

/// Where a tensor lies in the data that follows the header.
struct StoredTensor {
  at::ScalarType dtype = at::kFloat;
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0, end = 0;  ///< bytes, counted from the end of the header
};

struct SafetensorsHeader {
  std::map<std::string, StoredTensor> tensors;
  std::map<std::string, std::string> metadata;
};

/// Reads the JSON of a header that is followed by `data_bytes` bytes. Throws CheckpointError, beginning with `where`,
/// for anything but a sound header: broken JSON, duplicate names, unknown dtypes, a shape that does not fit its byte
/// range, ranges that overlap, leave a hole or pass the end, more than 100,000 tensors.
SafetensorsHeader parse_safetensors_header(std::string_view json, std::uint64_t data_bytes, const std::string& where);

/// A file opened for reading; its header is verified at construction (CheckpointError), its data are read on demand.
class SafetensorsReader {
 public:
  explicit SafetensorsReader(const std::filesystem::path& path);

  const std::map<std::string, StoredTensor>& tensors() const { return header_.tensors; }
  const std::map<std::string, std::string>& metadata() const { return header_.metadata; }
  bool contains(const std::string& name) const { return header_.tensors.contains(name); }
  /// A new CPU tensor. Throws CheckpointError if there is none of that name, or the disk fails.
  at::Tensor read(const std::string& name) const;

 private:
  std::filesystem::path path_;
  SafetensorsHeader header_;
  std::uint64_t data_start_ = 0;
  FileHandle file_;
};

/// Takes the next bytes of a file.
using ByteSink = std::function<void(const void* data, std::size_t bytes)>;

/// Streams a whole file into `sink`, one tensor in memory at a time; returns its length in bytes. Tensors may live on
/// any device and have any strides. Tensors of wide elements come first, so that every element is aligned; within a
/// width the order is kept. Throws std::logic_error for duplicate names or a dtype that the format lacks.
std::uint64_t write_safetensors(const std::vector<NamedTensor>& tensors,
                                const std::map<std::string, std::string>& metadata, const ByteSink& sink);

/// The same into a file (replaced if it exists), synced to disk before it returns. Throws StorageError.
void save_safetensors(const std::filesystem::path& path, const std::vector<NamedTensor>& tensors,
                      const std::map<std::string, std::string>& metadata = {});

}  // namespace triptych
