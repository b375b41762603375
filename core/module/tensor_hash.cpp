// Tensor hashes by xxh64.
#include "core/module/tensor_hash.h"

#include <ATen/ATen.h>

#include <bit>
#include <vector>

#include "core/base/hash.h"

namespace triptych {

std::uint64_t tensor_hash(const at::Tensor& tensor) {
  const at::Tensor bytes = tensor.detach().to(at::kCPU).contiguous();
  std::vector<std::int64_t> head{static_cast<std::int64_t>(bytes.scalar_type())};
  head.insert(head.end(), bytes.sizes().begin(), bytes.sizes().end());
  return Xxh64().add(head.data(), head.size() * sizeof(head[0])).add(bytes.const_data_ptr(), bytes.nbytes()).value();
}

void StateHash::fold(const std::string& name, std::uint64_t hash) {
  const std::uint64_t words[] = {value_, xxh64(name), hash};
  value_ = xxh64(words, sizeof(words));
}

void StateHash::tensor(const std::string& name, at::Tensor& tensor) {
  fold(name, tensor_hash(tensor));
}
void StateHash::integer(const std::string& name, std::int64_t& value) {
  fold(name, std::bit_cast<std::uint64_t>(value));
}
void StateHash::real(const std::string& name, double& value) {
  fold(name, std::bit_cast<std::uint64_t>(value));
}
void StateHash::text(const std::string& name, std::string& value) {
  fold(name, xxh64(value));
}

}  // namespace triptych
