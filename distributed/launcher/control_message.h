// What launcher and ranks say to each other: one JSON object a line, each with a MAC over its own bytes, so that
// nothing unproven is parsed.
//
//   launcher -> rank   {"v":1,"nonce":"..."}
//   rank -> launcher   {"mac":"...","join":{"rank":..},"nonce":"..","v":1}     MAC under the job's token and both
//   nonces then, both ways    {"mac":"...","kind":"report",..,"n":1}                  MAC under a key of this
//   connection and
//                                                                              direction; n grows by 1 a line
#pragma once
#include <array>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <variant>

#include "distributed/launcher/progress.h"

namespace triptych {

inline constexpr int kControlVersion = 1;

/// 32 secret bytes; wiped when they go.
class ControlKey {
 public:
  ControlKey() = default;
  ControlKey(const ControlKey&) = default;
  ControlKey& operator=(const ControlKey&) = default;
  ~ControlKey();
  std::array<unsigned char, 32> bytes{};
};

/// A new job token from the system's random source: 64 hexadecimal digits, for TRIPTYCH_JOB_TOKEN.
std::string new_job_token();
/// Its bytes. Throws ConfigError, which never quotes the token.
ControlKey parse_job_token(const std::string& token);
/// 32 random bytes in hexadecimal: the part of one side in a connection's key.
std::string new_nonce();

/// Who a rank says it is.
struct RankIdentity {
  int rank = 0, size = 1;
  std::string host;
  std::int64_t pid = 0;
  std::string program, config;  ///< hashes; ranks of a job have the same
  bool operator==(const RankIdentity&) const = default;
};

struct ControlEvent {
  enum class Kind : int { kNote, kCheckpoint, kEvaluation, kPreempted };
  Kind kind = Kind::kNote;
  std::string text;       ///< for people: "saved step 40 in 0.3 s"; cut to 1,000 bytes
  std::int64_t step = 0;  ///< of the run
  double seconds = 0;     ///< what it took
  double stall_s = 0;     ///< how long training stood still for saves since the last such event
  bool operator==(const ControlEvent&) const = default;
};

struct Goodbye {
  int code = 0;         ///< exit code that the rank is about to return
  bool agreed = false;  ///< every rank ends so, for one reason: this one is not to blame for it
  int culprit = -1;     ///< the rank that is, where the reason names one
  bool operator==(const Goodbye&) const = default;
};

/// A piece of the rank's stacks; the answer to AskStack is complete with the one that has `last`.
struct StackPiece {
  std::string text;
  bool last = false;
  bool operator==(const StackPiece&) const = default;
};

using RankMessage = std::variant<ProgressBoard::View, ControlEvent, Goodbye, StackPiece>;

struct Welcome {
  bool operator==(const Welcome&) const = default;
};
/// The rank may not join; with `final` it need not try again.
struct Refusal {
  std::string text;
  bool final = false;
  bool operator==(const Refusal&) const = default;
};
struct AskStack {
  bool operator==(const AskStack&) const = default;
};
struct AskStop {  ///< save and stop at the next step boundary
  bool operator==(const AskStop&) const = default;
};
struct AskLeave {  ///< end at once
  bool operator==(const AskLeave&) const = default;
};

using LauncherMessage = std::variant<Welcome, Refusal, AskStack, AskStop, AskLeave>;

/// The keys of one connection.
struct ControlKeys {
  ControlKey to_launcher, to_rank;
  static ControlKeys of(const ControlKey& job, const std::string& launcher_nonce, const std::string& rank_nonce);
};

// Lines end with '\n' where they are made and have none where they are read. What cannot be read is a PeerError.
std::string hello_line(const std::string& launcher_nonce);
/// The launcher's nonce.
std::string read_hello(std::string_view line);
std::string join_line(const ControlKey& job, const std::string& launcher_nonce, const std::string& rank_nonce,
                      const RankIdentity& identity);

struct JoinRequest {
  RankIdentity identity;
  std::string rank_nonce;
};
JoinRequest read_join(const ControlKey& job, const std::string& launcher_nonce, std::string_view line);

/// One direction of a connection, the sending end.
class ControlWriter {
 public:
  explicit ControlWriter(const ControlKey& key) : key_(key) {}
  std::string line(const RankMessage& message);
  std::string line(const LauncherMessage& message);

 private:
  std::string sealed(nlohmann::json body);
  ControlKey key_;
  std::int64_t number_ = 0;
};

/// The receiving end. A line that was changed, repeated, left out, reordered or made by another is a PeerError.
class ControlReader {
 public:
  explicit ControlReader(const ControlKey& key) : key_(key) {}
  RankMessage rank_message(std::string_view line);
  LauncherMessage launcher_message(std::string_view line);

 private:
  nlohmann::json opened(std::string_view line);
  ControlKey key_;
  std::int64_t number_ = 0;
};

}  // namespace triptych
