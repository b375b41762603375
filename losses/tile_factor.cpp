// at::mm for full precision and on GPUs. For bfloat16 on processors LibTorch's small blocks, which sum in fp32 and are
// twice as quick as MKL's product of the same types; at::mm would round the sums.
#include "losses/tile_factor.h"

#include <ATen/ATen.h>
#include <ATen/OpMathType.h>
#include <ATen/Parallel.h>
#include <ATen/native/CPUBlas.h>

#include <algorithm>

namespace triptych {
namespace {

namespace blas = at::native::cpublas;

constexpr std::int64_t kColumns = 64;   // of a packed block: the most that packing takes
constexpr std::int64_t kLeftRows = 32;  // of a product

bool is_packed(const at::Tensor& rows) {
  return rows.is_cpu() && rows.scalar_type() == at::kBFloat16;
}

/// Zeros behind an odd number of columns: bfloat16 is multiplied in pairs.
at::Tensor with_even_columns(const at::Tensor& t) {
  return t.size(1) % 2 == 0 ? t : at::constant_pad_nd(t, {0, 1});
}

/// `factor` [k, n] in blocks of kColumns columns, each [k, kColumns] with pairs of rows interleaved; k is made even.
at::Tensor pack(const at::Tensor& factor) {
  const std::int64_t k = factor.size(0) + factor.size(0) % 2, n = factor.size(1);
  const std::int64_t blocks = (n + kColumns - 1) / kColumns;
  at::Tensor packed = at::empty({blocks, k, kColumns}, factor.options());
  at::Tensor plain = at::zeros({k, kColumns}, factor.options());
  for (std::int64_t block = 0; block < blocks; ++block) {
    const std::int64_t first = block * kColumns, columns = std::min(kColumns, n - first);
    if (columns < kColumns) plain.zero_();
    plain.narrow(0, 0, factor.size(0)).narrow(1, 0, columns).copy_(factor.narrow(1, first, columns));
    blas::pack(k, kColumns, kColumns, kColumns, at::kBFloat16, at::kBFloat16, plain.const_data_ptr(),
               packed[block].data_ptr());
  }
  return packed;
}

/// out = left factor, or out += left factor.
void multiply_packed(const at::Tensor& left, const at::Tensor& packed, at::Tensor& out, bool add) {
  const at::Tensor rows = with_even_columns(left.contiguous());
  const std::int64_t k = packed.size(1), n = out.size(1), left_stride = rows.stride(0), out_stride = out.stride(0);
  const auto *a = rows.const_data_ptr<c10::BFloat16>(), *b = packed.const_data_ptr<c10::BFloat16>();
  auto* sums = out.data_ptr<float>();
  at::parallel_for(0, (out.size(0) + kLeftRows - 1) / kLeftRows, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t column = 0; column < n; column += kColumns) {
      for (std::int64_t row = begin * kLeftRows; row < std::min(end * kLeftRows, out.size(0)); row += kLeftRows) {
        blas::brgemm(std::min(kLeftRows, out.size(0) - row), std::min(kColumns, n - column), k, left_stride, kColumns,
                     out_stride, add, a + row * left_stride, b + column * k, sums + row * out_stride + column);
      }
    }
    blas::brgemm_release();
  });
}

}  // namespace

at::Tensor rows_for_products(const at::Tensor& rows_nd, ProductType type) {
  return rows_nd.detach().to(type.value_or(rows_nd.scalar_type())).contiguous();
}

at::Tensor multipliable(const at::Tensor& rows_nd) {
  const bool cannot = rows_nd.is_cpu() && rows_nd.scalar_type() == at::kBFloat16 && !blas::could_pack(at::kBFloat16);
  return cannot ? rows_nd.to(at::kFloat) : rows_nd;
}

TransposedFactor::TransposedFactor(at::Tensor rows_nd) : rows_nd_(std::move(rows_nd)) {
  if (is_packed(rows_nd_)) packed_ = pack(rows_nd_.t());
}

void TransposedFactor::multiply(const at::Tensor& left_md, at::Tensor& out) const {
  if (packed_.defined()) return multiply_packed(left_md, packed_, out, false);
  left_md.scalar_type() == out.scalar_type() ? at::mm_out(out, left_md, rows_nd_.t())
                                             : at::mm_out(out, left_md, rows_nd_.t(), out.scalar_type());
}

RowsFactor::RowsFactor(at::Tensor rows_nd) : rows_nd_(std::move(rows_nd)) {
  if (is_packed(rows_nd_)) packed_ = pack(rows_nd_);
}

void RowsFactor::multiply_add(const at::Tensor& left, at::Tensor& out) const {
  if (packed_.defined()) return multiply_packed(left, packed_, out, true);
  left.scalar_type() == out.scalar_type() ? out.addmm_(left, rows_nd_)
                                          : at::addmm_out(out, out, left, rows_nd_, out.scalar_type());
}

}  // namespace triptych
