// Embeds every picture and caption once, then ranks them block by block; rerank.cpp is the second stage.
#include "core/eval/retrieval.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

#include "core/eval/gather_rows.h"
#include "core/eval/rerank.h"
#include "core/eval/text_rows.h"
#include "core/eval/top_counts.h"

namespace triptych {
namespace {

constexpr std::int64_t kDepths[] = {1, 5, 10};

/// All ranks' rows, in record order; what has no other device is on the CPU.
struct Gallery {
  at::Tensor image_Nd, text_Td;  // on scope.device
  at::Tensor record_N, owner_T;  // int64: each picture's record; index of each caption's picture in image_Nd
  at::Tensor token_Tl;           // only if asked for
  std::int64_t unusable = 0;
};

Gallery embed(const HeldOut& held_out, const Encoders& encoders, bool keep_tokens, EvalScope& scope) {
  const auto tokenizer = make_tokenizer(scope.text.tokenizer, scope.text.clean);
  std::vector<at::Tensor> images, texts, tokens, records, owners;
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
    const auto token_tl = token_rows(captions, *tokenizer, scope);
    texts.push_back(encode_tokens(token_tl, encoders, scope));
    if (keep_tokens) tokens.push_back(token_tl);
    owners.push_back(at::tensor(owner, at::kLong));
  });
  Gallery all;
  all.image_Nd = gather_rows(images, scope.device, scope.comm);
  all.text_Td = gather_rows(texts, scope.device, scope.comm);
  if (keep_tokens) all.token_Tl = gather_rows(tokens, at::kCPU, scope.comm);
  all.record_N = gather_rows(records, at::kCPU, scope.comm);
  const auto record_T = gather_rows(owners, at::kCPU, scope.comm);
  all.unusable = scope.comm.sum(unusable);
  held_out.require_rows(all.record_N.defined() ? all.record_N.numel() : 0);
  // Records ascend, some are missing: a caption's picture is found by its record number.
  all.owner_T = at::searchsorted(all.record_N, record_T);
  return all;
}

/// What a way's first stage finds for its q queries: on the CPU, the same on every rank.
struct Found {
  at::Tensor place_q;  // int64: of the own candidate, 0 = best
  at::Tensor near_qk;  // the candidates of the second stage, if there is one
};

/// `place(scores, first, last)`: places of the queries [first, last). Collective: queries are dealt to ranks in blocks.
template <class Place>
Found search(const at::Tensor& query_Qd, const at::Tensor& gallery_Cd, std::int64_t rerank, EvalScope& scope,
             Place&& place) {
  const std::int64_t total = query_Qd.size(0);
  std::vector<at::Tensor> places, near;
  const auto blocks = rank_blocks(total, scope.batch, scope.comm.rank(), scope.comm.size());
  for (std::int64_t block = blocks.first; block < blocks.last; ++block) {
    const std::int64_t first = block * scope.batch, last = std::min(first + scope.batch, total);
    const auto scores_nC = query_Qd.slice(0, first, last).mm(gallery_Cd.t());
    places.push_back(place(scores_nC, first, last).cpu());
    if (rerank > 0) near.push_back(nearest(scores_nC, rerank).cpu());
  }
  Found found;
  found.place_q = gather_rows(places, at::kCPU, scope.comm);
  if (rerank > 0) found.near_qk = gather_rows(near, at::kCPU, scope.comm);
  return found;
}

void add_recalls(const std::string& way, const at::Tensor& place_q, std::vector<Metric>& metrics) {
  for (const auto depth : kDepths) {
    const auto hits = static_cast<double>(place_q.lt(depth).sum().item<std::int64_t>());
    metrics.push_back({way + "_r" + std::to_string(depth), hits / static_cast<double>(place_q.numel())});
  }
}

}  // namespace

Retrieval::Retrieval(const RetrievalConfig& config, std::unique_ptr<Corpus> corpus, const DecodeConfig& decode)
    : name_(config.label.empty() ? RetrievalConfig::kTag : config.label),
      rerank_(config.rerank),
      held_out_(std::move(corpus), decode, "image_text", name_) {}

std::vector<std::string> Retrieval::metric_names() const {
  std::vector<std::string> ways = {"image_to_text", "text_to_image"}, names;
  if (rerank_ > 0) ways.insert(ways.end(), {"image_to_text_reranked", "text_to_image_reranked"});
  for (const auto& way : ways) {
    for (const auto depth : kDepths) names.push_back(way + "_r" + std::to_string(depth));
  }
  names.insert(names.end(), {"samples", "texts", "chance", "unusable"});
  return names;
}

at::Tensor place_of_best_caption(const at::Tensor& scores_nT, const at::Tensor& owner_T, std::int64_t first_image) {
  const auto image_n1 = at::arange(first_image, first_image + scores_nT.size(0), owner_T.options()).unsqueeze(1);
  return place_of_best(scores_nT, owner_T.unsqueeze(0).eq(image_n1));
}

std::vector<Metric> Retrieval::run(const Encoders& encoders, EvalScope& scope) {
  const auto all = embed(held_out_, encoders, /*keep_tokens=*/rerank_ > 0, scope);
  const std::int64_t images = all.image_Nd.size(0), texts = all.text_Td.size(0);
  const auto owner_T = all.owner_T.to(scope.device);
  const auto to_text = search(all.image_Nd, all.text_Td, rerank_, scope, [&](const auto& scores_nT, auto first, auto) {
    return place_of_best_caption(scores_nT, owner_T, first);
  });
  const auto to_image =
      search(all.text_Td, all.image_Nd, rerank_, scope, [&](const auto& scores_nN, auto first, auto last) {
        return place_of_own(scores_nN, owner_T.slice(0, first, last));
      });

  std::vector<Metric> metrics;
  add_recalls("image_to_text", to_text.place_q, metrics);
  add_recalls("text_to_image", to_image.place_q, metrics);
  if (rerank_ > 0) {
    const BothWays near = {to_text.near_qk, to_image.near_qk};
    const auto logits = match_logits(held_out_, encoders.match.value(), all.record_N, all.token_Tl, near, scope);
    const auto own_Nk = all.owner_T.take(near.image_Nk).eq(at::arange(images, at::kLong).unsqueeze(1));
    const auto own_Tk = near.text_Tk.eq(all.owner_T.unsqueeze(1));
    add_recalls("image_to_text_reranked", reranked_place(to_text.place_q, logits.image_Nk, own_Nk, texts), metrics);
    add_recalls("text_to_image_reranked", reranked_place(to_image.place_q, logits.text_Tk, own_Tk, images), metrics);
  }
  metrics.push_back({"samples", static_cast<double>(images)});
  metrics.push_back({"texts", static_cast<double>(texts)});
  metrics.push_back({"chance", 1 / static_cast<double>(images)});
  metrics.push_back({"unusable", static_cast<double>(all.unusable)});
  return metrics;
}

}  // namespace triptych
