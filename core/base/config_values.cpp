// Strict reading of scalars, durations and sections.
#include "core/base/config_values.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <utility>

#include "core/base/errors.h"
#include "core/base/strings.h"

namespace triptych {
namespace {

/// -?(0|[1-9][0-9]*) and, for `fractions`, (\.[0-9]+)?([eE][+-]?[0-9]+)?: the numbers that nobody reads differently.
bool has_number_form(std::string_view text, bool fractions) {
  std::size_t i = 0;
  const auto at = [&](std::size_t k) { return k < text.size() ? text[k] : '\0'; };
  const auto digits = [&] {
    const auto start = i;
    while (at(i) >= '0' && at(i) <= '9') ++i;
    return i - start;
  };
  if (at(i) == '-') ++i;
  const bool zero = at(i) == '0';
  const auto whole = digits();
  if (whole == 0 || (zero && whole > 1)) return false;
  if (fractions && at(i) == '.') {
    ++i;
    if (digits() == 0) return false;
  }
  if (fractions && (at(i) == 'e' || at(i) == 'E')) {
    ++i;
    if (at(i) == '+' || at(i) == '-') ++i;
    if (digits() == 0) return false;
  }
  return i == text.size();
}

std::string expected_number(const char* kind, const Limit& limit) {
  const auto bounds = limit_text(limit);
  return "expected " + std::string(kind) + (bounds.empty() ? "" : " " + bounds);
}

void check_bounds(double value, const YamlNode& node, const std::string& path, const Limit& limit, const char* kind) {
  const bool low = limit.open_low ? value > limit.low : value >= limit.low;
  if (!low || !(value <= limit.high)) {
    config_error(node.place, path, "got " + node.scalar + ", " + expected_number(kind, limit));
  }
}

[[noreturn]] void wrong_number(const YamlNode& node, const std::string& path, const std::string& expected) {
  std::string message = "got " + shown(node) + ", " + expected;
  if (node.is_scalar()) {
    if (node.quoted && has_number_form(node.scalar, true)) {
      message += "; remove the quotes";
    } else {
      message += "; numbers are written 10, 0.5 or 1e-3";
    }
  }
  config_error(node.place, path, message);
}

constexpr const char* kDurationForm = "expected a length with its unit: {steps: N}, {samples: N} or {epochs: N}";

}  // namespace

void config_error(const YamlPlace& place, const std::string& path, const std::string& message) {
  throw ConfigError(place.text() + ": " + (path.empty() ? "" : path + ": ") + message);
}

std::string config_path(const std::string& section, std::string_view key) {
  return section.empty() ? std::string(key) : section + "." + std::string(key);
}

std::string limit_text(const Limit& limit) {
  if (!limit.choices.empty()) return (limit.choices.size() == 1 ? "" : "one of ") + join(limit.choices, ", ");
  const bool low = std::isfinite(limit.low), high = std::isfinite(limit.high);
  if (low && high && !limit.open_low) return "between " + number_text(limit.low) + " and " + number_text(limit.high);
  std::string text;
  if (low) text = (limit.open_low ? "> " : ">= ") + number_text(limit.low);
  if (high) text += (low ? " and <= " : "<= ") + number_text(limit.high);
  return text;
}

bool read_bool(const YamlNode& node, const std::string& path) {
  if (node.is_scalar() && !node.quoted && node.scalar == "true") return true;
  if (node.is_scalar() && !node.quoted && node.scalar == "false") return false;
  config_error(node.place, path,
               "got " + shown(node) + ", expected true or false" + (node.quoted ? " without quotes" : ""));
}

std::int64_t read_integer(const YamlNode& node, const std::string& path, const Limit& limit) {
  constexpr const char* kKind = "a whole number";
  if (!node.is_scalar() || node.quoted || !has_number_form(node.scalar, false)) {
    wrong_number(node, path, expected_number(kKind, limit));
  }
  std::int64_t value = 0;
  const char* end = node.scalar.data() + node.scalar.size();
  if (std::from_chars(node.scalar.data(), end, value).ec != std::errc()) {
    config_error(node.place, path, "got " + shown(node) + ", " + expected_number(kKind, limit) + " that fits 64 bits");
  }
  check_bounds(static_cast<double>(value), node, path, limit, kKind);
  return value;
}

double read_number(const YamlNode& node, const std::string& path, const Limit& limit) {
  constexpr const char* kKind = "a number";
  if (!node.is_scalar() || node.quoted || !has_number_form(node.scalar, true)) {
    wrong_number(node, path, expected_number(kKind, limit));
  }
  double value = 0;
  const char* end = node.scalar.data() + node.scalar.size();
  if (std::from_chars(node.scalar.data(), end, value).ec != std::errc()) {
    config_error(
        node.place, path,
        "got " + shown(node) + ", " + expected_number(kKind, limit) + " that a double can hold (5e-324 to 1.8e308)");
  }
  check_bounds(value, node, path, limit, kKind);
  return value;
}

std::string read_text(const YamlNode& node, const std::string& path, const Limit& limit) {
  const auto allowed = limit.choices.empty() ? std::string("text") : limit_text(limit);
  if (node.is_null()) config_error(node.place, path, "got nothing, expected " + allowed + " ('' for none)");
  if (!node.is_scalar()) config_error(node.place, path, "got " + shown(node) + ", expected " + allowed);
  if (!limit.choices.empty() &&
      std::find(limit.choices.begin(), limit.choices.end(), node.scalar) == limit.choices.end()) {
    const auto near = nearest(node.scalar, limit.choices);
    config_error(node.place, path,
                 "got " + shown(node) + ", expected " + allowed + (near ? "; did you mean " + *near + "?" : ""));
  }
  if (!node.quoted && (node.scalar == "true" || node.scalar == "false")) {
    config_error(
        node.place, path,
        "got " + node.scalar + ", expected " + allowed + "; for the word write '" + node.scalar + "' in quotes");
  }
  return node.scalar;
}

Duration read_duration(const YamlNode& node, const std::string& path) {
  static constexpr std::array kUnits = {"steps", "samples", "epochs"};
  if (!node.is_map()) config_error(node.place, path, "got " + shown(node) + ", " + kDurationForm);
  if (node.entries.size() != 1) {
    std::vector<std::string> units;
    for (const auto& entry : node.entries) units.push_back(entry.key);
    config_error(node.place, path,
                 "got " + (units.empty() ? "no unit" : join(units, " and ")) + ", " + kDurationForm +
                     ", exactly one of them (all at once: --set " + path + "={steps: N})");
  }
  const auto& entry = node.entries.front();
  const auto unit = std::find(kUnits.begin(), kUnits.end(), entry.key);
  if (unit == kUnits.end()) {
    const auto near = nearest(entry.key, {kUnits.begin(), kUnits.end()});
    config_error(entry.key_place, path,
                 "got unit " + shown(entry.key) + ", " + kDurationForm + (near ? "; did you mean " + *near + "?" : ""));
  }
  Duration duration;
  duration.unit = static_cast<Duration::Unit>(unit - kUnits.begin());
  duration.value = read_number(entry.value, config_path(path, entry.key), between(0, 0x1p53));
  if (duration.unit != Duration::Unit::kEpochs && duration.value != std::floor(duration.value)) {
    config_error(entry.value.place, config_path(path, entry.key),
                 "got " + entry.value.scalar + ", expected a whole number (epochs may be fractions)");
  }
  return duration;
}

void expect_list(const YamlNode& node, const std::string& path, std::int64_t size) {
  const std::string expected = size < 0 ? "a list" : "a list of " + std::to_string(size);
  if (!node.is_list()) {
    config_error(node.place, path,
                 "got " + shown(node) + ", expected " + expected + ", as [a, b]" +
                     (node.is_null() && size < 0 ? " ([] for none)" : ""));
  }
  if (size >= 0 && static_cast<std::int64_t>(node.items.size()) != size) {
    config_error(node.place, path, "got " + shown(node) + ", expected " + expected);
  }
}

std::size_t read_tag(const YamlNode& node, const std::string& path, const std::string& tag_key,
                     const std::vector<std::string>& tags) {
  const Limit choices = one_of(tags);
  if (!node.is_map()) {
    config_error(node.place, path,
                 "got " + shown(node) + ", expected a section with '" + tag_key + "': " + limit_text(choices));
  }
  const YamlNode* tag = node.find(tag_key);
  if (tag == nullptr) {
    config_error(node.place, path,
                 "key '" + tag_key + "' is missing; it says which kind this is: " + limit_text(choices));
  }
  const auto name = read_text(*tag, config_path(path, tag_key), choices);
  return static_cast<std::size_t>(std::find(tags.begin(), tags.end(), name) - tags.begin());
}

YamlNode write_text(const std::string& text) {
  return yaml_scalar(text, true);
}

YamlNode write_duration(const Duration& duration) {
  static constexpr std::array kUnits = {"steps", "samples", "epochs"};
  YamlNode node = yaml_map();
  node.inline_map = true;
  node.entries.push_back(
      {kUnits[static_cast<std::size_t>(duration.unit)], {}, yaml_scalar(number_text(duration.value))});
  return node;
}

SectionReader::SectionReader(const YamlNode& node, std::string path, const std::string& tag_key)
    : node_(node), path_(std::move(path)) {
  if (!node_.is_map()) {
    config_error(node_.place, path_,
                 "got " + shown(node_) + ", expected a section (keys with values)" +
                     (node_.is_null() ? "; remove the key or write {}" : ""));
  }
  if (!tag_key.empty()) known_.push_back(tag_key);
}

const YamlNode* SectionReader::take(const std::string& key) {
  known_.push_back(key);
  return node_.find(key);
}

YamlNode SectionReader::empty_section() const {
  YamlNode node = yaml_map();
  node.place = node_.place;
  return node;
}

void SectionReader::finish() const {
  for (const auto& entry : node_.entries) {
    if (std::find(known_.begin(), known_.end(), entry.key) != known_.end()) continue;
    const auto near = nearest(entry.key, known_);
    config_error(entry.key_place, config_path(path_, shown(entry.key).substr(1, shown(entry.key).size() - 2)),
                 "unknown key (its value: " + shown(entry.value) + ")" + (near ? "; did you mean " + *near + "?" : "") +
                     "; known here: " + join(known_, ", "));
  }
}

void SectionReader::run_validate(const std::function<void()>& validate) const {
  try {
    validate();
  } catch (const FieldError& error) {
    // The deepest part of the key that was written; a default that contradicts is shown at its section.
    const YamlNode* node = &node_;
    std::size_t start = 0;
    while (node != nullptr && start <= error.key().size()) {
      const auto end = std::min(error.key().find('.', start), error.key().size());
      const auto key = error.key().substr(start, end - start);
      const YamlNode* inner = node->find(key);
      if (node->is_list() && has_number_form(key, false) && key.size() < 10 && std::stoul(key) < node->items.size()) {
        inner = &node->items[std::stoul(key)];
      }
      if (inner == nullptr) break;
      node = inner;
      start = end + 1;
    }
    config_error(node->place, config_path(path_, error.key()), error.what());
  }
}

}  // namespace triptych
