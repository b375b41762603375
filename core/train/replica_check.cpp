// One hash an item; one number for all of them where all is well.
#include "core/train/replica_check.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <bit>
#include <map>
#include <vector>

#include "core/base/background.h"
#include "core/base/hash.h"
#include "core/base/strings.h"
#include "core/module/tensor_hash.h"

namespace triptych {
namespace {

/// Ranks by what they hold.
using Groups = std::map<std::int64_t, std::vector<std::int64_t>>;

Groups groups_of(const at::Tensor& column) {
  Groups groups;
  for (std::int64_t rank = 0; rank < column.numel(); ++rank) groups[column[rank].item<std::int64_t>()].push_back(rank);
  return groups;
}

/// "rank 1 on node2 has 00..0f, 3 others have 00..12"; every rank where more than half agree on nothing.
std::string who_differs(const Groups& groups, std::size_t ranks, const std::vector<std::string>& hosts) {
  std::vector<std::string> parts;
  std::string others;
  for (const auto& [hash, members] : groups) {
    const auto bits = hash_text(static_cast<std::uint64_t>(hash));
    if (2 * members.size() > ranks) {
      others = std::to_string(members.size()) + " others have " + bits;
      continue;
    }
    for (const auto rank : members) {
      parts.push_back("rank " + std::to_string(rank) + " on " + hosts[static_cast<std::size_t>(rank)] + " has " + bits);
    }
  }
  if (!others.empty()) parts.push_back(others);
  return join(parts, ", ");
}

/// The only rank without the majority's bits; -1 where more differ, or nobody knows who does.
int culprit_of(const Groups& groups, std::size_t ranks) {
  int culprit = -1;
  for (const auto& [hash, members] : groups) {
    if (2 * members.size() > ranks) continue;
    if (culprit >= 0 || members.size() > 1) return -1;
    culprit = static_cast<int>(members.front());
  }
  return culprit;
}

bool has_majority(const Groups& groups, std::size_t ranks) {
  return std::any_of(groups.begin(), groups.end(), [&](const auto& group) { return 2 * group.second.size() > ranks; });
}

/// What to make of it where no majority says who is right.
std::string doubt(const Groups& groups, std::size_t ranks) {
  if (has_majority(groups, ranks)) return "";
  return ranks == 2 ? " (two ranks cannot tell which of them is wrong)"
                    : " (no majority tells which of them are wrong)";
}

}  // namespace

/// The items of a state with their hashes, in the order of the visit.
class ReplicaCheck::ItemHashes : public StateVisitor {
 public:
  void tensor(const std::string& name, at::Tensor& tensor) override {
    (stays_until_change(tensor) ? staying_ : changing_).push_back({names_.size(), tensor.detach()});
    add(name, 0);
  }
  void integer(const std::string& name, std::int64_t& value) override {
    add(name, std::bit_cast<std::uint64_t>(value));
  }
  void real(const std::string& name, double& value) override { add(name, std::bit_cast<std::uint64_t>(value)); }
  void text(const std::string& name, std::string& value) override { add(name, xxh64(value)); }

  /// Of the tensors that may change any time, as many at a time as this rank has threads.
  void hash_what_changes() {
    at::parallel_for(0, static_cast<std::int64_t>(changing_.size()), 1, [&](std::int64_t begin, std::int64_t end) {
      for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) hash(changing_[i]);
    });
    changing_.clear();
  }
  /// Of the tensors that stay, by the calling thread alone: ATen's belong to the step that runs meanwhile.
  void hash_what_stays() {
    for (const auto& item : staying_) hash(item);
    staying_.clear();
  }
  const std::vector<std::string>& names() const { return names_; }
  const std::vector<std::int64_t>& hashes() const { return hashes_; }

 private:
  struct Item {
    std::size_t index;
    at::Tensor tensor;
  };
  void hash(const Item& item) { hashes_[item.index] = static_cast<std::int64_t>(tensor_hash(item.tensor)); }
  void add(const std::string& name, std::uint64_t hash) {
    names_.push_back(name);
    hashes_.push_back(static_cast<std::int64_t>(hash));
  }
  std::vector<std::string> names_;
  std::vector<std::int64_t> hashes_;
  std::vector<Item> changing_, staying_;
};

void ReplicaCheck::throw_difference(const ItemHashes& mine) {
  const auto hosts = comm_.all_gather_text(host_);
  const auto count = static_cast<std::int64_t>(mine.hashes().size());
  const auto by_rank = comm_.all_gather(at::tensor(mine.hashes(), at::kLong)).view({comm_.size(), count});
  const auto differs = (by_rank != by_rank[0]).any(0);
  const auto items = differs.sum().item<std::int64_t>(), first = differs.to(at::kLong).argmax().item<std::int64_t>();
  const auto ranks = static_cast<std::size_t>(comm_.size());
  const auto groups = groups_of(by_rank.select(1, first));
  throw ReplicaError("step " + std::to_string(step_) + ": the ranks no longer hold the same state. " +
                         mine.names()[static_cast<std::size_t>(first)] + ": " + who_differs(groups, ranks, hosts) +
                         doubt(groups, ranks) +
                         (items > 1 ? "; " + std::to_string(items - 1) + " more items differ" : "") +
                         ". Memory, processor or network of such a rank changed bits; nothing of this state was saved. "
                         "The same command "
                         "goes on from the last checkpoint; if this comes again, leave that host out",
                     culprit_of(groups, ranks));
}

ReplicaCheck::ReplicaCheck(Collectives& comm, std::string host) : comm_(comm), host_(std::move(host)) {}
ReplicaCheck::~ReplicaCheck() = default;

void ReplicaCheck::begin(const VisitState& visit, std::int64_t step) {
  if (comm_.size() == 1) return;
  if (hashed_.valid()) hashed_.wait();
  step_ = step;
  items_ = std::make_unique<ItemHashes>();
  visit(*items_);
  items_->hash_what_changes();
  hashed_ = std::async(std::launch::async, [items = items_.get()] {
    work_in_background();
    items->hash_what_stays();
  });
}

void ReplicaCheck::finish() {
  if (!hashed_.valid()) return;
  hashed_.get();
  const auto mine = std::move(items_);
  const auto all = xxh64(mine->hashes().data(), mine->hashes().size() * sizeof(std::int64_t));
  const auto by_rank = comm_.all_gather(at::full({1}, static_cast<std::int64_t>(all), at::kLong));
  if (!(by_rank == by_rank[0]).all().item<bool>()) throw_difference(*mine);
}

}  // namespace triptych
