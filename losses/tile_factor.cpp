// On processors LibTorch's small blocks, whose right-hand factor is copied once and not for every product: in fp32 a fifth
// quicker than at::mm on tiles of this size; in bfloat16 with fp32 sums (at::mm would round them) twice as quick as MKL's
// product of the same types. at::mm for fp64, on GPUs and on processors without AVX-512, where nothing was measured.
#include "losses/tile_factor.h"

#include <ATen/ATen.h>
#include <ATen/OpMathType.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <ATen/native/CPUBlas.h>

#include <algorithm>
#include <cstdint>

namespace triptych {
namespace {

namespace blas = at::native::cpublas;

constexpr std::int64_t kColumns = 64;  // of a packed block: the most that packing takes

/// What is multiplied at once: rows of the left factor, and how many terms are summed before they are added to the rest.
/// Long sums in fp32 lose digits, and bfloat16 has none to lose.
struct BlockSize {
  std::int64_t rows, depth;
};
template <class Type>
constexpr BlockSize kBlock = {64, 512};
template <>
constexpr BlockSize kBlock<c10::BFloat16> = {32, INT64_MAX};

bool is_packed(const at::Tensor& rows) {
  static const bool quick_floats = at::get_cpu_capability() == "AVX512";
  return rows.is_cpu() && (rows.scalar_type() == at::kBFloat16 || (rows.scalar_type() == at::kFloat && quick_floats));
}

/// Zeros behind an odd number of columns: bfloat16 is multiplied in pairs.
at::Tensor with_even_columns(const at::Tensor& t) {
  return t.scalar_type() != at::kBFloat16 || t.size(1) % 2 == 0 ? t : at::constant_pad_nd(t, {0, 1});
}

/// `factor` [k, n] in blocks of kColumns columns, each [k, kColumns] without gaps. In bfloat16 k is made even and pairs
/// of rows are interleaved.
at::Tensor pack(const at::Tensor& factor) {
  const bool in_pairs = factor.scalar_type() == at::kBFloat16;
  const std::int64_t k = factor.size(0) + (in_pairs ? factor.size(0) % 2 : 0), n = factor.size(1);
  const std::int64_t blocks = (n + kColumns - 1) / kColumns;
  at::Tensor packed = at::zeros({blocks, k, kColumns}, factor.options());
  for (std::int64_t block = 0; block < blocks; ++block) {
    const std::int64_t first = block * kColumns, columns = std::min(kColumns, n - first);
    const at::Tensor target = packed[block];
    target.narrow(0, 0, factor.size(0)).narrow(1, 0, columns).copy_(factor.narrow(1, first, columns));
    if (!in_pairs) continue;
    const at::Tensor plain = target.clone();
    blas::pack(k, kColumns, kColumns, kColumns, at::kBFloat16, at::kBFloat16, plain.const_data_ptr(),
               target.data_ptr());
  }
  return packed;
}

/// out = left factor, or out += left factor.
template <class Type>
void multiply_blocks(const at::Tensor& left, const at::Tensor& packed, at::Tensor& out, bool add) {
  constexpr BlockSize kStep = kBlock<Type>;
  const std::int64_t m = out.size(0), n = out.size(1), k = packed.size(1);
  const std::int64_t left_stride = left.stride(0), out_stride = out.stride(0);
  const auto *a = left.const_data_ptr<Type>(), *b = packed.const_data_ptr<Type>();
  auto* sums = out.data_ptr<float>();
  at::parallel_for(0, (m + kStep.rows - 1) / kStep.rows, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t column = 0; column < n; column += kColumns) {
      for (std::int64_t row = begin * kStep.rows; row < std::min(end * kStep.rows, m); row += kStep.rows) {
        for (std::int64_t term = 0; term < k; term += std::min(kStep.depth, k - term)) {
          blas::brgemm(std::min(kStep.rows, m - row), std::min(kColumns, n - column), std::min(kStep.depth, k - term),
                       left_stride, kColumns, out_stride, add || term > 0, a + row * left_stride + term,
                       b + column * k + term * kColumns, sums + row * out_stride + column);
        }
      }
    }
    blas::brgemm_release();
  });
}

void multiply_packed(const at::Tensor& left, const at::Tensor& packed, at::Tensor& out, bool add) {
  const at::Tensor rows = with_even_columns(left.contiguous());
  if (rows.scalar_type() == at::kFloat) return multiply_blocks<float>(rows, packed, out, add);
  multiply_blocks<c10::BFloat16>(rows, packed, out, add);
}

}  // namespace

at::Tensor rows_for_products(const at::Tensor& rows_nd, ProductType type) {
  return rows_nd.detach().to(type.value_or(rows_nd.scalar_type())).contiguous();
}

at::Tensor multipliable(const at::Tensor& rows_nd) {
  const bool cannot =
      rows_nd.is_cpu() && rows_nd.scalar_type() == at::kBFloat16 && !blas::could_pack(at::kBFloat16);
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
