// Hostfiles and Slurm's lists: what is read, and every refusal with its words; who takes how many ranks.
#include "distributed/launcher/hosts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <optional>

#include "core/base/errors.h"
#include "tests/support/temp_dir.h"

namespace triptych {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

template <class Call>
std::string hosts_refusal(Call&& call) {
  try {
    call();
  } catch (const ConfigError& e) {
    return e.what();
  }
  return "accepted";
}

std::string file_refusal(const std::string& text) {
  return hosts_refusal([&] { parse_hostfile(text, "h"); });
}

ReadVariable slurm_job(const std::optional<std::string>& nodes, const std::optional<std::string>& tasks) {
  return [=](const std::string& name) {
    return name == "SLURM_JOB_NODELIST" ? nodes : name == "SLURM_TASKS_PER_NODE" ? tasks : std::nullopt;
  };
}

std::vector<std::string> placed(const HostList& list, int ranks, const std::set<std::string>& excluded = {}) {
  std::vector<std::string> out;
  for (const auto& share : place_ranks(list, ranks, excluded)) {
    out.push_back(share.host.name + "=" + std::to_string(share.ranks));
  }
  return out;
}

const char* const kFour =
    "# four ranks, and two in reserve\nnode1 slots=2\n\n\tnode2.lab  slots=2 # here\r\nnode3 slots=2 spare\n";

TEST(Hosts, AHostfileIsReadWithItsLines) {
  const auto list = parse_hostfile(kFour, "hosts.txt");
  ASSERT_THAT(list.hosts, SizeIs(3));
  EXPECT_EQ(list.source, "hosts.txt");
  EXPECT_EQ(list.slots(), 4);
  EXPECT_EQ(list.hosts[1].name, "node2.lab");
  EXPECT_EQ(list.hosts[1].slots, 2);
  EXPECT_EQ(list.hosts[1].where, "hosts.txt:4");
  EXPECT_FALSE(list.hosts[1].spare);
  EXPECT_TRUE(list.hosts[2].spare);
  EXPECT_EQ(parse_hostfile("a slots=4096", "h").slots(), 4096);
  EXPECT_EQ(parse_hostfile("9 spare slots=1\nb:1-c_d.e slots=1", "h").hosts[1].name, "b:1-c_d.e");
}

TEST(Hosts, EveryRefusalSaysLineGotAndExpected) {
  const std::vector<std::pair<std::string, std::string>> refused = {
      {"", "h: no host; expected lines of NAME slots=N"},
      {"# nothing\n\n", "h: no host; expected lines of NAME slots=N"},
      {"a slots=1 spare\n", "h: every host is a spare; expected one without the word spare"},
      {"a\n", "h:1: slots are missing; expected NAME slots=N, N the ranks that fit there"},
      {"a slots=0\n", "h:1: slots='0'; expected a whole number from 1 to 4096"},
      {"a slots=4097\n", "h:1: slots='4097'; expected a whole number from 1 to 4096"},
      {"a slots=-1\n", "h:1: slots='-1'; expected a whole number from 1 to 4096"},
      {"a slots=2x\n", "h:1: slots='2x'; expected a whole number from 1 to 4096"},
      {"a slots=\n", "h:1: slots=''; expected a whole number from 1 to 4096"},
      {"a slots=99999999999999999999\n", "h:1: slots='99999999999999999999'; expected a whole number from 1 to 4096"},
      {"a slots=2 slots=2\n", "h:1: 'slots=2' is said twice; once is enough"},
      {"a slots=2 spare spare\n", "h:1: 'spare' is said twice; once is enough"},
      {"a slots=2 max_slots=4\n", "h:1: unknown word 'max_slots=4'; expected slots=N or spare"},
      {"a slots = 2\n", "h:1: unknown word 'slots'; expected slots=N or spare"},
      {"a slots=1\nA slots=2\n",
       "h:2: host 'A' stands in line 1 already; write each host once, slots= says how many ranks it takes"},
      {"-oProxyCommand=x slots=1\n",
       "h:1: host name '-oProxyCommand=x'; expected letters, digits and . _ : - inside, at most 253"},
  };
  for (const auto& [text, message] : refused) {
    const auto got = file_refusal(text);
    EXPECT_EQ(got.substr(0, message.size()), message) << text;
  }
  for (const auto* name : {"a-", ".a", "a;b", "$(x)", "a/b", "user@a", "a,b", "\xc3\xa4", "a\x01", "'a'"}) {
    EXPECT_THAT(file_refusal(std::string(name) + " slots=1"), HasSubstr("h:1: host name ")) << name;
  }
  EXPECT_EQ(file_refusal(std::string(253, 'a') + " slots=1"), "accepted");
  EXPECT_THAT(file_refusal(std::string(254, 'a') + " slots=1"), HasSubstr("expected letters"));
  EXPECT_THAT(file_refusal(std::string("a\0b slots=1", 11)), HasSubstr("'a?b'"));
}

TEST(Hosts, AllBadLinesStandInOneError) {
  EXPECT_EQ(file_refusal("-a slots=0\nb slots=1\nc\n"),
            "h:1: host name '-a'; expected letters, digits and . _ : - inside, at most 253\n"
            "h:1: slots='0'; expected a whole number from 1 to 4096\n"
            "h:3: slots are missing; expected NAME slots=N, N the ranks that fit there");
  std::string many;
  for (int i = 0; i < 250; ++i) many += "-\n";
  EXPECT_THAT(file_refusal(many), HasSubstr("\nh:100: host name '-'"));
  EXPECT_THAT(file_refusal(many), HasSubstr("\n... and 150 more"));
}

TEST(Hosts, FilesThatCannotBeAHostfile) {
  const TempDir dir;
  EXPECT_THAT(hosts_refusal([&] { read_hostfile(dir / "none"); }), HasSubstr("the word slurm or local"));
  EXPECT_THAT(hosts_refusal([&] { read_hostfile(dir.path()); }), HasSubstr("--hosts: "));
  std::ofstream(dir / "large") << std::string((1 << 20) + 1, '#');
  EXPECT_THAT(hosts_refusal([&] { read_hostfile(dir / "large"); }), HasSubstr("at most 1 MiB"));
  std::string many;
  for (int i = 0; i < 4097; ++i) many += "n" + std::to_string(i) + " slots=1\n";
  EXPECT_THAT(file_refusal(many), HasSubstr("h: 4097 hosts; expected at most 4096"));
  std::ofstream(dir / "hosts") << kFour;
  EXPECT_EQ(read_hosts((dir / "hosts").string(), 0, slurm_job({}, {})).hosts[0].where, (dir / "hosts").string() + ":2");
}

TEST(Hosts, Nodelists) {
  EXPECT_THAT(expand_nodelist("n1"), ElementsAre("n1"));
  EXPECT_THAT(expand_nodelist("n[01-03,7],m1"), ElementsAre("n01", "n02", "n03", "n7", "m1"));
  EXPECT_THAT(expand_nodelist("a[9-11]x,b"), ElementsAre("a9x", "a10x", "a11x", "b"));
  EXPECT_THAT(expand_nodelist("r[1-2]n[1,3]"), ElementsAre("r1n1", "r1n3", "r2n1", "r2n3"));
  EXPECT_THAT(expand_nodelist("n[0-4095]"), SizeIs(4096));
  for (const auto* bad : {"",
                          ",",
                          "a,",
                          "n[",
                          "n]",
                          "n[1",
                          "n[[1]]",
                          "n[1]]",
                          "n[]",
                          "n[a]",
                          "n[3-1]",
                          "n[1-]",
                          "n[-1]",
                          "n[1-2-3]",
                          "n[1,]",
                          "n[0-4096]",
                          "n[0-999999999]",
                          "n[0-99][0-99]",
                          "n[0-4000],m[0-4000]",
                          "n[1-2],n2",
                          "-n",
                          "n[1-2]-",
                          "a b",
                          "n[99999999999]"}) {
    const auto message = hosts_refusal([&] { expand_nodelist(bad); });
    EXPECT_THAT(message, HasSubstr("SLURM_JOB_NODELIST='")) << bad;
    EXPECT_THAT(message, HasSubstr("expected names as in n[01-03,7],m1")) << bad;
  }
}

TEST(Hosts, TasksPerNode) {
  EXPECT_THAT(expand_tasks_per_node("4"), ElementsAre(4));
  EXPECT_THAT(expand_tasks_per_node("4(x2),3"), ElementsAre(4, 4, 3));
  EXPECT_THAT(expand_tasks_per_node("1(x4096)"), SizeIs(4096));
  for (const auto* bad : {"", "x", "4(x)", "4(x2", "4(", "4(x", "4x2", "4(x2)3", "0", "4(x0)", "4,,3", "4097", "-1",
                          "4,", "1(x4096),1", "(x2)"}) {
    EXPECT_THAT(hosts_refusal([&] { expand_tasks_per_node(bad); }), HasSubstr("expected numbers as in 4(x2),3")) << bad;
  }
}

TEST(Hosts, Slurm) {
  const auto list = read_hosts("slurm", 0, slurm_job("n[1-2],m1", "4(x2),3"));
  ASSERT_THAT(list.hosts, SizeIs(3));
  EXPECT_EQ(list.slots(), 11);
  EXPECT_EQ(list.hosts[2].name, "m1");
  EXPECT_EQ(list.hosts[2].slots, 3);
  EXPECT_THAT(hosts_refusal([] { slurm_hosts(slurm_job({}, "1")); }),
              HasSubstr("SLURM_JOB_NODELIST is not set; start this inside an allocation (sbatch"));
  EXPECT_THAT(hosts_refusal([] { slurm_hosts(slurm_job("n1", "")); }), HasSubstr("SLURM_TASKS_PER_NODE is not set"));
  EXPECT_THAT(hosts_refusal([] { slurm_hosts(slurm_job("n[1-3]", "4(x2)")); }),
              HasSubstr("tasks of 2 nodes, but SLURM_JOB_NODELIST names 3"));
}

TEST(Hosts, Local) {
  std::array<char, 256> name{};
  ASSERT_EQ(gethostname(name.data(), name.size() - 1), 0);
  const auto list = read_hosts("local", 3, slurm_job({}, {}));
  ASSERT_THAT(list.hosts, SizeIs(1));
  EXPECT_EQ(list.hosts[0].name, name.data());
  EXPECT_EQ(list.slots(), 3);
  EXPECT_EQ(local_host(0).slots(), cores_of_process());
  EXPECT_GE(cores_of_process(), 1);
  EXPECT_THAT(hosts_refusal([] { local_host(4097); }), HasSubstr("expected --np from 1 to 4096"));
}

TEST(Hosts, RanksAreCheckedAgainstSlots) {
  const auto list = parse_hostfile(kFour, "hosts.txt");
  check_ranks(list, 1);
  check_ranks(list, 4);
  EXPECT_EQ(hosts_refusal([&] { check_ranks(list, 5); }),
            "--np 5: hosts.txt offers 4 slots (hosts.txt:2 node1 has 2; hosts.txt:4 node2.lab has 2; hosts.txt:5 node3 "
            "has 2, spare); expected 1 to 4: start fewer ranks, raise slots=, or add a host; spares take ranks only "
            "after a restart");
  EXPECT_THAT(hosts_refusal([&] { check_ranks(list, 0); }), HasSubstr("expected 1 to 4"));
  EXPECT_THAT(hosts_refusal([] { check_ranks(slurm_hosts(slurm_job("n1", "2")), 3); }),
              HasSubstr("ask Slurm for more"));
}

TEST(Hosts, RanksArePlacedInOrderAndSparesLast) {
  const auto list = parse_hostfile("s slots=2 spare\na slots=2\nb slots=3\nc slots=2\n", "h");
  EXPECT_THAT(placed(list, 7), ElementsAre("a=2", "b=3", "c=2"));
  EXPECT_THAT(placed(list, 3), ElementsAre("a=2", "b=1"));
  EXPECT_THAT(placed(list, 6, {"b"}), ElementsAre("a=2", "c=2", "s=2"));
  EXPECT_THAT(placed(list, 5, {"a", "s"}), ElementsAre("b=3", "c=2"));
  EXPECT_EQ(usable_slots(list, {}), 9);
  EXPECT_EQ(usable_slots(list, {"b"}), 6);
  EXPECT_THAT(
      hosts_refusal([&] { placed(list, 7, {"b"}); }),
      HasSubstr("7 ranks do not fit onto the 6 slots that are left of h (h:1 s has 2, spare; h:2 a has 2; h:3 b "
                "has 3, left out; h:4 c has 2)"));
  EXPECT_THAT(hosts_by_rank(place_ranks(list, 6, {"b"})), ElementsAre("a", "a", "c", "c", "s", "s"));
}

}  // namespace
}  // namespace triptych
