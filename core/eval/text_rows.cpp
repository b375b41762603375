// Tokenise, forward, average.
#include "core/eval/text_rows.h"

#include <ATen/ATen.h>

#include <span>

#include "core/eval/gather_rows.h"
#include "core/eval/held_out.h"
#include "data/text/prompts.h"

namespace triptych {
namespace {

at::Tensor unit_rows(const at::Tensor& rows) {
  return rows / rows.norm(2, {-1}, /*keepdim=*/true).clamp_min(1e-12);
}

}  // namespace

at::Tensor token_rows(const std::vector<std::string>& texts, const Tokenizer& tokenizer, const EvalScope& scope) {
  const auto count = static_cast<std::int64_t>(texts.size()), context = scope.text.context;
  auto tokens = at::empty({count, context}, at::kLong);
  for (std::int64_t row = 0; row < count; ++row) {
    auto* ids = tokens.mutable_data_ptr<std::int64_t>() + row * context;
    tokenizer.encode_row(texts[static_cast<std::size_t>(row)], {ids, static_cast<std::size_t>(context)});
  }
  return tokens;
}

at::Tensor encode_tokens(const at::Tensor& tokens, const Encoders& encoders, const EvalScope& scope) {
  std::vector<at::Tensor> embeddings;
  for (std::int64_t first = 0; first < tokens.size(0); first += scope.batch) {
    const auto piece = tokens.slice(0, first, first + scope.batch).to(scope.device);
    embeddings.push_back(as_float(encoders.text(piece)));
  }
  return at::cat(embeddings);
}

at::Tensor encode_texts(const std::vector<std::string>& texts, const Tokenizer& tokenizer, const Encoders& encoders,
                        const EvalScope& scope) {
  return encode_tokens(token_rows(texts, tokenizer, scope), encoders, scope);
}

at::Tensor encode_classes(const std::vector<std::vector<std::string>>& names, const std::vector<std::string>& templates,
                          const Encoders& encoders, EvalScope& scope) {
  const auto tokenizer = make_tokenizer(scope.text.tokenizer, scope.text.clean);
  const auto mine = rank_blocks(static_cast<std::int64_t>(names.size()), 1, scope.comm.rank(), scope.comm.size());
  std::vector<at::Tensor> classes;
  for (std::int64_t index = mine.first; index < mine.last; ++index) {
    std::vector<at::Tensor> name_vectors;
    for (const auto& name : names[static_cast<std::size_t>(index)]) {
      std::vector<std::string> texts;
      for (const auto& prompt : templates) texts.push_back(fill_prompt(prompt, clean_class_name(name)));
      name_vectors.push_back(unit_rows(unit_rows(encode_texts(texts, *tokenizer, encoders, scope)).mean(0)));
    }
    classes.push_back(unit_rows(at::stack(name_vectors).mean(0, /*keepdim=*/true)));
  }
  return gather_rows(classes, scope.device, scope.comm);
}

}  // namespace triptych
