// Launchers by their variables, and promises of ranks that do not exist.
#include "distributed/launch_environment.h"

#include <gtest/gtest.h>

#include <map>

#include "core/base/errors.h"

namespace triptych {
namespace {

using Variables = std::map<std::string, std::string>;

LaunchEnvironment read(const Variables& variables) {
  return read_launch_environment([&](const std::string& name) {
    const auto found = variables.find(name);
    return found == variables.end() ? std::nullopt : std::optional<std::string>(found->second);
  });
}

std::string refusal(const Variables& variables, int size) {
  try {
    refuse_missing_ranks(read(variables), size);
  } catch (const ConfigError& e) {
    EXPECT_EQ(e.code(), ExitCode::kUsage);
    return e.what();
  }
  return "";
}

const Variables kMpirun = {{"OMPI_COMM_WORLD_SIZE", "4"},
                           {"OMPI_COMM_WORLD_RANK", "3"},
                           {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                           {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"},
                           {"PMIX_RANK", "3"}};
const Variables kSrun = {{"SLURM_NTASKS", "4"}, {"SLURM_PROCID", "2"}, {"SLURM_LOCALID", "0"}, {"PMIX_RANK", "2"}};
const Variables kTorchrun = {{"RANK", "5"},
                             {"WORLD_SIZE", "8"},
                             {"LOCAL_RANK", "1"},
                             {"LOCAL_WORLD_SIZE", "4"},
                             {"MASTER_ADDR", "node1"},
                             {"MASTER_PORT", "29400"}};

TEST(LaunchEnvironment, NothingIsOneProcess) {
  const auto found = read({});
  EXPECT_EQ(found.launcher, "none");
  EXPECT_EQ(found.size, 1);
  EXPECT_EQ(refusal({}, 1), "");
}

TEST(LaunchEnvironment, Mpirun) {
  const auto found = read(kMpirun);
  EXPECT_EQ(found.launcher, "mpirun");
  EXPECT_EQ(found.rank, 3);
  EXPECT_EQ(found.size, 4);
  EXPECT_EQ(found.local_rank, 1);
  EXPECT_EQ(found.local_size, 2);
  EXPECT_EQ(refusal(kMpirun, 4), "");
}

TEST(LaunchEnvironment, Srun) {
  const auto found = read(kSrun);
  EXPECT_EQ(found.launcher, "srun");
  EXPECT_EQ(found.rank, 2);
  EXPECT_EQ(found.size, 4);
  EXPECT_EQ(refusal(kSrun, 4), "");
}

TEST(LaunchEnvironment, Torchrun) {
  const auto found = read(kTorchrun);
  EXPECT_EQ(found.launcher, "torchrun");
  EXPECT_EQ(found.rank, 5);
  EXPECT_EQ(found.size, 8);
  EXPECT_EQ(found.local_rank, 1);
  EXPECT_EQ(found.local_size, 4);
  EXPECT_EQ(found.master_host, "node1");
  EXPECT_EQ(found.master_port, 29400);
}

TEST(LaunchEnvironment, MpirunInsideASlurmAllocationIsMpirun) {
  auto variables = kMpirun;
  variables.insert({{"SLURM_NTASKS", "4"}, {"SLURM_PROCID", "0"}});
  EXPECT_EQ(read(variables).launcher, "mpirun");
  EXPECT_EQ(refusal(variables, 4), "");
}

TEST(LaunchEnvironment, AnnouncedRanksThatAreMissingAreRefusedWithTheCommand) {
  // A batch script without srun: SLURM_PROCID is set, PMIX_RANK is not.
  const auto slurm = refusal({{"SLURM_NTASKS", "4"}, {"SLURM_PROCID", "0"}}, 1);
  EXPECT_NE(slurm.find("SLURM_NTASKS=4 announces 4 processes, but this job has 1"), std::string::npos) << slurm;
  EXPECT_NE(slurm.find("srun --mpi=pmix -n 4"), std::string::npos) << slurm;
  EXPECT_NE(refusal({{"WORLD_SIZE", "2"}}, 1).find("mpirun -np 2"), std::string::npos);
  EXPECT_NE(refusal({{"WORLD_SIZE", "2"}}, 1).find("torchrun"), std::string::npos);
  EXPECT_NE(refusal({{"PMI_SIZE", "3"}, {"PMI_RANK", "0"}}, 1).find("Open MPI"), std::string::npos);
  EXPECT_NE(refusal(kSrun, 1), "");  // srun without PMIx in this MPI: every process believes to be alone
  EXPECT_NE(refusal({{"WORLD_SIZE", "2"}, {"SLURM_NTASKS", "8"}}, 4).find("SLURM_NTASKS=8"), std::string::npos);
  EXPECT_EQ(refusal({{"WORLD_SIZE", "1"}, {"SLURM_NTASKS", "1"}}, 1), "");
}

TEST(LaunchEnvironment, NotANumber) {
  EXPECT_THROW(read({{"WORLD_SIZE", "two"}}), ConfigError);
  EXPECT_THROW(read({{"SLURM_NTASKS", "4x"}}), ConfigError);
  EXPECT_EQ(read({{"WORLD_SIZE", ""}}).announced, 1);
}

}  // namespace
}  // namespace triptych
