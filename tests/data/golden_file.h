// Golden numbers (tests/golden/*.safetensors) without torch: the bytes of each tensor by name.
#pragma once
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "tests/support/paths.h"

namespace triptych {

class GoldenFile {
 public:
  struct Tensor {
    std::vector<std::int64_t> shape;
    std::span<const unsigned char> bytes;
  };
  /// `name` is the file's stem: "images".
  explicit GoldenFile(const std::string& name) {
    std::ifstream file(source_path("tests/golden/") + name + ".safetensors", std::ios::binary);
    bytes_.assign(std::istreambuf_iterator<char>(file), {});
    if (bytes_.size() < 8) throw std::runtime_error("no golden file " + name);
    std::uint64_t size = 0;
    std::memcpy(&size, bytes_.data(), sizeof size);
    const auto header =
        nlohmann::json::parse(bytes_.begin() + 8, bytes_.begin() + 8 + static_cast<std::ptrdiff_t>(size));
    for (const auto& [key, entry] : header.items()) {
      if (key == "__metadata__") continue;
      const auto range = entry["data_offsets"].get<std::vector<std::uint64_t>>();
      tensors_[key] = {entry["shape"].get<std::vector<std::int64_t>>(),
                       std::span(bytes_).subspan(8 + size + range[0], range[1] - range[0])};
    }
  }
  const Tensor& operator[](const std::string& name) const {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) throw std::runtime_error("no golden tensor " + name);
    return found->second;
  }
  bool has(const std::string& name) const { return tensors_.contains(name); }
  /// Names that end with `suffix`, without it.
  std::vector<std::string> names(const std::string& suffix) const {
    std::vector<std::string> found;
    for (const auto& [name, tensor] : tensors_)
      if (name.ends_with(suffix)) found.push_back(name.substr(0, name.size() - suffix.size()));
    return found;
  }
  template <class T>
  std::vector<T> values(const std::string& name) const {
    const auto& tensor = (*this)[name];
    std::vector<T> values(tensor.bytes.size() / sizeof(T));
    std::memcpy(values.data(), tensor.bytes.data(), values.size() * sizeof(T));
    return values;
  }

  /// Strings stored as NAME.bytes and NAME.offsets.
  std::vector<std::string> texts(const std::string& name) const {
    const auto bytes = (*this)[name + ".bytes"].bytes;
    const auto offsets = values<std::int64_t>(name + ".offsets");
    std::vector<std::string> texts;
    for (std::size_t i = 0; i + 1 < offsets.size(); ++i)
      texts.emplace_back(bytes.begin() + offsets[i], bytes.begin() + offsets[i + 1]);
    return texts;
  }
  /// Lists of int32 ids stored as NAME.values and NAME.offsets.
  std::vector<std::vector<std::int64_t>> lists(const std::string& name) const {
    const auto ids = values<std::int32_t>(name + ".values");
    const auto offsets = values<std::int64_t>(name + ".offsets");
    std::vector<std::vector<std::int64_t>> lists;
    for (std::size_t i = 0; i + 1 < offsets.size(); ++i)
      lists.emplace_back(ids.begin() + offsets[i], ids.begin() + offsets[i + 1]);
    return lists;
  }

 private:
  std::vector<unsigned char> bytes_;
  std::map<std::string, Tensor> tensors_;
};

}  // namespace triptych
