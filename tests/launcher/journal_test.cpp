// The journal: what is written is read back, a killed launcher's half line, lines that are not the journal's.
#include "distributed/launcher/journal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/support/temp_dir.h"

namespace triptych {
namespace {

using std::chrono::milliseconds;
using std::chrono::system_clock;

JournalClock journal_clock(double uptime_s) {
  // 2026-11-22 08:09:50.123 UTC
  return {[] { return system_clock::time_point(milliseconds(1795334990123)); }, [uptime_s] { return uptime_s; }};
}

void append_bytes(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::app | std::ios::binary) << bytes;
}

std::vector<JournalEvent> one_of_each() {
  return {LaunchEvent{"a run", "configs/quickstart.yaml", "hosts", "0.1"},
          StartEvent{0, 4, {"node1", "node2"}, "mpirun -np 4 triptych", 0},
          JoinedEvent{0, 4, 1.25},
          StepEvent{0, 1, 100, 0.5},
          CheckpointEvent{10, 2, 0.25},
          FaultEvent{"killed", 3, "node2", "step", 17, 0.5, "rank 3 was killed by signal 9"},
          RestartEvent{1, 10, 0.5, {"node1"}, {"node2"}},
          StopAskedEvent{"SIGTERM"},
          WarningEvent{"rank 1 is slow"},
          NoteEvent{1, "step 9: the ranks no longer hold the same state"},
          EndEvent{137, "rank 3 was killed"}};
}

TEST(Journal, LinesSayTimeUptimeEventThenFields) {
  const TempDir folder;
  Journal journal(folder / "launch.jsonl", journal_clock(12.3456));
  journal.write(FaultEvent{"hang", 3, "node2", "step", 17, 10.5, "no progress"});
  EXPECT_EQ(read_file(folder / "launch.jsonl"),
            R"({"time":"2026-11-22T08:09:50.123Z","uptime_s":12.346,"event":"fault","kind":"hang","rank":3,)"
            R"("host":"node2","phase":"step","step":17,"detection_s":10.5,"text":"no progress"})"
            "\n");
}

TEST(Journal, EveryEventIsReadAsItWasWritten) {
  const TempDir folder;
  const auto path = folder / "launch.jsonl";
  for (const auto& event : one_of_each()) Journal(path, journal_clock(1)).write(event);  // goes on with the file
  const auto first = read_file(path);
  const auto content = read_journal(path);
  EXPECT_EQ(content.bad_lines, 0);
  EXPECT_FALSE(content.cut_off);
  ASSERT_EQ(content.lines.size(), std::variant_size_v<JournalEvent>);
  Journal again(folder / "again.jsonl", journal_clock(1));
  for (std::size_t i = 0; i < content.lines.size(); ++i) {
    EXPECT_EQ(content.lines[i].event.index(), one_of_each()[i].index());
    again.write(content.lines[i].event);
  }
  EXPECT_EQ(read_file(folder / "again.jsonl"), first);
}

TEST(Journal, AHalfLastLineIsCutOffAndAWholeOneEnded) {
  const TempDir folder;
  const auto path = folder / "launch.jsonl";
  Journal(path).write(StopAskedEvent{"SIGTERM"});
  const auto whole = read_file(path);
  append_bytes(path, whole.substr(0, whole.size() / 2));
  EXPECT_TRUE(read_journal(path).cut_off);
  EXPECT_EQ(read_journal(path).lines.size(), 1u);
  Journal(path).write(EndEvent{75, "stopped"});
  auto content = read_journal(path);
  EXPECT_EQ(content.lines.size(), 2u);
  EXPECT_EQ(content.bad_lines, 0);

  append_bytes(path, whole.substr(0, whole.size() - 1));  // misses only its newline
  EXPECT_FALSE(read_journal(path).cut_off);
  Journal(path).write(EndEvent{75, "stopped"});
  content = read_journal(path);
  EXPECT_EQ(content.lines.size(), 4u);
  EXPECT_EQ(content.bad_lines, 0);
}

TEST(Journal, AFileOfOneHalfLineBecomesEmpty) {
  const TempDir folder;
  append_bytes(folder / "launch.jsonl", R"({"time":"20)");
  Journal(folder / "launch.jsonl").write(StopAskedEvent{"SIGINT"});
  const auto content = read_journal(folder / "launch.jsonl");
  EXPECT_EQ(content.lines.size(), 1u);
  EXPECT_EQ(content.bad_lines, 0);
}

TEST(Journal, BadLinesAreCounted) {
  const TempDir folder;
  const auto path = folder / "launch.jsonl";
  Journal(path).write(StopAskedEvent{"SIGTERM"});
  const std::string head = R"({"time":"2026-11-22T08:09:50.123Z","uptime_s":1,"event":)";
  const std::vector<std::string> bad = {
      "",                                           // empty
      "[]",                                         // no object
      "{\"event\":\"end\"}",                        // no time
      head + R"("party","by":"x"})",                // unknown event
      head + R"("stop_asked"})",                    // a field is missing
      head + R"("stop_asked","by":"x","more":1})",  // one too many
      head + R"("stop_asked","by":7})",             // another type
      head + R"("end","code":1.5,"cause":""})",     // not whole
      head + R"("end","code":"0","cause":""})",     // a number as text
      R"({"time":"","uptime_s":-1,"event":"stop_asked","by":"x"})",
      R"({"time":"","uptime_s":1e999,"event":"stop_asked","by":"x"})",
      std::string("\0\xff", 2),
      std::string(100000, '['),
  };
  for (const auto& line : bad) append_bytes(path, line + "\n");
  append_bytes(path, head + R"("stop_asked","by":"x"})" + "\n");  // the good form of the above
  const auto content = read_journal(path);
  EXPECT_EQ(content.bad_lines, static_cast<std::int64_t>(bad.size()));
  EXPECT_EQ(content.lines.size(), 2u);
}

TEST(Journal, ADiskThatIsFullEndsNothing) {
  const TempDir folder;
  const auto path = folder / "launch.jsonl";
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    Journal journal(path, journal_clock(1));
    journal.write(StopAskedEvent{"before"});
    struct rlimit limit {};
    ::getrlimit(RLIMIT_FSIZE, &limit);
    const auto whole = limit;
    limit.rlim_cur = 150;  // the second line does not fit
    ::setrlimit(RLIMIT_FSIZE, &limit);
    journal.write(StopAskedEvent{"lost"});
    journal.write(StopAskedEvent{"lost"});
    ::setrlimit(RLIMIT_FSIZE, &whole);
    journal.write(StopAskedEvent{"after"});
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  const auto content = read_journal(path);
  EXPECT_EQ(content.bad_lines, 0);
  ASSERT_EQ(content.lines.size(), 3u);
  EXPECT_EQ(std::get<StopAskedEvent>(content.lines[1].event).by, "after");
  EXPECT_THAT(std::get<WarningEvent>(content.lines[2].event).text, testing::HasSubstr("2 lines"));
}

TEST(Journal, UptimeIsMonotonicAndTheFileMustBeReadable) {
  const TempDir folder;
  const auto clock = JournalClock::of_system();
  const double before = clock.uptime_s();
  EXPECT_GE(before, 0);
  EXPECT_GE(clock.uptime_s(), before);
  EXPECT_THROW(read_journal(folder / "absent"), StorageError);
  EXPECT_THROW(Journal(folder / "absent" / "launch.jsonl"), StorageError);
}

TEST(Journal, TimesAreUtcWithMilliseconds) {
  EXPECT_EQ(utc_text(system_clock::time_point(milliseconds(0))), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(utc_text(system_clock::time_point(milliseconds(-1))), "1969-12-31T23:59:59.999Z");
  EXPECT_EQ(utc_text(system_clock::time_point(milliseconds(2147483648007))), "2038-01-19T03:14:08.007Z");
}

TEST(PrintableCommand, QuotesForAShellAndHidesTheToken) {
  EXPECT_EQ(printable_command({"mpirun", "-np", "2", "a b", "", "it's", "$(x)"}),
            R"(mpirun -np 2 'a b' '' 'it'\''s' '$(x)')");
  const auto line = printable_command({"-x", "TRIPTYCH_JOB_TOKEN=" + std::string(64, 'a')});
  EXPECT_THAT(line, testing::HasSubstr("TRIPTYCH_JOB_TOKEN=***"));
  EXPECT_THAT(line, testing::Not(testing::HasSubstr("aaaa")));
}

}  // namespace
}  // namespace triptych
