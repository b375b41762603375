// How much work operators are: counts matrix products and convolutions by their shapes.
#pragma once

namespace triptych {

/// Adds up the floating point operations of the products, convolutions and fused attentions that this thread calls
/// while it lives, backward included; a multiply-add counts twice. For shapes alone: real steps are not slowed by it,
/// for it acts on what is called while it lives only. One at a time per thread.
class FlopsCounter {
 public:
  FlopsCounter();
  ~FlopsCounter();
  FlopsCounter(const FlopsCounter&) = delete;
  FlopsCounter& operator=(const FlopsCounter&) = delete;
  double total() const { return total_; }

 private:
  friend struct CountedCalls;
  double total_ = 0;
};

}  // namespace triptych
