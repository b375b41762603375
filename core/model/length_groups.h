// Texts of one batch differ in length: rows ordered by it go through a tower in groups, each cut to its longest.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

namespace triptych {

class LengthGroups {
 public:
  /// lengths_n: tokens of each row that matter, int64 [n]. group: rows of a group; 0: 32 on processors (enough for full
  /// speed of matrix products, few enough that a long text costs its group only), all rows on GPUs.
  LengthGroups(const at::Tensor& lengths_n, std::int64_t group);

  std::int64_t longest() const { return lengths_.back(); }
  /// Rows from short to long: [n, ...] -> [n, ...].
  at::Tensor ordered(const at::Tensor& rows) const { return rows.index_select(0, order_n_); }
  /// run(part, begin) for each group of ordered rows x_nld, [n, tokens, width], cut to what it needs: part
  /// [rows, length, width] -> [rows, ...]. The results in the rows' own order.
  at::Tensor each(const at::Tensor& x_nld,
                  const std::function<at::Tensor(const at::Tensor& part, std::int64_t begin)>& run) const;

 private:
  at::Tensor order_n_;
  std::vector<std::int64_t> lengths_;  ///< ascending
  std::int64_t group_;
};

}  // namespace triptych
