// LOUPE's loss of a whole batch over ranks and micro-batches, written plainly row by row (Li et al., NeurIPS 2022,
// arXiv:2208.02515), and a step of ranks compared with it.
#pragma once
#include <array>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/objective/tiny_loupe.h"

namespace triptych {

struct PlainRow {
  at::Tensor logit_m, region_md, inside_mk, box_m4;  ///< the most confident regions
  at::Tensor cell_kd, word_ld, is_word_l;
  at::Tensor alike_mp, phrase_pd;  ///< undefined where too few phrases play
};

/// Targets that the sampler valued, and all labels, of a rank's micro-batch.
struct PlainPart {
  std::int64_t first = 0;
  std::map<std::int64_t, at::Tensor> region_value, pair_value;  ///< by row: [M], [M, P]; rows with labels only
  std::vector<std::array<std::int64_t, 2>> regions;             ///< row, region
  std::vector<std::array<std::int64_t, 3>> pairs;               ///< row, region, phrase
  double spread = 0, off = 0, size = 0;                         ///< of the sampled regions, summed without signs
};

/// Everything of the whole batch. Labels are found in the constructor and are constants.
class PlainLoupe {
 public:
  PlainLoupe(LoupeModel& model, const LoupeConfig& config, const Batch& batch, std::int64_t micro_rows,
             const at::Tensor& moments = {}, const at::Tensor& pair_moments = {});

  /// Each term without its weight.
  std::map<std::string, at::Tensor> terms() const;
  double weight_of(const std::string& term) const;
  /// What the log says of the sampler and the network.
  LoupeTerms notes() const;
  const std::vector<PlainPart>& parts() const { return parts_; }
  const std::vector<PlainRow>& rows() const { return rows_; }
  const at::Tensor& images() const { return image_; }
  const at::Tensor& texts() const { return text_; }
  /// Sums of the raw interactions that teach: count, sum, squares.
  at::Tensor taught(bool pairs) const;
  UnsilInputs region_inputs(std::int64_t i, std::int64_t region) const;

 private:
  void see();
  PlainRow row_of(std::int64_t i, const at::Tensor& cell_kw, const at::Tensor& text_lw) const;
  void see_phrases(std::int64_t i, const at::Tensor& text_lw, PlainRow& row) const;
  UnsilInputs pair_inputs(std::int64_t i, std::int64_t region, std::int64_t phrase) const;

  template <class OfPart>
  at::Tensor counted(const OfPart& of_part) const;
  at::Tensor contrast() const;
  at::Tensor tsa() const;
  at::Tensor fsa() const;
  at::Tensor unsil_tokens() const;
  at::Tensor unsil_phrases() const;
  at::Tensor surprise(const UnsilOutput& out, const at::Tensor& wanted) const;

  bool trusted() const { return config_.unsil.type != "none" && kLoupeStep >= config_.unsil.warmup; }
  /// Estimates of a row's regions.
  at::Tensor sampled(std::int64_t i, const std::vector<std::int64_t>& regions, PlainPart& part) const;
  void play_tokens(PlainPart& part) const;
  at::Tensor exact_pairs(const at::Tensor& alike) const;
  void play_phrases(PlainPart& part) const;

  LoupeModel& model_;
  LoupeConfig config_;
  Batch batch_;
  std::int64_t micro_, ranks_;
  std::pair<double, double> token_scale_, phrase_scale_;
  at::Tensor embedded_, image_, text_;
  std::vector<PlainRow> rows_;
  std::vector<PlainPart> parts_;
};

/// The formula with the weights of a state.
struct PlainStep {
  std::unique_ptr<LoupeModel> model;
  std::unique_ptr<PlainLoupe> formula;
  double loss = 0;
  LoupeTerms terms;
  Gradients gradients;
};
PlainStep plain_step(const LoupeConfig& config, const std::map<std::string, at::Tensor>& state, int ranks,
                     std::int64_t micro_batch);

/// Sums that standardise a level's labels; undefined without a network for it or with raw labels.
at::Tensor moments_of(const std::map<std::string, at::Tensor>& state, const std::string& level);

inline constexpr double kLoupeClose = 1e-11;

/// Loss, terms, notes and gradients agree to kLoupeClose, and ranks to the bit.
void expect_formula(const LoupeRanks& got, const PlainStep& expected, const std::string& where);
/// What the step has left of the moments and added to them.
void expect_moments(const LoupeRanks& got, const PlainStep& expected, double decay, const std::string& where);
/// Both, for steps of each number of ranks and rows of a micro-batch.
void expect_same_as_formula(const LoupeConfig& config, const std::vector<int>& all_ranks,
                            const std::vector<std::int64_t>& micro_batches, const std::string& where);

}  // namespace triptych
