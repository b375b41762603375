// What travels from the loader to the objective. Plain data: no functions.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

namespace triptych {

/// Label of a record that is its own class (UniCL's y = 0).
inline constexpr std::int64_t kNoLabel = -1;

/// A record that could not be used at some position, and was replaced there.
struct BadRecord {
  std::int64_t sample_id = 0;  ///< of the bad record, see Batch::sample_ids
  std::int64_t position = 0;   ///< where it was met
  std::string corpus, shard, key, reason;
  std::int64_t offset = 0;  ///< byte offset in the shard
};

/// b consecutive rows of the global batch.
struct Batch {
  at::Tensor images;        ///< uint8 [b, views, height, width, 3], RGB
  at::Tensor tokens;        ///< int64 [b, captions, context], padded with the tokenizer's pad id
  at::Tensor labels;        ///< int64 [b], global concept id or kNoLabel
  at::Tensor other_labels;  ///< int64 [b], where rows are mixed: labels of the partners. Undefined: nothing is mixed
  at::Tensor mix_weights;   ///< float32 [b]: a row is mix_weights of its own label, the rest of the other one
  at::Tensor phrases;       ///< int64 [n, 4], on the CPU: row of this batch, text, word pieces [begin, end) of the text
  at::Tensor sample_ids;  ///< int64 [b], (corpus << 40) | record, of the record that was really used; always on the CPU
  std::int64_t first_position = 0;  ///< position of row 0; row i is at first_position + i
  std::vector<BadRecord> bad;       ///< records met in these rows that had to be replaced
};

/// How captions become tokens.
struct TextForm {
  std::string tokenizer = "clip_bpe";
  std::string clean = "none";  ///< before the tokenizer: none, tcl_caption, tcl_question
  std::int64_t context = 77;
};

/// What a method asks of the loader.
struct BatchSpec {
  int views = 1;
  int captions = 1;           ///< texts of a row
  bool labels = false;        ///< every row needs a label (cross-entropy, SupCon): image_text corpora are refused
  bool mixed_labels = false;  ///< rows may be mixed of two labels (mixup, cutmix); else that is refused
  bool phrases = false;       ///< word-piece places of the captions' noun phrases (prompts have none); false: undefined
  bool text = true;           ///< false: tokens are left undefined
  TextForm form;
  std::int64_t image_size = 224;  ///< height = width of the pictures
};

/// What the data tells a method.
struct CorpusFacts {
  std::int64_t num_labels = 0;                                             ///< concept ids are 0 .. num_labels-1
  std::int64_t records_per_epoch = 0;                                      ///< E, see data.epoch
  std::int64_t steps_per_epoch = 0;                                        ///< floor(E / global_batch), at least 1
  int captions = 1;                                                        ///< texts a picture, all its positives
  std::vector<std::string> class_names;                                    ///< by concept id
  std::vector<float> pixel_mean = {0.48145466f, 0.4578275f, 0.40821073f};  ///< per channel, of pictures in [0, 1]
  std::vector<float> pixel_std = {0.26862954f, 0.26130258f, 0.27577711f};
};

/// One named number of a loss, for the log: detached, a scalar tensor, mean over this rank's rows.
struct LossTerm {
  std::string name;
  at::Tensor value;
};

/// What an objective reports of one step: this rank's part; the mean over ranks is the loss of the global batch.
struct LossReport {
  at::Tensor total;             ///< detached scalar
  std::vector<LossTerm> terms;  ///< what it is made of
};

}  // namespace triptych
