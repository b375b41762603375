// `triptych bench WHAT [CONFIG]`.
#include <filesystem>

#include "apps/bench_attention.h"
#include "apps/bench_checkpoint.h"
#include "apps/bench_compute.h"
#include "apps/bench_index.h"
#include "apps/bench_interactions.h"
#include "apps/checkpoint_model.h"
#include "apps/commands.h"
#include "apps/machine.h"
#include "apps/result.h"
#include "core/base/log.h"
#include "core/model/image_preprocess.h"
#include "core/train/memory_estimate.h"
#include "core/train/run_environment.h"
#include "core/train/train_config.h"
#include "core/train/train_config_file.h"
#include "data/loader_bench.h"
#include "distributed/launch.h"

namespace triptych {
namespace {

using Json = nlohmann::ordered_json;
constexpr const char* kDefaultConfig = "configs/quickstart.yaml";

TrainConfig bench_config(const BenchArguments& arguments) {
  const std::string path = arguments.config.empty() ? kDefaultConfig : arguments.config;
  if (arguments.config.empty() && !std::filesystem::exists(path)) {
    throw ConfigError("bench: there is no " + path + " here; name a CONFIG, or start it in the project's folder");
  }
  return load_train_config(path, arguments.set);
}

Json loader_result(const TrainConfig& config, const BenchArguments& arguments) {
  auto data = config.data;
  if (arguments.threads > 0) data.workers = arguments.threads;
  LoaderBenchRequest request;
  if (arguments.batch > 0) request.batch = arguments.batch;
  request.samples = std::numeric_limits<std::int32_t>::max();  // time ends it
  request.most_seconds = arguments.measured_s();
  request.seed = static_cast<std::uint64_t>(config.run.seed);
  const CorpusSet corpora(data);
  const auto facts = corpora.facts(request.batch);
  request.spec = objective_on_meta(config, facts)->needs();
  if (arguments.image_size > 0) request.spec.image_size = arguments.image_size;
  double private_mib = 0, batch_mib = 0;
  // One by one, as loaders with Python workers do, so that what a taker keeps does not hide what the loader needs.
  request.use = [&](const Batch& batch) {
    for (const auto& picture : batch.images.flatten(0, 1).split(1)) normalise_images(picture, facts, at::kFloat);
    private_mib = std::max(private_mib, memory_use(at::kCPU).private_rss_mb);
    batch_mib = static_cast<double>(batch.images.nbytes()) / (1 << 20);
  };
  const auto report = bench_loader(corpora, data, request);
  const double difference = report.reduced_share > 0 ? reduction_difference(corpora, data, request) : 0;
  const auto row = [&](const std::string& stage, double seconds) {
    const auto each = seconds * 1e3 / static_cast<double>(std::max<std::int64_t>(report.stages.rows, 1));
    return Json{{"stage", stage}, {"seconds", seconds}, {"ms_a_sample", each}};
  };
  return {{"records", corpora.size()},
          {"image_size", request.spec.image_size},
          {"batch", request.batch},
          {"workers", report.workers},
          {"samples", report.samples},
          {"seconds", report.seconds},
          {"samples_per_s", report.samples_per_s},
          {"mb_per_s", report.mb_per_s},
          {"first_batch_s", report.first_batch_s},
          {"wait_s", report.wait_s},
          {"bad_records", report.bad_records},
          {"decoded_reduced", report.reduced_share},
          {"mean_pixel_difference", difference},
          {"private_mib", private_mib},                                         // the most after any batch
          {"batches_mib", batch_mib * static_cast<double>(data.prefetch + 1)},  // of pictures: made ahead, and in hand
          {"stages",
           {row("read", report.stages.read_s), row("decode", report.stages.decode_s),
            row("crop and resize", report.stages.resize_s), row("colours", report.stages.color_s),
            row("text", report.stages.text_s), row("normalise", report.use_s)}}};
}

Json compute_result(TrainConfig config, const BenchArguments& arguments) {
  if (arguments.threads > 0) config.train.threads = arguments.threads;
  if (arguments.batch > 0 && arguments.what == "step") {
    config.train.global_batch = arguments.batch;
    config.train.micro_batch = std::min(config.train.micro_batch, arguments.batch);
  }
  Launch launch({.device = config.train.device, .timeout_s = config.train.timeout_s});
  start_log(launch.place().rank, launch.place().size);
  if (launch.place().size > 1 && (arguments.what == "checkpoint" || arguments.what == "attention"))
    throw ConfigError("bench " + arguments.what + " measures one process; start it without mpirun");
  const auto warnings = prepare_computation(config.train, launch.place(), launch.comm());
  if (launch.place().rank == 0) log_warnings(warnings);
  Json result = {{"device", launch.place().device}, {"threads", tensor_threads()}, {"kernels", cpu_facts().kernels}};
  std::vector<std::int64_t> rows = {256, 1024, 2048};
  if (arguments.batch > 0) rows = {arguments.batch};
  const ComputeBench bench{config, arguments.measured_s(), arguments.inputs};
  if (arguments.what == "loss") result.update(bench_loss(bench, rows, launch));
  if (arguments.what == "step") result.update(bench_step(bench, launch));
  if (arguments.what == "checkpoint") result.update(bench_checkpoint(config, arguments.measured_s(), launch));
  if (arguments.what == "attention")
    result.update(bench_attention(at::Device(launch.place().device), arguments.measured_s()));
  return launch.place().rank == 0 ? result : Json();
}

/// Needs no configuration: its corpus is made up.
ExitCode index_command(const BenchArguments& arguments) {
  if (!arguments.config.empty() || !arguments.set.empty() || arguments.threads > 0 || arguments.batch > 0 ||
      arguments.image_size > 0 || arguments.seconds > 0 || !arguments.inputs.empty()) {
    throw ConfigError("bench index: takes only --records and --format; its corpus is made up");
  }
  if (environment_rank() > 0) throw ConfigError("bench index measures one process; start it without mpirun");
  print_result(bench_index(arguments.records > 0 ? arguments.records : 1'000'000), arguments.format);
  return ExitCode::kDone;
}

/// Its model and corpora are a checkpoint's.
ExitCode interactions_command(const BenchArguments& arguments) {
  if (arguments.checkpoint.empty())
    throw ConfigError("bench interactions: --checkpoint is required; name a checkpoint or run directory");
  if (arguments.batch > 0 || arguments.image_size > 0 || !arguments.inputs.empty() || arguments.records > 0) {
    throw ConfigError(
        "bench interactions: takes only --checkpoint, --pictures, --coalitions, --seconds, --threads, --set and "
        "--format");
  }
  check_measuring_set(arguments.set, "bench interactions");
  auto measured = arguments.config.empty() ? saved_config(arguments.checkpoint, arguments.set)
                                           : load_train_config(arguments.config, arguments.set);
  if (arguments.threads > 0) measured.train.threads = arguments.threads;
  Launch launch({.device = measured.train.device, .timeout_s = measured.train.timeout_s});
  start_log(launch.place().rank, launch.place().size);
  if (launch.place().size > 1) throw ConfigError("bench interactions measures one process; start it without mpirun");
  log_warnings(prepare_computation(measured.train, launch.place(), launch.comm()));
  Json result = {{"device", launch.place().device}, {"threads", tensor_threads()}};
  result.update(bench_interactions(measured, arguments, launch));
  print_result(result, arguments.format);
  return ExitCode::kDone;
}

}  // namespace

ExitCode run_command(const BenchArguments& arguments) {
  if (arguments.what == "interactions") return interactions_command(arguments);
  if (!arguments.checkpoint.empty() || arguments.pictures > 0 || arguments.coalitions > 0)
    throw ConfigError("bench " + arguments.what +
                      ": --checkpoint, --pictures and --coalitions are for bench interactions");
  if (arguments.what == "index") return index_command(arguments);
  if (arguments.records > 0) throw ConfigError("bench " + arguments.what + ": --records is for bench index");
  const auto config = bench_config(arguments);
  if (arguments.image_size > 0 && arguments.what != "loader") {
    throw ConfigError("bench " + arguments.what +
                      ": --image-size is for the loader; use --set model.image.image_size=N");
  }
  if (!arguments.inputs.empty() && arguments.what == "loader") {
    throw ConfigError("bench loader: --inputs is for bench loss and bench step; name corpora in the configuration");
  }
  const bool alone = arguments.what == "checkpoint" || arguments.what == "attention";
  if (alone && (arguments.batch > 0 || !arguments.inputs.empty()))
    throw ConfigError("bench " + arguments.what + ": --batch and --inputs are for bench loss and bench step");
  if (arguments.what != "loader") {
    const auto result = compute_result(config, arguments);
    if (!result.is_null()) print_result(result, arguments.format);
    return ExitCode::kDone;
  }
  if (environment_rank() > 0) {
    throw ConfigError(
        "bench loader measures one process; start it without mpirun, or use bench step for several ranks");
  }
  print_result(loader_result(config, arguments), arguments.format);
  return ExitCode::kDone;
}

}  // namespace triptych
