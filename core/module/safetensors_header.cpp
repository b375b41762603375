// The checks of a safetensors header. Written against hostile files: sizes are multiplied with overflow checks, and
// byte ranges must tile the data exactly, so that no two names share bytes and no byte is unaccounted for.
#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <unordered_set>
#include <vector>

#include "core/base/errors.h"
#include "core/module/safetensors.h"
#include "core/module/safetensors_dtype.h"

namespace triptych {
namespace {

using Json = nlohmann::json;
constexpr std::size_t kMostTensors = 100'000;
constexpr std::size_t kDeepest = 3;  // file > tensor > shape

[[noreturn]] void refuse(const std::string& where, const std::string& what) {
  throw CheckpointError(where + ": not a sound safetensors file: " + what);
}

std::string in_quotes(const std::string& name) {
  return "'" + (name.size() <= 120 ? name : name.substr(0, 120) + "...") + "'";
}

/// A first pass that refuses what a finished JSON value can no longer show (duplicate keys) or what would cost memory
/// (depth, number). Broken JSON is left to the second pass, which stops at the same place.
class Guard : public nlohmann::json_sax<Json> {
 public:
  explicit Guard(const std::string& where) : where_(where) {}
  bool start_object(std::size_t) override { return enter(); }
  bool end_object() override { return leave(); }
  bool start_array(std::size_t) override { return enter(); }
  bool end_array() override { return leave(); }
  bool key(string_t& name) override {
    if (!keys_.back().insert(name).second) refuse(where_, "name " + in_quotes(name) + " occurs twice");
    if (keys_.size() == 1 && keys_.back().size() > kMostTensors + 1) {
      refuse(where_, "more than " + std::to_string(kMostTensors) + " tensors");
    }
    return true;
  }
  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) override { return false; }

 private:
  bool enter() {
    if (keys_.size() == kDeepest) refuse(where_, "JSON nested deeper than " + std::to_string(kDeepest) + " levels");
    keys_.emplace_back();
    return true;
  }
  bool leave() {
    keys_.pop_back();
    return true;
  }

  const std::string& where_;
  std::vector<std::unordered_set<std::string>> keys_;  // of every open object; empty for a list
};

std::uint64_t whole_number(const Json& value, const std::string& what, const std::string& where) {
  if (!value.is_number_unsigned()) refuse(where, what + " is not a whole number >= 0: " + value.dump().substr(0, 80));
  return value.get<std::uint64_t>();
}

at::ScalarType dtype_of(const Json& value, const std::string& name, const std::string& where) {
  if (!value.is_string()) refuse(where, "dtype of " + in_quotes(name) + " is not a string");
  const auto text = value.get<std::string>();
  for (const auto& [known, dtype] : kSafetensorsDtypes) {
    if (text == known) return dtype;
  }
  refuse(where, "unknown dtype " + in_quotes(text) + " of " + in_quotes(name) +
                    "; known: F64 F32 F16 BF16 I64 I32 I16 I8 U8 BOOL");
}

StoredTensor parse_entry(const std::string& name, const Json& entry, std::uint64_t data_bytes,
                         const std::string& where) {
  if (!entry.is_object() || entry.size() != 3 || !entry.contains("dtype") || !entry.contains("shape") ||
      !entry.contains("data_offsets")) {
    refuse(where, "the entry of " + in_quotes(name) + " must have exactly dtype, shape and data_offsets");
  }
  const Json &shape = entry["shape"], &offsets = entry["data_offsets"];
  if (!shape.is_array()) refuse(where, "shape of " + in_quotes(name) + " is not a list");
  if (!offsets.is_array() || offsets.size() != 2)
    refuse(where, "data_offsets of " + in_quotes(name) + " is not a pair");
  StoredTensor stored;
  stored.dtype = dtype_of(entry["dtype"], name, where);
  std::uint64_t bytes = c10::elementSize(stored.dtype);
  bool overflow = false;
  for (const auto& size : shape) {
    const std::uint64_t n = whole_number(size, "a size of " + in_quotes(name), where);
    // A later 0 makes the product 0; the sizes before it must still be sound.
    overflow = __builtin_mul_overflow(bytes, n, &bytes) || overflow || n > std::numeric_limits<std::int64_t>::max();
    stored.shape.push_back(static_cast<std::int64_t>(n));
  }
  if (overflow || stored.shape.size() > 64) refuse(where, "the shape of " + in_quotes(name) + " is absurdly large");
  stored.begin = whole_number(offsets[0], "data_offsets of " + in_quotes(name), where);
  stored.end = whole_number(offsets[1], "data_offsets of " + in_quotes(name), where);
  if (stored.begin > stored.end || stored.end > data_bytes) {
    refuse(where, "data_offsets of " + in_quotes(name) + ", [" + std::to_string(stored.begin) + ", " +
                      std::to_string(stored.end) + "), pass the end of the data (" + std::to_string(data_bytes) +
                      " bytes)");
  }
  if (stored.end - stored.begin != bytes) {
    refuse(where, in_quotes(name) + " has " + std::to_string(stored.end - stored.begin) +
                      " bytes where its shape and dtype need " + std::to_string(bytes));
  }
  return stored;
}

void check_tiling(const SafetensorsHeader& header, std::uint64_t data_bytes, const std::string& where) {
  std::vector<std::pair<const std::string*, const StoredTensor*>> by_place;
  for (const auto& [name, stored] : header.tensors) by_place.emplace_back(&name, &stored);
  std::sort(by_place.begin(), by_place.end(), [](const auto& a, const auto& b) {
    return std::pair(a.second->begin, a.second->end) < std::pair(b.second->begin, b.second->end);
  });
  std::uint64_t reached = 0;
  for (const auto& [name, stored] : by_place) {
    if (stored->begin < reached) refuse(where, "the data of " + in_quotes(*name) + " overlap another tensor's");
    if (stored->begin > reached) refuse(where, "a hole of unused bytes before " + in_quotes(*name));
    reached = stored->end;
  }
  if (reached != data_bytes) {
    refuse(where, std::to_string(data_bytes - reached) + " bytes after the last tensor belong to none");
  }
}

}  // namespace

SafetensorsHeader parse_safetensors_header(std::string_view json, std::uint64_t data_bytes, const std::string& where) {
  if (json.empty() || json.front() != '{') refuse(where, "the header does not begin with '{'");
  Guard guard(where);
  Json::sax_parse(json.begin(), json.end(), &guard);
  Json root;
  try {
    root = Json::parse(json.begin(), json.end());
  } catch (const Json::exception& e) {
    refuse(where, std::string("its header is no JSON: ") + e.what());
  }
  SafetensorsHeader header;
  for (const auto& [name, entry] : root.items()) {
    if (name != "__metadata__") {
      header.tensors.emplace(name, parse_entry(name, entry, data_bytes, where));
      continue;
    }
    if (!entry.is_object()) refuse(where, "__metadata__ is not a map");
    for (const auto& [key, value] : entry.items()) {
      if (!value.is_string()) refuse(where, "__metadata__ " + in_quotes(key) + " is not a string");
      header.metadata.emplace(key, value.get<std::string>());
    }
  }
  check_tiling(header, data_bytes, where);
  return header;
}

}  // namespace triptych
