// How a section of the configuration is declared. One field list per section, beside the section's owner, drives the
// strict reader, the dump, --help and docs/config_reference.md:
//
//   struct OptimizerConfig {
//     double lr = 1e-3;
//     std::string name = "adamw";
//     template <class Self, class Visit> static void fields(Self& c, Visit&& field) {
//       field("lr", c.lr, "peak learning rate, reached after warm-up", positive());
//       field("name", c.name, "which optimizer", one_of({"adamw"}));
//     }
//     void validate() const;   // optional: contradictions between fields, throws FieldError("lr", "...")
//   };
//
// A member may be bool, int64_t, double, std::string, Duration, std::filesystem::path, another section,
// std::optional<T>, std::vector<T>, std::array<double, n>, or std::variant<Sections...>: the union of sections that one
// key tells apart. Each alternative then has `static constexpr const char* kTagKey = "name"` (or "type") and `kTag =
// "unicl"`; the tag key is read first and the remaining keys are those of the chosen alternative.
#pragma once
#include <cmath>
#include <initializer_list>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

namespace triptych {

/// What a value must satisfy beyond its type. Bounds are inclusive unless `open_low`; NaN and infinities never pass.
struct Limit {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  bool open_low = false;
  std::vector<std::string> choices = {};  ///< allowed strings; empty = any
};
inline Limit any_value() {
  return {};
}
inline Limit positive() {
  return {.low = 0, .open_low = true};
}
inline Limit at_least(double low) {
  return {.low = low};
}
inline Limit between(double low, double high) {
  return {.low = low, .high = high};
}
inline Limit one_of(std::vector<std::string> choices) {
  return {.choices = std::move(choices)};
}

/// Thrown by a section's validate(): the reader adds file, line and the section's path and throws ConfigError.
class FieldError : public std::runtime_error {
 public:
  /// `key` is relative to the section that validates ("lr", "warmup"); `what` says got, expected, what to do.
  FieldError(std::string key, const std::string& what) : std::runtime_error(what), key_(std::move(key)) {}
  const std::string& key() const { return key_; }

 private:
  std::string key_;
};

}  // namespace triptych
