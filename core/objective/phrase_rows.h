// A batch's noun phrases as means over word pieces.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace triptych {

struct PhraseRows {
  at::Tensor share_nPl;  ///< float32: a phrase's word pieces have equal shares of 1; no phrase: zeros
  at::Tensor count_n;    ///< int64, on the CPU: phrases of each row, the first ones of its share_nPl
};

/// phrases: Batch::phrases, of n rows whose texts have `tokens` tokens. Of each row's text 0 the first `most` phrases;
/// P is the most that a row has, at least 1. Nothing is copied to a device.
PhraseRows phrase_rows(const at::Tensor& phrases, std::int64_t n, std::int64_t tokens, std::int64_t most);

}  // namespace triptych
