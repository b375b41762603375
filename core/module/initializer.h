// Initial values of parameters, keyed by (seed, full name of the parameter): they depend neither on the order of
// construction nor on which other parameters exist. Always drawn in fp32 on the CPU, so that every device starts from
// the same bits.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

namespace triptych {

class Initializer {
 public:
  explicit Initializer(std::uint64_t seed, std::string prefix = "") : seed_(seed), prefix_(std::move(prefix)) {}
  /// For a child: names below `name`.
  Initializer operator/(const std::string& name) const { return Initializer(seed_, full(name)); }

  at::Tensor normal(const std::string& name, at::IntArrayRef shape, double deviation) const;
  /// Normal, cut at `cut` deviations on both sides.
  at::Tensor truncated_normal(const std::string& name, at::IntArrayRef shape, double deviation, double cut = 2) const;
  /// Uniform in [-bound, bound).
  at::Tensor uniform(const std::string& name, at::IntArrayRef shape, double bound) const;
  /// Uniform with bound sqrt(6 / (fan_in + fan_out)) for a weight [fan_out, fan_in] (Glorot and Bengio, 2010).
  at::Tensor xavier_uniform(const std::string& name, at::IntArrayRef shape) const;

 private:
  std::string full(const std::string& name) const { return prefix_.empty() ? name : prefix_ + "." + name; }
  at::Generator generator(const std::string& name) const;

  std::uint64_t seed_;
  std::string prefix_;
};

}  // namespace triptych
