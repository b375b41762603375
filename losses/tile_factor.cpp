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

constexpr std::int64_t kColumns = TransposedFactor::kBlock;  // of a packed block: the most that packing takes
constexpr std::int64_t kLeftRows = 32;                       // of a product

bool is_packed(const at::Tensor& rows) {
  return rows.is_cpu() && rows.scalar_type() == at::kBFloat16;
}

std::int64_t even(std::int64_t count) {
  return count + count % 2;  // bfloat16 is multiplied in pairs
}

/// Zeros behind an odd number of columns.
at::Tensor with_even_columns(const at::Tensor& t) {
  return t.size(1) % 2 == 0 ? t : at::constant_pad_nd(t, {0, 1});
}

const c10::BFloat16* data_of(const at::Tensor& t) {
  return t.const_data_ptr<c10::BFloat16>();
}

/// `factor` [k, n] in blocks of kColumns columns, each [even(k), kColumns] with pairs of rows interleaved.
at::Tensor pack(const at::Tensor& factor) {
  const std::int64_t k = even(factor.size(0)), n = factor.size(1), blocks = (n + kColumns - 1) / kColumns;
  at::Tensor packed = at::empty({blocks, k, kColumns}, factor.options());
  for (std::int64_t block = 0; block < blocks; ++block) {
    const std::int64_t first = block * kColumns;
    const at::Tensor columns = factor.narrow(1, first, std::min(kColumns, n - first));
    const at::Tensor padded =
        at::constant_pad_nd(columns, {0, kColumns - columns.size(1), 0, k - columns.size(0)}).contiguous();
    blas::pack(k, kColumns, kColumns, kColumns, at::kBFloat16, at::kBFloat16, padded.const_data_ptr(),
               packed[block].data_ptr());
  }
  return packed;
}

/// out = left factor, or out += left factor, with the packed blocks from `first_block` on.
void multiply_packed(const at::Tensor& left, const at::Tensor& packed, std::int64_t first_block, at::Tensor& out,
                     bool add) {
  const std::int64_t k = packed.size(1), n = out.size(1), left_stride = left.stride(0), out_stride = out.stride(0);
  const auto *a = data_of(left), *b = data_of(packed) + first_block * k * kColumns;
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
  return is_packed(rows_nd) && !blas::could_pack(at::kBFloat16) ? rows_nd.to(at::kFloat) : rows_nd;
}

TransposedFactor::TransposedFactor(at::Tensor rows_nd) : rows_nd_(std::move(rows_nd)) {
  if (is_packed(rows_nd_)) packed_ = pack(rows_nd_.t());
}

void TransposedFactor::multiply(const at::Tensor& left_md, std::int64_t first, at::Tensor& out) const {
  TORCH_CHECK(first % kBlock == 0, "rows from ", first, " on do not begin a block");
  if (packed_.defined()) return multiply_packed(with_even_columns(left_md), packed_, first / kBlock, out, false);
  const at::Tensor rows = rows_nd_.narrow(0, first, out.size(1)).t();
  left_md.scalar_type() == out.scalar_type() ? at::mm_out(out, left_md, rows)
                                             : at::mm_out(out, left_md, rows, out.scalar_type());
}

RowsFactor::RowsFactor(at::Tensor rows_nd, std::int64_t step) : rows_nd_(std::move(rows_nd)), step_(step) {
  if (!is_packed(rows_nd_)) return;
  for (std::int64_t first = 0; first < rows_nd_.size(0); first += step) {
    packed_.push_back(pack(rows_nd_.narrow(0, first, std::min(step, rows_nd_.size(0) - first))));
  }
}

void RowsFactor::multiply_add(const at::Tensor& left, std::int64_t first, at::Tensor& out) const {
  TORCH_CHECK(first % step_ == 0, "rows from ", first, " on do not begin a step of ", step_);
  if (!packed_.empty()) {
    const auto& packed = packed_[static_cast<std::size_t>(first / step_)];
    return multiply_packed(with_even_columns(left), packed, 0, out, true);
  }
  const at::Tensor rows = rows_nd_.narrow(0, first, left.size(1));
  left.scalar_type() == out.scalar_type() ? out.addmm_(left, rows)
                                          : at::addmm_out(out, out, left, rows, out.scalar_type());
}

}  // namespace triptych
