// Broken configurations of the real program: each is refused by `triptych train FILE --dry-run` with exit code 2,
// nothing on stdout and one line on stderr that says where, which key, what was got and what is expected. All but the
// one broken thing is a run that the program accepts. What any file can have wrong is tested in tests/base.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <iterator>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "tests/apps/tiny_run.h"

namespace triptych {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::MatchesRegex;
using testing::Not;

struct Broken {
  std::string_view name;
  std::string_view yaml;  ///< behind `extends: run.yaml`, unless it extends a file itself; `@`: the place to be named
  std::string_view fragments;  ///< all must be in the message; separated by '|'
};

// DIR is the folder of the files; TEXTS and LABELS are the keys of its two corpora.
// clang-format off
constexpr Broken kBroken[] = {
    // run
    {"run_name_with_a_slash", "run: {name: @a/b}\n", "run.name: got 'a/b'|without '/'"},
    {"run_without_a_name", "run: {name: @''}\n", "run.name: got ''|a file name"},
    {"run_seed_negative", "run: {seed: @-1}\n", "run.seed: got -1, expected a whole number >= 0"},
    {"run_unknown_key", "run: {@sed: 3}\n", "run.sed: unknown key|did you mean seed?|name, dir, seed"},
    {"run_text", "run: @tiny\n", "run: got 'tiny', expected a section"},
    {"unknown_section", "@transport: {backend: nccl}\n", "transport: unknown key|known here: run, data, model"},
    {"section_twice", "train: {threads: 1}\n@train: {threads: 2}\n", "'train'|given twice"},

    // data
    {"no_corpora", "data: {corpora: @[]}\n", "data.corpora: is empty; name at least one corpus"},
    {"corpora_nothing", "data:\n  @corpora:\n", "data.corpora: got nothing, expected a list"},
    {"corpora_section", "data: {corpora: @{name: text}}\n", "data.corpora: got {name: ...}, expected a list"},
    {"data_key_of_train", "data: {@global_batch: 12}\n", "data.global_batch: unknown key|known here: corpora, mixing"},
    {"data_misspelt", "data: {@worker: 2}\n", "data.worker: unknown key|did you mean workers?"},
    {"mixing_unknown", "data: {mixing: @weigthed}\n", "data.mixing: got 'weigthed', expected one of proportional, weighted; did you mean weighted?"},
    {"batch_sources_unknown", "data: {batch_sources: @one}\n", "data.batch_sources: got 'one', expected one of mixed, single"},
    {"epoch_of_two_kinds", "data: {epoch: {corpus: @text, samples: 5}}\n", "data.epoch.corpus: an epoch is defined by exactly one of corpus and samples"},
    {"epoch_of_unknown_corpus", "data: {mixing: weighted, epoch: {corpus: @txt}}\n", "data.epoch.corpus: no corpus is called 'txt'; there are: label, text"},
    {"epoch_under_proportional", "data: {epoch: {corpus: @text}}\n", "data.epoch.corpus: mixing is proportional|mixing: weighted"},
    {"all_positive_too_many", "data: {captions: {all_positive: @65}}\n", "data.captions.all_positive: got 65, expected a whole number between 1 and 64"},
    {"all_positive_without_texts", "data: {corpora: [{name: a, LABELS}], captions: {all_positive: 2}}\nobjective: {name: supcon}\neval: []\n", "data.captions.all_positive: is 2, but objective.name: supcon takes one text an image at most; leave it out"},
    {"full_shuffle_with_a_window", "data: {shuffle: {full: true, window: @100}}\n", "data.shuffle.window: is set, but full mixes all records at once; remove one"},
    {"full_shuffle_disabled", "data: {shuffle: {enabled: false, full: @true}}\n", "data.shuffle.full: is true, but enabled is false"},
    {"lanes_without_shuffle", "data: {shuffle: {enabled: false, lanes: @2}}\n", "data.shuffle.lanes: is set, but enabled is false|use lanes 1"},
    {"window_without_shuffle", "data: {shuffle: {enabled: false, window: @100}}\n", "data.shuffle.window: is set, but enabled is false: nothing is shuffled"},
    {"lanes_that_do_not_divide", "data: {shuffle: {lanes: 5}}\n", "data.shuffle.lanes: 5 does not divide the global batch of 12 rows"},
    {"lanes_beyond_the_records", "data: {shuffle: {lanes: 18}}\ntrain: {global_batch: 18}\n", "data.corpora[1]: 16 records cannot fill data.shuffle.lanes: 18"},
    {"scaled_yes", "data: {decode: {scaled: @yes}}\n", "data.decode.scaled: got 'yes', expected true or false"},
    {"short_side_below_the_pictures", "data: {decode: {test_short_side: 31}}\n", "data.decode.test_short_side: is 31, less than the pictures' size of 32"},
    {"index_dir_of_a_folder", "data: {corpora: [{name: a, format: image_folder, path: DIR, index_dir: @DIR/index}]}\n", "data.corpora.0.index_dir: is not used by format image_folder"},
    {"short_side_of_stretched_pictures", "data: {decode: {test_resize: stretch, test_short_side: @40}}\n", "data.decode.test_short_side: is set, but test_resize: stretch takes both sides"},
    {"prompts_missing", "data: {prompts: DIR/none.txt}\n", "prompts: cannot read DIR/none.txt; data.prompts is clip81, plain or a text file"},
    {"prompts_without_a_place", "data: {prompts: DIR/prompts.txt}\n", "DIR/prompts.txt:2: got 'a photo', expected a template with exactly one {}"},
    {"prompts_empty", "data: {prompts: DIR/empty.txt}\n", "DIR/empty.txt: no templates, expected one a line"},
    {"workers_zero", "data: {workers: @0}\n", "data.workers: got 0, expected a whole number between 1 and 256"},
    {"error_budget_in_percent", "data: {error_budget: @1.5}\n", "data.error_budget: got 1.5, expected a number between 0 and 1"},
    {"index_dir_in_a_file", "data: {index_dir: DIR/classes.txt/index}\n", "corpus text: index_dir: |DIR/classes.txt/index"},

    // data.augment
    {"recipe_unknown", "data: {augment: {recipe: @clp}}\n", "data.augment.recipe: got 'clp', expected one of clip, none, tcl, imagenet; did you mean clip?"},
    {"key_of_another_recipe", "data: {augment: {recipe: none, @flip: 0.5}}\n", "data.augment.flip: unknown key|known here: recipe, resize"},
    {"augment_text", "data: {augment: @clip}\n", "data.augment: got 'clip', expected a section with 'recipe': one of clip"},
    {"scale_backwards", "data: {augment: {recipe: clip, scale: @[0.9, 0.5]}}\n", "data.augment.scale: must be [low, high] with 0 < low <= high <= 1"},
    {"statistics_not_given", "data: {augment: {recipe: clip, normalize: @given}}\n", "data.augment.normalize: is given, but there is no mean; name both"},
    {"statistics_not_used", "data: {augment: {recipe: clip, mean: @[0.5, 0.5, 0.5]}}\n", "data.augment.mean: is not used with normalize: clip; set normalize: given"},
    {"hue_too_large", "data: {augment: {recipe: tcl, color_jitter: {hue: @0.6}}}\n", "data.augment.color_jitter.hue: got 0.6, expected a number between 0 and 0.5"},
    {"blur_backwards", "data: {augment: {recipe: tcl, blur: {radius: @[2, 1]}}}\n", "data.augment.blur.radius: must be [low, high] with low <= high"},
    {"mix_of_captions", "data: {augment: {recipe: imagenet, mix: {mixup_alpha: 0.2}}}\n", "data.augment.mix: corpus text has no labels, and a picture of two captions has no caption; set"},
    {"mix_without_mixed_labels", "data: {corpora: [{name: a, LABELS}], augment: {recipe: imagenet, mix: {mixup_alpha: 0.2}}}\nobjective: {name: supcon}\neval: []\n", "data.augment.mix: the objective does not take rows of two labels; set data.augment.mix.mixup_alpha"},

    // data.corpora
    {"corpus_without_a_name", "data: {corpora: [@{TEXTS}]}\n", "data.corpora.0.name: is empty"},
    {"corpus_name_twice", "data: {corpora: [{name: a, TEXTS}, {name: @a, LABELS}]}\n", "data.corpora.1.name: 'a' stands twice"},
    {"phrases_twice", "data: {corpora: [{name: a, TEXTS, phrases: p}, {name: b, TEXTS, phrases: @p}]}\n", "data.corpora.1.phrases: 'p' stands twice"},
    {"corpus_unknown_key", "data: {corpora: [{name: a, TEXTS, @wieght: 2}]}\n", "data.corpora.0.wieght: unknown key|did you mean weight?"},
    {"corpus_kind_unknown", "data: {corpora: [{name: a, kind: @image_txt, path: DIR/text.tar}]}\n", "data.corpora.0.kind: got 'image_txt', expected one of image_text, image_label; did you mean image_text?"},
    {"corpus_format_unknown", "data: {corpora: [{name: a, format: @webdatset, TEXTS}]}\n", "data.corpora.0.format: got 'webdatset'|did you mean webdataset?"},
    {"path_missing", "data: {corpora: [{name: a}]}\n", "corpus a: path: is not given"},
    {"path_matches_nothing", "data: {corpora: [{name: a, path: 'DIR/none-*.tar'}]}\n", "corpus a: path: 'DIR/none-*.tar': no file matches"},
    {"path_of_no_file", "data: {corpora: [{name: a, path: 'DIR/{text,none}.tar'}]}\n", "corpus a: path: |there is no file or folder DIR/none.tar"},
    {"path_range_backwards", "data: {corpora: [{name: a, path: 'DIR/t{3..1}.tar'}]}\n", "corpus a: path: |the range {3..1} runs backwards"},
    {"path_of_no_tar", "data: {corpora: [{name: a, path: DIR/classes.txt}]}\n", "corpus a: |DIR/classes.txt|is no tar archive"},
    {"weight_under_proportional", "data: {corpora: [{name: a, TEXTS, weight: @2}]}\n", "data.corpora.0.weight: means something with data.mixing: weighted only"},
    {"weight_next_to_nothing", "data: {mixing: weighted, corpora: [{name: a, TEXTS}, {name: b, LABELS, weight: 1e-9}]}\n", "data.corpora[1].weight: its share of the 1000 records of a block is rounded to none"},
    {"max_records_of_two_and_a_half", "data: {corpora: [{name: a, TEXTS, max_records: @2.5}]}\n", "data.corpora.0.max_records: is 2.5; a whole number of records or a share below 1"},
    {"caption_keys_text", "data: {corpora: [{name: a, TEXTS, caption_keys: @txt}]}\n", "data.corpora.0.caption_keys: got 'txt', expected a list"},
    {"class_file_not_named", "data: {corpora: [@{name: a, kind: image_label, path: DIR/label.tar}]}\n", "data.corpora.0.class_names: is not given; webdataset holds class indices only"},
    {"class_file_of_captions", "data: {corpora: [{name: a, TEXTS, class_names: @DIR/classes.txt}]}\n", "data.corpora.0.class_names: is given, but an image_text corpus has captions"},
    {"class_file_missing", "data: {corpora: [{name: a, kind: image_label, path: DIR/label.tar, class_names: DIR/none.txt}]}\n", "corpus a: class_names: |DIR/none.txt|No such file"},
    {"class_file_empty", "data: {corpora: [{name: a, kind: image_label, path: DIR/label.tar, class_names: DIR/empty.txt}]}\n", "corpus a: class_names: DIR/empty.txt has no class; one a line"},
    {"class_file_with_a_class_twice", "data: {corpora: [{name: a, kind: image_label, path: DIR/label.tar, class_names: DIR/twice.txt}]}\n", "corpus a: class_names: DIR/twice.txt:3: 'Red_Thing' stands in line 1 already"},
    {"class_file_with_an_empty_line", "data: {corpora: [{name: a, kind: image_label, path: DIR/label.tar, class_names: DIR/gap.txt}]}\n", "corpus a: class_names: DIR/gap.txt:2: an empty name"},
    {"class_file_a_folder", "data: {corpora: [{name: a, kind: image_label, path: DIR/label.tar, class_names: DIR}]}\n", "corpus a: class_names: |DIR"},
    {"delimiter_of_a_tar", "data: {corpora: [{name: a, TEXTS, delimiter: @';'}]}\n", "data.corpora.0.delimiter: is not used by format webdataset, only by csv"},
    {"delimiter_of_two_bytes", "data: {corpora: [{name: a, format: csv, TEXTS, delimiter: @';;'}]}\n", "data.corpora.0.delimiter: must be one byte"},
    {"image_key_of_a_tar", "data: {corpora: [{name: a, TEXTS, image_key: @jpg}]}\n", "data.corpora.0.image_key: is not used by format webdataset, only by csv, json"},
    {"label_key_of_a_folder", "data: {corpora: [{name: a, format: image_folder, kind: image_label, path: DIR, label_key: @c}]}\n", "data.corpora.0.label_key: is not used by format image_folder"},
    {"label_key_of_captions", "data: {corpora: [{name: a, TEXTS, label_key: @cls}]}\n", "data.corpora.0.label_key: is given, but an image_text corpus has captions"},
    {"caption_keys_of_labels", "data: {corpora: [{name: a, LABELS, caption_keys: @[txt]}]}\n", "data.corpora.0.caption_keys: is given, but an image_label corpus has classes"},
    {"phrases_of_labels", "data: {corpora: [{name: a, LABELS, phrases: @DIR/a.phrases}]}\n", "data.corpora.0.phrases: is given, but an image_label corpus has classes"},
    {"tsv_without_images", "data: {corpora: [@{name: a, format: unicl_tsv, TEXTS}]}\n", "data.corpora.0.images: is not given; unicl_tsv needs the image shards"},
    {"tsv_with_fewer_images", "data: {corpora: [{name: a, format: unicl_tsv, path: DIR/twice.txt, images: 'DIR/{empty,gap}.txt'}]}\n", "corpus a: images: names 2 shards for the 1"},
    {"zip_without_a_map", "data: {corpora: [@{name: a, format: zip_map, LABELS}]}\n", "data.corpora.0.map: is not given; zip_map needs the file"},
    {"csv_that_is_a_tar", "data: {corpora: [{name: a, format: csv, path: DIR/text.tar}]}\n", "corpus a: path: DIR/text.tar: |is this a CSV file?"},
    {"csv_without_the_column", "data: {corpora: [{name: a, format: csv, path: DIR/table.csv}]}\n", "corpus a: image_key: DIR/table.csv:1 has no column 'image'; its columns: picture, caption"},
    {"folder_that_is_a_file", "data: {corpora: [{name: a, format: image_folder, path: DIR/classes.txt}]}\n", "corpus a: path: 'DIR/classes.txt' is no folder"},
    {"folder_without_pictures", "data: {corpora: [{name: a, format: image_folder, path: DIR/folder}]}\n", "corpus a: path: 'DIR/folder' holds no .jpg (.jpeg, .jpe, .jfif), .png or .webp file"},
    {"keep_list_missing", "data: {corpora: [{name: a, TEXTS, keep_list: DIR/none.keep}]}\n", "corpus a: keep_list: |DIR/none.keep|No such file"},
    {"keep_list_of_another_kind", "data: {corpora: [{name: a, TEXTS, keep_list: DIR/classes.txt}]}\n", "corpus a: keep_list: DIR/classes.txt: is no keep-list"},

    // model
    {"tower_unknown", "model: {image: {type: @convnext}}\n", "model.image.type: got 'convnext', expected one of vit, swin, resnet"},
    {"swin_window", "model: {image: {type: swin, image_size: 64, window: @7}}\n", "model.image.window: 7 does not divide the grid of stage 1, 16 patches wide"},
    {"swin_heads", "model: {image: {type: swin, heads: @[3, 6]}}\n", "model.image.heads: one number for each of the stages in depths"},
    {"resnet_depths", "model: {image: {type: resnet, depths: @[3]}}\n", "model.image.depths: four stages are needed"},
    {"frozen_norms_of_nothing", "model: {image: {type: resnet, batch_norm: @frozen}}\n", "model.image.batch_norm: frozen keeps running averages as they were loaded, but nothing is loaded"},
    {"bert_context", "model: {text: {type: bert, context: @600}}\n", "model.text.context: 600 is more than positions 512"},
    {"label_embedding_with_captions", "model: {text: {type: label_embedding}}\neval: []\n", "corpus text: the objective needs a label for every record, but this corpus is image_text"},
    {"label_embedding_without_labels", "data: {corpora: [{name: a, TEXTS}]}\nmodel: {text: {type: label_embedding}}\neval: []\n", "model.text.type label_embedding needs a label for every record, but the corpora have none"},
    {"key_of_another_tower", "model: {image: {@context: 16}}\n", "model.image.context: unknown key|known here: type, image_size"},
    {"tower_text", "model: {text: @causal_transformer}\n", "model.text: got 'causal_transformer', expected a section with 'type'"},
    {"patch_that_does_not_divide", "model: {image: {patch_size: @5}}\n", "model.image.patch_size: 5 does not divide image_size 32; choose a divisor"},
    {"heads_that_do_not_divide", "model: {text: {heads: @3}}\n", "model.text.heads: 3 does not divide width 32"},
    {"drop_path_of_one", "model: {image: {drop_path: @1}}\n", "model.image.drop_path: got 1, expected a number between 0 and 0.99"},
    {"tokenizer_misspelt", "model: {text: {tokenizer: @clip_bep}}\n", "model.text.tokenizer: got 'clip_bep'|did you mean clip_bpe?"},
    {"embed_dim_with_a_fraction", "model: {embed_dim: @16.0}\n", "model.embed_dim: got '16.0', expected a whole number >= 1"},
    {"init_from_missing", "model: {init_from: {whole: DIR/none.safetensors}}\n", "model.init_from.whole: |DIR/none.safetensors"},
    {"init_from_a_text_file", "model: {init_from: {image: DIR/classes.txt}}\n", "model.init_from.image: |DIR/classes.txt"},
    {"init_from_two", "model: {init_from: {whole: @a.safetensors, image: b.safetensors}}\n", "model.init_from.whole: already starts both towers; leave out image and text, or whole"},
    {"model_beyond_the_memory", "model: {text: {width: 1000000}}\n", "model: needs about|shrink the model"},

    // objective
    {"objective_unknown", "objective: {name: @unilc}\n", "objective.name: got 'unilc', expected one of unicl, clip, siglip, cross_entropy, supcon, tcl, loupe; did you mean unicl?"},
    {"key_of_another_objective", "objective: {name: unicl, @temperature: 0.1}\n", "objective.temperature: unknown key|name, directions, clamp_scale"},
    {"directions_unknown", "objective: {directions: @row}\n", "objective.directions: got 'row', expected one of both, rows, columns; did you mean rows?"},
    {"tcl_temperature", "objective: {name: tcl, temperature: @0.7}\n", "objective.temperature: got 0.7, expected a number between 0.001 and 0.5"},
    {"tcl_queue_below_batch", "train: {global_batch: 12}\nobjective: {name: tcl, queue: @8}\n", "objective.queue: 8 is less than train.global_batch 12, all of which enters it in a step"},
    {"tcl_cells_of_published", "objective: {name: tcl, lmi: {pool: published, cells: @2}}\n", "objective.lmi.cells: has no meaning with pool: published"},
    {"tcl_alpha", "objective: {name: tcl, alpha: @1.5}\n", "objective.alpha: got 1.5, expected a number between 0 and 1"},
    {"tcl_without_bert", "data: {corpora: [{name: a, TEXTS}]}\nobjective: {name: tcl}\neval: []\n", "model.text.type: objective.name: tcl needs a bert text tower; use type: bert"},
    {"fusion_without_tcl", "data: {corpora: [{name: a, TEXTS}]}\nmodel: {fusion: {depth: 2}}\neval: []\n", "model.fusion: only objective tcl has a fusion encoder; remove the key"},
    {"loupe_odd_coalitions", "objective: {name: loupe, tokens: {coalitions: @5}}\n", "objective.tokens.coalitions: antithetic coalitions come in pairs, got 5; take an even number"},
    {"loupe_few_targets", "objective: {name: loupe, regions: {count: 8}, tokens: {targets: @4}}\n", "objective.tokens.targets: 4 is less than regions.count 8"},
    {"loupe_idle_key", "objective: {name: loupe, phrases: {samples: @100}}\n", "objective.phrases.samples: means nothing with value: exact; remove it"},
    {"loupe_idle_network", "objective: {name: loupe, unsil: {type: none, floor: @0.1}}\n", "objective.unsil.floor: means nothing with type: none; remove it"},
    {"loupe_idle_regions", "objective: {name: loupe, regions: {count: @200}, tokens: {weight: 0}, phrases: {weight: 0}, unsil: {type: none}}\n", "objective.regions.count: means nothing with tokens.weight and phrases.weight 0; remove it"},
    {"loupe_fewest_phrases", "objective: {name: loupe, phrases: {most: 3, fewest: @4}}\n", "objective.phrases.fewest: 4 is more than phrases.most 3, so that no caption would play; lower it"},
    {"loupe_without_bert", "data: {corpora: [{name: a, TEXTS}]}\nobjective: {name: loupe}\neval: []\n", "model.text.type: objective.name: loupe needs a bert text tower; use type: bert"},
    {"loupe_without_phrases", "data: {corpora: [{name: a, TEXTS}]}\nmodel: {text: {type: bert, context: 8, width: 16, depth: 1, heads: 2}}\nobjective: {name: loupe, regions: {count: 1}}\neval: []\n", "phrases"},
    {"grounding_without_boxes", "eval: [@{name: grounding, corpus: {TEXTS}}]\n", "eval.0.boxes: is not given; grounding needs a file of boxes"},
    {"rerank_without_fusion", "data: {corpora: [{name: a, TEXTS}]}\neval: [{name: retrieval, rerank: 8, corpus: {name: b, TEXTS}}]\n", "needs a fusion encoder"},
    {"loss_scale_without_fp16", "train: {init_loss_scale: @1024}\n", "train.init_loss_scale: only precision: fp16 has a loss scale; remove it"},
    {"length_groups_without_trim", "model: {text: {trim: false, length_groups: @16}}\n", "model.text.length_groups: has no meaning with trim: false"},
    {"temperature_zero", "objective: {name: supcon, temperature: @0}\n", "objective.temperature: got 0, expected a number > 0"},
    {"objective_text", "objective: @clip\n", "objective: got 'clip', expected a section with 'name'"},
    {"objective_without_labels", "data: {corpora: [{name: a, TEXTS}]}\nobjective: {name: supcon}\neval: []\n", "objective.name: supcon needs a label for every record, but the corpora have none"},
    {"objective_with_a_corpus_of_captions", "objective: {name: cross_entropy}\neval: []\n", "corpus text: the objective needs a label for every record, but this corpus is image_text"},

    // schedule
    {"warmup_lr_without_meaning", "schedule: {warmup_lr: @1e-5}\n", "schedule.warmup_lr: has no meaning with shape: cosine"},
    {"beta1_without_one_cycle", "schedule: {beta1: @[0.85, 0.95]}\n", "schedule.beta1: only shape: one_cycle moves it"},

    // train
    {"attention_unknown", "train: {attention: @flash}\n", "train.attention: got 'flash', expected one of auto, plain, fused"},
    {"micro_batch_that_does_not_divide", "train: {micro_batch: 5}\n", "train.micro_batch: 5 does not divide the 12 rows of a rank|use a divisor of 12"},
    {"micro_batch_above_the_batch", "train: {micro_batch: @13}\n", "train.micro_batch: 13 is larger than train.global_batch 12"},
    {"global_batch_zero", "train: {global_batch: @0}\n", "train.global_batch: got 0, expected a whole number >= 1"},
    {"batch_size", "train: {@batch_size: 12}\n", "train.batch_size: unknown key|known here: global_batch"},
    {"precision_unknown", "train: {precision: @fp8}\n", "train.precision: got 'fp8', expected one of fp32, bf16, fp16, fp64"},
    {"skip_norm_below_one", "train: {skip_norm_above: @0.5}\n", "train.skip_norm_above: a factor over the running mean must be > 1"},
    {"verify_every_without_a_unit", "train: {verify_every: @100}\n", "train.verify_every: got '100', expected a length with its unit"},
    {"timeout_with_a_unit", "train: {timeout_s: @10m}\n", "train.timeout_s: got '10m', expected a number > 0"},

    // distributed
    {"shards_negative", "distributed: {virtual_shards: @-1}\n", "distributed.virtual_shards: got -1, expected a whole number >= 0"},
    {"shards_that_do_not_divide", "distributed: {virtual_shards: @5}\ntrain: {micro_batch: 0}\n", "distributed.virtual_shards: 5 shards do not divide train.global_batch 12; use one of 1, 2, 3, 4, 6, 12, or 0"},
    {"shards_and_a_micro_batch", "distributed: {virtual_shards: 4}\ntrain: {micro_batch: @6}\n", "train.micro_batch: 6, but a micro-batch is one of the 4 shards|has 3 rows; leave it out"},
    {"shards_and_a_ring", "distributed: {virtual_shards: 2}\nobjective: {exchange: @ring}\n", "objective.exchange: ring adds up in the order of the ranks|use gather"},
    {"shards_and_batch_norms", "distributed: {virtual_shards: 2}\nmodel: {image: {type: @resnet, image_size: 32, width: 8}}\n", "model.image.type: resnet normalises|use vit or swin, or 0 shards"},
    {"shards_and_tcl", "distributed: {virtual_shards: 2}\nobjective: {name: @tcl}\n", "objective.name: tcl takes its pairs|use unicl, clip"},
    {"distributed_unknown_key", "distributed: {@backend: nccl}\n", "distributed.backend: unknown key|virtual_shards"},

    // optimizer
    {"optimizer_unknown", "optimizer: {name: @sgd}\n", "optimizer.name: got 'sgd', expected adamw"},
    {"lr_in_quotes", "optimizer: {lr: @'1e-3'}\n", "optimizer.lr: got '1e-3'|remove the quotes"},
    {"lr_zero", "optimizer: {lr: @0}\n", "optimizer.lr: got 0, expected a number > 0"},
    {"beta_of_one", "optimizer: {betas: @[0.9, 1]}\n", "optimizer.betas: each must be in [0, 1)"},
    {"clip_norm_nothing", "optimizer: {@clip_norm: }\n", "optimizer.clip_norm: got nothing, expected a number >= 0"},

    // schedule
    {"total_without_a_unit", "schedule: {total: @100}\n", "schedule.total: got '100'|{steps: N}, {samples: N} or {epochs: N}"},
    {"total_of_two_units", "schedule: {total: @{steps: 4, epochs: 1}}\n", "schedule.total: got steps and epochs|exactly one"},
    {"total_of_an_unknown_unit", "extends: no_schedule.yaml\nschedule: {total: {@step: 4}}\n", "schedule.total: got unit 'step'|did you mean steps?"},
    {"total_zero", "schedule: {total: @{steps: 0}}\n", "schedule.total: a run needs at least one step, got {steps: 0}"},
    {"warmup_beyond_the_total", "schedule: {warmup: @{steps: 5}}\n", "schedule.warmup: {steps: 5} is longer than schedule.total {steps: 4}"},
    {"warmup_between_stairs", "schedule: {shape: tcl, total: {steps: 400}, warmup: {steps: 250}}\n", "schedule.warmup: {steps: 250} is 250 steps, but shape: tcl rises in stairs of 100; use {steps: 200} or {steps: 300}"},
    {"warmup_beyond_the_total_by_arithmetic", "extends: no_schedule.yaml\nschedule: {total: {steps: 2}, warmup: {epochs: 1}}\n", "schedule.warmup: {epochs: 1} is 3 steps, but schedule.total {steps: 2} is only 2"},
    {"constant_with_a_final_lr", "schedule: {shape: constant, final_lr: @1e-5}\n", "schedule.final_lr: has no meaning with shape: constant"},
    {"final_lr_above_lr", "schedule: {final_lr: @1}\n", "schedule.final_lr: is larger than optimizer.lr"},

    // checkpoint
    {"checkpoint_every_without_a_unit", "checkpoint: {every: @1000}\n", "checkpoint.every: got '1000', expected a length with its unit"},
    {"keep_best_of_no_evaluation", "checkpoint: {keep_best: {metric: @top1}}\n", "checkpoint.keep_best.metric: got 'top1', expected eval/NAME/METRIC"},
    {"keep_best_of_an_unknown_evaluation", "checkpoint: {keep_best: {metric: @eval/knn/top1}}\n", "checkpoint.keep_best.metric: 'eval/knn/top1' names evaluation 'knn', which is no entry of the eval section"},
    {"keep_best_of_an_unknown_metric", "checkpoint: {keep_best: {metric: eval/zero_shot/accuracy}}\n", "checkpoint.keep_best.metric: there is no eval/zero_shot/accuracy; the eval section gives eval/zero_shot/top1"},
    {"keep_best_without_a_metric", "checkpoint: {keep_best: @{mode: min}}\n", "checkpoint.keep_best.metric: got ''"},

    // eval
    {"evaluator_unknown", "eval: [{name: @zeroshot, corpus: {LABELS}}]\n", "eval.0.name: got 'zeroshot', expected one of zero_shot, retrieval, classify, knn, linear_probe, grounding, detection; did you mean zero_shot?"},
    {"evaluator_without_a_name", "eval: [@{corpus: {LABELS}}]\n", "eval.0: key 'name' is missing|one of zero_shot"},
    {"key_of_another_evaluator", "eval: [{name: retrieval, corpus: {TEXTS}, @k: 5}]\n", "eval.0.k: unknown key|known here: name, label, corpus, rerank, every"},
    {"evaluators_of_one_name", "eval: [{name: retrieval, corpus: {TEXTS}}, @{name: retrieval, corpus: {TEXTS}}]\n", "eval.1.label: a second entry is called 'retrieval'; give each entry its own label"},
    {"evaluator_that_cannot_be_served", "eval: [{name: classify, corpus: {LABELS}}]\n", "eval classify needs a classification head, which objective unicl does not have"},
    {"evaluator_without_texts", "data: {corpora: [{name: a, LABELS}]}\nobjective: {name: supcon}\n", "eval zero_shot needs a text tower, which objective supcon does not have"},
    {"evaluator_of_the_wrong_kind", "eval: [{name: retrieval, corpus: {LABELS}}]\n", "eval retrieval: corpus 'DIR/label.tar' is of kind image_label; retrieval needs image_text"},
    {"evaluator_of_foreign_classes", "data: {corpora: [{name: a, LABELS}]}\nobjective: {name: cross_entropy}\neval: [{name: classify, corpus: {kind: image_label, path: DIR/label.tar, class_names: DIR/animals.txt}}]\n", "eval classify|do not share all classes: 3 of 3|'cat', 'dog', 'bird'"},
    {"evaluator_without_a_corpus", "eval: [{name: retrieval}]\n", "corpus eval retrieval: path: is not given"},
    {"evaluator_with_a_weight", "eval: [{name: retrieval, corpus: {TEXTS, weight: 2}}]\n", "eval retrieval: corpus.weight means nothing here; remove it"},
    {"evaluator_with_phrases", "eval: [{name: retrieval, corpus: {TEXTS, phrases: DIR/a.phrases}}]\n", "eval retrieval: corpus.phrases means nothing here; remove it"},
    {"neighbours_beyond_the_bank", "eval: [{name: knn, corpus: {LABELS}, bank: {LABELS}}]\n", "eval knn: k 20 is more than the bank's 16 records; lower k"},
    {"evaluation_every_without_a_unit", "eval: [{name: retrieval, corpus: {TEXTS}, every: @1}]\n", "eval.0.every: got '1', expected a length with its unit"},
    {"eval_section", "eval: @{zero_shot: {LABELS}}\n", "eval: got {zero_shot: ...}, expected a list"},

    // log
    {"log_every_zero", "log: {every: @{steps: 0}}\n", "log.every: must be positive, got {steps: 0}"},
    {"profile_backwards", "log: {profile: {steps: @[3, 1]}}\n", "log.profile.steps: expected [first, last] with 1 <= first <= last"},

    // extends
    {"extends_nothing", "extends: @none.yaml\n", "extends: no file 'DIR/none.yaml'; the path is relative to the folder of the file that extends"},
    {"extends_itself", "extends: @extends_itself.yaml\n", "extends goes round in a circle: extends_itself.yaml -> extends_itself.yaml"},
    {"extends_in_a_circle", "extends: circle.yaml\n", "DIR/circle.yaml:2:10: extends goes round in a circle: extends_in_a_circle.yaml -> circle.yaml -> extends_in_a_circle.yaml"},
    {"extends_a_broken_file", "extends: broken_base.yaml\n", "DIR/broken_base.yaml:2:17: optimizer.lr: got 'fast'"},
    {"extends_no_yaml", "extends: text.tar\n", "DIR/text.tar:1:"},
    {"extends_a_folder", "extends: folder\n", "DIR/folder"},

    // no YAML
    {"tab", "train:\n@\tthreads: 1\n", "tab character|spaces"},
    {"open_bracket", "data: {corpora: [\n@", "this is no YAML"},
    {"two_documents", "run: {seed: 1}\n---\n@run: {seed: 2}\n", "second document"},
};
// clang-format on

std::string replaced(std::string text, std::string_view from, const std::string& to) {
  for (auto at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
  return text;
}

/// "LINE:COLUMN" of the byte at `offset`.
std::string place_of(const std::string& text, std::size_t offset) {
  const auto line_begin = offset == 0 ? std::string::npos : text.rfind('\n', offset - 1);
  const auto column = offset - (line_begin == std::string::npos ? 0 : line_begin + 1) + 1;
  const auto line = 1 + std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(offset), '\n');
  return std::to_string(line) + ":" + std::to_string(column);
}

class BrokenRuns : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = std::make_unique<TempDir>();
    const auto run = slurp(write_tiny_run(*folder_));
    const auto schedule = run.find("schedule:");
    spill(path("no_schedule.yaml"), std::string(run).erase(schedule, run.find('\n', schedule) + 1 - schedule));
    spill(path("broken_base.yaml"), "extends: run.yaml\noptimizer: {lr: fast}\n");
    spill(path("circle.yaml"), "# the way back\nextends: extends_in_a_circle.yaml\n");
    spill(path("empty.txt"), "");
    spill(path("gap.txt"), "red thing\n\nblue thing\n");
    spill(path("twice.txt"), "red thing\ngreen thing\nRed_Thing\n");
    spill(path("animals.txt"), "cat\ndog\nbird\n");
    spill(path("prompts.txt"), "a photo of a {}.\na photo\n");
    spill(path("table.csv"), "picture,caption\na.png,a picture\n");
    std::filesystem::create_directory(path("folder"));
  }
  static void TearDownTestSuite() { folder_.reset(); }

  static std::string path(const std::string& name) { return (*folder_ / name).string(); }
  /// With the words in capitals filled in.
  static std::string filled(std::string_view text) {
    auto result = replaced(std::string(text), "TEXTS", "kind: image_text, path: DIR/text.tar");
    result = replaced(result, "LABELS", "kind: image_label, path: DIR/label.tar, class_names: DIR/classes.txt");
    return replaced(result, "DIR", folder_->path().string());
  }
  static std::string dry_run(const std::string& file) { return "triptych train " + file + " --dry-run"; }

 private:
  static inline std::unique_ptr<TempDir> folder_;
};

/// Exit code 2, and one line on stderr that is all the program complains of.
void expect_one_line(const Outcome& outcome) {
  EXPECT_EQ(outcome.code, 2);
  EXPECT_THAT(outcome.out, IsEmpty());
  const auto said = complaint(outcome);
  EXPECT_EQ(std::count(said.begin(), said.end(), '\n'), 1) << said;
  EXPECT_THAT(said, MatchesRegex("[0-9:]+ error: .*\n"));
  EXPECT_THAT(said, AllOf(Not(HasSubstr("terminate")), Not(HasSubstr("exception")), Not(HasSubstr(".cpp"))));
}

TEST_F(BrokenRuns, EachIsRefusedInOneLine) {
  std::vector<std::string> commands, places;
  for (const auto& broken : kBroken) {
    auto yaml = filled(broken.yaml);
    if (yaml.find("extends:") == std::string::npos) yaml = "extends: run.yaml\n" + yaml;
    const auto mark = yaml.find('@');
    if (mark != std::string::npos) yaml.erase(mark, 1);
    const auto file = path(std::string(broken.name) + ".yaml");
    spill(file, yaml);
    commands.push_back(dry_run(file));
    places.push_back(mark == std::string::npos ? "" : file + ":" + place_of(yaml, mark) + ": ");
  }
  const auto outcomes = run_each(commands);
  for (std::size_t i = 0; i < outcomes.size(); ++i) {
    SCOPED_TRACE(kBroken[i].name);
    expect_one_line(outcomes[i]);
    EXPECT_THAT(outcomes[i].err, HasSubstr(" error: " + places[i]));
    std::istringstream fragments{filled(kBroken[i].fragments)};
    for (std::string fragment; std::getline(fragments, fragment, '|');) {
      EXPECT_THAT(outcomes[i].err, HasSubstr(fragment));
    }
  }
}

TEST_F(BrokenRuns, AreManyAndDistinctAndWithoutTheirFaultAccepted) {
  std::set<std::string_view> texts;
  for (const auto& broken : kBroken) texts.insert(broken.yaml);
  EXPECT_EQ(texts.size(), std::size(kBroken));
  EXPECT_GE(texts.size(), 60u);
  spill(path("sound.yaml"), "extends: run.yaml\nrun: {seed: 1}\n");
  for (const auto* sound : {"run.yaml", "sound.yaml"}) {
    const auto outcome = run_shell(dry_run(path(sound)));
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    EXPECT_THAT(outcome.out, HasSubstr("objective"));
  }
}

TEST_F(BrokenRuns, FilesThatAreNoConfiguration) {
  for (const std::string name : {"none.yaml", "folder", "text.tar", "label.tar", "animals.txt"}) {
    const auto outcome = run_shell(dry_run(path(name)));
    SCOPED_TRACE(name);
    expect_one_line(outcome);
    EXPECT_THAT(outcome.err, HasSubstr(path(name)));
  }
  const auto nothing = run_shell(dry_run(path("empty.txt")));
  expect_one_line(nothing);
  EXPECT_THAT(nothing.err, HasSubstr("data.corpora: is empty"));
}

TEST_F(BrokenRuns, BatchesThatDoNotFitTheRanks) {
  const auto expect = [&](const std::string& settings, const std::string& message) {
    const auto outcome = run_shell("mpirun -np 2 triptych train " + path("run.yaml") + " --dry-run " + settings);
    EXPECT_EQ(outcome.code, 2) << outcome.err;
    EXPECT_THAT(outcome.out, IsEmpty());
    EXPECT_THAT(outcome.err, HasSubstr(" error: " + message));
    EXPECT_EQ(outcome.err.find("error: "), outcome.err.rfind("error: ")) << outcome.err;
  };
  expect("--set train.global_batch=13 --set train.micro_batch=0",
         "train.global_batch: 13 does not divide by 2 ranks; use 12 or 14, or another number of ranks");
  expect("--set train.global_batch=1 --set train.micro_batch=0",
         "train.global_batch: 2 ranks for a global batch of 1 rows; start at most 1 ranks or raise");
  expect("--set train.micro_batch=4",
         "train.micro_batch: 4 does not divide the 6 rows of a rank (train.global_batch 12 over 2 ranks)");
}

}  // namespace
}  // namespace triptych
