// Owns MPI's life: nothing else in the program initialises, finalises or aborts it.
#include "distributed/launch.h"

#include <ATen/ATen.h>
#include <mpi.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <map>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include "core/base/errors.h"
#include "distributed/launch_environment.h"
#include "distributed/mpi_backend.h"
#include "distributed/nccl_transport.h"
#include "distributed/shared_segment.h"
#include "distributed/thread_backend.h"

namespace triptych {
namespace {

using Milliseconds = std::chrono::milliseconds;

bool mpi_runs() {
  int started = 0, ended = 0;
  MPI_Initialized(&started);
  MPI_Finalized(&ended);
  return started && !ended;
}

std::string host_name() {
  char name[256] = "";
  gethostname(name, sizeof name - 1);
  return name;
}

/// Fills in what MPI knows better than the environment.
void start_mpi(Place& place, SharedSegment& segment) {
  int provided = 0;
  if (MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &provided) != MPI_SUCCESS ||
      provided < MPI_THREAD_MULTIPLE) {
    throw ConfigError("this MPI does not start with MPI_THREAD_MULTIPLE; use Open MPI as packaged (openmpi-bin)");
  }
  MPI_Comm_rank(MPI_COMM_WORLD, &place.rank);
  MPI_Comm_size(MPI_COMM_WORLD, &place.size);
  MPI_Comm host = MPI_COMM_NULL;
  MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &host);
  MPI_Comm_rank(host, &place.local_rank);
  MPI_Comm_size(host, &place.local_size);
  MPI_Barrier(host);
  segment.hide();
  MPI_Comm_free(&host);
}

c10::intrusive_ptr<c10d::TCPStore> open_store(const std::string& host, int port, bool serve, Milliseconds timeout) {
  c10d::TCPStoreOptions options;
  options.port = static_cast<std::uint16_t>(port);
  options.isServer = serve;
  options.waitWorkers = false;
  options.timeout = timeout;
  return c10::make_intrusive<c10d::TCPStore>(host, options);
}

/// A store on a free port of rank 0's host, whose address goes round over `comm`.
c10::intrusive_ptr<c10d::Store> meet_in_store(const Place& place, Collectives& comm, Milliseconds timeout) {
  const std::string host = place.local_size == place.size ? "127.0.0.1" : comm.broadcast_text(place.host, 0);
  c10::intrusive_ptr<c10d::TCPStore> store;
  if (place.rank == 0) store = open_store(host, 0, /*serve=*/true, timeout);
  const auto port = comm.broadcast_text(store ? std::to_string(store->getPort()) : "", 0);
  return store ? store : open_store(host, std::stoi(port), /*serve=*/false, timeout);
}

/// Why this job cannot give every rank a GPU of its own; empty if it can. Collective: the same answer on every rank.
std::string why_no_gpus(const Place& place, int gpu, Collectives& comm) {
  const auto gpus = visible_gpus();
  const std::string mine = gpus.count ? place.host + " " + gpu_identity(gpu) : "";
  std::map<std::string, int> owner;
  const auto owned = comm.all_gather_text(mine);
  const auto reason = comm.all_gather_text(gpus.none_because);
  const auto hosts = comm.all_gather_text(place.host);
  for (int r = 0; r < comm.size(); ++r) {
    if (owned[r].empty()) return "rank " + std::to_string(r) + " on " + hosts[r] + ": " + reason[r];
    const auto [other, fresh] = owner.emplace(owned[r], r);
    if (!fresh) {
      return "ranks " + std::to_string(other->second) + " and " + std::to_string(r) + " on " + hosts[r] +
             " would share a GPU";
    }
  }
  return "";
}

}  // namespace

struct Launch::Impl {
  Place place;
  Milliseconds timeout{};
  SharedSegment segment;
  c10::intrusive_ptr<MpiBackend> mpi;        // mpirun, srun
  std::unique_ptr<ThreadGroup> one_process;  // no launcher
  std::unique_ptr<Collectives> own_comm;     // all others
  bool has_nccl = false;
  int exceptions = std::uncaught_exceptions();

  Collectives& comm() { return one_process ? one_process->comm(0) : *own_comm; }
  void start_processes();
  void start_torchrun(const LaunchEnvironment& environment, const std::string& device);
  void choose_device(const std::string& device);
  void leave_in_good_order();
};

void Launch::Impl::start_processes() {
  mpi = c10::make_intrusive<MpiBackend>(
      MpiOptions{.timeout = timeout, .compare_calls = environment_variable("TRIPTYCH_COMPARE_COLLECTIVES") != "0"});
  auto group = c10::make_intrusive<c10d::ProcessGroup>(place.rank, place.size);
  group->setBackend(at::kCPU, c10d::ProcessGroup::BackendType::CUSTOM, mpi);
  group->setDefaultBackend(c10d::ProcessGroup::BackendType::CUSTOM);
  own_comm = std::make_unique<Collectives>(std::move(group));
}

void Launch::Impl::start_torchrun(const LaunchEnvironment& environment, const std::string& device) {
  const auto gpus = device == "cpu" ? VisibleGpus{0, "device: cpu"} : visible_gpus();
  if (gpus.count < environment.local_size) {
    throw ConfigError("torchrun starts GPU runs, one GPU for each rank; here " +
                      std::to_string(environment.local_size) + " ranks and " + std::to_string(gpus.count) + " GPUs" +
                      (gpus.count ? "" : " (" + gpus.none_because + ")") + "; on CPUs use `mpirun -np " +
                      std::to_string(environment.size) + " triptych ...`");
  }
  const auto store = open_store(environment.master_host, environment.master_port, /*serve=*/false, timeout);
  auto group = c10::make_intrusive<c10d::ProcessGroup>(place.rank, place.size);
  add_nccl(*group, c10::make_intrusive<c10d::PrefixStore>("triptych", store), place.local_rank, timeout);
  own_comm = std::make_unique<Collectives>(std::move(group));
  place.device = "cuda:" + std::to_string(place.local_rank);
  has_nccl = true;
}

/// One GPU for every rank, or none for any: ranks on different devices would wait for the slowest of them.
void Launch::Impl::choose_device(const std::string& device) {
  place.device = "cpu";
  if (device == "cpu") return;
  const int gpu = place.local_rank < visible_gpus().count ? place.local_rank : 0;
  const auto why = why_no_gpus(place, gpu, comm());
  if (!why.empty() && device == "cuda") {
    throw ConfigError("device: cuda needs a GPU for every rank, but " + why +
                      "; use device: auto or cpu, or fewer ranks");
  }
  if (!why.empty()) {
    place.device_note = "device: auto takes the CPU: " + why;
    return;
  }
  place.device = "cuda:" + std::to_string(gpu);
  if (one_process) return;  // its group carries tensors of any device
  add_nccl(*comm().group(), meet_in_store(place, comm(), timeout), gpu, timeout);
  has_nccl = true;
}

void Launch::Impl::leave_in_good_order() {
  try {
    comm().barrier();  // rank 0's store, and ranks that others still talk to, go last
    if (has_nccl) stop_nccl(*comm().group());
  } catch (const std::exception&) {
    return;  // a rank is gone: nobody is left to be in order with
  }
  own_comm.reset();
  if (!mpi || mpi->broken()) return;
  mpi.reset();  // joins the progress thread
  segment.show();
  MPI_Finalize();
}

Launch::Launch(const LaunchOptions& options) : impl_(std::make_unique<Impl>()) {
  TORCH_CHECK(options.timeout_s > 0, "Launch: timeout_s must be > 0, got ", options.timeout_s);
  impl_->timeout = Milliseconds(static_cast<std::int64_t>(options.timeout_s * 1000));
  const auto environment = read_launch_environment();
  auto& place = impl_->place;
  place.launcher = environment.launcher;
  place.host = host_name();
  if (environment.launcher == "torchrun" && environment.size > 1) {
    place.rank = environment.rank;
    place.size = environment.size;
    place.local_rank = environment.local_rank;
    place.local_size = environment.local_size;
    impl_->start_torchrun(environment, options.device);
    return;
  }
  const bool by_mpi = environment.launcher == "mpirun" || environment.launcher == "srun";
  if (by_mpi) start_mpi(place, impl_->segment);
  // Under triptych launch its control channel knows how many there must be: perhaps fewer than an allocation has.
  const bool counted = by_mpi && environment_variable("TRIPTYCH_CONTROL").has_value();
  if (!counted) refuse_missing_ranks(environment, place.size);
  if (by_mpi) {
    impl_->start_processes();
  } else {
    impl_->one_process = std::make_unique<ThreadGroup>(1, impl_->timeout);
  }
  impl_->choose_device(options.device);
}

Launch::~Launch() {
  if (std::uncaught_exceptions() > impl_->exceptions) {
    (void)impl_.release();  // left as it is: the others may never join a barrier; abort_job ends them
    return;
  }
  impl_->leave_in_good_order();
}

const Place& Launch::place() const {
  return impl_->place;
}
Collectives& Launch::comm() {
  return impl_->comm();
}

std::string mpi_library() {
  char text[MPI_MAX_LIBRARY_VERSION_STRING] = "";
  int length = 0;
  MPI_Get_library_version(text, &length);
  const std::string whole(text);
  return whole.substr(0, whole.find(','));
}

int environment_rank() {
  try {
    const auto environment = read_launch_environment();
    return environment.launcher == "none" ? -1 : environment.rank;
  } catch (const ConfigError&) {  // Launch reports it; who asks here may be about to print another error
    return -1;
  }
}

static volatile std::sig_atomic_t late_code = 1;

void abort_job(int code) {
  std::fflush(stdout);
  std::fflush(stderr);
  if (mpi_runs()) {
    // Should the abort itself hang, this process ends all the same, and the launcher ends the others. A timer and no
    // thread: there may be no memory for one.
    late_code = code;
    std::signal(SIGALRM, [](int) { _exit(late_code); });
    ::alarm(3);
    MPI_Abort(MPI_COMM_WORLD, code);
  }
  _exit(code);
}

}  // namespace triptych
