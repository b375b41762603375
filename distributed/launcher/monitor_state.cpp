// The live view in JSON and in Prometheus' words.
#include "distributed/launcher/monitor_state.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "core/base/strings.h"

namespace triptych {
namespace {

using Json = nlohmann::ordered_json;

template <class Item, class Make>
Json newest_of(const std::vector<Item>& items, Make&& make) {
  constexpr std::size_t kMost = 100;
  Json list = Json::array();
  for (std::size_t i = items.size() - std::min(items.size(), kMost); i < items.size(); ++i) {
    list.push_back(make(items[i]));
  }
  return list;
}

std::string json_text(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

/// Broken UTF-8 becomes the replacement character; backslash, quote and line feed are escaped, as the format wants.
std::string label_value(const std::string& text) {
  std::string escaped;
  for (const char c : Json::parse(json_text(text)).get<std::string>()) {
    if (c == '\\' || c == '"') escaped += '\\';
    escaped += c == '\n' ? std::string("\\n") : std::string(1, c);
  }
  return escaped;
}

/// Families of samples, each with its help and type.
class Exposition {
 public:
  void family(const std::string& name, const char* type, const char* help) {
    name_ = "triptych_" + name;
    text_ += "# HELP " + name_ + " " + help + "\n# TYPE " + name_ + " " + type + "\n";
  }
  void sample(double value, const std::string& labels = "") {
    text_ += name_ + (labels.empty() ? "" : "{" + labels + "}") + " " + number_text(value) + "\n";
  }
  void gauge(const std::string& name, double value, const char* help) {
    if (!std::isfinite(value)) return;
    family(name, "gauge", help);
    sample(value);
  }
  std::string take() { return std::move(text_); }

 private:
  std::string name_, text_;
};

std::string rank_labels(const MonitorRank& rank) {
  return "rank=\"" + std::to_string(rank.rank) + "\",host=\"" + label_value(rank.host) + "\"";
}

template <class Value>
void rank_gauge(Exposition& out, const MonitorState& state, const char* name, const char* help, Value&& value) {
  if (state.ranks.empty()) return;
  out.family(name, "gauge", help);
  for (const auto& rank : state.ranks) {
    if (const double number = value(rank); std::isfinite(number)) out.sample(number, rank_labels(rank));
  }
}

void rank_families(Exposition& out, const MonitorState& state) {
  using Rank = MonitorRank;
  rank_gauge(out, state, "rank_step", "Steps a rank has done.",
             [](const Rank& rank) { return static_cast<double>(rank.step); });
  rank_gauge(out, state, "rank_samples_per_second", "Samples a rank trains on in a second.",
             [](const Rank& rank) { return rank.samples_per_s; });
  rank_gauge(out, state, "rank_busy_ratio", "Share of the last step a rank computed.",
             [](const Rank& rank) { return rank.busy_share; });
  rank_gauge(out, state, "rank_data_wait_ratio", "Share of the last step a rank waited for records.",
             [](const Rank& rank) { return rank.data_wait_share; });
  rank_gauge(out, state, "rank_report_age_seconds", "Time since a rank last reported.",
             [](const Rank& rank) { return rank.report_age_s; });
  if (state.ranks.empty()) return;
  out.family("rank_state", "gauge", "1 for the state a rank is in: ok, slow, silent or gone.");
  for (const auto& rank : state.ranks) {
    for (const auto named : {RankState::kOk, RankState::kSlow, RankState::kSilent, RankState::kGone}) {
      out.sample(rank.state == named, rank_labels(rank) + ",state=\"" + rank_state_name(named) + "\"");
    }
  }
}

Json rank_json(const MonitorRank& rank) {
  return {{"rank", rank.rank},
          {"host", rank.host},
          {"phase", rank.phase},
          {"step", rank.step},
          {"samples_per_s", rank.samples_per_s},
          {"busy_share", rank.busy_share},
          {"data_wait_share", rank.data_wait_share},
          {"report_age_s", rank.report_age_s},
          {"state", rank_state_name(rank.state)}};
}

}  // namespace

const char* rank_state_name(RankState state) {
  switch (state) {
    case RankState::kOk:
      return "ok";
    case RankState::kSlow:
      return "slow";
    case RankState::kSilent:
      return "silent";
    case RankState::kGone:
      return "gone";
  }
  return "unknown";
}

void LossHistory::add(std::int64_t step, double loss) {
  while (!kept_.empty() && kept_.back().step >= step) kept_.pop_back();
  newest_ = {step, loss};
  if (!kept_.empty() && step - kept_.back().step < stride_) return;
  kept_.push_back(newest_);
  while (kept_.size() > most_) {
    stride_ *= 2;
    std::vector<LossPoint> thinned;
    for (const auto& point : kept_) {
      if (thinned.empty() || point.step - thinned.back().step >= stride_) thinned.push_back(point);
    }
    kept_ = std::move(thinned);
  }
}

std::vector<LossPoint> LossHistory::points() const {
  auto points = kept_;
  if (newest_.step >= 0 && points.back().step != newest_.step) points.push_back(newest_);
  return points;
}

std::string monitor_json(const MonitorState& state) {
  Json loss = Json::array(), ranks = Json::array();
  for (const auto& point : state.loss) loss.push_back({point.step, point.loss});
  for (const auto& rank : state.ranks) ranks.push_back(rank_json(rank));
  return json_text({{"run", state.run},
                    {"config", state.config},
                    {"started", state.started},
                    {"state", state.state},
                    {"uptime_s", state.uptime_s},
                    {"attempt", state.attempt},
                    {"restarts", state.restarts},
                    {"step", state.step},
                    {"total", state.total},
                    {"step_s", state.step_s},
                    {"samples_per_s", state.samples_per_s},
                    {"goodput", state.goodput},
                    {"loss", std::move(loss)},
                    {"ranks", std::move(ranks)},
                    {"checkpoints", newest_of(state.checkpoints,
                                              [](const auto& one) {
                                                return Json{{"step", one.step}, {"seconds", one.seconds}};
                                              })},
                    {"events", newest_of(state.events, [](const auto& one) {
                       return Json{{"time", one.time}, {"text", one.text}};
                     })}});
}

std::string monitor_metrics(const MonitorState& state) {
  Exposition out;
  out.family("info", "gauge", "The run.");
  out.sample(1, "run=\"" + label_value(state.run) + "\",config=\"" + label_value(state.config) + "\",state=\"" +
                    label_value(state.state) + "\"");
  out.gauge("uptime_seconds", state.uptime_s, "Time since the launcher began.");
  out.gauge("step", static_cast<double>(state.step), "Steps done.");
  out.gauge("steps", static_cast<double>(state.total), "Steps of the whole run.");
  out.gauge("step_seconds", state.step_s, "A usual step.");
  out.gauge("samples_per_second", state.samples_per_s, "Samples all ranks train on in a second.");
  if (!state.loss.empty()) out.gauge("loss", state.loss.back().loss, "The newest loss.");
  out.gauge("goodput_ratio", state.goodput, "Share of the time that went into steps that count.");
  out.gauge("attempt", static_cast<double>(state.attempt), "Number of the start, from 0.");
  out.family("restarts_total", "counter", "Restarts by this launcher.");
  out.sample(static_cast<double>(state.restarts));
  if (!state.checkpoints.empty()) {
    out.gauge("checkpoint_step", static_cast<double>(state.checkpoints.back().step), "Step of the newest checkpoint.");
    out.gauge("checkpoint_seconds", state.checkpoints.back().seconds, "Time the newest checkpoint took.");
  }
  rank_families(out, state);
  return out.take();
}

}  // namespace triptych
