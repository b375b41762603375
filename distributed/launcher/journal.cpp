// The journal: events to lines and back.
#include "distributed/launcher/journal.h"

#include <cmath>
#include <cstdio>
#include <ctime>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <utility>

#include "core/base/clock.h"
#include "core/base/log.h"

namespace triptych {
namespace {

using Json = nlohmann::ordered_json;

Json line_of(const JournalEvent& event, const JournalClock& clock) {
  Json line = {{"time", utc_text(clock.utc())}, {"uptime_s", std::round(clock.uptime_s() * 1e3) / 1e3}};
  std::visit(
      [&](const auto& typed) {
        line["event"] = typed.kName;
        typed.fields(typed, [&](const char* name, const auto& value) { line[name] = value; });
      },
      event);
  return line;
}

bool read_value(const Json& json, std::string& value) {
  if (!json.is_string()) return false;
  value = json.get<std::string>();
  return true;
}

bool read_value(const Json& json, double& value) {
  if (!json.is_number()) return false;
  value = json.get<double>();
  return std::isfinite(value);
}

bool read_value(const Json& json, std::int64_t& value) {
  if (!json.is_number_integer()) return false;
  value = json.get<std::int64_t>();
  return true;
}

bool read_value(const Json& json, std::vector<std::string>& value) {
  if (!json.is_array()) return false;
  for (const auto& item : json) {
    if (!item.is_string()) return false;
    value.push_back(item.get<std::string>());
  }
  return true;
}

template <class Event>
std::optional<JournalEvent> read_event(const Json& object) {
  Event event;
  std::size_t known = 3;  // time, uptime_s, event
  bool good = true;
  Event::fields(event, [&](const char* name, auto& value) {
    const auto found = object.find(name);
    good = good && found != object.end() && read_value(*found, value);
    ++known;
  });
  if (!good || object.size() != known) return std::nullopt;
  return event;
}

template <class... Event>
std::optional<JournalEvent> read_named(const std::string& name, const Json& object, const std::variant<Event...>*) {
  std::optional<JournalEvent> event;
  ((name == Event::kName ? void(event = read_event<Event>(object)) : void()), ...);
  return event;
}

std::optional<JournalLine> read_line(std::string_view text) {
  const auto object = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  std::string name;
  JournalLine line;
  if (!object.is_object() || !object.contains("time") || !object.contains("uptime_s") || !object.contains("event") ||
      !read_value(object["time"], line.time) || !read_value(object["uptime_s"], line.uptime_s) || line.uptime_s < 0 ||
      !read_value(object["event"], name)) {
    return std::nullopt;
  }
  auto event = read_named(name, object, static_cast<const JournalEvent*>(nullptr));
  if (!event) return std::nullopt;
  line.event = std::move(*event);
  return line;
}

/// A half line would swallow the next one; a whole one only misses its end.
void end_last_line(JsonLines& lines) {
  const auto bytes = read_file(lines.path());
  if (bytes.empty() || bytes.back() == '\n') return;
  const auto begin = bytes.rfind('\n') + 1;  // npos + 1 is 0
  if (read_line(std::string_view(bytes).substr(begin))) {
    lines.write_text("");
  } else {
    lines.truncate_to(static_cast<std::int64_t>(begin));
  }
}

std::string quoted_word(const std::string& word) {
  constexpr std::string_view kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=./:,@%*";
  if (!word.empty() && word.find_first_not_of(kPlain) == std::string::npos) return word;
  std::string quoted = "'";
  for (const char c : word) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

}  // namespace

JournalClock JournalClock::of_system() {
  return {[] { return std::chrono::system_clock::now(); }, [begin = Clock::now()] { return seconds_since(begin); }};
}

Journal::Journal(const std::filesystem::path& path, JournalClock clock) : lines_(path), clock_(std::move(clock)) {
  end_last_line(lines_);
}

bool Journal::append(const JournalEvent& event) {
  try {
    lines_.write(line_of(event, clock_));
    return true;
  } catch (const StorageError& error) {
    if (lost_++ == 0) log_warning(std::string("the journal misses lines, training goes on: ") + error.what());
    return false;
  }
}

void Journal::write(const JournalEvent& event) {
  if (!append(event) || lost_ == 0) return;
  const auto lost = lost_;
  if (append(WarningEvent{std::to_string(lost) + " lines of this journal were lost: the disk refused them"})) lost_ = 0;
}

JournalContent read_journal(const std::filesystem::path& path) {
  const auto bytes = read_file(path);
  JournalContent content;
  for (std::string_view rest = bytes; !rest.empty();) {
    const auto end = rest.find('\n');
    auto line = read_line(rest.substr(0, end));
    if (line) {
      content.lines.push_back(std::move(*line));
    } else if (end == std::string_view::npos) {
      content.cut_off = true;
    } else {
      ++content.bad_lines;
    }
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
  }
  return content;
}

std::string utc_text(std::chrono::system_clock::time_point time) {
  using std::chrono::floor, std::chrono::milliseconds, std::chrono::seconds;
  const auto whole = floor<seconds>(time);
  const auto ms = floor<milliseconds>(time - whole).count();
  const std::time_t stamp = std::chrono::system_clock::to_time_t(whole);
  std::tm parts{};
  ::gmtime_r(&stamp, &parts);
  char text[48], full[64];
  std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &parts);
  std::snprintf(full, sizeof(full), "%s.%03dZ", text, static_cast<int>(ms));
  return full;
}

std::string printable_command(const std::vector<std::string>& words) {
  constexpr std::string_view kSecret = "TRIPTYCH_JOB_TOKEN=";
  std::string line;
  for (const auto& word : words) {
    const auto at = word.find(kSecret);
    const auto shown = at == std::string::npos ? word : word.substr(0, at + kSecret.size()) + "***";
    line += (line.empty() ? "" : " ") + quoted_word(shown);
  }
  return line;
}

}  // namespace triptych
