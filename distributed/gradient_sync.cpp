// Gradients are copied into flat buffers (buckets), divided by the number of ranks and summed over them. Both forms cut
// the same buckets and do the same arithmetic; they differ in who fills a bucket and when its reduction starts. The
// third form has no buckets: shard_tree.cpp.
#include "distributed/gradient_sync.h"

#include <ATen/ATen.h>

#include <sstream>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <torch/csrc/distributed/c10d/reducer.hpp>

#include "core/base/errors.h"
#include "distributed/collective_call.h"
#include "distributed/shard_tree.h"

namespace triptych {
namespace {

/// Every rank throws it at the same place.
struct MissingGradientError : Error {
  explicit MissingGradientError(const std::string& what) : Error(ExitCode::kUsage, what) {}
  bool agreed() const override { return true; }
};

/// c10d's reducer would lay its buckets out anew after the first backward of a process, in the order in which gradients
/// came. On 3 or more ranks that changes the order of summation: a resumed run would differ in the last bit.
struct FixedReducer : c10d::Reducer {
  template <class... Args>
  explicit FixedReducer(Args&&... args) : Reducer(std::forward<Args>(args)...) {
    has_rebuilt_bucket_ = true;
  }
};

/// One line per parameter, plus one for what decides the buckets.
std::string describe(SyncForm form, const std::vector<std::string>& names, const std::vector<at::Tensor>& parameters,
                     const GradientSyncOptions& options) {
  std::ostringstream text;
  if (form == SyncForm::kShardTree) {
    text << "tree of " << options.shards << " shards\n";
  } else {
    text << (form == SyncForm::kReducer ? "reducer" : "flat") << " buckets of " << options.first_bucket_bytes << " and "
         << options.bucket_bytes << " bytes\n";
  }
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const auto& p = parameters[i];
    text << names[i] << ' ' << p.sizes() << " strides " << p.strides() << ' ' << p.scalar_type() << '\n';
  }
  return text.str();
}

/// Throws on every rank when one rank's text differs from rank 0's.
void verify_equal(const std::string& mine, Collectives& comm) {
  const auto by_rank = comm.all_gather_text(mine);
  for (int r = 1; r < comm.size(); ++r) {
    std::istringstream expected(by_rank[0]), got(by_rank[r]);
    std::string left, right;
    do {
      left = right = "(nothing)";
      std::getline(expected, left);
      std::getline(got, right);
      if (left != right) {
        throw ConfigError("parameters differ between ranks: rank 0 has '" + left + "', rank " + std::to_string(r) +
                          " has '" + right + "'; start every rank with the same program and configuration");
      }
    } while (expected || got);
  }
}

/// Parameter indices, bucket by bucket: last registered first, because its gradient is ready first.
std::vector<std::vector<std::size_t>> assign_buckets(const std::vector<at::Tensor>& parameters,
                                                     const GradientSyncOptions& options) {
  const std::vector<at::Tensor> reversed(parameters.rbegin(), parameters.rend());
  std::vector<std::int64_t> indices;
  for (auto i = static_cast<std::int64_t>(parameters.size()); i-- > 0;) indices.push_back(i);
  return std::get<0>(c10d::compute_bucket_assignment_by_size(
      reversed, {static_cast<std::size_t>(options.first_bucket_bytes), static_cast<std::size_t>(options.bucket_bytes)},
      std::vector<bool>(parameters.size(), false), indices));
}

}  // namespace

struct GradientSync::Impl {
  const SyncForm form;
  const std::vector<std::string> names;
  const std::vector<at::Tensor> parameters;
  Collectives& comm;
  const std::vector<std::vector<std::size_t>> buckets;  // parameter indices, in the order of reduction
  std::unique_ptr<FixedReducer> reducer;                // reducer form
  std::vector<at::Tensor> buffers;                      // flat form: one per bucket
  std::unique_ptr<ShardTree> tree;                      // tree form
  std::vector<c10::intrusive_ptr<c10d::Work>> running;  // reductions of this step
  std::size_t started = 0;                              // buckets of this step
  std::vector<std::string> missing;                     // parameters of started buckets without a gradient

  Impl(SyncForm form, std::vector<std::string> names, std::vector<at::Tensor> parameters, Collectives& comm,
       const GradientSyncOptions& options);
  ~Impl();

  /// Starts the reduction of the next bucket. `buffer` must live until it is done.
  void start(at::Tensor buffer);
  void start_flat_buckets();
  void start_what_backward_left();
  void finish_tree();
  /// Collective: throws on every rank if any rank lacks a gradient.
  void refuse_missing();
};

namespace {

/// What the reducer calls when a bucket is full: starts its reduction and lets backward go on. The reducer itself would
/// wait at the end of backward, where a rank that lacks a gradient leaves the others waiting for ever; here only
/// finish() waits.
class StartHook final : public c10d::CommHookInterface {
 public:
  explicit StartHook(std::function<void(const at::Tensor&)> start) : start_(std::move(start)) {}

  c10::intrusive_ptr<c10::ivalue::Future> runHook(c10d::GradBucket& bucket) override {
    const at::Tensor& buffer = bucket.getBuffer();
    start_(buffer);
    std::vector<c10::Device> devices;
    if (!buffer.is_cpu()) devices.push_back(buffer.device());
    auto future = c10::make_intrusive<c10::ivalue::Future>(c10::TensorType::get(), devices);
    future->markCompleted(c10::IValue(buffer));
    return future;
  }
  at::Tensor parseHookResult(const c10::IValue& result) override { return result.toTensor(); }

 private:
  std::function<void(const at::Tensor&)> start_;
};

}  // namespace

GradientSync::Impl::Impl(SyncForm form_, std::vector<std::string> names_, std::vector<at::Tensor> parameters_,
                         Collectives& comm_, const GradientSyncOptions& options)
    : form(form_),
      names(std::move(names_)),
      parameters(std::move(parameters_)),
      comm(comm_),
      buckets(assign_buckets(parameters, options)) {
  if (form == SyncForm::kReducer) {
    std::unordered_map<std::size_t, std::string> name_of;
    for (std::size_t i = 0; i < names.size(); ++i) name_of[i] = names[i];
    reducer = std::make_unique<FixedReducer>(
        parameters, buckets, comm.group(), std::vector<bool>(parameters.size(), false), options.bucket_bytes,
        /*find_unused_parameters=*/false, /*gradient_as_bucket_view=*/true, std::move(name_of),
        options.first_bucket_bytes, /*skip_all_reduce_unused_params=*/false, /*use_python_reducer=*/false,
        /*bucket_bytes_cap_list=*/std::vector<std::int64_t>{});
    reducer->register_comm_hook(std::make_unique<StartHook>([this](const at::Tensor& buffer) { start(buffer); }));
  } else if (form == SyncForm::kShardTree) {
    tree = std::make_unique<ShardTree>(options.shards, parameters, comm);
  } else {
    for (const auto& bucket : buckets) {
      std::int64_t elements = 0;
      for (const auto i : bucket) elements += parameters[i].numel();
      buffers.push_back(at::empty({elements}, parameters[bucket[0]].options().requires_grad(false)));
    }
  }
}

GradientSync::Impl::~Impl() {
  if (reducer) reducer->remove_autograd_hooks();
}

void GradientSync::Impl::start(at::Tensor buffer) {
  const at::NoGradGuard no_grad;
  for (const auto i : buckets.at(started++)) {
    if (!parameters[i].grad().defined()) missing.push_back(names[i]);
  }
  if (comm.size() == 1) return;  // the mean over one rank
  with_peer_errors([&] {
    std::vector<at::Tensor> tensors{buffer.div_(comm.size())};
    running.push_back(comm.group()->allreduce(tensors));
  });
}

void GradientSync::Impl::start_flat_buckets() {
  const at::NoGradGuard no_grad;
  for (std::size_t b = 0; b < buckets.size(); ++b) {
    std::vector<std::pair<at::Tensor, at::Tensor>> grad_and_view;
    std::int64_t offset = 0;
    for (const auto i : buckets[b]) {
      const auto& p = parameters[i];
      auto view = buffers[b].as_strided(p.sizes(), p.strides(), offset);
      offset += p.numel();
      if (p.grad().defined()) {
        view.copy_(p.grad());
        grad_and_view.emplace_back(p, view);
      } else {
        view.zero_();
      }
    }
    for (auto& [p, view] : grad_and_view) p.mutable_grad() = view;
    start(buffers[b]);
  }
}

void GradientSync::Impl::start_what_backward_left() {
  if (started == buckets.size()) return;
  const auto left = reducer->get_grad_buckets(/*return_zero_tensors=*/false);
  while (started < buckets.size()) {
    const auto& buffer = left[started].getBuffer();
    for (const auto i : buckets[started]) {
      // A gradient that took part in the last backward lies in its bucket.
      const auto& grad = parameters[i].grad();
      if (grad.defined() && !grad.is_alias_of(buffer)) missing.push_back(names[i] + " (not in the last backward)");
    }
    start(buffer);
  }
}

void GradientSync::Impl::finish_tree() {
  for (const auto i : tree->missing()) missing.push_back(names[i]);
  refuse_missing();
  tree->finish();
}

void GradientSync::Impl::refuse_missing() {
  if (comm.max(static_cast<std::int64_t>(missing.size())) == 0) return;
  std::string mine;
  for (const auto& name : missing) mine += (mine.empty() ? "" : ", ") + name;
  const auto by_rank = comm.all_gather_text(mine);
  std::string text = "no gradient for";
  for (int r = 0; r < comm.size(); ++r) {
    if (!by_rank[r].empty()) text += " [rank " + std::to_string(r) + "] " + by_rank[r];
  }
  throw MissingGradientError(text +
                             "; every parameter that requires a gradient must take part in the loss on every rank" +
                             (form == SyncForm::kReducer ? ", and in the last backward of the step" : ""));
}

GradientSync::GradientSync(SyncForm form, std::vector<std::string> names, std::vector<at::Tensor> parameters,
                           Collectives& comm, GradientSyncOptions options) {
  TORCH_CHECK(names.size() == parameters.size(), "GradientSync: ", names.size(), " names for ", parameters.size(),
              " parameters");
  TORCH_CHECK((form == SyncForm::kShardTree) == (options.shards > 0), "GradientSync: ", options.shards,
              " shards; the tree form has some, the others none");
  TORCH_CHECK(!parameters.empty(), "GradientSync: no parameter requires a gradient");
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    TORCH_CHECK(
        parameters[i].requires_grad() && parameters[i].is_leaf() && parameters[i].is_non_overlapping_and_dense(),
        "GradientSync: '", names[i], "' must be a dense leaf that requires a gradient");
  }
  verify_equal(describe(form, names, parameters, options), comm);
  for (auto& parameter : parameters) comm.broadcast(parameter, 0);
  impl_ = std::make_unique<Impl>(form, std::move(names), std::move(parameters), comm, options);
}
GradientSync::~GradientSync() = default;

SyncForm GradientSync::form() const {
  return impl_->form;
}

void GradientSync::zero_grad() {
  for (const auto& parameter : impl_->parameters) parameter.mutable_grad().reset();
}

void GradientSync::before_forward() {
  impl_->started = 0;
  impl_->running.clear();
  impl_->missing.clear();
  if (impl_->reducer) impl_->reducer->prepare_for_forward();
  if (impl_->tree) impl_->tree->clear();
}

void GradientSync::before_last_backward(const std::vector<at::Tensor>& roots) {
  if (impl_->reducer) impl_->reducer->prepare_for_backward(roots);
}

void GradientSync::end_shard() {
  if (impl_->tree) impl_->tree->take_shard();
}

void GradientSync::end_common() {
  if (impl_->tree) impl_->tree->take_common();
}

void GradientSync::finish() {
  if (impl_->tree) return impl_->finish_tree();
  if (impl_->reducer) {
    impl_->start_what_backward_left();
  } else {
    impl_->start_flat_buckets();
  }
  impl_->refuse_missing();
  for (const auto& work : impl_->running) complete(*work);
}

}  // namespace triptych
