// "train-003.tar, key 'cats/0017', offset 4096: the caption is empty".
#include "data/formats/record_error.h"

#include <utility>

#include "data/formats/printable.h"

namespace triptych {

RecordError::RecordError(RecordPlace place, const std::string& reason)
    : DataError(printable(place.shard) + ", key '" + printable(place.key) + "', offset " +
                std::to_string(place.offset) + ": " + reason),
      place_(std::move(place)),
      reason_(reason) {}

}  // namespace triptych
