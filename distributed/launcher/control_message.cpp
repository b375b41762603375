#include "distributed/launcher/control_message.h"

#include <sodium.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/base/errors.h"
#include "distributed/launcher/control_socket.h"

namespace triptych {
namespace {

using nlohmann::json;

constexpr std::size_t kMacDigits = 2 * crypto_auth_hmacsha256_BYTES;
constexpr std::string_view kMacStart = "{\"mac\":\"";
constexpr std::string_view kMacEnd = "\",";
static_assert(crypto_auth_hmacsha256_KEYBYTES == 32 && crypto_auth_hmacsha256_BYTES == 32);

constexpr std::array kEventKinds = {"note", "checkpoint", "evaluation", "preempted"};
constexpr std::size_t kTextLimit = 1000;  // three times as long as JSON at worst: below a line's 4 KiB
constexpr std::size_t kNameLimit = 256;

void start_sodium() {
  if (sodium_init() < 0) throw ConfigError("libsodium does not start: no source of random numbers on this machine");
}

std::string hex(const unsigned char* bytes, std::size_t size) {
  std::string text(2 * size + 1, '\0');
  sodium_bin2hex(text.data(), text.size(), bytes, size);
  text.pop_back();
  return text;
}

std::string random_hex() {
  start_sodium();
  std::array<unsigned char, 32> bytes;
  randombytes_buf(bytes.data(), bytes.size());
  auto text = hex(bytes.data(), bytes.size());
  sodium_memzero(bytes.data(), bytes.size());
  return text;
}

ControlKey mac_of(const ControlKey& key, std::string_view bytes) {
  ControlKey mac;
  crypto_auth_hmacsha256(mac.bytes.data(), reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(),
                         key.bytes.data());
  return mac;
}

/// `object` ("{...}") with a MAC of `context` and its own bytes in front.
std::string with_mac(const ControlKey& key, const std::string& context, const std::string& object) {
  const auto rest = object.substr(1);
  const auto mac = mac_of(key, context + rest);
  std::string line(kMacStart);
  line += hex(mac.bytes.data(), mac.bytes.size());
  line += kMacEnd;
  line += rest + "\n";
  if (line.size() > kControlLine) {
    throw std::logic_error("control line of " + std::to_string(line.size()) + " bytes: more than " +
                           std::to_string(kControlLine));
  }
  return line;
}

/// The object without its MAC. The bytes are compared in constant time and before anything is parsed.
json proven(const ControlKey& key, const std::string& context, std::string_view line) {
  const auto rest_at = kMacStart.size() + kMacDigits + kMacEnd.size();
  if (line.size() <= rest_at || !line.starts_with(kMacStart) ||
      line.substr(rest_at - kMacEnd.size(), kMacEnd.size()) != kMacEnd) {
    throw PeerError("control line without a MAC");
  }
  const auto rest = line.substr(rest_at);
  const auto mac = mac_of(key, context + std::string(rest));
  const auto expected = hex(mac.bytes.data(), mac.bytes.size());
  if (sodium_memcmp(expected.data(), line.data() + kMacStart.size(), kMacDigits) != 0) {
    throw PeerError("control line with a wrong MAC: another job's token, or changed, repeated or reordered");
  }
  auto object = json::parse("{" + std::string(rest), nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) throw PeerError("control line is not one JSON object");
  return object;
}

/// Without control characters (they take six bytes each in JSON, and a terminal would obey them), whole UTF-8, bounded.
std::string clean_text(std::string_view text, std::size_t limit) {
  std::string clean(text.substr(0, limit));
  if (text.size() > limit) {
    while (!clean.empty() && (clean.back() & 0xC0) == 0x80) clean.pop_back();
    if (!clean.empty() && (clean.back() & 0x80) != 0) clean.pop_back();
  }
  for (char& c : clean) {
    if ((static_cast<unsigned char>(c) < 0x20 && c != '\n') || c == 0x7f) c = '?';
  }
  return clean;
}

std::string dumped(const json& object) {
  return object.dump(-1, ' ', /*ensure_ascii=*/false, json::error_handler_t::replace);
}

/// NaN and infinities have no JSON: null, and NaN again when read.
double number_of(const json& value) {
  return value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.get<double>();
}

std::string bounded(const json& object, const char* key, std::size_t limit) {
  auto text = object.at(key).get<std::string>();
  if (text.size() > 3 * limit) throw PeerError(std::string("control line: ") + key + " is too long");
  return text;
}

template <class Names>
int index_of(const Names& names, const std::string& name) {
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (name == names[i]) return static_cast<int>(i);
  }
  throw PeerError("control line: unknown word '" + clean_text(name, 40) + "'");
}

const auto& phase_names() {
  static const std::array names = {phase_name(Phase::kStart),    phase_name(Phase::kData), phase_name(Phase::kStep),
                                   phase_name(Phase::kEvaluate), phase_name(Phase::kSave), phase_name(Phase::kEnd)};
  return names;
}

json body_of(const ProgressBoard::View& v) {
  return {{"kind", "report"},
          {"phase", phase_name(v.phase)},
          {"step", v.step},
          {"total", v.total},
          {"beats", v.beats},
          {"collective", v.collective},
          {"operation", clean_text(v.operation, kNameLimit)},
          {"in", v.in_collective},
          {"step_s", v.step_s},
          {"busy_s", v.busy_s},
          {"samples_per_s", v.samples_per_s},
          {"loss", v.loss},
          {"data_wait_s", v.data_wait_s},
          {"waited_s", v.waited_s},
          {"steps_here", v.steps_here},
          {"step_total_s", v.step_total_s},
          {"busy_total_s", v.busy_total_s}};
}

ProgressBoard::View view_of(const json& body) {
  ProgressBoard::View v;
  v.phase = static_cast<Phase>(index_of(phase_names(), body.at("phase").get<std::string>()));
  v.step = body.at("step").get<std::int64_t>();
  v.total = body.at("total").get<std::int64_t>();
  v.beats = body.at("beats").get<std::int64_t>();
  v.collective = body.at("collective").get<std::int64_t>();
  v.operation = bounded(body, "operation", kNameLimit);
  v.in_collective = body.at("in").get<bool>();
  v.step_s = number_of(body.at("step_s"));
  v.busy_s = number_of(body.at("busy_s"));
  v.samples_per_s = number_of(body.at("samples_per_s"));
  v.loss = number_of(body.at("loss"));
  v.data_wait_s = number_of(body.at("data_wait_s"));
  v.waited_s = number_of(body.at("waited_s"));
  v.steps_here = body.at("steps_here").get<std::int64_t>();
  v.step_total_s = number_of(body.at("step_total_s"));
  v.busy_total_s = number_of(body.at("busy_total_s"));
  return v;
}

json body_of(const ControlEvent& event) {
  return {{"kind", "event"},
          {"event", kEventKinds[static_cast<std::size_t>(event.kind)]},
          {"text", clean_text(event.text, kTextLimit)},
          {"step", event.step},
          {"seconds", event.seconds},
          {"stall_s", event.stall_s}};
}

ControlEvent event_of(const json& body) {
  return {static_cast<ControlEvent::Kind>(index_of(kEventKinds, body.at("event").get<std::string>())),
          bounded(body, "text", kTextLimit), body.at("step").get<std::int64_t>(), number_of(body.at("seconds")),
          number_of(body.at("stall_s"))};
}

json body_of(const Goodbye& goodbye) {
  return {{"kind", "goodbye"}, {"code", goodbye.code}, {"agreed", goodbye.agreed}, {"culprit", goodbye.culprit}};
}
json body_of(const StackPiece& piece) {
  return {{"kind", "stack"}, {"text", clean_text(piece.text, kTextLimit)}, {"last", piece.last}};
}
json body_of(const Welcome&) {
  return {{"kind", "welcome"}};
}
json body_of(const Refusal& refusal) {
  return {{"kind", "refused"}, {"text", clean_text(refusal.text, kTextLimit)}, {"final", refusal.final}};
}
json body_of(const AskStack&) {
  return {{"kind", "stack"}};
}
json body_of(const AskStop&) {
  return {{"kind", "stop"}};
}
json body_of(const AskLeave&) {
  return {{"kind", "leave"}};
}

RankMessage rank_message_of(const json& body) {
  const auto kind = body.at("kind").get<std::string>();
  if (kind == "report") return view_of(body);
  if (kind == "event") return event_of(body);
  if (kind == "goodbye") {
    return Goodbye{body.at("code").get<int>(), body.at("agreed").get<bool>(), body.at("culprit").get<int>()};
  }
  if (kind == "stack") return StackPiece{bounded(body, "text", kTextLimit), body.at("last").get<bool>()};
  throw PeerError("control line of unknown kind '" + clean_text(kind, 40) + "' from a rank");
}

LauncherMessage launcher_message_of(const json& body) {
  const auto kind = body.at("kind").get<std::string>();
  if (kind == "welcome") return Welcome{};
  if (kind == "refused") return Refusal{bounded(body, "text", kTextLimit), body.at("final").get<bool>()};
  if (kind == "stack") return AskStack{};
  if (kind == "stop") return AskStop{};
  if (kind == "leave") return AskLeave{};
  throw PeerError("control line of unknown kind '" + clean_text(kind, 40) + "' from the launcher");
}

/// What nlohmann says about a missing key or a wrong type, as an error of ours.
template <class Read>
auto strictly(Read&& read) {
  try {
    return read();
  } catch (const json::exception& error) {
    throw PeerError(std::string("control line: ") + error.what());
  }
}

std::string join_context(const std::string& launcher_nonce) {
  return "triptych join " + launcher_nonce + " ";
}

RankIdentity identity_of(const json& join) {
  RankIdentity who{join.at("rank").get<int>(),           join.at("size").get<int>(),
                   bounded(join, "host", kNameLimit),    join.at("pid").get<std::int64_t>(),
                   bounded(join, "program", kNameLimit), bounded(join, "config", kNameLimit)};
  if (who.rank < 0 || who.rank >= who.size) {
    throw PeerError("join of rank " + std::to_string(who.rank) + " of " + std::to_string(who.size));
  }
  return who;
}

bool is_nonce(const std::string& text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

std::string nonce_of(const json& object) {
  if (object.at("v").get<int>() != kControlVersion) {
    throw PeerError("control protocol version " + std::to_string(object.at("v").get<int>()) + ", expected " +
                    std::to_string(kControlVersion) + "; use one build for launcher and ranks");
  }
  auto nonce = object.at("nonce").get<std::string>();
  if (!is_nonce(nonce)) throw PeerError("control line: the nonce is not 64 hexadecimal digits");
  return nonce;
}

}  // namespace

ControlKey::~ControlKey() {
  sodium_memzero(bytes.data(), bytes.size());
}

std::string new_job_token() {
  return random_hex();
}
std::string new_nonce() {
  return random_hex();
}

ControlKey parse_job_token(const std::string& token) {
  start_sodium();
  ControlKey key;
  std::size_t size = 0;
  if (token.size() != 2 * key.bytes.size() ||
      sodium_hex2bin(key.bytes.data(), key.bytes.size(), token.data(), token.size(), nullptr, &size, nullptr) != 0 ||
      size != key.bytes.size()) {
    throw ConfigError("TRIPTYCH_JOB_TOKEN is not 64 hexadecimal digits (it has " + std::to_string(token.size()) +
                      " characters); start ranks with triptych launch, which sets it");
  }
  return key;
}

ControlKeys ControlKeys::of(const ControlKey& job, const std::string& launcher_nonce, const std::string& rank_nonce) {
  const auto both = " " + launcher_nonce + " " + rank_nonce;
  return {mac_of(job, "triptych to launcher" + both), mac_of(job, "triptych to rank" + both)};
}

std::string hello_line(const std::string& launcher_nonce) {
  return dumped({{"v", kControlVersion}, {"nonce", launcher_nonce}}) + "\n";
}

std::string read_hello(std::string_view line) {
  return strictly([&] { return nonce_of(json::parse(line)); });
}

std::string join_line(const ControlKey& job, const std::string& launcher_nonce, const std::string& rank_nonce,
                      const RankIdentity& who) {
  const json join = {{"rank", who.rank},
                     {"size", who.size},
                     {"host", clean_text(who.host, kNameLimit)},
                     {"pid", who.pid},
                     {"program", clean_text(who.program, kNameLimit)},
                     {"config", clean_text(who.config, kNameLimit)}};
  return with_mac(job, join_context(launcher_nonce),
                  dumped({{"v", kControlVersion}, {"nonce", rank_nonce}, {"join", join}}));
}

JoinRequest read_join(const ControlKey& job, const std::string& launcher_nonce, std::string_view line) {
  return strictly([&]() -> JoinRequest {
    const auto object = proven(job, join_context(launcher_nonce), line);
    auto nonce = nonce_of(object);
    return {identity_of(object.at("join")), std::move(nonce)};
  });
}

std::string ControlWriter::sealed(json body) {
  body["n"] = ++number_;
  return with_mac(key_, "", dumped(body));
}

std::string ControlWriter::line(const RankMessage& message) {
  return sealed(std::visit([](const auto& m) { return body_of(m); }, message));
}
std::string ControlWriter::line(const LauncherMessage& message) {
  return sealed(std::visit([](const auto& m) { return body_of(m); }, message));
}

json ControlReader::opened(std::string_view line) {
  auto body = proven(key_, "", line);
  const auto number = body.at("n").get<std::int64_t>();
  if (number != number_ + 1) {
    throw PeerError("control line number " + std::to_string(number) + ", expected " + std::to_string(number_ + 1) +
                    ": repeated, reordered or left out");
  }
  number_ = number;
  return body;
}

RankMessage ControlReader::rank_message(std::string_view line) {
  return strictly([&] { return rank_message_of(opened(line)); });
}
LauncherMessage ControlReader::launcher_message(std::string_view line) {
  return strictly([&] { return launcher_message_of(opened(line)); });
}

}  // namespace triptych
