// Texts to embeddings, in pieces whose sizes do not depend on the number of ranks.
#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "core/eval/evaluator.h"
#include "data/text/tokenizer.h"

namespace triptych {

/// int64 [texts, context], on the CPU.
at::Tensor token_rows(const std::vector<std::string>& texts, const Tokenizer& tokenizer, const EvalScope& scope);

/// [texts, d], unit rows: the text tower of token rows in order, scope.batch at a time. Local: no collective.
at::Tensor encode_tokens(const at::Tensor& tokens, const Encoders& encoders, const EvalScope& scope);

/// The same from texts.
at::Tensor encode_texts(const std::vector<std::string>& texts, const Tokenizer& tokenizer, const Encoders& encoders,
                        const EvalScope& scope);

/// [classes, d], unit rows. Of a class, each name's prompts are embedded, averaged and renormalised; then the vectors
/// of its names are averaged and renormalised, so that every name has the same say. (Per-name ensembling: Radford et
/// al. 2021, arXiv:2103.00020, section 3.1.4.) `templates` hold "{}" where the name goes. Collective: classes are dealt
/// to ranks.
at::Tensor encode_classes(const std::vector<std::vector<std::string>>& names, const std::vector<std::string>& templates,
                          const Encoders& encoders, EvalScope& scope);

}  // namespace triptych
