// What every collective must give, as closed forms in rank and size: the same cases run on threads and over MPI.
#pragma once
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <string>

#include "distributed/collectives.h"

namespace triptych {

/// Element i of rank r's contribution: small whole numbers, exact in every dtype.
inline at::Tensor contribution(int rank, std::int64_t length, at::ScalarType dtype) {
  return (at::arange(length, at::kLong).remainder(8) + rank).to(dtype);
}

/// Sum over ranks of contribution().
inline at::Tensor sum_of_contributions(int size, std::int64_t length, at::ScalarType dtype) {
  return (at::arange(length, at::kLong).remainder(8) * size + size * (size - 1) / 2).to(dtype);
}

/// All tensor collectives on vectors of `length`. Every rank calls it.
inline void check_collectives(Collectives& comm, std::int64_t length, at::ScalarType dtype) {
  SCOPED_TRACE(std::string("length ") + std::to_string(length) + ", " + c10::toString(dtype) + ", rank " +
               std::to_string(comm.rank()) + " of " + std::to_string(comm.size()));
  const int n = comm.size(), r = comm.rank();

  auto sum = contribution(r, length, dtype);
  comm.all_reduce_sum(sum);
  EXPECT_TRUE(sum.equal(sum_of_contributions(n, length, dtype)));

  auto most = contribution(r, length, dtype);
  comm.all_reduce_max(most);
  EXPECT_TRUE(most.equal(contribution(n - 1, length, dtype)));

  for (const int root : {0, n - 1}) {
    auto sent = contribution(r, length, dtype);
    comm.broadcast(sent, root);
    EXPECT_TRUE(sent.equal(contribution(root, length, dtype)));
  }

  const auto gathered = comm.all_gather(contribution(r, length, dtype));
  ASSERT_EQ(gathered.sizes(), at::IntArrayRef({n * length}));
  for (int s = 0; s < n; ++s) {
    EXPECT_TRUE(gathered.narrow(0, s * length, length).equal(contribution(s, length, dtype)));
  }

  EXPECT_TRUE(comm.pass_on(contribution(r, length, dtype)).equal(contribution((r + n - 1) % n, length, dtype)));

  const auto part = comm.reduce_scatter_sum(contribution(r, n * length, dtype));
  ASSERT_EQ(part.sizes(), at::IntArrayRef({length}));
  EXPECT_TRUE(part.equal(sum_of_contributions(n, n * length, dtype).narrow(0, r * length, length)));
}

/// Shapes beyond vectors: matrices with gaps, transposed, without rows, scalars, bool.
inline void check_shapes(Collectives& comm) {
  const int n = comm.size(), r = comm.rank();
  const auto base = at::arange(15, at::kFloat).view({3, 5});

  auto transposed = (base + r).t();  // [5, 3], not contiguous
  comm.all_reduce_sum(transposed);
  EXPECT_TRUE(transposed.equal((base * n + n * (n - 1) / 2).t()));
  const auto rows = comm.all_gather((base + r).t());
  ASSERT_EQ(rows.sizes(), at::IntArrayRef({5 * n, 3}));
  for (int s = 0; s < n; ++s) EXPECT_TRUE(rows.narrow(0, 5 * s, 5).equal((base + s).t()));

  auto matrix = at::zeros({4, 4});
  auto column = matrix.select(1, 2);  // a view with gaps: the rest of the matrix stays as it is
  column.fill_(r + 1);
  comm.all_reduce_sum(column);
  EXPECT_TRUE(matrix.select(1, 2).equal(at::full({4}, n * (n + 1) / 2.0f)));
  EXPECT_EQ(matrix.sum().item<float>(), 4 * n * (n + 1) / 2.0f);

  auto travelling = (base + r).t();
  for (int s = 1; s <= n; ++s) {  // the whole ring: after n steps everybody has its own again
    travelling = comm.pass_on(travelling);
    EXPECT_TRUE(travelling.equal((base + (r + n * s - s) % n).t())) << s;
  }

  EXPECT_EQ(comm.pass_on(at::empty({0, 7})).sizes(), at::IntArrayRef({0, 7}));
  EXPECT_EQ(comm.all_gather(at::empty({0, 7})).sizes(), at::IntArrayRef({0, 7}));
  EXPECT_EQ(comm.reduce_scatter_sum(at::empty({0, 7})).sizes(), at::IntArrayRef({0, 7}));
  EXPECT_EQ(comm.all_gather(at::empty({2, 0})).sizes(), at::IntArrayRef({2 * n, 0}));

  auto scalar = at::full({}, r + 1.0);
  comm.all_reduce_sum(scalar);
  EXPECT_EQ(scalar.dim(), 0);
  EXPECT_EQ(scalar.item<double>(), n * (n + 1) / 2.0);
  EXPECT_TRUE(comm.all_gather(at::full({}, r, at::kLong)).equal(at::arange(n, at::kLong)));
  EXPECT_TRUE(comm.pass_on(at::full({}, r, at::kLong)).equal(at::full({}, (r + n - 1) % n, at::kLong)));

  auto flag = at::full({1}, r == n - 1, at::kBool);
  comm.all_reduce_max(flag);
  EXPECT_TRUE(flag.item<bool>());
  EXPECT_THROW(comm.all_reduce_sum(flag), c10::Error);
  EXPECT_EQ(comm.all_gather(at::full({2}, r == 0, at::kBool)).sum().item<std::int64_t>(), 2);
  EXPECT_EQ(comm.pass_on(at::full({1}, r == 0, at::kBool)).item<bool>(), r == 1 % n);
}

/// Decisions and texts of the host.
inline void check_host_calls(Collectives& comm) {
  const int n = comm.size(), r = comm.rank();
  EXPECT_EQ(comm.sum(0.5 * r), 0.25 * n * (n - 1));
  EXPECT_EQ(comm.sum(std::int64_t{1} << 53), n * (std::int64_t{1} << 53));
  EXPECT_EQ(comm.max(std::int64_t{-3} - r), -3);
  const std::vector<std::string> texts = {"", std::string("\0zero", 5), "longer than the others", "x"};
  const auto gathered = comm.all_gather_text(texts[r % 4]);
  ASSERT_EQ(gathered.size(), static_cast<std::size_t>(n));
  for (int s = 0; s < n; ++s) EXPECT_EQ(gathered[s], texts[s % 4]);
  EXPECT_EQ(comm.broadcast_text("from " + std::to_string(r), n - 1), "from " + std::to_string(n - 1));
  EXPECT_EQ(comm.broadcast_text(r == 0 ? "" : "not this", 0), "");
  comm.barrier();
}

}  // namespace triptych
