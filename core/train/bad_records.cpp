// The same set of bad records on every rank.
#include "core/train/bad_records.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/base/errors.h"
#include "data/data_config.h"

namespace triptych {
namespace {

using Json = nlohmann::ordered_json;

Json to_json(const BadRecord& record) {
  return {record.sample_id, record.position, record.corpus, record.shard, record.key, record.reason, record.offset};
}

BadRecord from_json(const Json& json) {
  return {.sample_id = json[0],
          .position = json[1],
          .corpus = json[2],
          .shard = json[3],
          .key = json[4],
          .reason = json[5],
          .offset = json[6]};
}

}  // namespace

BadRecords::BadRecords(double error_budget, std::int64_t records)
    : allowed_(allowed_bad_records(error_budget, records)) {}

std::vector<BadRecord> BadRecords::add(const std::vector<BadRecord>& local, Collectives& comm) {
  Json mine = Json::array();
  for (const auto& record : local) mine.push_back(to_json(record));
  std::vector<BadRecord> all;
  for (const auto& text : comm.all_gather_text(mine.dump(-1, ' ', false, Json::error_handler_t::replace))) {
    for (const auto& record : Json::parse(text)) all.push_back(from_json(record));
  }
  std::stable_sort(all.begin(), all.end(),
                   [](const BadRecord& a, const BadRecord& b) { return a.position < b.position; });
  std::vector<BadRecord> unknown;
  for (auto& record : all) {
    if (known_.insert(record.sample_id).second) unknown.push_back(std::move(record));
  }
  return unknown;
}

void BadRecords::check_budget(const std::vector<BadRecord>& latest, std::int64_t step) const {
  if (count() <= allowed_) return;
  std::string example;
  if (!latest.empty()) {
    const auto& last = latest.back();
    example = "; the latest: " + last.corpus + " " + last.shard + ":" + last.key + " at offset " +
              std::to_string(last.offset) + ": " + last.reason;
  }
  throw DataBudgetError(
      "step " + std::to_string(step) + ": " + std::to_string(count()) +
      " distinct records could not be used, data.error_budget allows " + std::to_string(allowed_) + example +
      ". skipped.jsonl in the run directory lists them; repair the shards (then start with --allow-change "
      "data.corpora) or raise the budget (--allow-change data.error_budget)");
}

void BadRecords::visit_state(StateVisitor& visitor) {
  std::string ids;
  for (const auto id : known_) ids += std::to_string(id) + " ";
  visitor.text("bad_records.sample_ids", ids);
  std::istringstream words(ids);
  std::set<std::int64_t> read;
  for (std::int64_t id = 0; words >> id;) read.insert(id);
  known_ = std::move(read);
}

}  // namespace triptych
