// Text is put together by hand: there are no templates to load and nothing to run in the browser.
#include "apps/explain_page.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <limits>
#include <numeric>

#include "core/base/strings.h"
#include "data/formats/base64.h"
#include "data/formats/printable.h"

namespace triptych {
namespace {

/// Light enough for dark digits on them; a black edge tells them apart from any picture.
constexpr std::array kRegionColours = {"#f2a33a", "#5ab4f0", "#35c28f", "#f4e04d",
                                       "#b79bf5", "#ff8a6b", "#f09ccb", "#d3d6da"};
constexpr double kPicture = 400;  ///< units of the large picture's side

constexpr const char* kPageHead = R"(<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<title>Regions and phrases</title>
<style>
:root { color-scheme: light dark; --ground: #ffffff; --ink: #1c1f23; --quiet: #5d6570; --line: #d9dde2;
  --plus: 74 144 205; --minus: 222 110 75; --rule: #8d96a0; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #15181c; --ink: #e6e8eb; --quiet: #9aa3ad; --line: #333a42;
    --plus: 44 104 165; --minus: 168 70 45; --rule: #77818c; }
}
body { background: var(--ground); color: var(--ink); font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto;
  max-width: 74rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: .5rem; }
h2 { border-top: 1px solid var(--line); font-size: 1.15rem; margin-top: 2rem; padding-top: 1.2rem; }
h3 { font-size: 1rem; margin: 0 0 .4rem; }
p { max-width: 46rem; }
.note, figcaption { color: var(--quiet); font-size: 13px; }
.caption { font-size: 1.25rem; }
.caption mark { background: none; border-bottom: 3px solid rgb(var(--plus)); color: inherit; }
sup { font-size: .65em; margin-left: .15em; }
.columns { align-items: flex-start; display: flex; flex-wrap: wrap; gap: 1.5rem 2rem; }
.columns > * { max-width: 100%; overflow-x: auto; }
.picture { flex: 0 1 25rem; margin: 0; }
svg { display: block; height: auto; max-width: 100%; }
td svg { max-width: none; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
td, th { border-bottom: 1px solid var(--line); font-weight: normal; padding: .25rem .6rem .25rem 0;
  text-align: left; }
th { color: var(--quiet); font-size: 13px; vertical-align: bottom; }
td.number, th.number { text-align: right; white-space: nowrap; }
.matrix td { border: 2px solid var(--ground); font-size: 14px; min-width: 3.4rem; padding: .35rem .5rem;
  text-align: right; }
.matrix td:first-child { border-color: transparent; min-width: 0; text-align: left; }
.matrix th { max-width: 5.5rem; overflow-wrap: anywhere; padding: 0 .5rem .3rem; text-align: right; }
.plus { background: rgb(var(--plus) / var(--a)); }
.minus { background: rgb(var(--minus) / var(--a)); }
.scale { display: flex; font-size: 13px; gap: .6rem; margin-top: .5rem; color: var(--quiet); align-items: center; }
.scale span.bar { border: 1px solid var(--line); display: inline-block; height: .8rem; width: 9rem; }
.both { background: linear-gradient(to right, rgb(var(--minus)), transparent, rgb(var(--plus))); }
.rising { background: linear-gradient(to right, transparent, rgb(var(--plus))); }
.chip { border: 1px solid #000; border-radius: 50%; color: #111; display: inline-block; font-size: 12px;
  font-weight: 600; height: 1.3rem; line-height: 1.3rem; text-align: center; width: 1.3rem; }
.maps { display: grid; gap: 1rem 1.2rem; grid-template-columns: repeat(auto-fill, minmax(11rem, 1fr)); }
figure { margin: 0; }
.above { fill: rgb(var(--plus)); }
.below { fill: rgb(var(--minus)); }
.axis { stroke: var(--rule); }
.error { stroke: var(--ink); stroke-width: 1.5; }
.guess { fill: none; stroke: var(--ink); stroke-width: 1.5; }
.settings th { white-space: nowrap; }
.settings td { overflow-wrap: anywhere; }
</style>
</head>
<body>
)";

/// Foreign text without markup and control characters; nothing is cut.
std::string shown(const std::string& text) {
  return html_text(printable_whole(text));
}

std::string decimals(double value, int digits) {
  char text[64];
  std::snprintf(text, sizeof(text), "%.*f", digits, std::fabs(value));
  // A minus only before what is not all zeros, and as wide as a digit.
  const bool zero = std::string(text).find_first_of("123456789") == std::string::npos;
  return (value < 0 && !zero ? "\u2212" : "") + std::string(text);
}

std::string plain(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.2f", value);
  return text;
}

/// Digits behind the point that show the greatest value to three places.
int digits_for(double greatest) {
  if (!(greatest > 0) || !std::isfinite(greatest)) return 3;
  return std::clamp(2 - static_cast<int>(std::floor(std::log10(greatest))), 0, 8);
}

/// Of what is finite; 0 without any.
double greatest_size(const std::vector<std::vector<double>>& rows) {
  double greatest = 0;
  for (const auto& row : rows) {
    for (const auto value : row)
      if (std::isfinite(value)) greatest = std::max(greatest, std::fabs(value));
  }
  return greatest;
}

/// Opacity of a value between none and full; what is not finite has no colour.
double opacity(double value, double full) {
  return std::isfinite(value) && full > 0 ? std::clamp(value / full, 0.0, 1.0) : 0;
}

std::string chip(std::size_t region) {
  return "<span class=\"chip\" style=\"background: " + std::string(kRegionColours[region % kRegionColours.size()]) +
         "\">" + std::to_string(region + 1) + "</span>";
}

std::string caption_html(const ExplainPage& page) {
  std::vector<std::size_t> order(page.phrases.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](auto a, auto b) { return page.phrases[a].begin < page.phrases[b].begin; });
  std::string out = "<p class=\"caption\">";
  std::size_t at = 0;
  for (const auto i : order) {
    const auto& phrase = page.phrases[i];
    if (phrase.begin < at) continue;  // inside another one; the tables name it
    out += shown(page.caption.substr(at, phrase.begin - at)) + "<mark>" +
           shown(page.caption.substr(phrase.begin, phrase.end - phrase.begin)) + "<sup>" + std::to_string(i + 1) +
           "</sup></mark>";
    at = phrase.end;
  }
  return out + shown(page.caption.substr(at)) + "</p>\n<p class=\"note\">" + shown(page.phrase_note) + "</p>\n";
}

/// Defines #picture, a square of side 1, which the maps use again.
std::string boxes_svg(const ExplainPage& page) {
  std::string svg =
      "<svg viewBox=\"0 0 400 400\" width=\"400\" role=\"img\" aria-label=\"The picture with its "
      "regions\">\n<g transform=\"scale(400)\"><image id=\"picture\" width=\"1\" height=\"1\" "
      "href=\"data:image/png;base64," +
      encode_base64(page.png) + "\"/></g>\n";
  const auto rect = [](const ExplainedRegion& box, const std::string& style) {
    return "<rect x=\"" + plain(kPicture * box.left) + "\" y=\"" + plain(kPicture * box.top) + "\" width=\"" +
           plain(kPicture * (box.right - box.left)) + "\" height=\"" + plain(kPicture * (box.bottom - box.top)) +
           "\" fill=\"none\" " + style + "/>\n";
  };
  for (std::size_t i = page.regions.size(); i-- > 0;) {  // the most confident on top
    const std::string colour = kRegionColours[i % kRegionColours.size()];
    svg += rect(page.regions[i], "stroke=\"#000\" stroke-width=\"5\" stroke-opacity=\"0.6\"");
    svg += rect(page.regions[i], "stroke=\"" + colour + "\" stroke-width=\"2.5\"");
  }
  for (std::size_t i = page.regions.size(); i-- > 0;) {
    const auto& box = page.regions[i];
    const auto x = plain(kPicture * (box.left + box.right) / 2);
    const double y = kPicture * (box.top + box.bottom) / 2;
    svg += "<circle cx=\"" + x + "\" cy=\"" + plain(y) + "\" r=\"10\" fill=\"" +
           kRegionColours[i % kRegionColours.size()] +
           "\" stroke=\"#000\"/><text fill=\"#111\" font-size=\"12\" font-weight=\"600\" font-family=\"sans-serif\" "
           "text-anchor=\"middle\" x=\"" +
           x + "\" y=\"" + plain(y + 4.3) + "\">" + std::to_string(i + 1) + "</text>\n";
  }
  return svg + "</svg>\n";
}

/// Where a number lies between the ends of a bar chart.
struct Axis {
  double low = 0, high = 0;
  static constexpr double kWidth = 150;
  void take(double value) {
    if (!std::isfinite(value)) return;
    low = std::min(low, value);
    high = std::max(high, value);
  }
  double place(double value) const { return high > low ? 2 + (kWidth - 4) * (value - low) / (high - low) : 2; }
};

Axis interaction_axis(const std::vector<ExplainedRegion>& regions) {
  Axis axis;
  for (const auto& region : regions) {
    axis.take(region.interaction + region.standard_error);
    axis.take(region.interaction - region.standard_error);
    if (region.guess) axis.take(*region.guess);
  }
  return axis;
}

std::string bar_svg(const ExplainedRegion& region, const Axis& axis) {
  std::string svg = "<svg viewBox=\"0 0 150 18\" width=\"150\" height=\"18\" role=\"img\" aria-label=\"interaction\">";
  const double zero = axis.place(0);
  if (std::isfinite(region.interaction)) {
    const double end = axis.place(region.interaction);
    svg += "<rect class=\"" + std::string(region.interaction < 0 ? "below" : "above") + "\" x=\"" +
           plain(std::min(zero, end)) + "\" y=\"3\" width=\"" + plain(std::fabs(end - zero)) + "\" height=\"12\"/>";
    if (std::isfinite(region.standard_error))
      svg += "<line class=\"error\" x1=\"" + plain(axis.place(region.interaction - region.standard_error)) +
             "\" x2=\"" + plain(axis.place(region.interaction + region.standard_error)) + "\" y1=\"9\" y2=\"9\"/>";
  }
  if (region.guess && std::isfinite(*region.guess))
    svg += "<circle class=\"guess\" cx=\"" + plain(axis.place(*region.guess)) + "\" cy=\"9\" r=\"4\"/>";
  return svg + "<line class=\"axis\" x1=\"" + plain(zero) + "\" x2=\"" + plain(zero) + "\" y1=\"0\" y2=\"18\"/></svg>";
}

std::string regions_table(const std::vector<ExplainedRegion>& regions) {
  const bool network = std::any_of(regions.begin(), regions.end(), [](const auto& r) { return r.guess.has_value(); });
  const auto axis = interaction_axis(regions);
  const int digits = digits_for(std::max(-axis.low, axis.high));
  std::string out =
      "<table>\n<tr><th></th><th class=\"number\">confidence</th><th class=\"number\">cells</th><th></th>"
      "<th class=\"number\">interaction</th>";
  if (network) out += "<th class=\"number\">network</th><th class=\"number\">uncertainty</th>";
  out += "</tr>\n";
  const auto number = [](const std::string& text) { return "<td class=\"number\">" + text + "</td>"; };
  for (std::size_t i = 0; i < regions.size(); ++i) {
    const auto& region = regions[i];
    out += "<tr><td>" + chip(i) + "</td>" + number(decimals(region.confidence, 3)) +
           number(std::to_string(region.cells)) + "<td>" + bar_svg(region, axis) + "</td>" +
           number(decimals(region.interaction, digits) + " \u00b1 " + decimals(region.standard_error, digits));
    if (region.guess) out += number(decimals(*region.guess, digits));
    if (region.sigma) out += number(decimals(*region.sigma, 3));
    out += "</tr>\n";
  }
  return out + "</table>\n";
}

enum class Colours { kBoth, kRising };

/// Regions in rows, phrases in columns.
std::string matrix_html(const ExplainPage& page, const std::string& title,
                        const std::vector<std::vector<double>>& value_MP, Colours colours) {
  const double greatest = greatest_size(value_MP);
  double low = std::numeric_limits<double>::infinity(), high = -low;
  for (const auto& row : value_MP) {
    for (const auto value : row) {
      if (!std::isfinite(value)) continue;
      low = std::min(low, value);
      high = std::max(high, value);
    }
  }
  const int digits = digits_for(greatest);
  std::string out = "<div><h3>" + title + "</h3>\n<table class=\"matrix\">\n<tr><th></th>";
  for (std::size_t p = 0; p < page.phrases.size(); ++p) {
    const auto& phrase = page.phrases[p];
    out += "<th>" + shown(page.caption.substr(phrase.begin, phrase.end - phrase.begin)) + "<sup>" +
           std::to_string(p + 1) + "</sup></th>";
  }
  out += "</tr>\n";
  for (std::size_t i = 0; i < value_MP.size(); ++i) {
    out += "<tr><td>" + chip(i) + "</td>";
    for (const auto value : value_MP[i]) {
      const bool rising = colours == Colours::kRising;
      const double share = rising ? opacity(value - low, high - low) : opacity(std::fabs(value), greatest);
      out += std::string("<td class=\"") + (rising || value >= 0 ? "plus" : "minus") +
             "\" style=\"--a: " + plain(share) + "\">" + decimals(value, digits) + "</td>";
    }
    out += "</tr>\n";
  }
  const auto ends = colours == Colours::kRising ? std::pair(low, high) : std::pair(-greatest, greatest);
  return out + "</table>\n<div class=\"scale\">" + decimals(ends.first, digits) + "<span class=\"bar " +
         (colours == Colours::kRising ? "rising" : "both") + "\"></span>" + decimals(ends.second, digits) +
         "</div></div>\n";
}

/// One text's similarity to each cell, over the picture in grey.
std::string map_html(const std::vector<double>& value_k, const std::string& words) {
  const auto side = static_cast<std::size_t>(std::lround(std::sqrt(static_cast<double>(value_k.size()))));
  const auto side_text = std::to_string(side);
  const double mean = std::accumulate(value_k.begin(), value_k.end(), 0.0) / static_cast<double>(value_k.size());
  double furthest = 0;
  for (const auto value : value_k) furthest = std::max(furthest, std::fabs(value - mean));
  const auto [low, high] = std::minmax_element(value_k.begin(), value_k.end());
  std::string out = "<figure><svg viewBox=\"0 0 " + side_text + " " + side_text +
                    "\" width=\"240\" role=\"img\" aria-label=\"" + words + "\">\n<g transform=\"scale(" + side_text +
                    ")\"><use href=\"#picture\" style=\"filter: grayscale(1)\"/></g>\n";
  for (std::size_t k = 0; k < value_k.size(); ++k) {
    out += "<rect class=\"" + std::string(value_k[k] < mean ? "below" : "above") + "\" x=\"" +
           std::to_string(k % side) + "\" y=\"" + std::to_string(k / side) + "\" width=\"1\" height=\"1\" opacity=\"" +
           plain(0.85 * opacity(std::fabs(value_k[k] - mean), furthest)) + "\"><title>" + decimals(value_k[k], 3) +
           "</title></rect>\n";
  }
  return out + "</svg>\n<figcaption>" + words + "<br/>" + decimals(*low, 3) + " to " + decimals(*high, 3) +
         "<br/>mean " + decimals(mean, 3) + "</figcaption></figure>\n";
}

std::string maps_html(const ExplainPage& page) {
  std::string out = "<div class=\"maps\">\n";
  for (std::size_t t = 0; t < page.cell_similarity_Tk.size(); ++t) {
    std::string words = "the whole caption";
    if (t > 0) {
      const auto& phrase = page.phrases[t - 1];
      words = std::to_string(t) + " " + shown(page.caption.substr(phrase.begin, phrase.end - phrase.begin));
    }
    out += map_html(page.cell_similarity_Tk[t], words);
  }
  return out + "</div>\n";
}

constexpr const char* kAboutRegions = R"(<h2>Regions</h2>
<p>The model lays a box around each cell of the picture and says how sure it is that the box holds one thing: its
confidence, which knows nothing of the caption. The most confident boxes are shown. The interaction is how much more the
cells of a region do together, for the likeness of picture and caption, than each of them does alone, averaged over what
else of picture and caption is there (equation 7 of arXiv:2208.02515). Training draws confidence towards it. ± is one
standard error of the sampler, at most: its coalitions are spread more evenly than the error knows.)";
constexpr const char* kAboutNetwork = R"(
The circle is what the network guesses instead of sampling; its uncertainty is how often training asks the sampler.)";
constexpr const char* kAboutPairs = R"(<h2>Regions and phrases</h2>
<p>Similarity is the cosine of a region and a phrase. Interaction is how much more the two are worth together than
apart, averaged over which other regions and phrases are there (equation 10, exactly); a set of regions and phrases is
worth how surely each one in it points to one of the others. Blue: each is worth more where the other is there; orange:
less.</p>
)";
constexpr const char* kAboutCells = R"(<h2>Cells</h2>
<p>Cosine of each cell with a text, without any region. Colour is the distance from the map's own mean: blue above it,
orange below.</p>
)";

}  // namespace

std::string explain_page(const ExplainPage& page) {
  const bool network =
      std::any_of(page.regions.begin(), page.regions.end(), [](const auto& r) { return r.guess.has_value(); });
  std::string out = kPageHead;
  out += "<h1>Regions and phrases of one picture</h1>\n" + caption_html(page);
  out += std::string(kAboutRegions) + (network ? kAboutNetwork : "") +
         "</p>\n<div class=\"columns\">\n<figure class=\"picture\">" + boxes_svg(page) + "</figure>\n<div>" +
         regions_table(page.regions) + "</div>\n</div>\n";
  if (!page.phrases.empty())
    out += kAboutPairs +
           ("<div class=\"columns\">\n" + matrix_html(page, "Interaction", page.interaction_MP, Colours::kBoth) +
            matrix_html(page, "Similarity", page.similarity_MP, Colours::kRising) + "</div>\n");
  out += kAboutCells + maps_html(page) + "<h2>Where this comes from</h2>\n<table class=\"settings\">\n";
  for (const auto& [name, value] : page.settings)
    out += "<tr><th>" + shown(name) + "</th><td>" + shown(value) + "</td></tr>\n";
  return out + "</table>\n</body>\n</html>\n";
}

}  // namespace triptych
