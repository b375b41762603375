// What was used, from the batch; what was due, from the schedule.
#include "core/train/ledger.h"

#include <ATen/ATen.h>

#include <nlohmann/json.hpp>

#include "data/sample_id.h"

namespace triptych {

std::string ledger_lines(std::int64_t first_position, const at::Tensor& global_sample_ids,
                         const SampleSchedule& schedule, const std::vector<CorpusConfig>& corpora) {
  using Json = nlohmann::ordered_json;
  std::string lines;
  const auto* ids = global_sample_ids.const_data_ptr<std::int64_t>();
  for (std::int64_t row = 0; row < global_sample_ids.numel(); ++row) {
    const auto due = schedule.at(first_position + row);
    const Json line = {{"epoch", due.epoch},
                       {"position", first_position + row},
                       {"corpus", corpora[static_cast<std::size_t>(corpus_of(ids[row]))].name},
                       {"record", record_of(ids[row])},
                       {"replacement", ids[row] != sample_id_of(due.corpus, due.record)}};
    lines += line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  }
  return lines;
}

}  // namespace triptych
