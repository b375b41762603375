// `triptych data pack`: a corpus as WebDataset shards.
#include "apps/data_actions.h"
#include "apps/result.h"
#include "data/tools/pack.h"

namespace triptych {

using Json = nlohmann::ordered_json;

ExitCode data_pack(const DataCommand& command) {
  const auto& a = command.arguments;
  if (a.quality && a.resize == 0) {
    throw ConfigError("data pack: --quality is of pictures that are encoded anew; without --resize they are copied");
  }
  const auto corpus = open_corpus(command.only());
  const auto& name = corpus->config().name;
  const RecordProgress progress("packing " + name, corpus->size());
  const auto report = pack_corpus(*corpus, {.folder = a.out,
                                            .short_side = a.resize,
                                            .quality = a.quality.value_or(95),
                                            .shard_records = a.shard_size,
                                            .decoding = command.config.data.decode,
                                            .threads = command.threads(),
                                            .progress = progress});
  progress.end();
  const std::filesystem::path folder(a.out);
  Json result = {{"corpus", name},
                 {"records", report.records},
                 {"written", report.written},
                 {"unusable", report.unusable},
                 {"resized", report.resized},
                 {"shards", report.shards},
                 {"shards_found", report.shards_found},
                 {"bytes", report.bytes},
                 {"seconds", progress.seconds()},
                 {"records_per_s", static_cast<double>(report.records) / progress.seconds()},
                 {"path", (folder / "shard-*.tar").string()}};
  if (!corpus->class_names().empty()) result["class_names"] = (folder / "classes.txt").string();
  Json reasons = Json::array();
  for (const auto& [reason, count] : report.reasons) reasons.push_back({{"records", count}, {"reason", reason}});
  result["left_out_because"] = reasons;
  if (report.shards_found > 0) {
    result["note"] = "resized and left_out_because count only what this call packed, not the " +
                     std::to_string(report.shards_found) + " shards found";
  }
  print_result(result, a.format);
  return ExitCode::kDone;
}

}  // namespace triptych
