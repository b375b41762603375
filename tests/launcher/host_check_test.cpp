// What a machine says of itself, what is made of differences, and hosts behind a stand-in for ssh.
#include "distributed/launcher/host_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <boost/asio/steady_timer.hpp>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>

#include "core/base/clock.h"
#include "core/base/errors.h"
#include "core/base/hash.h"
#include "tests/support/temp_dir.h"

namespace triptych {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using namespace std::chrono_literals;

std::string own_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "";
}

void write_text(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path) << text;
}

void write_program(const std::filesystem::path& path, const std::string& script) {
  write_text(path, "#!/bin/sh\n" + script);
  ASSERT_EQ(::chmod(path.c_str(), 0755), 0);
}

std::string file_text(const std::filesystem::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// Sets a variable for a scope.
class ScopedVariable {
 public:
  ScopedVariable(const char* name, const std::string& value) : name_(name) {
    if (const char* old = std::getenv(name)) old_ = old;
    ::setenv(name, value.c_str(), 1);
  }
  ~ScopedVariable() { old_ ? ::setenv(name_, old_->c_str(), 1) : ::unsetenv(name_); }

 private:
  const char* name_;
  std::optional<std::string> old_;
};

MachineFacts facts_of_test() {
  MachineFacts facts;
  facts.host = "n";
  facts.program = {.path = "/opt/triptych", .xxh64 = "aaaa", .error = ""};
  facts.configs = {{.path = "run.yaml", .xxh64 = "cccc", .error = ""}};
  facts.free_bytes = 1 << 30;
  facts.instruction_set = "AVX2";
  facts.endianness = "little";
  facts.cores = 4;
  facts.unix_time = 1000000;
  return facts;
}

/// Findings about node2 that differs from node1 in one thing, with '!' before the fatal ones.
template <class Change>
std::vector<std::string> found(Change&& change, HostCheck check = {}) {
  const auto list = parse_hostfile("node1 slots=1\n\nnode2 slots=1\n", "hosts.txt");
  auto other = facts_of_test();
  change(other);
  check.request.run_dir = "runs/a";
  std::vector<std::string> texts;
  for (const auto& finding : compare_machines({{list.hosts[0], facts_of_test()}, {list.hosts[1], other}}, check)) {
    texts.push_back((finding.fatal ? "!" : "") + finding.text);
  }
  return texts;
}

/// Hosts behind an agent that starts their line in a shell, as sshd does; the launcher there is a script.
struct Cluster {
  Cluster() {
    write_text(dir / "triptych", "a program");
    write_text(dir / "run.yaml", "a: 1\n");
    check.request = {.program = (dir / "triptych").string(),
                     .configs = {(dir / "run.yaml").string()},
                     .run_dir = (dir / "runs/new").string()};
    check.launcher = (dir / "launcher").string();
    check.agent = {(dir / "agent").string(), "-o", "quiet=yes"};
    check.resolve = false;
    write_text(dir / "answer", to_json(probe(check.request)));
    write_program(dir / "launcher",
                  "echo a banner >&2\necho \"motd of the day\"\ncat '" + (dir / "answer").string() + "'\n");
    write_program(dir / "agent",
                  "[ \"$1 $2 $3\" = '-o quiet=yes --' ] || exit 99\nhost=$4\nshift 4\n"
                  "export HOST=$host\n. '" +
                      (dir / "hook").string() + "'\nexec sh -c \"$*\"\n");
    write_text(dir / "hook", "");
  }

  HostReport run(const std::string& hostfile) {
    boost::asio::io_context io;
    std::optional<HostReport> report;
    const HostChecks checks(io, parse_hostfile(hostfile, "h").hosts, check, [&](const auto& got) { report = got; });
    io.run_for(60s);
    EXPECT_TRUE(report.has_value());
    return report.value_or(HostReport{});
  }

  std::vector<std::string> findings(const std::string& hostfile) {
    std::vector<std::string> texts;
    for (const auto& finding : run(hostfile).findings) texts.push_back((finding.fatal ? "!" : "") + finding.text);
    return texts;
  }

  TempDir dir;
  HostCheck check;
};

TEST(MachineFacts, AreThoseOfThisMachine) {
  const TempDir dir;
  write_text(dir / "triptych", "a program");
  write_text(dir / "a b.yaml", "x");
  const auto facts = probe({.program = (dir / "triptych").string(),
                            .configs = {(dir / "a b.yaml").string(), (dir / "none.yaml").string()},
                            .run_dir = (dir / "runs/not/yet").string()});
  EXPECT_EQ(facts.host, own_name());
  EXPECT_EQ(facts.program.xxh64, hash_text(xxh64(std::string_view("a program"))));
  EXPECT_EQ(facts.configs[0].xxh64, hash_text(xxh64(std::string_view("x"))));
  EXPECT_EQ(facts.configs[1].xxh64, "");
  EXPECT_THAT(facts.configs[1].error, HasSubstr("No such file"));
  const auto space = std::filesystem::space(dir.path()).available;
  EXPECT_GT(facts.free_bytes, space / 2);
  EXPECT_LT(facts.free_bytes / 2, space);
  EXPECT_EQ(facts.endianness, std::endian::native == std::endian::little ? "little" : "big");
  EXPECT_EQ(facts.cores, cores_of_process());
  EXPECT_NEAR(static_cast<double>(facts.unix_time), static_cast<double>(std::time(nullptr)), 5);
  EXPECT_FALSE(facts.instruction_set.empty());
}

TEST(MachineFacts, InstructionSetIsTheProcessors) {
  const auto cpuinfo = file_text("/proc/cpuinfo");
  const auto has = [&](const std::string& flag) { return cpuinfo.find(" " + flag + " ") != std::string::npos; };
  const auto name = probe({}).instruction_set;
  const bool avx2 = has("fma") && has("avx2"), avx512 = has("avx512vl") && has("avx512bw") && has("avx512dq");
#if defined(__x86_64__)
  EXPECT_EQ(name, avx2 && avx512 ? "AVX512" : avx2 ? "AVX2" : "DEFAULT");
#else
  EXPECT_FALSE(avx2 || avx512 || name.empty());
#endif
}

TEST(MachineFacts, GoThroughJson) {
  auto facts = facts_of_test();
  facts.configs.push_back({.path = "q\"u\\o\nte", .xxh64 = "", .error = "No such file"});
  facts.free_bytes = 1ull << 60;
  const auto line = to_json(facts);
  EXPECT_EQ(line.find('\n'), std::string::npos);
  const auto read = machine_facts(line);
  EXPECT_EQ(to_json(read), line);
  EXPECT_EQ(read.configs[1].error, "No such file");
  EXPECT_EQ(read.free_bytes, 1ull << 60);
  facts.host = "\xff not utf-8";
  EXPECT_THAT(machine_facts(to_json(facts)).host, HasSubstr("not utf-8"));
  for (const auto* bad : {"", "x", "[]", "{}", "{\"host\": 3}", "null", "{\"host\":\"a\",\"program\":[]}"}) {
    EXPECT_THROW(machine_facts(bad), DataError) << bad;
  }
}

TEST(HostCheck, EqualMachinesAreFine) {
  EXPECT_THAT(found([](auto&) {}), IsEmpty());
  EXPECT_THAT(found([](auto& f) { f.host = "other", f.cores = 64, f.free_bytes = 5, f.unix_time += 60; }), IsEmpty());
}

TEST(HostCheck, EachDifferenceIsNamedWithItsLine) {
  EXPECT_THAT(
      found([](auto& f) { f.program.xxh64 = "bbbb"; }),
      ElementsAre("!hosts.txt:3: node2: the program differs (/opt/triptych: xxh64 'aaaa' on node1, 'bbbb' there); "
                  "copy the same build to every machine"));
  EXPECT_THAT(
      found([](auto& f) { f.program.error = "No such file"; }),
      ElementsAre("!hosts.txt:3: node2: the program is not there ('No such file'); copy the same build to every "
                  "machine"));
  EXPECT_THAT(
      found([](auto& f) { f.configs[0].xxh64 = "dddd"; }),
      ElementsAre("!hosts.txt:3: node2: the configuration differs (run.yaml: xxh64 'cccc' on node1, 'dddd' there); "
                  "copy the same file to every machine"));
  EXPECT_THAT(found([](auto& f) { f.configs[0].error = "Permission denied"; }),
              ElementsAre(HasSubstr("!hosts.txt:3: node2: the configuration is not there ('Permission denied')")));
  EXPECT_THAT(found([](auto& f) { f.configs.clear(); }), ElementsAre(HasSubstr("another number of configurations")));
  EXPECT_THAT(found([](auto& f) { f.endianness = "big"; }), ElementsAre(HasSubstr("!hosts.txt:3: node2: its bytes")));
  EXPECT_THAT(
      found([](auto& f) { f.unix_time -= 86400; }),
      ElementsAre("hosts.txt:3: node2: its clock is 1 d 00 h behind of that of node1; set it (NTP), or times in its "
                  "files will mislead"));
  EXPECT_THAT(found([](auto& f) { f.program.xxh64 = "b", f.configs[0].xxh64 = "d", f.endianness = "big"; }), SizeIs(3));
}

TEST(HostCheck, AnotherInstructionSetIsAWarningOrAnError) {
  const auto change = [](auto& f) { f.instruction_set = "AVX512"; };
  EXPECT_THAT(found(change),
              ElementsAre(AllOf(HasSubstr("hosts.txt:3: node2: another instruction set ('AVX2' on node1, "
                                          "'AVX512' there)"),
                                ::testing::StartsWith("hosts"))));
  HostCheck strict;
  strict.same_instruction_set = true;
  EXPECT_THAT(found(change, strict),
              ElementsAre(::testing::StartsWith("!hosts.txt:3: node2: another instruction set")));
}

TEST(HostCheck, TooLittleDisk) {
  HostCheck check;
  check.bytes_needed = 1 << 30;
  EXPECT_THAT(found([](auto&) {}, check), IsEmpty());
  EXPECT_THAT(
      found([](auto& f) { f.free_bytes = (1 << 30) - 1; }, check),
      ElementsAre(HasSubstr("!hosts.txt:3: node2: too little disk for a checkpoint (1.0 GiB free at runs/a, 1.0 GiB "
                            "needed)")));
  check.bytes_needed = (1ull << 30) + 1;
  EXPECT_THAT(found([](auto&) {}, check), SizeIs(2));  // the first machine is checked too
}

TEST(HostCheck, WordsReachTheOtherSideAsTheyAre) {
  const TempDir dir;
  const ProbeRequest request{.program = "/opt/a b/$(touch " + (dir / "harm").string() + ")",
                             .configs = {"it's.yaml", "-x;y", "`id`", "new\nline", "\"q\""},
                             .run_dir = ""};
  const auto words = probe_words(request);
  EXPECT_EQ(words[2], "--program=" + request.program);
  const auto command = remote_command({"ssh", "-o", "BatchMode=yes"}, "node2", words);
  EXPECT_EQ(std::vector(command.begin(), command.begin() + 5),
            (std::vector<std::string>{"ssh", "-o", "BatchMode=yes", "--", "node2"}));
  // What sshd does: the words joined by blanks, for a shell. printf shows what arrives.
  std::string line = "printf '%s|' ";
  for (std::size_t i = 5; i < command.size(); ++i) line += command[i] + " ";
  FILE* pipe = ::popen(line.c_str(), "r");
  std::string arrived, expected;
  for (int c = std::fgetc(pipe); c != EOF; c = std::fgetc(pipe)) arrived += static_cast<char>(c);
  EXPECT_EQ(::pclose(pipe), 0);
  for (const auto& word : words) expected += word + "|";
  EXPECT_EQ(arrived, expected);
  EXPECT_FALSE(std::filesystem::exists(dir / "harm"));
  EXPECT_THAT(srun_probe_command("n1", {"/a b", "probe"}), ElementsAre("srun", "--overlap", "--nodes=1", "--ntasks=1",
                                                                       "--mpi=none", "--nodelist=n1", "/a b", "probe"));
}

TEST(HostCheck, ThisMachineByItsNames) {
  const auto own = own_name();
  EXPECT_TRUE(is_this_machine("localhost"));
  EXPECT_TRUE(is_this_machine(own));
  EXPECT_TRUE(is_this_machine(own.substr(0, own.find('.')) + (own.find('.') == own.npos ? ".lab" : "")));
  EXPECT_FALSE(is_this_machine(own + "x"));
  EXPECT_FALSE(is_this_machine("x" + own));
}

TEST(HostChecks, HostsThatAgree) {
  Cluster cluster;
  write_text(cluster.dir / "hook", "echo $host >> '" + (cluster.dir / "asked").string() + "'\n");
  const auto report = cluster.run("node1 slots=1\nnode2 slots=2\nlocalhost slots=1\n");
  EXPECT_THAT(report.findings, IsEmpty());
  EXPECT_TRUE(report.ok());
  EXPECT_THAT(report.facts, SizeIs(3));
  EXPECT_EQ(report.facts.at("node2").cores, cores_of_process());
  const auto asked = file_text(cluster.dir / "asked");
  EXPECT_THAT(asked, AllOf(HasSubstr("node1"), HasSubstr("node2")));
  EXPECT_EQ(asked.find("localhost"), std::string::npos) << "this machine needs no agent";
}

TEST(HostChecks, PathsWithBlanksAndQuotesArriveThroughTheAgent) {
  Cluster cluster;
  const auto strange = (cluster.dir / "it's $(echo a) \"run\".yaml").string();
  write_text(strange, "a: 1\n");
  cluster.check.request.configs = {strange};
  write_program(cluster.dir / "launcher",
                "for w; do case $w in --config=*) [ -f \"${w#--config=}\" ] && [ $# = 5 ] && cat '" +
                    (cluster.dir / "answer").string() + "' ;; esac; done\n");
  EXPECT_TRUE(cluster.run("node1 slots=1\n").ok());
}

TEST(HostChecks, EachWayNotToAnswer) {
  Cluster cluster;
  cluster.check.limit = 2s;
  write_text(
      cluster.dir / "hook",
      "case $host in refused) echo first >&2; echo 'ssh: connect to host refused port 22: Connection refused' >&2; "
      "exit 255 ;; silent) sleep 60 ;; missing) exec sh -c 'exec /no/such/launcher' ;; garbage) echo hello; exit 0 ;; "
      "mute) exit 0 ;; esac\n");
  const auto start = Clock::now();
  const auto findings = cluster.findings(
      "good slots=1\nrefused slots=1\nsilent slots=1\nmissing slots=1\ngarbage slots=1\nmute slots=1\nsilent2 "
      "slots=1\n");
  EXPECT_LT(seconds_since(start), 30);
  ASSERT_THAT(findings, SizeIs(5));
  EXPECT_THAT(findings[0], AllOf(HasSubstr("!h:2: refused: it does not answer (exit 255, 'ssh: connect to host refused "
                                           "port 22: Connection refused'); check that this works from here without a "
                                           "password: "),
                                 HasSubstr("-- refused true")));
  EXPECT_THAT(findings[1], HasSubstr("!h:3: silent: it does not answer (within 2 s); check that"));
  EXPECT_THAT(findings[2], AllOf(HasSubstr("!h:4: missing: it does not answer (exit 127, '"),
                                 HasSubstr("copy the build to the same path there")));
  EXPECT_THAT(findings[3], HasSubstr("!h:5: garbage: 'hello' is no answer to probe"));
  EXPECT_THAT(findings[4], HasSubstr("!h:6: mute: '' is no answer to probe"));
}

TEST(HostChecks, AnotherBuildOnOneHost) {
  Cluster cluster;
  auto other = probe(cluster.check.request);
  other.program.xxh64 = "0123456789abcdef";
  write_text(cluster.dir / "other", to_json(other));
  write_text(cluster.dir / "hook",
             "[ $host = node2 ] && { cat '" + (cluster.dir / "other").string() + "'; exit 0; }\n");
  EXPECT_THAT(cluster.findings("node1 slots=1\nnode2 slots=1\nnode3 slots=1\n"),
              ElementsAre(AllOf(HasSubstr("!h:2: node2: the program differs"), HasSubstr("'0123456789abcdef' there"))));
}

TEST(HostChecks, NamesAreResolvedFirst) {
  Cluster cluster;
  cluster.check.resolve = true;
  write_text(cluster.dir / "hook", "echo $host >> '" + (cluster.dir / "asked").string() + "'\n");
  const auto findings = cluster.findings("127.0.0.1 slots=1\nno-such-host.invalid slots=1\n");
  EXPECT_THAT(findings, ElementsAre(HasSubstr("!h:2: no-such-host.invalid: the name ")));
  EXPECT_EQ(file_text(cluster.dir / "asked"), "127.0.0.1\n");  // the other was never called
}

TEST(HostChecks, ANameServiceThatIsSilentOrKnowsNothing) {
  Cluster cluster;
  cluster.check.resolve = true;
  cluster.check.limit = 500ms;
  write_program(cluster.dir / "getent", "[ $2 = slow ] && exec sleep 60\nexit 2\n");
  const ScopedVariable path("PATH", cluster.dir.path().string() + ":" + std::getenv("PATH"));
  const auto findings = cluster.findings("slow slots=1\nunknown slots=1\n");
  EXPECT_THAT(findings,
              ElementsAre("!h:1: slow: the name is not resolved (within 0.5 s); check the name service of this "
                          "machine",
                          "!h:2: unknown: the name does not resolve; correct it, or add it to DNS or /etc/hosts "
                          "of this machine"));
}

TEST(HostChecks, ThroughStepsOfSlurm) {
  Cluster cluster;
  cluster.check.engine = Engine::kSrun;
  write_program(cluster.dir / "srun",
                "echo \"$5\" >> '" + (cluster.dir / "asked").string() + "'\nshift 5\nexec \"$@\"\n");
  const ScopedVariable path("PATH", cluster.dir.path().string() + ":" + std::getenv("PATH"));
  EXPECT_TRUE(cluster.run("node1 slots=1\n").ok());
  EXPECT_EQ(file_text(cluster.dir / "asked"), "--nodelist=node1\n");
}

// The limit of one host is the limit of all; and the loop goes on meanwhile.
TEST(HostChecks, AllAreAskedAtTheSameTime) {
  Cluster cluster;
  cluster.check.limit = 20s;
  // Each waits until all 12 have been asked: one after another none would answer.
  write_text(cluster.dir / "hook", "mkdir -p '" + (cluster.dir / "here").string() + "'; touch '" +
                                       (cluster.dir / "here/").string() + "'$host; while [ $(ls '" +
                                       (cluster.dir / "here").string() + "' | wc -l) -lt 12 ]; do sleep 0.2; done\n");
  std::string hostfile;
  for (int i = 0; i < 12; ++i) hostfile += "n" + std::to_string(i) + "x slots=1\n";
  boost::asio::io_context io;
  int ticks = 0;
  boost::asio::steady_timer timer(io);
  std::function<void()> tick = [&] {
    timer.expires_after(5ms);
    timer.async_wait([&](const auto& error) {
      if (error) return;
      ++ticks;
      tick();
    });
  };
  tick();
  std::optional<HostReport> report;
  const HostChecks checks(io, parse_hostfile(hostfile, "h").hosts, cluster.check, [&](const auto& got) {
    report = got;
    timer.cancel();
  });
  io.run_for(60s);
  ASSERT_TRUE(report.has_value());
  EXPECT_THAT(report->findings, IsEmpty());
  EXPECT_THAT(report->facts, SizeIs(12));
  EXPECT_GT(ticks, 5);
}

TEST(HostChecks, MoreThanAreAskedAtOnceAreAskedLater) {
  Cluster cluster;
  cluster.check.limit = 30s;
  std::string hostfile;
  for (int i = 0; i < 70; ++i) hostfile += "n" + std::to_string(i) + "x slots=1\n";
  const auto report = cluster.run(hostfile);
  EXPECT_THAT(report.findings, IsEmpty());
  EXPECT_THAT(report.facts, SizeIs(70));
}

TEST(HostChecks, DestroyedTheyKillAndAreSilent) {
  Cluster cluster;
  write_text(cluster.dir / "hook", "echo $$ >> '" + (cluster.dir / "pids").string() + "'\nexec sleep 60\n");
  boost::asio::io_context io;
  int calls = 0;
  {
    const HostChecks checks(io, parse_hostfile("node1 slots=1", "h").hosts, cluster.check,
                            [&](const auto&) { ++calls; });
    for (int i = 0; i < 1000 && file_text(cluster.dir / "pids").empty(); ++i) {
      io.restart();
      io.run_for(10ms);
    }
  }
  io.restart();
  io.run_for(20s);
  EXPECT_TRUE(io.stopped());
  EXPECT_EQ(calls, 0);
  const auto pid = file_text(cluster.dir / "pids");
  ASSERT_FALSE(pid.empty());
  EXPECT_FALSE(std::filesystem::exists("/proc/" + std::to_string(std::atoi(pid.c_str()))));
}

}  // namespace
}  // namespace triptych
