// Asks Linux and LibTorch.
#include "core/train/run_environment.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <ATen/cpu/Utils.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <link.h>
#include <sched.h>
#include <sys/resource.h>
#include <torch/headeronly/version.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <ctime>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "core/base/errors.h"
#include "core/base/hash.h"

namespace triptych {
namespace {

constexpr double kMiB = 1024.0 * 1024.0;

/// Cores that a process may run on.
cpu_set_t cores_of(pid_t process) {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(process, sizeof(allowed), &allowed) == 0) return allowed;
  // A machine of more cores than the mask has bits: taken as free to use all.
  for (unsigned core = 0; core < std::min(std::thread::hardware_concurrency(), 1U * CPU_SETSIZE); ++core)
    CPU_SET(core, &allowed);
  return allowed;
}

/// OMP_NUM_THREADS; else the cores that this process may use over the ranks that may use just them.
int automatic_threads(const Place& place, Collectives& comm) {
  const auto cores = cores_of(0);
  std::string mine = place.host;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(core, &cores)) mine += " " + std::to_string(core);
  }
  const auto all = comm.all_gather_text(mine);
  if (const char* text = std::getenv("OMP_NUM_THREADS"); text != nullptr && std::atoi(text) > 0) return std::atoi(text);
  return std::max(1, CPU_COUNT(&cores) / static_cast<int>(std::count(all.begin(), all.end(), mine)));
}

/// The launcher gave this rank one core, though it has more itself.
bool bound_to_one_of_several() {
  const auto mine = cores_of(0), launcher = cores_of(getppid());
  return CPU_COUNT(&mine) == 1 && CPU_COUNT(&launcher) > 1;
}

/// Bytes that this process's control group (a container, a Slurm job) may use; no limit: the largest number.
std::int64_t cgroup_limit() {
  std::int64_t limit = INT64_MAX;
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const auto path = line.substr(line.rfind(':') + 1);
    const bool unified = line.starts_with("0::"), memory = line.find(":memory:") != std::string::npos;
    if (!unified && !memory) continue;
    // Inside a container the path is the host's, so the root of the mount is looked at too.
    for (const auto& folder : {path, std::string("/")}) {
      std::ifstream file(unified ? "/sys/fs/cgroup" + folder + "/memory.max"
                                 : "/sys/fs/cgroup/memory" + folder + "/memory.limit_in_bytes");
      if (std::int64_t bytes = 0; file >> bytes) limit = std::min(limit, bytes);
    }
  }
  return limit;
}

bool has_amx_bf16() {
  const auto capabilities = at::cpu::get_cpu_capabilities();
  const auto found = capabilities.find("amx_bf16");
  return found != capabilities.end() && found->second.isBool() && found->second.toBool();
}

int find_build_id(dl_phdr_info* info, std::size_t, void* result) {
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const auto& header = info->dlpi_phdr[i];
    if (header.p_type != PT_NOTE) continue;
    const char* note = reinterpret_cast<const char*>(info->dlpi_addr + header.p_vaddr);
    const char* end = note + header.p_memsz;
    while (note + sizeof(ElfW(Nhdr)) <= end) {
      ElfW(Nhdr) head;
      std::memcpy(&head, note, sizeof(head));
      const char* name = note + sizeof(head);
      const char* content = name + (head.n_namesz + 3) / 4 * 4;
      if (head.n_type == NT_GNU_BUILD_ID && head.n_namesz == 4 && std::memcmp(name, "GNU", 4) == 0) {
        *static_cast<std::string*>(result) = hash_text(xxh64(content, head.n_descsz));
        return 1;
      }
      note = content + (head.n_descsz + 3) / 4 * 4;
    }
  }
  return 1;  // the first object is the executable: look no further
}

}  // namespace

std::vector<std::string> prepare_computation(const LoopConfig& config, const Place& place, Collectives& comm) {
  std::vector<std::string> warnings;
  const auto automatic = automatic_threads(place, comm);
  at::set_num_threads(config.threads > 0 ? static_cast<int>(config.threads) : automatic);
  auto& context = at::globalContext();
  context.setBenchmarkCuDNN(false);  // timing would choose other kernels in a resumed run
  context.setAllowTF32CuDNN(false);
  context.setAllowTF32CuBLAS(false);
  if (config.deterministic && place.device != "cpu") {
    setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", /*overwrite=*/0);  // read when cuBLAS starts
    context.setDeterministicCuDNN(true);
    context.setDeterministicAlgorithms(true, /*warn_only=*/false);
    warnings.push_back("train.deterministic: only repeatable GPU algorithms are used; steps take longer");
  }
  if (config.precision == "fp64" && place.device != "cpu") {
    warnings.push_back("train.precision fp64 is for tests: GPUs compute it many times slower");
  }
  if (config.precision == "bf16" && place.device == "cpu" && !has_amx_bf16()) {
    warnings.push_back("train.precision bf16: this CPU has no AMX for it; fp32 will be quicker");
  }
  if (config.precision == "fp16" && place.device == "cpu") {
    warnings.push_back("train.precision fp16 is for GPUs; on a CPU fp32 will be quicker, and with AMX bf16");
  }
  if (bound_to_one_of_several() && sysconf(_SC_NPROCESSORS_ONLN) > place.local_size) {
    warnings.push_back(
        "this rank is bound to one core, which its loader threads share though others are free; start mpirun with "
        "--bind-to none (docs/distributed.md)");
  }
  return warnings;
}

ComputeFacts compute_facts(const Place& place) {
  return {place.size, at::get_num_threads(), place.device.substr(0, place.device.find(':')), at::get_cpu_capability()};
}

std::string program_identity() {
  std::string id;
  dl_iterate_phdr(find_build_id, &id);
  return id.empty() ? hash_text(xxh64_of_file("/proc/self/exe")) : id;
}

std::string environment_json(const ComputeFacts& facts, const std::string& program,
                             const std::vector<std::string>& hosts) {
  char time_text[32];
  const auto now = std::time(nullptr);
  std::tm utc = {};
  gmtime_r(&now, &utc);
  std::strftime(time_text, sizeof(time_text), "%Y-%m-%dT%H:%M:%SZ", &utc);
  const nlohmann::ordered_json json = {
      {"program", program},       {"build_id", program_identity()}, {"libtorch", TORCH_VERSION},
      {"started", time_text},     {"ranks", facts.ranks},           {"hosts", hosts},
      {"threads", facts.threads}, {"device", facts.device},         {"instruction_set", facts.instruction_set}};
  return json.dump(1) + "\n";
}

MemoryUse memory_use(at::Device device) {
  MemoryUse use;
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  use.peak_rss_mb = static_cast<double>(usage.ru_maxrss) / 1024.0;
  std::ifstream statm("/proc/self/statm");
  double size = 0, resident = 0, shared = 0;
  statm >> size >> resident >> shared;
  use.private_rss_mb = (resident - shared) * static_cast<double>(sysconf(_SC_PAGESIZE)) / kMiB;
  if (!device.is_cpu()) {
    const auto stats = c10::getDeviceAllocator(device.type())->getDeviceStats(device.index());
    use.peak_gpu_mb = static_cast<double>(stats.allocated_bytes[0].peak) / kMiB;
  }
  return use;
}

std::int64_t total_memory(at::Device device) {
  if (!device.is_cpu()) {
    return static_cast<std::int64_t>(c10::getDeviceAllocator(device.type())->getMemoryInfo(device.index()).second);
  }
  return std::min(static_cast<std::int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE), cgroup_limit());
}

double seconds_since_process_start() {
  std::ifstream file("/proc/self/stat");
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  std::istringstream fields(text.substr(text.rfind(')') + 2));  // the name before may hold anything
  std::string skipped;
  for (int field = 3; field < 22; ++field) fields >> skipped;
  double start_ticks = 0;
  fields >> start_ticks;
  timespec now = {};
  clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec) -
         start_ticks / static_cast<double>(sysconf(_SC_CLK_TCK));
}

}  // namespace triptych
