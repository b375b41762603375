// Embeds every picture and caption once, then ranks them block by block.
#include "core/eval/retrieval.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

#include "core/eval/gather_rows.h"
#include "core/eval/text_rows.h"
#include "core/eval/top_counts.h"

namespace triptych {
namespace {

constexpr std::int64_t kDepths[] = {1, 5, 10};

/// All ranks' rows, in record order.
struct Gallery {
  at::Tensor image_Nd, text_Td;
  at::Tensor owner_T;  // int64, CPU: index of the caption's picture in image_Nd
  std::int64_t unusable = 0;
};

Gallery embed(const HeldOut& held_out, const Encoders& encoders, EvalScope& scope) {
  const auto tokenizer = make_tokenizer(scope.text.tokenizer, scope.text.clean);
  std::vector<at::Tensor> images, texts, records, owners;
  std::int64_t unusable = held_out.for_each_block(scope, [&](const EvalRows& rows) {
    images.push_back(as_float(encoders.image(rows.images)));
    records.push_back(rows.records);
    std::vector<std::string> captions;
    std::vector<std::int64_t> owner;
    for (std::size_t row = 0; row < rows.captions.size(); ++row) {
      for (const auto& caption : rows.captions[row]) {
        captions.push_back(caption);
        owner.push_back(rows.records.const_data_ptr<std::int64_t>()[row]);
      }
    }
    texts.push_back(encode_texts(captions, *tokenizer, encoders, scope));
    owners.push_back(at::tensor(owner, at::kLong));
  });
  Gallery all;
  all.image_Nd = gather_rows(images, scope.device, scope.comm);
  all.text_Td = gather_rows(texts, scope.device, scope.comm);
  const auto record_N = gather_rows(records, at::kCPU, scope.comm);
  const auto record_T = gather_rows(owners, at::kCPU, scope.comm);
  all.unusable = scope.comm.sum(unusable);
  held_out.require_rows(record_N.defined() ? record_N.numel() : 0);
  // Records ascend, some are missing: a caption's picture is found by its record number.
  all.owner_T = at::searchsorted(record_N, record_T);
  return all;
}

/// int64 [3]: how many places are below 1, 5, 10.
at::Tensor count_within(const at::Tensor& place_n) {
  std::vector<at::Tensor> counts;
  for (const auto depth : kDepths) counts.push_back(place_n.lt(depth).sum());
  return at::stack(counts).cpu();
}

/// Calls `count(first, last)` for this rank's blocks of `total` queries and sums over ranks.
template <class Count>
at::Tensor sum_over_blocks(std::int64_t total, EvalScope& scope, Count&& count) {
  auto sum_3 = at::zeros({3}, at::kLong);
  const auto blocks = rank_blocks(total, scope.batch, scope.comm.rank(), scope.comm.size());
  for (std::int64_t block = blocks.first; block < blocks.last; ++block) {
    const std::int64_t first = block * scope.batch;
    sum_3 += count(first, std::min(first + scope.batch, total));
  }
  scope.comm.all_reduce_sum(sum_3);
  return sum_3;
}

}  // namespace

Retrieval::Retrieval(const RetrievalConfig& config, std::unique_ptr<Corpus> corpus, const DecodeConfig& decode)
    : name_(config.label.empty() ? RetrievalConfig::kTag : config.label),
      held_out_(std::move(corpus), decode, "image_text", name_) {}

at::Tensor place_of_best_caption(const at::Tensor& scores_nT, const at::Tensor& owner_T, std::int64_t first_image) {
  const auto image_n1 = at::arange(first_image, first_image + scores_nT.size(0), owner_T.options()).unsqueeze(1);
  const auto own_nT = owner_T.unsqueeze(0).eq(image_n1);
  const auto others_nT = scores_nT.masked_fill(own_nT, -INFINITY);
  const auto own_scores_nT = scores_nT.masked_fill(own_nT.logical_not(), -INFINITY);
  const auto best_n1 = own_scores_nT.amax(1, /*keepdim=*/true);
  // The first of the best own captions decides ties with others.
  const auto columns_T = at::arange(scores_nT.size(1), owner_T.options());
  const auto first_best_n1 =
      columns_T.masked_fill(own_scores_nT.eq(best_n1).logical_not(), scores_nT.size(1)).amin(1, /*keepdim=*/true);
  const auto before =
      others_nT.gt(best_n1).logical_or_(others_nT.eq(best_n1).logical_and_(columns_T.lt(first_best_n1)));
  const auto place_n = before.logical_and_(own_nT.logical_not()).sum(1);
  // A best score that is not a finite number (or a picture whose row holds NaN) never counts as found.
  const auto broken_n =
      best_n1.squeeze(1).isfinite().logical_and_(scores_nT.isnan().any(1).logical_not()).logical_not();
  return place_n.masked_fill(broken_n, scores_nT.size(1));
}

std::vector<Metric> Retrieval::run(const Encoders& encoders, EvalScope& scope) {
  const auto all = embed(held_out_, encoders, scope);
  const std::int64_t images = all.image_Nd.size(0), texts = all.text_Td.size(0);
  const auto owner_T = all.owner_T.to(scope.device);
  const auto to_text = sum_over_blocks(images, scope, [&](std::int64_t first, std::int64_t last) {
    const auto scores_nT = all.image_Nd.slice(0, first, last).mm(all.text_Td.t());
    return count_within(place_of_best_caption(scores_nT, owner_T, first));
  });
  const auto to_image = sum_over_blocks(texts, scope, [&](std::int64_t first, std::int64_t last) {
    const auto scores_nN = all.text_Td.slice(0, first, last).mm(all.image_Nd.t());
    return count_within(place_of_own(scores_nN, owner_T.slice(0, first, last)));
  });

  std::vector<Metric> metrics;
  const auto add = [&](const std::string& way, const at::Tensor& hits_3, std::int64_t queries) {
    for (std::size_t i = 0; i < std::size(kDepths); ++i) {
      const auto hits = static_cast<double>(hits_3.const_data_ptr<std::int64_t>()[i]);
      metrics.push_back({way + "_r" + std::to_string(kDepths[i]), hits / static_cast<double>(queries)});
    }
  };
  add("image_to_text", to_text, images);
  add("text_to_image", to_image, texts);
  metrics.push_back({"samples", static_cast<double>(images)});
  metrics.push_back({"texts", static_cast<double>(texts)});
  metrics.push_back({"chance", 1 / static_cast<double>(images)});
  metrics.push_back({"unusable", static_cast<double>(all.unusable)});
  return metrics;
}

}  // namespace triptych
