// The checks of a safetensors header. Written against hostile files: sizes are multiplied with overflow checks, and
// byte ranges must tile the data exactly, so that no two names share bytes and no byte is unaccounted for.
#include <algorithm>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "core/base/errors.h"
#include "core/module/safetensors.h"
#include "core/module/safetensors_dtype.h"

namespace triptych {
namespace {

using Json = nlohmann::json;
constexpr std::size_t kMostTensors = 100'000;
constexpr int kDeepest = 4;  // file > tensor > shape > number

[[noreturn]] void refuse(const std::string& where, const std::string& what) {
  throw CheckpointError(where + ": not a sound safetensors file: " + what);
}

std::string quoted(const std::string& name) {
  return "'" + (name.size() <= 120 ? name : name.substr(0, 120) + "...") + "'";
}

/// Refuses while parsing what a finished JSON value can no longer show (duplicate keys) or what would cost memory
/// (depth).
class Guard {
 public:
  explicit Guard(const std::string& where) : where_(where) {}
  bool operator()(int depth, Json::parse_event_t event, Json& parsed) {
    if (depth > kDeepest) refuse(where_, "JSON nested deeper than " + std::to_string(kDeepest) + " levels");
    if (event == Json::parse_event_t::object_start) keys_[level(depth)].clear();
    if (event != Json::parse_event_t::key) return true;
    auto& keys = keys_[level(depth - 1)];
    if (!keys.insert(parsed.get<std::string>()).second) {
      refuse(where_, "name " + quoted(parsed.get<std::string>()) + " occurs twice");
    }
    if (depth == 1 && keys.size() > kMostTensors + 1) {
      refuse(where_, "more than " + std::to_string(kMostTensors) + " tensors");
    }
    return true;
  }

 private:
  static std::size_t level(int depth) { return static_cast<std::size_t>(std::clamp(depth, 0, kDeepest)); }
  std::string where_;
  std::set<std::string> keys_[kDeepest + 1];
};

std::uint64_t whole_number(const Json& value, const std::string& what, const std::string& where) {
  if (!value.is_number_unsigned()) refuse(where, what + " is not a whole number >= 0: " + value.dump().substr(0, 80));
  return value.get<std::uint64_t>();
}

at::ScalarType dtype_of(const Json& value, const std::string& name, const std::string& where) {
  if (!value.is_string()) refuse(where, "dtype of " + quoted(name) + " is not a string");
  const auto text = value.get<std::string>();
  for (const auto& [known, dtype] : kSafetensorsDtypes) {
    if (text == known) return dtype;
  }
  refuse(where,
         "unknown dtype " + quoted(text) + " of " + quoted(name) + "; known: F64 F32 F16 BF16 I64 I32 I16 I8 U8 BOOL");
}

StoredTensor parse_entry(const std::string& name, const Json& entry, std::uint64_t data_bytes,
                         const std::string& where) {
  if (!entry.is_object() || entry.size() != 3 || !entry.contains("dtype") || !entry.contains("shape") ||
      !entry.contains("data_offsets")) {
    refuse(where, "the entry of " + quoted(name) + " must have exactly dtype, shape and data_offsets");
  }
  const Json &shape = entry["shape"], &offsets = entry["data_offsets"];
  if (!shape.is_array()) refuse(where, "shape of " + quoted(name) + " is not a list");
  if (!offsets.is_array() || offsets.size() != 2) refuse(where, "data_offsets of " + quoted(name) + " is not a pair");
  StoredTensor stored;
  stored.dtype = dtype_of(entry["dtype"], name, where);
  std::uint64_t bytes = c10::elementSize(stored.dtype);
  bool overflow = false;
  for (const auto& size : shape) {
    const std::uint64_t n = whole_number(size, "a size of " + quoted(name), where);
    // A later 0 makes the product 0; the sizes before it must still be sound.
    overflow = __builtin_mul_overflow(bytes, n, &bytes) || overflow || n > std::numeric_limits<std::int64_t>::max();
    stored.shape.push_back(static_cast<std::int64_t>(n));
  }
  if (overflow || stored.shape.size() > 64) refuse(where, "the shape of " + quoted(name) + " is absurdly large");
  stored.begin = whole_number(offsets[0], "data_offsets of " + quoted(name), where);
  stored.end = whole_number(offsets[1], "data_offsets of " + quoted(name), where);
  if (stored.begin > stored.end || stored.end > data_bytes) {
    refuse(where, "data_offsets of " + quoted(name) + ", [" + std::to_string(stored.begin) + ", " +
                      std::to_string(stored.end) + "), pass the end of the data (" + std::to_string(data_bytes) +
                      " bytes)");
  }
  if (stored.end - stored.begin != bytes) {
    refuse(where, quoted(name) + " has " + std::to_string(stored.end - stored.begin) +
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
    if (stored->begin < reached) refuse(where, "the data of " + quoted(*name) + " overlap another tensor's");
    if (stored->begin > reached) refuse(where, "a hole of unused bytes before " + quoted(*name));
    reached = stored->end;
  }
  if (reached != data_bytes) {
    refuse(where, std::to_string(data_bytes - reached) + " bytes after the last tensor belong to none");
  }
}

}  // namespace

SafetensorsHeader parse_safetensors_header(std::string_view json, std::uint64_t data_bytes, const std::string& where) {
  if (json.empty() || json.front() != '{') refuse(where, "the header does not begin with '{'");
  Json root;
  Guard guard(where);
  try {
    root = Json::parse(json.begin(), json.end(), std::ref(guard));
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
      if (!value.is_string()) refuse(where, "__metadata__ " + quoted(key) + " is not a string");
      header.metadata.emplace(key, value.get<std::string>());
    }
  }
  check_tiling(header, data_bytes, where);
  return header;
}

}  // namespace triptych
