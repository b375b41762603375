// One function an operator: outputs of the sizes, types and memory formats that the CPU's kernel gives.
#include "core/module/meta_kernels.h"

#include <ATen/ATen.h>
#include <ATen/ExpandUtils.h>
#include <torch/library.h>

#include <array>
#include <optional>
#include <tuple>

#include "core/module/convolution_size.h"

namespace triptych {
namespace {

using OptionalTensor = std::optional<at::Tensor>;
using Pair = std::tuple<at::Tensor, at::Tensor>;
using Triple = std::tuple<at::Tensor, at::Tensor, at::Tensor>;

/// Statistics are held in fp32 where values are narrower.
at::TensorOptions statistics_of(const at::Tensor& x) {
  return x.options().dtype(x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat);
}

at::Tensor like(const OptionalTensor& tensor, bool wanted = true) {
  return wanted && tensor && tensor->defined() ? at::empty_like(*tensor) : at::Tensor();
}

Triple layer_norm(const at::Tensor& x, at::IntArrayRef normalised, const OptionalTensor&, const OptionalTensor&,
                  double) {
  auto rows = x.sizes().vec();
  for (std::size_t i = rows.size() - normalised.size(); i < rows.size(); ++i) rows[i] = 1;
  return {at::empty_like(x, at::MemoryFormat::Contiguous), at::empty(rows, statistics_of(x)),
          at::empty(rows, statistics_of(x))};
}

Triple layer_norm_backward(const at::Tensor&, const at::Tensor& x, at::IntArrayRef, const at::Tensor&,
                           const at::Tensor&, const OptionalTensor& weight, const OptionalTensor& bias,
                           std::array<bool, 3> wanted) {
  return {like(x, wanted[0]), like(weight, wanted[1]), like(bias, wanted[2])};
}

Triple batch_norm(const at::Tensor& x, const OptionalTensor&, const OptionalTensor&, const OptionalTensor&,
                  const OptionalTensor&, bool training, double, double) {
  const std::int64_t channels = training ? x.size(1) : 0;
  return {at::empty_like(x), at::empty({channels}, statistics_of(x)), at::empty({channels}, statistics_of(x))};
}

Triple batch_norm_backward(const at::Tensor&, const at::Tensor& x, const OptionalTensor& weight, const OptionalTensor&,
                           const OptionalTensor&, const OptionalTensor&, const OptionalTensor&, bool, double,
                           std::array<bool, 3> wanted) {
  return {like(x, wanted[0]), like(weight, wanted[1]), like(weight, wanted[2])};
}

at::Tensor convolution(const at::Tensor& x, const at::Tensor& weight, const OptionalTensor&, at::IntArrayRef stride,
                       at::IntArrayRef padding, at::IntArrayRef dilation, bool transposed, at::IntArrayRef,
                       std::int64_t) {
  TORCH_CHECK(!transposed && x.dim() == 4, "shapes of plain convolutions of pictures only");
  std::vector<std::int64_t> sizes = {x.size(0), weight.size(0)};
  for (const std::size_t dim : {0, 1}) sizes.push_back(convolution_size(x, weight, stride, padding, dilation, dim));
  return at::empty(sizes, x.options().memory_format(x.suggest_memory_format()));
}

Triple convolution_backward(const at::Tensor& gradient, const at::Tensor& x, const at::Tensor& weight,
                            at::OptionalIntArrayRef bias_sizes, at::IntArrayRef, at::IntArrayRef, at::IntArrayRef, bool,
                            at::IntArrayRef, std::int64_t, std::array<bool, 3> wanted) {
  return {like(x, wanted[0]), like(weight, wanted[1]),
          wanted[2] ? at::empty(*bias_sizes, gradient.options()) : at::Tensor()};
}

at::Tensor index_select(const at::Tensor& x, std::int64_t dim, const at::Tensor& index) {
  auto sizes = x.sizes().vec();
  sizes[static_cast<std::size_t>(dim < 0 ? dim + x.dim() : dim)] = index.numel();
  return at::empty(sizes, x.options());
}

at::Tensor embedding_dense_backward(const at::Tensor& gradient, const at::Tensor&, std::int64_t rows, std::int64_t,
                                    bool) {
  return at::empty({rows, gradient.size(-1)}, gradient.options());
}

at::Tensor roll(const at::Tensor& x, at::IntArrayRef, at::IntArrayRef) {
  return at::empty_like(x, at::MemoryFormat::Contiguous);
}

Pair var_mean(const at::Tensor& x, at::OptionalIntArrayRef dims, const std::optional<at::Scalar>&, bool keep) {
  const at::Tensor mean = x.mean(dims, keep);
  return {at::empty_like(mean), mean};
}

at::Tensor relu(const at::Tensor& x) {
  return at::empty_like(x);
}

at::Tensor where(const at::Tensor& condition, const at::Tensor& x, const at::Tensor& y) {
  const auto sizes = at::infer_size(at::infer_size(condition.sizes(), x.sizes()), y.sizes());
  return at::empty(sizes, x.options().dtype(at::result_type(x, y)));
}

at::Tensor& where_out(const at::Tensor& condition, const at::Tensor& x, const at::Tensor& y, at::Tensor& out) {
  out.resize_(at::infer_size(at::infer_size(condition.sizes(), x.sizes()), y.sizes()));
  return out;
}

at::Tensor& bernoulli_(at::Tensor& x, double, std::optional<at::Generator>) {
  return x;
}

/// Fused attention keeps its inputs, its output and one number a row.
Pair fused_attention(const at::Tensor& query, const at::Tensor&, const at::Tensor& value, double, bool,
                     const OptionalTensor&, std::optional<double>) {
  const auto n = query.size(0), heads = query.size(1), rows = query.size(2);
  const at::Tensor out = at::empty({n, rows, heads, value.size(3)}, query.options()).transpose(1, 2);
  return {out, at::empty({n, rows, heads}, statistics_of(query)).transpose(1, 2)};
}

Triple fused_attention_backward(const at::Tensor&, const at::Tensor& query, const at::Tensor& key,
                                const at::Tensor& value, const at::Tensor&, const at::Tensor&, double, bool,
                                const OptionalTensor&, std::optional<double>) {
  const auto dense = [](const at::Tensor& t) {
    return at::empty({t.size(0), t.size(2), t.size(1), t.size(3)}, t.options()).transpose(1, 2);
  };
  return {dense(query), dense(key), dense(value)};
}

torch::Library registered() {
  torch::Library library(torch::Library::IMPL, "aten", c10::DispatchKey::Meta, __FILE__, __LINE__);
  library.impl("native_layer_norm", &layer_norm);
  library.impl("native_layer_norm_backward", &layer_norm_backward);
  library.impl("native_batch_norm", &batch_norm);
  library.impl("native_batch_norm_backward", &batch_norm_backward);
  library.impl("convolution", &convolution);
  library.impl("convolution_backward", &convolution_backward);
  library.impl("index_select", &index_select);
  library.impl("embedding_dense_backward", &embedding_dense_backward);
  library.impl("roll", &roll);
  library.impl("var_mean.correction", &var_mean);
  library.impl("relu", &relu);
  library.impl("where.self", &where);
  library.impl("where.self_out", &where_out);
  library.impl("bernoulli_.float", &bernoulli_);
  library.impl("_scaled_dot_product_flash_attention_for_cpu", &fused_attention);
  library.impl("_scaled_dot_product_flash_attention_for_cpu_backward", &fused_attention_backward);
  return library;
}

}  // namespace

void register_meta_kernels() {
  static const torch::Library library = registered();
}

}  // namespace triptych
