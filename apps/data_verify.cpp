// `triptych data verify`: every record is read and decoded once, by the threads of all ranks.
#include "apps/data_actions.h"
#include "apps/result.h"
#include "core/base/log.h"
#include "core/train/agreement.h"
#include "data/formats/printable.h"
#include "data/tools/corpus_report.h"
#include "distributed/launch.h"

namespace triptych {
namespace {

using Json = nlohmann::ordered_json;
constexpr auto kReplace = Json::error_handler_t::replace;

/// What one rank says of its share, as text for all.
std::string share_text(const std::string& corpus, const CorpusReport& report) {
  Json bad = Json::array();
  for (const auto& record : report.unusable) {
    bad.push_back({{"corpus", corpus},
                   {"record", record.record},
                   {"shard", record.place.shard},
                   {"key", printable(record.place.key)},
                   {"offset", record.place.offset},
                   {"reason", record.reason}});
  }
  return Json{{"records", report.records}, {"bad", bad}}.dump(-1, ' ', false, kReplace);
}

std::unique_ptr<Corpus> open_on_all_ranks(const CorpusConfig& config, Launch& launch) {
  std::unique_ptr<Corpus> corpus;
  first_of_host_first(launch.comm(), launch.place().local_rank == 0, [&] { corpus = open_corpus(config); });
  return corpus;
}

/// Reads this rank's share of a corpus; every rank gets the row of the whole, and its bad records.
Json verify_corpus(const DataCommand& command, const CorpusConfig& config, Launch& launch, Json& bad_records) {
  const auto corpus = open_on_all_ranks(config, launch);
  auto& comm = launch.comm();
  const auto first = corpus->size() * comm.rank() / comm.size(),
             last = corpus->size() * (comm.rank() + 1) / comm.size();
  const RecordProgress progress("verifying " + config.name, last - first);
  CorpusReport report;
  agreed_at_length(comm, [&] {  // ranks may finish hours apart
    report = report_corpus(*corpus, {.first = first,
                                     .last = last,
                                     .decoding = command.config.data.decode,
                                     .threads = command.threads(launch.place().local_size),
                                     .progress = progress});
  });
  progress.end();
  std::int64_t records = 0, unusable = 0;
  for (const auto& text : comm.all_gather_text(share_text(config.name, report))) {
    const auto share = Json::parse(text);
    records += share["records"].get<std::int64_t>();
    unusable += static_cast<std::int64_t>(share["bad"].size());
    for (const auto& record : share["bad"]) bad_records.push_back(record);
  }
  return {{"corpus", config.name}, {"records", records}, {"unusable", unusable}};
}

/// Training corpora share one budget, as in a run; a held-out corpus has its own; none may be without a usable record.
/// Adds `allowed` to the rows.
bool within_budget(Json& rows, std::size_t held_out, double error_budget) {
  const auto training = rows.size() - held_out;
  std::int64_t records = 0, unusable = 0;
  for (std::size_t i = 0; i < training; ++i) {
    records += rows[i]["records"].get<std::int64_t>();
    unusable += rows[i]["unusable"].get<std::int64_t>();
  }
  bool within = unusable <= allowed_bad_records(error_budget, records);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto allowed =
        allowed_bad_records(error_budget, i < training ? records : rows[i]["records"].get<std::int64_t>());
    rows[i]["allowed"] = allowed;
    if (i >= training) within &= rows[i]["unusable"].get<std::int64_t>() <= allowed;
    within &= rows[i]["unusable"] < rows[i]["records"];
  }
  return within;
}

}  // namespace

ExitCode data_verify(const DataCommand& command) {
  Launch launch({.device = "cpu", .timeout_s = command.config.train.timeout_s});
  start_log(launch.place().rank, launch.place().size);
  Json rows = Json::array(), bad_records = Json::array();
  for (const auto& config : command.corpora) {
    rows.push_back(verify_corpus(command, config, launch, bad_records));
  }
  const bool within = within_budget(rows, command.held_out, command.config.data.error_budget);
  if (launch.place().rank == 0) {
    print_result({{"corpora", rows}, {"unusable", bad_records.size()}, {"bad_records", bad_records}},
                 command.arguments.format);
    if (!within) {
      log_error(
          "data verify: more records cannot be used than data.error_budget allows (column 'allowed'; the "
          "training corpora share one budget), or all of a corpus; repair or filter them, or raise the budget");
    }
  }
  launch.comm().barrier();  // a rank that ends with 3 would take the one that prints with it
  return within ? ExitCode::kDone : ExitCode::kData;
}

}  // namespace triptych
