// A record that cannot be used, with its place and the reason apart: what skipped.jsonl holds.
#pragma once
#include <string>

#include "core/base/errors.h"
#include "data/corpus.h"

namespace triptych {

class RecordError : public DataError {
 public:
  RecordError(RecordPlace place, const std::string& reason);
  const RecordPlace& place() const { return place_; }
  const std::string& reason() const { return reason_; }

 private:
  RecordPlace place_;
  std::string reason_;
};

}  // namespace triptych
