// Lines of the control channel: what is written is read; what was not written by the other end is refused.
#include "distributed/launcher/control_message.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/errors.h"
#include "distributed/launcher/control_socket.h"

namespace triptych {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::ThrowsMessage;

const ControlKey& a_job() {
  static const auto key = parse_job_token(std::string(64, 'a'));
  return key;
}

/// Both ends of one connection.
struct Ends {
  std::string launcher_nonce = new_nonce(), rank_nonce = new_nonce();
  ControlKeys keys = ControlKeys::of(a_job(), launcher_nonce, rank_nonce);
  ControlWriter rank{keys.to_launcher}, launcher{keys.to_rank};
  ControlReader from_rank{keys.to_launcher}, from_launcher{keys.to_rank};
};

std::string_view without_newline(const std::string& line) {
  EXPECT_TRUE(line.ends_with('\n'));
  return std::string_view(line).substr(0, line.size() - 1);
}

ProgressBoard::View a_view() {
  ProgressBoard board;
  board.set_phase(Phase::kEvaluate);
  board.step_done(41, 100, 0.1, 0.3, 1e300, -0.0);
  board.enter_collective("ALLREDUCE (sum) of 16 Float", 812);
  return board.view();
}

RankIdentity somebody() {
  return {3, 4, "node2", 4711, "0123456789abcdef", "fedcba9876543210"};
}

TEST(ControlMessage, RankMessagesComeBackAsTheyWere) {
  Ends ends;
  const std::vector<RankMessage> messages = {
      a_view(), ControlEvent{ControlEvent::Kind::kCheckpoint, "saved step 40 in 0.3 s: \"äß\"", 40, 0.3}, Goodbye{75},
      StackPiece{"#0 f()\n#1 g()\n", true}};
  for (const auto& message : messages) {
    EXPECT_EQ(ends.from_rank.rank_message(without_newline(ends.rank.line(message))), message);
  }
}

TEST(ControlMessage, LauncherMessagesComeBackAsTheyWere) {
  Ends ends;
  for (const LauncherMessage& message :
       {LauncherMessage(Welcome{}), LauncherMessage(Refusal{"rank 3 came second", true}), LauncherMessage(AskStack{}),
        LauncherMessage(AskStop{}), LauncherMessage(AskLeave{})}) {
    EXPECT_EQ(ends.from_launcher.launcher_message(without_newline(ends.launcher.line(message))), message);
  }
}

TEST(ControlMessage, NanAndInfinityAreNan) {
  Ends ends;
  auto view = a_view();
  view.loss = std::numeric_limits<double>::quiet_NaN();
  view.samples_per_s = std::numeric_limits<double>::infinity();
  const auto read = std::get<ProgressBoard::View>(ends.from_rank.rank_message(without_newline(ends.rank.line(view))));
  EXPECT_TRUE(std::isnan(read.loss) && std::isnan(read.samples_per_s));
  EXPECT_EQ(read.step, view.step);
}

TEST(ControlMessage, JoinsWithTheTokenOfTheJob) {
  const auto launcher_nonce = new_nonce(), rank_nonce = new_nonce();
  EXPECT_EQ(read_hello(without_newline(hello_line(launcher_nonce))), launcher_nonce);
  const auto line = join_line(a_job(), launcher_nonce, rank_nonce, somebody());
  const auto request = read_join(a_job(), launcher_nonce, without_newline(line));
  EXPECT_EQ(request.identity, somebody());
  EXPECT_EQ(request.rank_nonce, rank_nonce);
  const auto other_job = parse_job_token(std::string(64, 'b'));
  EXPECT_THAT([&] { read_join(other_job, launcher_nonce, without_newline(line)); },
              ThrowsMessage<PeerError>(HasSubstr("wrong MAC")));
  EXPECT_THAT([&] { read_join(a_job(), new_nonce(), without_newline(line)); },
              ThrowsMessage<PeerError>(HasSubstr("wrong MAC")))
      << "a recorded join must not serve another connection";
}

TEST(ControlMessage, RefusesRepeatedReorderedAndMissingLines) {
  Ends ends;
  const auto first = ends.rank.line(a_view()), second = ends.rank.line(a_view()), third = ends.rank.line(a_view());
  EXPECT_THAT([&] { ends.from_rank.rank_message(without_newline(second)); },
              ThrowsMessage<PeerError>(HasSubstr("number 2, expected 1")));
  EXPECT_NO_THROW(ends.from_rank.rank_message(without_newline(first)));
  EXPECT_THAT([&] { ends.from_rank.rank_message(without_newline(first)); },
              ThrowsMessage<PeerError>(HasSubstr("number 1, expected 2")));
  EXPECT_THAT([&] { ends.from_rank.rank_message(without_newline(third)); },
              ThrowsMessage<PeerError>(HasSubstr("number 3, expected 2")));
}

TEST(ControlMessage, RefusesLinesOfTheOtherDirectionAndOfAnotherConnection) {
  Ends ends, others;
  EXPECT_THROW(ends.from_rank.rank_message(without_newline(ends.launcher.line(AskStop{}))), PeerError);
  EXPECT_THROW(ends.from_rank.rank_message(without_newline(others.rank.line(a_view()))), PeerError);
}

TEST(ControlMessage, EveryChangedByteIsRefused) {
  Ends ends;
  const auto line = ends.rank.line(Goodbye{7});
  for (std::size_t i = 0; i + 1 < line.size(); ++i) {
    auto changed = line;
    changed[i] = static_cast<char>(changed[i] ^ 1);
    EXPECT_THROW(ends.from_rank.rank_message(without_newline(changed)), PeerError) << "byte " << i;
  }
  EXPECT_EQ(ends.from_rank.rank_message(without_newline(line)), RankMessage(Goodbye{7})) << "control: unchanged";
}

TEST(ControlMessage, RefusesGarbage) {
  for (const std::string line : {"", "{}", "{\"mac\":\"", "GET / HTTP/1.1", "[[[[", "{\"v\":1}", "null"}) {
    Ends ends;
    EXPECT_THROW(ends.from_rank.rank_message(line), PeerError) << line;
    EXPECT_THROW(read_hello(line), PeerError) << line;
    EXPECT_THROW(read_join(a_job(), ends.launcher_nonce, line), PeerError) << line;
  }
  EXPECT_THAT([] { read_hello("{\"v\":2,\"nonce\":\"" + std::string(64, '0') + "\"}"); },
              ThrowsMessage<PeerError>(HasSubstr("version 2, expected 1")));
}

TEST(ControlMessage, RefusesARankOutsideItsJob) {
  const auto nonce = new_nonce();
  auto who = somebody();
  for (const int rank : {-1, 4, 1000}) {
    who.rank = rank;
    const auto line = join_line(a_job(), nonce, new_nonce(), who);
    EXPECT_THROW(read_join(a_job(), nonce, without_newline(line)), PeerError) << rank;
  }
}

/// The longest texts, of the bytes that take most as JSON, fit into a line and are read again.
TEST(ControlMessage, NoTextMakesALineTooLong) {
  for (const char c : {'x', '"', '\\', '\n', '\x01', '\xff', '\xc3'}) {
    Ends ends;
    const std::string text(100'000, c);
    for (const RankMessage& message :
         {RankMessage(ControlEvent{ControlEvent::Kind::kNote, text, 1, 0}), RankMessage(StackPiece{text, true})}) {
      const auto line = ends.rank.line(message);
      EXPECT_LE(line.size(), kControlLine);
      EXPECT_NO_THROW(ends.from_rank.rank_message(without_newline(line))) << static_cast<int>(c);
    }
    const auto join = join_line(a_job(), ends.launcher_nonce, ends.rank_nonce, {0, 1, text, 1, text, text});
    EXPECT_LE(join.size(), kControlLine);
    EXPECT_NO_THROW(read_join(a_job(), ends.launcher_nonce, without_newline(join)));
  }
}

TEST(ControlMessage, TokensAreRandomAndNeverQuoted) {
  std::set<std::string> tokens;
  for (int i = 0; i < 100; ++i) tokens.insert(new_job_token());
  EXPECT_EQ(tokens.size(), 100u);
  for (const auto& token : tokens) EXPECT_NO_THROW(parse_job_token(token));
  for (const auto& bad : {std::string(), std::string(63, 'a'), std::string(65, 'a'), std::string(64, 'g')}) {
    EXPECT_THROW(parse_job_token(bad), ConfigError);
  }
  EXPECT_THAT([] { parse_job_token("secret-secret-secret"); },
              ThrowsMessage<ConfigError>(testing::AllOf(HasSubstr("64 hexadecimal digits"), Not(HasSubstr("secret")))));
}

TEST(ControlLines, CutsWhateverComesInWhateverPieces) {
  const std::string stream = "one\n\ntwo\n" + std::string(4095, 'x') + "\nrest";
  for (const std::size_t piece : {1u, 2u, 7u, 4096u}) {
    ControlLines lines;
    std::vector<std::string> found;
    for (std::size_t at = 0; at < stream.size();) {
      const auto room = lines.room();
      ASSERT_FALSE(room.empty());
      const auto size = std::min({piece, room.size(), stream.size() - at});
      std::copy_n(stream.data() + at, size, room.data());
      lines.filled(size);
      at += size;
      while (const auto line = lines.next()) found.emplace_back(*line);
    }
    EXPECT_THAT(found, testing::ElementsAre("one", "", "two", std::string(4095, 'x'))) << "pieces of " << piece;
  }
}

TEST(ControlLines, HasNoRoomForALineThatIsTooLong) {
  ControlLines lines;
  auto room = lines.room();
  EXPECT_EQ(room.size(), kControlLine);
  std::fill(room.begin(), room.end(), 'x');
  lines.filled(room.size());
  EXPECT_FALSE(lines.next());
  EXPECT_TRUE(lines.room().empty());
}

}  // namespace
}  // namespace triptych
