// Reads one pair, plays its games, writes the page.
#include "apps/eval_explain.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "apps/captioned_picture.h"
#include "apps/explain_page.h"
#include "apps/explained_model.h"
#include "apps/result.h"
#include "core/base/atomic_file.h"
#include "core/base/log.h"
#include "core/base/random_key.h"
#include "core/module/keyed_random.h"
#include "core/train/run_environment.h"
#include "data/formats/printable.h"
#include "data/image/encode.h"
#include "distributed/launch.h"

namespace triptych {
namespace {

using Json = nlohmann::ordered_json;
constexpr std::int64_t kDefaultCoalitions = 64;

ByteSpan parsed_span(const std::string& text) {
  ByteSpan span;
  const char* const end = text.data() + text.size();
  const auto first = std::from_chars(text.data(), end, span.begin);
  const bool colon = first.ec == std::errc() && first.ptr != end && *first.ptr == ':';
  const auto second = colon ? std::from_chars(first.ptr + 1, end, span.end) : first;
  if (colon && second.ec == std::errc() && second.ptr == end) return span;
  throw ConfigError("eval explain: --phrase " + printable(text) +
                    " is not BEGIN:END, the bytes of a phrase in the caption, counted from 0; END is behind the last");
}

std::vector<ByteSpan> parsed_spans(const ExplainArguments& arguments) {
  std::vector<ByteSpan> spans;
  for (const auto& text : arguments.phrases) spans.push_back(parsed_span(text));
  if (spans.empty()) return spans;
  try {
    return phrases_of_caption(arguments.caption, std::move(spans)).spans;
  } catch (const DataError& error) {
    throw ConfigError(std::string("eval explain: --phrase: ") + error.what());
  }
}

CaptionedPicture chosen_picture(const ExplainArguments& arguments, const TrainConfig& measured, const BatchSpec& needs,
                                at::Device device) {
  const OwnWords own{arguments.caption, parsed_spans(arguments)};
  PictureReader reader(measured.data.decode, needs, device);
  if (!arguments.image.empty()) return reader.file(arguments.image, own);
  reader.open(captioned_corpus(measured, arguments.corpus_entry, "eval explain"));
  if (*arguments.record >= reader.records())
    throw ConfigError("eval explain: --record " + std::to_string(*arguments.record) + ": the corpus has " +
                      std::to_string(reader.records()) + " records, counted from 0");
  return reader.record(*arguments.record, own);
}

/// What one estimate a coalition says of each region.
struct Estimates {
  at::Tensor mean_M, error_M;
  std::int64_t forwards = 0;
};

/// A coalition and its complement are one draw: the error is that of the means of K / 2 pairs.
Estimates estimated(const RegionSamples& samples) {
  const at::Tensor each = samples.each_rK.to(at::kDouble);
  const std::int64_t pairs = each.size(1) / 2;
  const at::Tensor pair = (each.narrow(1, 0, pairs) + each.narrow(1, pairs, pairs)) / 2;
  return {pair.mean(1), pair.std(1, /*unbiased=*/true) / std::sqrt(static_cast<double>(pairs)), samples.image_forwards};
}

std::vector<std::vector<double>> number_rows(const at::Tensor& matrix) {
  const at::Tensor wide = matrix.to(at::kCPU, at::kDouble).contiguous();
  std::vector<std::vector<double>> rows;
  for (std::int64_t i = 0; i < wide.size(0); ++i) {
    const auto* row = wide.const_data_ptr<double>() + i * wide.size(1);
    rows.emplace_back(row, row + wide.size(1));
  }
  return rows;
}

double number_at(const at::Tensor& values, std::int64_t place) {
  return values[place].item<double>();
}

std::vector<ExplainedRegion> regions_of(const PairGames& games, const Estimates& estimates) {
  std::vector<ExplainedRegion> regions;
  for (std::int64_t i = 0; i < games.box_M4.size(0); ++i) {
    const at::Tensor box = games.box_M4[i];
    ExplainedRegion region{.left = number_at(box, 0),
                           .top = number_at(box, 1),
                           .right = number_at(box, 2),
                           .bottom = number_at(box, 3),
                           .confidence = number_at(games.confidence_M, i),
                           .cells = games.inside_Mk[i].sum().item<std::int64_t>(),
                           .interaction = number_at(estimates.mean_M, i),
                           .standard_error = number_at(estimates.error_M, i),
                           .guess = {},
                           .sigma = {}};
    if (games.guess_M.defined()) {
      region.guess = number_at(games.guess_M, i);
      region.sigma = number_at(games.sigma_M, i);
    }
    regions.push_back(region);
  }
  return regions;
}

std::string png_of(const at::Tensor& picture_hw3) {
  const at::Tensor pixels = picture_hw3.cpu().contiguous();
  const auto* bytes = pixels.const_data_ptr<std::uint8_t>();
  const auto encoded =
      encode_png({static_cast<int>(pixels.size(1)), static_cast<int>(pixels.size(0)), {bytes, bytes + pixels.numel()}});
  return {encoded.begin(), encoded.end()};
}

std::string words_text(const RegionSampling& how, std::int64_t words) {
  return how.text_samples == 0 ? "all coalitions of the " + std::to_string(words) + " word pieces"
                               : std::to_string(how.text_samples) + " coalitions of the " + std::to_string(words) +
                                     " word pieces at each coalition of cells";
}

std::string members_text(const RegionSampling& how) {
  return how.members == 0 ? "all cells of a region"
                          : "at most " + std::to_string(how.members) + " cells of a region, drawn for each coalition";
}

Json region_rows(const std::vector<ExplainedRegion>& regions) {
  Json rows = Json::array();
  for (const auto& region : regions) {
    Json row = {{"region", rows.size() + 1},
                {"left", region.left},
                {"top", region.top},
                {"right", region.right},
                {"bottom", region.bottom},
                {"confidence", region.confidence},
                {"cells", region.cells},
                {"interaction", region.interaction},
                {"standard_error", region.standard_error}};
    if (region.guess) row["network"] = *region.guess;
    if (region.sigma) row["uncertainty"] = *region.sigma;
    rows.push_back(row);
  }
  return rows;
}

Json phrase_rows(const CaptionedPicture& picture, std::size_t count) {
  Json rows = Json::array();
  for (std::size_t i = 0; i < count; ++i) {
    const auto& span = picture.phrases[i];
    rows.push_back({{"phrase", i + 1}, {"text", picture.words(i)}, {"begin", span.begin}, {"end", span.end}});
  }
  return rows;
}

Json pair_rows(const ExplainPage& page) {
  Json rows = Json::array();
  for (std::size_t i = 0; i < page.interaction_MP.size(); ++i) {
    for (std::size_t p = 0; p < page.interaction_MP[i].size(); ++p) {
      rows.push_back({{"region", i + 1},
                      {"phrase", p + 1},
                      {"similarity", page.similarity_MP[i][p]},
                      {"interaction", page.interaction_MP[i][p]}});
    }
  }
  return rows;
}

std::string note_on_phrases(const CaptionedPicture& picture, std::size_t playing) {
  if (picture.phrases.empty()) return "The caption has no phrases (" + picture.phrases_from + ").";
  std::string note = "Phrases: " + picture.phrases_from + ".";
  if (playing == 1)
    note += " Every region points to the only one, whatever it shows: training leaves such captions out.";
  if (playing < picture.phrases.size())
    note += " The first " + std::to_string(playing) + " of " + std::to_string(picture.phrases.size()) +
            " play, as in training.";
  return note;
}

}  // namespace

void check_explain_options(const EvalArguments& arguments) {
  const auto& a = arguments.explain;
  const auto refuse = [](const std::string& what) { throw ConfigError("eval explain: " + what); };
  if (arguments.what != "explain") {
    if (a.record || !a.corpus_entry.empty() || !a.image.empty() || !a.caption.empty() || !a.phrases.empty() ||
        a.coalitions > 0 || !a.out.empty())
      throw ConfigError("eval " + arguments.what +
                        ": --record, --corpus-entry, --image, --caption, --phrase, --coalitions and --out are for eval "
                        "explain");
    return;
  }
  if (arguments.batch > 0) refuse("--batch means nothing for one picture; remove it");
  if (a.out.empty()) refuse("--out names the page to write, which is missing");
  if (a.record.has_value() == !a.image.empty()) refuse("takes one of --record N and --image FILE");
  if (!a.image.empty() && a.caption.empty()) refuse("--image needs --caption TEXT");
  if (!a.image.empty() && !a.corpus_entry.empty()) refuse("--corpus-entry is for --record");
  if (!a.phrases.empty() && a.caption.empty()) refuse("--phrase counts bytes of --caption, which is missing");
  if (a.coalitions > 0 && (a.coalitions < 4 || a.coalitions % 2 != 0))
    refuse("--coalitions: antithetic coalitions come in pairs, and an error needs two of these; got " +
           std::to_string(a.coalitions) + ", expected an even number of at least 4");
}

ExitCode eval_explain(const EvalArguments& arguments, const TrainConfig& measured) {
  const auto& a = arguments.explain;
  Launch launch({.device = measured.train.device, .timeout_s = measured.train.timeout_s});
  const auto& place = launch.place();
  start_log(place.rank, place.size);
  if (place.size > 1) throw ConfigError("eval explain shows one picture in one process; start it without mpirun");
  log_warnings(prepare_computation(measured.train, place, launch.comm()));

  const auto loaded =
      load_explained_model(arguments.checkpoint, at::Device(place.device),
                           arguments.last_weights ? Weights::kLast : Weights::kAveraged, "eval explain");
  const auto picture = chosen_picture(a, measured, loaded.model.objective->needs(), at::Device(place.device));
  const auto games = loaded.encoders.explain(picture.pair);
  const auto playing = static_cast<std::size_t>(games.cosine_MP.size(1));
  if (!a.phrases.empty() && playing < picture.phrases.size())
    throw ConfigError("eval explain: got " + std::to_string(picture.phrases.size()) +
                      " --phrase, but the objective "
                      "lets " +
                      std::to_string(playing) + " phrases of a caption play; give fewer");
  const auto how = careful_sampling(games, a.coalitions > 0 ? a.coalitions : kDefaultCoalitions);
  const auto seed = static_cast<std::uint64_t>(loaded.trained.run.seed);
  const auto estimates = estimated(games.sample(how, keyed_generator(random_key(seed, Purpose::kCoalition), at::kCPU)));

  ExplainPage page;
  page.png = png_of(picture.pair.images[0]);
  page.caption = picture.caption;
  for (std::size_t i = 0; i < playing; ++i) page.phrases.push_back({picture.phrases[i].begin, picture.phrases[i].end});
  page.phrase_note = note_on_phrases(picture, playing);
  page.regions = regions_of(games, estimates);
  page.similarity_MP = number_rows(games.cosine_MP);
  page.interaction_MP = number_rows(exact_interactions(games));
  page.cell_similarity_Tk = number_rows(games.cell_cosine_Tk);

  Json result = {{"checkpoint", loaded.checkpoint.folder.string()},
                 {"run", loaded.trained.run.name},
                 {"step", loaded.checkpoint.manifest.step},
                 {"weights", loaded.trained.train.ema && !arguments.last_weights ? "averaged" : "last"},
                 {"picture", picture.place},
                 {"caption", picture.caption},
                 {"phrases_from", picture.phrases_from},
                 {"similarity_of_both", games.cosine.item<double>()},
                 {"coalitions", how.coalitions},
                 {"words", words_text(how, games.words)},
                 {"single_cells", members_text(how)},
                 {"image_forwards", estimates.forwards},
                 {"phrase_temperature", games.phrase_game.temperature},
                 {"absent_phrases", games.phrase_game.absent == AbsentPlayers::kFixed ? "fixed" : "renormalised"}};
  for (const auto& [key, value] : result.items()) {
    std::string name = key;
    std::replace(name.begin(), name.end(), '_', ' ');
    page.settings.emplace_back(name, value.is_string() ? value.get<std::string>() : value.dump());
  }
  write_file_atomically(a.out, explain_page(page));
  result["page"] = a.out;
  result["phrases"] = phrase_rows(picture, playing);
  result["regions"] = region_rows(page.regions);
  result["pairs"] = pair_rows(page);
  if (arguments.format == Format::kJson) result["cells"] = page.cell_similarity_Tk;  // hundreds of numbers
  print_result(result, arguments.format);
  return ExitCode::kDone;
}

}  // namespace triptych
