// The stages of a row. Nothing here knows of threads, ranks or batches.
#include "data/row_maker.h"

#include <chrono>

#include "core/base/clock.h"
#include "core/base/errors.h"
#include "core/base/random_key.h"
#include "data/formats/printable.h"
#include "data/formats/record_error.h"
#include "data/image/augment.h"
#include "data/image/decode.h"
#include "data/sample_id.h"
#include "data/text/prompts.h"

namespace triptych {
namespace {

/// Adds the time since the last call to `sum`.
class StageClock {
 public:
  void add_to(std::atomic<std::int64_t>& sum) {
    const auto now = Clock::now();
    sum += std::chrono::duration_cast<std::chrono::nanoseconds>(now - last_).count();
    last_ = now;
  }
  void skip() { last_ = Clock::now(); }

 private:
  Clock::time_point last_ = Clock::now();
};

std::uint64_t as_word(std::int64_t n) {
  return static_cast<std::uint64_t>(n);
}

bool has_classes(const Corpus& corpus) {
  return !corpus.class_names().empty();
}

void check_spec(const CorpusSet& corpora, const BatchSpec& spec) {
  if (spec.views < 1 || spec.captions < 1 || spec.image_size < 1) {
    throw std::invalid_argument("BatchSpec: views, captions and image_size must be at least 1");
  }
  if (spec.text && spec.form.context < 2) throw ConfigError("model.text.context: at least 2 tokens are needed");
  for (const auto& corpus : corpora.corpora()) {
    if (spec.labels && !has_classes(*corpus)) {
      throw ConfigError(
          "corpus " + printable(corpus->config().name) +
          ": the objective needs a label for every record, but this corpus is image_text; leave it out or "
          "choose an objective that takes captions");
    }
  }
}

void check_mix(const CorpusSet& corpora, const BatchSpec& spec) {
  constexpr const char* kRemedy = "; set data.augment.mix.mixup_alpha and cutmix_alpha to 0";
  if (!spec.mixed_labels)
    throw ConfigError(std::string("data.augment.mix: the objective does not take rows of two labels") + kRemedy);
  for (const auto& corpus : corpora.corpora()) {
    if (has_classes(*corpus)) continue;
    throw ConfigError("data.augment.mix: corpus " + printable(corpus->config().name) +
                      " has no labels, and a picture of two captions has no caption" + kRemedy);
  }
}

}  // namespace

RowMaker::RowMaker(const CorpusSet& corpora, const DataConfig& config, const BatchSpec& spec, std::uint64_t seed)
    : corpora_(corpora),
      augment_(config.augment),
      mix_(mix_settings(config.augment)),
      decode_(config.decode),
      spec_(spec),
      seed_(seed),
      phrases_(corpora, spec) {
  check_spec(corpora, spec);
  if (mixes()) check_mix(corpora, spec);
  if (!spec.text) return;
  tokenizer_ = make_tokenizer(spec.form.tokenizer, spec.form.clean);
  prompts_ = load_prompts(config.prompts);
}

void RowMaker::make(std::int64_t position, const Draw& draw, const RowTarget& target,
                    std::vector<BadRecord>& bad) const {
  const auto& corpus = *corpora_.corpora()[static_cast<std::size_t>(draw.corpus)];
  auto record = draw.record;
  for (std::int64_t attempt = 0; attempt < kMostAttempts; ++attempt) {
    if (attempt > 0) {
      const auto key = random_key(seed_, Purpose::kReplacement, {as_word(position), as_word(attempt)});
      record = RandomStream(key).below(corpus.size());
    }
    const auto sample_id = sample_id_of(draw.corpus, record);
    try {
      fill(position, draw.corpus, record, target);
      target.sample_id = sample_id;
      ++rows_;
      return;
    } catch (const DataError& error) {
      const auto* known = dynamic_cast<const RecordError*>(&error);
      const auto place = known ? known->place() : corpus.place(record);
      bad.push_back({sample_id, position, corpus.config().name, place.shard, place.key,
                     known ? known->reason() : error.what(), place.offset});
    }
  }
  const auto& last = bad.back();
  const auto what = "corpus " + printable(corpus.config().name) + ": none of " + std::to_string(kMostAttempts) +
                    " records tried for position " + std::to_string(position) + " can be used; the last was " +
                    printable(last.shard) + ", key '" + printable(last.key) + "': " + last.reason +
                    "; look at the corpus with `triptych data verify`";
  throw NoUsableRecord(what, bad);
}

void RowMaker::fill(std::int64_t position, int corpus, std::int64_t index, const RowTarget& target) const {
  StageClock clock;
  const auto record = corpora_.corpora()[static_cast<std::size_t>(corpus)]->read(index);
  bytes_ += static_cast<std::int64_t>(record.image.size());
  clock.add_to(read_ns_);
  write_views(record, position, target.images);
  clock.skip();
  target.label = record.label < 0 ? kNoLabel : corpora_.global_label(corpus, record.label);
  if (spec_.text) write_tokens(record, target.label, position, target.tokens);
  target.phrases.clear();  // those of a record that this one stands for
  for (int text = 0; spec_.phrases && !record.captions.empty() && text < spec_.captions; ++text) {
    const auto caption = drawn_caption(record, position, text);
    for (const auto& pieces : phrases_.places(corpus, index, caption, record.captions[caption]))
      target.phrases.push_back({text, pieces});
  }
  clock.add_to(text_ns_);
}

void RowMaker::write_views(const Record& record, std::int64_t position, std::span<std::uint8_t> out) const {
  StageClock clock;
  const auto size = static_cast<int>(spec_.image_size);
  std::vector<ViewGeometry> views;
  const auto needs = [&](Size whole) {
    std::vector<PixelNeed> all;
    for (int view = 0; view < spec_.views; ++view) {
      views.push_back(training_geometry(whole, augment_, size, {seed_, position, view}));
      all.push_back({views.back().region, views.back().scaled});
    }
    return all;
  };
  const auto part = decode_part(record.image, decode_, needs);
  if (part.denominator > 1) ++reduced_;
  clock.add_to(decode_ns_);
  const auto pixels = out.size() / views.size();
  for (std::size_t view = 0; view < views.size(); ++view)
    resize_view(part, views[view], out.subspan(view * pixels, pixels));
  clock.add_to(resize_ns_);
  for (std::size_t view = 0; view < views.size(); ++view)
    change_colors(augment_, size, {seed_, position, static_cast<int>(view)}, out.subspan(view * pixels, pixels));
  clock.add_to(color_ns_);
}

MixPlan RowMaker::mix(std::int64_t position, std::int64_t rows, std::span<std::uint8_t> images) const {
  const auto size = static_cast<int>(spec_.image_size);
  RandomStream draws(random_key(seed_, Purpose::kMix, {as_word(position)}));
  auto plan = draw_mix(mix_, rows, {size, size}, draws);
  mix_rows(plan, {size, size}, images);
  return plan;
}

void RowMaker::write_tokens(const Record& record, std::int64_t label, std::int64_t position,
                            std::span<std::int64_t> out) const {
  const auto context = static_cast<std::size_t>(spec_.form.context);
  for (int caption = 0; caption < spec_.captions; ++caption) {
    const auto row = out.subspan(static_cast<std::size_t>(caption) * context, context);
    if (record.captions.empty()) {
      tokenizer_->encode_row(prompt(label, position, caption), row);
      continue;
    }
    tokenizer_->encode_row(record.captions[drawn_caption(record, position, caption)], row);
  }
}

/// Several captions of one row differ as long as the record has enough of them.
std::size_t RowMaker::drawn_caption(const Record& record, std::int64_t position, int text) const {
  const auto known = static_cast<std::int64_t>(record.captions.size());
  const KeyedPermutation drawn(random_key(seed_, Purpose::kCaption, {as_word(position)}), known);
  return static_cast<std::size_t>(drawn(text % known));
}

/// One of the class's names in one of the templates (UniCL: one template uniformly at random per sample, one name at
/// random where a class has several).
std::string RowMaker::prompt(std::int64_t label, std::int64_t position, int caption) const {
  RandomStream draws(random_key(seed_, Purpose::kPrompt, {as_word(position), static_cast<std::uint64_t>(caption)}));
  const auto& names = corpora_.class_names()[static_cast<std::size_t>(label)];
  const auto& name = names[static_cast<std::size_t>(draws.below(static_cast<std::int64_t>(names.size())))];
  const auto& prompt = prompts_[static_cast<std::size_t>(draws.below(static_cast<std::int64_t>(prompts_.size())))];
  return fill_prompt(prompt, clean_class_name(name));
}

StageTimes RowMaker::times() const {
  const auto seconds = [](const std::atomic<std::int64_t>& ns) { return static_cast<double>(ns.load()) * 1e-9; };
  return {seconds(read_ns_), seconds(decode_ns_), seconds(resize_ns_), seconds(color_ns_),
          seconds(text_ns_), bytes_.load(),       rows_.load(),        reduced_.load()};
}

}  // namespace triptych
