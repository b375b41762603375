// Broken configuration files: every one is a ConfigError (exit 2) of one line that begins with file:line:column and
// says which key, what was got and what is allowed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <iterator>
#include <ostream>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/atomic_file.h"
#include "core/base/config_reader.h"
#include "core/base/errors.h"
#include "tests/base/example_config.h"
#include "tests/support/temp_dir.h"

namespace triptych {
namespace {

struct Broken {
  std::string_view name, yaml;
  std::string_view place;      ///< "line:column"
  std::string_view fragments;  ///< all must be in the message; separated by '|'
};

/// What GoogleTest prints for a parameter.
void PrintTo(const Broken& broken, std::ostream* out) {
  *out << broken.name;
}

std::string nested(int depth) {
  std::string text = "run_name:\n";
  for (int i = 1; i <= depth; ++i) text += std::string(static_cast<std::size_t>(i), ' ') + "a:\n";
  return text;
}

// clang-format off
// A table of literals: as std::string it would be a minute of compiling under the sanitizers.
constexpr Broken kBroken[] = {
    // keys
    {"unknown_key", "optimizer:\n  learning: 1e-3\n", "2:3", "optimizer.learning: unknown key|'1e-3'|known here: name, lr, eps, betas"},
    {"typing_error", "data:\n  workres: 2\n", "2:3", "data.workres|did you mean workers?"},
    {"hyphen", "run-name: a\n", "1:1", "run-name|did you mean run_name?"},
    {"upper_case", "optimizer: {LR: 1}\n", "1:13", "optimizer.LR|did you mean lr?"},
    {"unknown_section", "optimiser: {lr: 1}\n", "1:1", "optimiser|did you mean optimizer?|{lr: ...}"},
    {"key_of_another_section", "lr: 1e-3\n", "1:1", "lr: unknown key|known here: run_name, data"},
    {"key_of_another_kind", "objective: {name: unicl, temperature: 0.1}\n", "1:26", "objective.temperature: unknown key|name, directions"},
    {"unknown_key_in_list", "data: {corpora: [{name: a}, {name: b, wieght: 1}]}\n", "1:39", "data.corpora.1.wieght|did you mean weight?"},
    {"duplicate_key", "optimizer:\n  lr: 1\n  eps: 1\n  lr: 2\n", "4:3", "'lr'|given twice|:2:3"},
    {"duplicate_section", "data: {workers: 1}\nrun_name: a\ndata: {workers: 2}\n", "3:1", "'data'|given twice|:1:1"},
    {"duplicate_in_flow", "data: {workers: 1, workers: 1}\n", "1:20", "'workers'|given twice"},
    {"duplicate_in_quotes", "optimizer: {lr: 1, 'lr': 2}\n", "1:20", "given twice"},
    {"merge_key", "data:\n  <<: {workers: 2}\n", "2:3", "merge keys|extends"},
    {"list_as_key", "[a, b]: 1\n", "1:1", "a key must be a word|a list of 2"},
    {"map_as_key", "{a: 1}: 1\n", "1:1", "a key must be a word"},
    {"null_as_key", "~: 1\n", "1:1", "a key must be a word"},
    {"empty_key", "'': 1\n", "1:1", "a key must be a word"},
    {"extends_below_the_top", "data: {extends: a.yaml}\n", "1:8", "data.extends: unknown key"},

    // numbers
    {"text_for_number", "optimizer:\n  lr: fast\n", "2:7", "optimizer.lr: got 'fast', expected a number > 0|10, 0.5 or 1e-3"},
    {"quoted_number", "optimizer:\n  lr: \"1e-4\"\n", "2:7", "got '1e-4'|remove the quotes"},
    {"single_quoted_integer", "data: {workers: '2'}\n", "1:17", "remove the quotes"},
    {"octal", "data: {workers: 010}\n", "1:17", "got '010'|a whole number between 1 and 256"},
    {"hexadecimal", "data: {workers: 0x10}\n", "1:17", "got '0x10'"},
    {"sexagesimal", "optimizer: {lr: 12:30:45}\n", "1:17", "got '12:30:45'|a number"},
    {"underscores", "model: {embed_dim: 1_000}\n", "1:20", "got '1_000'"},
    {"thousands", "model: {embed_dim: \"1,000\"}\n", "1:20", "got '1,000'"},
    {"plus_sign", "optimizer: {lr: +1}\n", "1:17", "got '+1'"},
    {"bare_fraction", "optimizer: {lr: .5}\n", "1:17", "got '.5'"},
    {"bare_point", "optimizer: {lr: 5.}\n", "1:17", "got '5.'"},
    {"no_exponent", "optimizer: {lr: 1e}\n", "1:17", "got '1e'"},
    {"two_exponents", "optimizer: {lr: 1e-3e-3}\n", "1:17", "got '1e-3e-3'"},
    {"unit_behind_number", "optimizer: {lr: 5 %}\n", "1:17", "got '5 %'"},
    {"not_a_number", "optimizer: {lr: nan}\n", "1:17", "got 'nan'|a number > 0"},
    {"yaml_nan", "optimizer: {lr: .nan}\n", "1:17", "got '.nan'"},
    {"infinity", "clip_norm: inf\n", "1:12", "got 'inf'"},
    {"yaml_infinity", "clip_norm: .inf\n", "1:12", "got '.inf'"},
    {"double_overflow", "clip_norm: 1e400\n", "1:12", "got '1e400'|a double can hold"},
    {"double_underflow", "optimizer: {eps: 1e-400}\n", "1:18", "got '1e-400'|a double can hold"},
    {"integer_overflow", "model: {embed_dim: 9223372036854775808}\n", "1:20", "fits 64 bits"},
    {"fraction_for_integer", "data: {workers: 1.5}\n", "1:17", "got '1.5'|a whole number"},
    {"exponent_for_integer", "model: {embed_dim: 1e3}\n", "1:20", "got '1e3'|a whole number"},
    {"too_small", "data: {workers: 0}\n", "1:17", "got 0|between 1 and 256"},
    {"too_large", "data: {workers: 257}\n", "1:17", "got 257|between 1 and 256"},
    {"negative", "model: {embed_dim: -3}\n", "1:20", "got -3|>= 1"},
    {"zero_where_positive", "optimizer: {lr: 0}\n", "1:17", "got 0|> 0"},
    {"share_above_one", "data: {error_budget: 1.01}\n", "1:22", "got 1.01|between 0 and 1"},
    {"list_for_number", "optimizer: {lr: [1]}\n", "1:17", "a list of 1|a number"},
    {"section_for_number", "optimizer:\n  lr:\n    value: 1\n", "3:5", "optimizer.lr|{value: ...}|a number"},
    {"nothing_for_number", "optimizer:\n  lr:\n  eps: 1\n", "2:3", "optimizer.lr: got nothing|a number"},
    {"true_for_number", "data: {workers: true}\n", "1:17", "got 'true'"},

    // true or false
    {"yes", "data: {shuffle: {full: yes}}\n", "1:24", "got 'yes'|true or false"},
    {"on", "data: {shuffle: {full: on}}\n", "1:24", "got 'on'|true or false"},
    {"capital_true", "data: {shuffle: {full: True}}\n", "1:24", "got 'True'|true or false"},
    {"one_for_true", "data: {shuffle: {full: 1}}\n", "1:24", "got '1'|true or false"},
    {"quoted_true", "data: {shuffle: {full: 'true'}}\n", "1:24", "without quotes"},
    {"nothing_for_bool", "data: {shuffle: {full: }}\n", "1:18", "got nothing"},

    // text
    {"bad_choice", "data:\n  corpora:\n    - {name: a, kind: image_txt}\n", "3:23", "data.corpora.0.kind|'image_txt'|one of image_text, image_label|did you mean image_text?"},
    {"single_choice", "optimizer: {name: sgd}\n", "1:19", "got 'sgd'|expected adamw"},
    {"list_for_text", "run_name: [a]\n", "1:11", "a list of 1|expected text"},
    {"section_for_text", "run_name: {a: 1}\n", "1:11", "{a: ...}|expected text"},
    {"nothing_for_text", "run_name:\n", "1:1", "got nothing|''"},
    {"null_for_text", "run_name: null\n", "1:1", "got nothing"},
    {"bool_for_text", "run_name: true\n", "1:11", "got true, expected text|in quotes"},

    // lists
    {"number_for_list", "data: {corpora: 3}\n", "1:17", "data.corpora: got '3', expected a list"},
    {"text_for_list", "data: {corpora: [{name: a, caption_keys: txt}]}\n", "1:42", "caption_keys|expected a list"},
    {"nothing_for_list", "eval:\n", "1:1", "eval: got nothing|[] for none"},
    {"too_short", "optimizer: {betas: [0.9]}\n", "1:20", "a list of 1|a list of 2"},
    {"too_long", "optimizer: {betas: [0.9, 0.98, 0.99]}\n", "1:20", "a list of 3|a list of 2"},
    {"bad_element", "optimizer: {betas: [0.9, x]}\n", "1:26", "optimizer.betas.1|'x'"},
    {"element_out_of_range", "data: {scale: [0.5, 1.5]}\n", "1:21", "data.scale.1|got 1.5|between 0 and 1"},
    {"scalar_for_element", "data:\n  corpora:\n    - clipart\n", "3:7", "data.corpora.0|'clipart'|a section"},

    // sections
    {"number_for_section", "data: 5\n", "1:7", "data: got '5', expected a section"},
    {"list_for_section", "data:\n  - workers: 1\n", "2:3", "data: got a list of 1, expected a section"},
    {"nothing_for_section", "data:\nrun_name: a\n", "1:1", "data: got nothing|write {}"},
    {"list_at_the_top", "- run_name: a\n", "1:1", "a list of 1|expected sections"},
    {"text_at_the_top", "hello\n", "1:1", "'hello'|expected sections"},

    // kinds
    {"unknown_kind", "objective: {name: unilc}\n", "1:19", "objective.name: got 'unilc', expected one of unicl, loupe|did you mean unicl?"},
    {"missing_kind", "model: {image: {width: 4}}\n", "1:16", "model.image: key 'type' is missing|one of vit, swin"},
    {"missing_kind_in_list", "eval:\n  - {k: 5}\n", "2:5", "eval.0: key 'name' is missing|one of knn, retrieval"},
    {"text_for_kind", "objective: unicl\n", "1:12", "objective: got 'unicl', expected a section with 'name'"},
    {"list_as_kind", "objective: {name: [unicl]}\n", "1:19", "objective.name|a list of 1"},

    // durations
    {"bare_number", "schedule: {total: 100}\n", "1:19", "schedule.total: got '100'|{steps: N}, {samples: N} or {epochs: N}"},
    {"two_units", "schedule: {total: {steps: 5, epochs: 1}}\n", "1:19", "got steps and epochs|exactly one"},
    {"no_unit", "schedule: {total: {}}\n", "1:19", "got no unit"},
    {"unknown_unit", "schedule: {total: {epoch: 5}}\n", "1:20", "got unit 'epoch'|did you mean epochs?"},
    {"negative_length", "schedule: {total: {steps: -5}}\n", "1:27", "schedule.total.steps: got -5"},
    {"half_a_step", "schedule: {total: {steps: 1.5}}\n", "1:27", "got 1.5|a whole number"},
    {"endless", "schedule: {total: {epochs: .inf}}\n", "1:28", "got '.inf'"},
    {"beyond_exact_numbers", "schedule: {total: {samples: 1e17}}\n", "1:29", "got 1e17|between 0 and"},
    {"text_for_length", "schedule: {total: {steps: many}}\n", "1:27", "got 'many'"},

    // contradictions
    {"between_fields", "schedule:\n  total: {steps: 10}\n  warmup: {steps: 20}\n", "3:11", "schedule.warmup: {steps: 20} is longer than total"},
    {"with_a_default", "schedule:\n  warmup: {epochs: 20}\n", "2:11", "schedule.warmup|{epochs: 20}|{epochs: 10}"},
    {"default_against_given", "model:\n  image: {type: vit, width: 10}\n", "2:10", "model.image.heads: 12 does not divide width"},
    {"missing_and_needed", "data:\n  corpora:\n    - path: x\n", "3:7", "data.corpora.0.name: a corpus needs a name"},
    {"between_sections", "run_name: a\noptimizer: {lr: 1000}\n", "2:17", "optimizer.lr: is no learning rate"},
    {"between_elements", "eval:\n  - {name: knn}\n  - {name: knn, label: b}\n", "3:24", "eval.1.label: needs a label of its own"},

    // what YAML has and a configuration does not need
    {"anchor", "data: &d {workers: 2}\n", "1:7", "anchors"},
    {"anchor_on_value", "run_name: &n a\n", "1:11", "anchors"},
    {"alias", "run_name: a\ndata: {corpora: *x}\n", "2:17", "alias"},
    {"alias_to_itself", "&x\n- *x\n", "1:1", "anchors"},
    {"tag", "data: {workers: !!int '2'}\n", "1:17", "tag|int"},
    {"own_tag", "data: !mine {workers: 2}\n", "1:7", "tag '!mine'"},
    {"two_documents", "run_name: a\n---\nrun_name: b\n", "3:1", "second document"},
    {"text_after_the_end", "run_name: a\n...\nrun_name: b\n", "3:1", "second document"},
    {"tab_indent", "data:\n\tworkers: 2\n", "2:1", "tab character|spaces"},
    {"tab_after_key", "run_name:\ta\n", "1:10", "tab character"},
    {"nul", std::string_view("run_name: a\0b\n", 14), "1:12", "NUL byte"},
    {"escape_character", "run_name: \x1b[31mred\n", "1:11", "control character '\\x1b'"},
    {"not_utf8", "run_name: caf\xe9\n", "1:14", "not UTF-8|\\xe9"},
    {"overlong_utf8", "run_name: \xc0\xaf\n", "1:11", "not UTF-8"},
    {"surrogate", "run_name: \xed\xa0\x80\n", "1:11", "not UTF-8"},
    {"byte_order_mark", "\xef\xbb\xbfrun_name: a\n", "1:1", "byte order mark"},
    {"utf16", std::string_view("\xff\xfer\0u\0", 6), "1:1", "not UTF-8"},

    // no YAML
    {"open_list", "optimizer: {betas: [0.9, 0.98\n", "2:1", "this is no YAML"},
    {"open_map", "optimizer: {lr: 1\n", "2:1", "this is no YAML"},
    {"open_quote", "run_name: \"a\n", "2:1", "this is no YAML"},
    {"bad_escape", "run_name: \"\\q\"\n", "1:14", "this is no YAML"},
    {"colon_in_value", "run_name: a: b\n", "1:12", "this is no YAML"},
    {"bad_indent", "data:\n  workers: 1\n error_budget: 0\n", "3:2", "this is no YAML"},
    {"closing_bracket", "run_name: ]\n", "1:11", "this is no YAML"},
    {"reserved_character", "run_name: @a\n", "1:11", "this is no YAML"},
    {"list_in_map", "run_name: a\n- b\n", "2:1", "this is no YAML"},
    {"directive", "%YAML 1.2\n---\nrun_name: a\n", "1:1", "directives"},
    {"percent_for_hash", "run_name: a\n%data: {workers: 2}\n", "2:1", "directives"},
};
// clang-format on

struct Generated {
  std::string_view name;
  std::string yaml;
  std::string_view place, fragments;
};

/// Files too long to write down.
const std::vector<Generated>& generated_files() {
  static const std::vector<Generated> files = {
      {"very_long_key", "optimizer: {" + std::string(900, 'k') + ": 1}\n", "1:13", "...|unknown key"},
      {"integer_far_overflow", "model: {embed_dim: " + std::string(500, '9') + "}\n", "1:20", "fits 64 bits|..."},
      {"too_deep", nested(70), "65:65", "64 levels"},
      {"deep_flow", "run_name: " + std::string(70, '[') + std::string(70, ']') + "\n", "1:74", "64 levels"},
  };
  return files;
}

std::vector<Broken> broken_files() {
  std::vector<Broken> files(std::begin(kBroken), std::end(kBroken));
  for (const auto& file : generated_files()) files.push_back({file.name, file.yaml, file.place, file.fragments});
  return files;
}

class BrokenConfig : public testing::TestWithParam<Broken> {};

TEST_P(BrokenConfig, IsRefused) {
  const auto& broken = GetParam();
  const TempDir folder;
  const auto path = folder / (std::string(broken.name) + ".yaml");
  write_file_atomically(path, broken.yaml);
  try {
    load_config<example::Config>(path);
    FAIL() << "nothing was thrown";
  } catch (const ConfigError& error) {
    const std::string message = error.what();
    EXPECT_EQ(error.code(), ExitCode::kUsage);
    EXPECT_TRUE(error.agreed());
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    EXPECT_LT(message.size(), 600u) << message;
    EXPECT_THAT(message, testing::StartsWith(path.string() + ":" + std::string(broken.place) + ": "));
    std::istringstream fragments{std::string(broken.fragments)};
    for (std::string fragment; std::getline(fragments, fragment, '|');) {
      EXPECT_THAT(message, testing::HasSubstr(fragment));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Files, BrokenConfig, testing::ValuesIn(broken_files()),
                         [](const auto& file) { return std::string(file.param.name); });

TEST(BrokenConfigs, AreManyAndDistinct) {
  std::set<std::string_view> texts;
  for (const auto& broken : broken_files()) texts.insert(broken.yaml);
  EXPECT_EQ(texts.size(), broken_files().size());
  EXPECT_GE(texts.size(), 60u);
}

TEST(BrokenConfigs, AssignmentsAreNamedAsTheyWereGiven) {
  const TempDir folder;
  write_file_atomically(folder / "a.yaml", "optimizer: {lr: 1e-3}\n");
  const auto message = [&](const std::string& assignment) -> std::string {
    try {
      load_config<example::Config>(folder / "a.yaml", {assignment});
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "nothing was thrown";
  };
  EXPECT_EQ(message("optimizer.lr=fast"),
            "--set optimizer.lr=fast: optimizer.lr: got 'fast', expected a number > 0; numbers are written 10, 0.5 or "
            "1e-3");
  EXPECT_THAT(message("optimizer.rl=1"),
              testing::AllOf(testing::StartsWith("--set optimizer.rl=1: optimizer.rl: unknown"),
                             testing::HasSubstr("did you mean lr?")));
  EXPECT_THAT(message("schedule.total.steps=5"), testing::HasSubstr("nothing was thrown"));
  EXPECT_THAT(message("optimizer.lr=0"), testing::HasSubstr("got 0, expected a number > 0"));
  EXPECT_THAT(message("schedule.warmup={steps: 5, epochs: 1}"), testing::HasSubstr("exactly one"));
}

}  // namespace
}  // namespace triptych
