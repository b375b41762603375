// Terms are found by name: there are few.
#include "core/objective/loss_sum.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace triptych {

void LossSum::add(const std::string& name, const at::Tensor& value, double weight, double share) {
  const at::Tensor part = value * (weight * share);
  total = total.defined() ? total + part : part;
  note(name, value.detach() * share);
}

void LossSum::note(const std::string& name, const at::Tensor& value) {
  const auto at = std::find_if(terms.begin(), terms.end(), [&](const LossTerm& term) { return term.name == name; });
  at == terms.end() ? terms.push_back({name, value}) : void(at->value = at->value + value);
}

}  // namespace triptych
