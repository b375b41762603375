// Command lines of mpirun and srun; quoting read back by a real shell; ranks placed by a real mpirun.
#include "distributed/launcher/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "core/base/errors.h"
#include "core/base/strings.h"
#include "tests/support/temp_dir.h"

namespace triptych {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

template <class Call>
std::string engine_refusal(Call&& call) {
  try {
    call();
  } catch (const ConfigError& e) {
    return e.what();
  }
  return "accepted";
}

JobShape two_hosts() {
  JobShape shape;
  shape.shares = place_ranks(parse_hostfile("node1 slots=2\nnode2 slots=2\n", "h"), 4);
  shape.program = {"/opt/triptych", "train", "run.yaml"};
  return shape;
}

void write_script(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path) << text;
  ASSERT_EQ(::chmod(path.c_str(), 0755), 0);
}

/// What a shell prints for this line.
std::string shell_output(const std::string& line) {
  FILE* pipe = ::popen(line.c_str(), "r");
  std::string out;
  for (int c = std::fgetc(pipe); c != EOF; c = std::fgetc(pipe)) out += static_cast<char>(c);
  EXPECT_EQ(::pclose(pipe), 0) << line;
  return out;
}

TEST(Engine, MpirunOfTwoHosts) {
  EXPECT_EQ(printable(mpirun_command(two_hosts())),
            "mpirun -np 4 --map-by seq --host node1,node1,node2,node2 --bind-to none --tag-output "
            "--mca orte_abort_on_non_zero_status 1 --mca oob_tcp_keepalive_time 2 "
            "--mca oob_tcp_keepalive_intvl 1 --mca oob_tcp_keepalive_probes 3 --mca plm_rsh_no_tree_spawn 1 "
            "--mca plm_rsh_args '-o BatchMode=yes -o ConnectTimeout=10' /opt/triptych train run.yaml");
}

TEST(Engine, RanksOfOneMachineLookForNoNetwork) {
  auto shape = two_hosts();
  EXPECT_THAT(printable(mpirun_command(shape)), Not(HasSubstr("--mca pml")));
  shape.shares.resize(1);
  EXPECT_THAT(printable(mpirun_command(shape)), Not(HasSubstr("--mca pml"))) << "node1 is another machine";
  shape.shares[0].host.name = "localhost";
  EXPECT_THAT(printable(mpirun_command(shape)), HasSubstr("--mca odls_base_sigkill_timeout 0 --mca pml ob1 "));
}

TEST(Engine, EverySettingReachesMpirun) {
  auto shape = two_hosts();
  shape.bind_to = "core";
  shape.agent = {"/opt/my-ssh", "-q"};
  shape.interface = "10.0.0.0/24";
  shape.variables = {"OMP_NUM_THREADS", "TRIPTYCH_JOB_TOKEN"};
  const auto line = printable(mpirun_command(shape));
  EXPECT_THAT(line, HasSubstr("--bind-to core "));
  EXPECT_THAT(line, HasSubstr("--mca btl_tcp_if_include 10.0.0.0/24 --mca oob_tcp_if_include 10.0.0.0/24"));
  EXPECT_THAT(line, HasSubstr("--mca plm rsh --mca plm_rsh_agent '/opt/my-ssh -q'"));
  EXPECT_THAT(line, Not(HasSubstr("plm_rsh_args")));
  EXPECT_THAT(line, HasSubstr("-x OMP_NUM_THREADS -x TRIPTYCH_JOB_TOKEN /opt/triptych train"));
  EXPECT_THAT(line, Not(HasSubstr("oversubscribe")));
  shape.bind_to = "none";
  shape.cores = {{"node2", 2}};
  EXPECT_THAT(printable(mpirun_command(shape)), Not(HasSubstr("oversubscribe")));
  shape.cores = {{"node2", 1}};
  EXPECT_THAT(printable(mpirun_command(shape)), HasSubstr("--oversubscribe --mca mpi_yield_when_idle 1"));
  shape.shares.resize(1);
  EXPECT_THAT(printable(mpirun_command(shape)), Not(HasSubstr("no_tree_spawn")));
}

TEST(Engine, WhatMpirunCannotTake) {
  const auto refusal = [](auto&& change) {
    auto shape = two_hosts();
    change(shape);
    return engine_refusal([&] { mpirun_command(shape); });
  };
  EXPECT_EQ(refusal([](auto&) {}), "accepted");
  EXPECT_THAT(refusal([](auto& s) { s.bind_to = "numa"; }), HasSubstr("'numa'; expected none, core or socket"));
  EXPECT_THAT(refusal([](auto& s) { s.program.clear(); }), HasSubstr("no program"));
  EXPECT_THAT(refusal([](auto& s) { s.program[0] = "--version"; }), HasSubstr("no program"));
  EXPECT_THAT(refusal([](auto& s) { s.program.push_back(":"); }), HasSubstr("':'"));
  EXPECT_THAT(refusal([](auto& s) { s.shares.clear(); }), HasSubstr("no host takes a rank"));
  EXPECT_THAT(refusal([](auto& s) { s.shares[0].host.name = "fe80:1"; }),
              HasSubstr("h:1: mpirun cannot take 'fe80:1'"));
  EXPECT_THAT(refusal([](auto& s) { s.agent = {"my ssh"}; }), HasSubstr("the word 'my ssh'"));
  EXPECT_THAT(refusal([](auto& s) { s.agent = {"ssh", "-oControlPath=%h:%p"}; }), HasSubstr("a script of its own"));
  EXPECT_THAT(refusal([](auto& s) { s.variables = {"A B"}; }), HasSubstr("forwarded variable 'A B'"));
  const auto secret = refusal([](auto& s) { s.variables = {"TOKEN=0123"}; });
  EXPECT_THAT(secret, HasSubstr("forwarded variable 'TOKEN'"));
  EXPECT_THAT(secret, Not(HasSubstr("0123")));
  EXPECT_EQ(refusal([](auto& s) {
              s.bind_to = "core";
              s.cores["node2"] = 1;
            }),
            "h:2: --bind core: 2 ranks on the 1 cores of node2; start fewer ranks there, or take --bind none");
}

TEST(Engine, Srun) {
  auto shape = two_hosts();
  EXPECT_EQ(printable(srun_command(shape)),
            "srun '--mpi=pmix' '--ntasks=4' '--nodes=2' '--ntasks-per-node=2' '--nodelist=node1,node2' "
            "'--cpu-bind=none' --label '--kill-on-bad-exit=0' '--export=ALL' /opt/triptych train run.yaml");
  shape.shares[1].ranks = 1;
  shape.bind_to = "socket";
  shape.cores["node1"] = 2;
  EXPECT_THAT(srun_command(shape), Contains("--distribution=arbitrary"));
  EXPECT_THAT(srun_command(shape), Contains("--nodelist=node1,node1,node2"));
  EXPECT_THAT(srun_command(shape), Contains("--cpu-bind=sockets"));
  EXPECT_THAT(srun_command(shape), Not(Contains("--overcommit")));
  shape.bind_to = "none";
  shape.cores["node1"] = 1;
  EXPECT_THAT(srun_command(shape), Contains("--overcommit"));
  shape.agent = {"ssh"};
  EXPECT_THAT(engine_refusal([&] { srun_command(shape); }), HasSubstr("--agent is a setting of mpirun"));
}

TEST(Engine, IsChosenByWhatIsOnPath) {
  const TempDir both, one, none;
  write_script(both / "srun", "#!/bin/sh\n");
  write_script(both / "mpirun", "#!/bin/sh\n");
  write_script(one / "mpirun", "#!/bin/sh\n");
  std::ofstream(none / "mpirun") << "no right to execute";
  std::filesystem::create_directory(none / "srun");
  const auto of = [](const TempDir& dir) { return dir.path().string(); };
  EXPECT_EQ(choose_engine("auto", true, of(both)), Engine::kSrun);
  EXPECT_EQ(choose_engine("auto", false, of(both)), Engine::kMpirun);
  EXPECT_EQ(choose_engine("mpirun", true, of(both)), Engine::kMpirun);
  EXPECT_EQ(choose_engine("auto", true, of(none) + ":" + of(one)), Engine::kMpirun);
  EXPECT_THAT(engine_refusal([&] { choose_engine("auto", false, of(none)); }),
              HasSubstr("no mpirun on PATH; install Open MPI 4.1 (Debian: openmpi-bin)"));
  EXPECT_THAT(engine_refusal([&] { choose_engine("auto", true, of(none)); }), HasSubstr("nor an srun"));
  EXPECT_THAT(engine_refusal([&] { choose_engine("srun", true, of(one)); }), HasSubstr("slurm-client"));
  EXPECT_THAT(engine_refusal([&] { choose_engine("srun", false, of(both)); }), HasSubstr("--hosts slurm"));
  EXPECT_THAT(engine_refusal([&] { choose_engine("ssh", false, of(both)); }), HasSubstr("auto, mpirun or srun"));
  EXPECT_EQ(find_executable("mpirun", of(none) + ":" + of(one)), (one / "mpirun").string());
  EXPECT_EQ(find_executable((none / "mpirun").string(), of(one)), "");
}

TEST(Engine, QuotedWordsComeBackFromAShell) {
  const std::vector<std::string> words = {"plain-1.2/x:y,z@h+5%",
                                          "",
                                          "two words",
                                          "it's",
                                          "'",
                                          "''",
                                          "$(touch x)",
                                          "`id`",
                                          "$HOME",
                                          "a\"b",
                                          "a\\b",
                                          "\\",
                                          "line\nbreak",
                                          "*",
                                          "~",
                                          "#",
                                          "a;b|c&d>e<f",
                                          "A=1",
                                          "!x",
                                          "-n",
                                          "{a,b}",
                                          "\xc3\xa4",
                                          "tab\there"};
  std::string expected;
  for (const auto& word : words) expected += word + "|";
  // printf repeats its format for each word.
  auto command = words;
  command.insert(command.begin(), {"printf", "%s|"});
  EXPECT_EQ(shell_output(printable(command)), expected);
  EXPECT_EQ(shell_output("sh -c " + shell_quoted(printable(command))), expected);  // twice, as over ssh
  EXPECT_EQ(shell_quoted("it's"), "'it'\\''s'");
  EXPECT_EQ(shell_quoted("plain-1.2/x"), "plain-1.2/x");
}

// Rank r is on the r-th name, this machine (localhost) not first: other mappers of Open MPI put it first. The other
// host is this machine too, behind an agent that starts its line in a shell of its own. What the agent is given holds
// no value.
TEST(Engine, RealMpirunPlacesRanksInOrderAndKeepsValuesOffCommandLines) {
  const TempDir dir;
  write_script(dir / "agent",
               "#!/bin/sh\nwhile :; do case $1 in -*) shift ;; *) break ;; esac; done\nshift\n"
               "printf '%s\\n' \"$*\" >> " +
                   (dir / "seen").string() + "\nexec env FAR=far sh -c \"$*\"\n");
  JobShape shape;
  shape.shares = place_ranks(parse_hostfile("faraway slots=2\nlocalhost slots=1\n", "h"), 3);
  shape.agent = {(dir / "agent").string(), "-q"};
  shape.interface = "lo";
  shape.variables = {"TRIPTYCH_TEST_SECRET"};
  shape.program = {"/bin/sh", "-c", "echo $OMPI_COMM_WORLD_RANK ${FAR:-near} $TRIPTYCH_TEST_SECRET"};
  ::setenv("TRIPTYCH_TEST_SECRET", "0123456789abcdef", 1);
  const auto out = shell_output("timeout 60 " + printable(mpirun_command(shape)));
  ::unsetenv("TRIPTYCH_TEST_SECRET");
  EXPECT_THAT(out, HasSubstr("[1,0]<stdout>:0 far 0123456789abcdef"));
  EXPECT_THAT(out, HasSubstr("[1,1]<stdout>:1 far 0123456789abcdef"));
  EXPECT_THAT(out, HasSubstr("[1,2]<stdout>:2 near 0123456789abcdef"));
  std::stringstream seen;
  seen << std::ifstream(dir / "seen").rdbuf();
  EXPECT_THAT(seen.str(), HasSubstr("orted"));
  EXPECT_THAT(seen.str(), Not(HasSubstr("0123456789abcdef")));
}

}  // namespace
}  // namespace triptych
