// Text is put together by hand: there are no templates to load and nothing to run in the browser.
#include "data/tools/html_page.h"

#include <algorithm>
#include <cstdio>
#include <numeric>

#include "core/base/strings.h"
#include "data/formats/base64.h"
#include "data/formats/printable.h"

namespace triptych {
namespace {

constexpr std::size_t kMostBars = 48, kMostClasses = 40, kMostUnusable = 50;

constexpr const char* kHead = R"(<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<title>Corpora</title>
<style>
:root { color-scheme: light dark; --ground: #ffffff; --ink: #1c1f23; --quiet: #5d6570; --line: #d9dde2; --bar: #2f6fb2; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #15181c; --ink: #e6e8eb; --quiet: #9aa3ad; --line: #333a42; --bar: #6ea8e0; }
}
body { background: var(--ground); color: var(--ink); font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto;
  max-width: 72rem; padding: 0 1rem; }
h2 { border-top: 1px solid var(--line); margin-top: 2.5rem; padding-top: 1.5rem; }
h3 { font-size: 1rem; margin: 1.5rem 0 .4rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
td, th { border-bottom: 1px solid var(--line); font-weight: normal; padding: .15rem 1rem .15rem 0; text-align: left;
  vertical-align: top; overflow-wrap: anywhere; }
th { color: var(--quiet); white-space: nowrap; }
.histograms { display: grid; gap: .5rem 2rem; grid-template-columns: repeat(auto-fill, minmax(20rem, 1fr)); }
svg { height: auto; max-width: 100%; }
svg rect { fill: var(--bar); }
svg line { stroke: var(--line); }
svg text { fill: var(--quiet); font: 11px system-ui, sans-serif; }
.pictures { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); }
figure { margin: 0; }
figcaption { color: var(--quiet); font-size: 12px; overflow-wrap: anywhere; }
</style>
</head>
<body>
<h1>Corpora</h1>
)";

/// Foreign text as HTML: no markup, no control characters, at most 200 bytes or so.
std::string escaped(const std::string& text) {
  return html_text(printable(text));
}

std::string fixed(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.1f", value);
  return text;
}

std::string row(const std::string& name, const std::string& value) {
  return "<tr><th>" + name + "</th><td>" + value + "</td></tr>\n";
}

std::string text_at(double x, double y, const char* anchor, const std::string& text) {
  return "<text x=\"" + fixed(x) + "\" y=\"" + fixed(y) + "\" text-anchor=\"" + anchor + "\">" + text + "</text>\n";
}

/// Bars of the buckets, as many joined as needed for at most kMostBars; wider values, wider buckets.
std::string histogram_svg(const std::string& title, const Histogram& histogram, const std::string& unit) {
  int join = 1;
  while (histogram.buckets(join).size() > kMostBars) join *= 2;
  const auto buckets = histogram.buckets(join);
  constexpr double kWidth = 360, kHeight = 110, kBase = 90;
  std::int64_t most = 1;
  for (const auto& bucket : buckets) most = std::max(most, bucket.count);
  std::string svg = "<div><h3>" + title + "</h3>\n<svg viewBox=\"0 0 360 110\" width=\"" + fixed(kWidth) +
                    "\" height=\"" + fixed(kHeight) + "\" role=\"img\" aria-label=\"" + title + "\">\n" +
                    "<line x1=\"0\" y1=\"90.5\" x2=\"360\" y2=\"90.5\"/>\n";
  const double step = kWidth / static_cast<double>(std::max<std::size_t>(buckets.size(), 1));
  for (std::size_t i = 0; i < buckets.size(); ++i) {
    if (buckets[i].count == 0) continue;
    const double height = std::max(1.0, 84 * static_cast<double>(buckets[i].count) / static_cast<double>(most));
    const auto range = buckets[i].low == buckets[i].high
                           ? human_count(buckets[i].low)
                           : human_count(buckets[i].low) + " to " + human_count(buckets[i].high);
    svg += "<rect x=\"" + fixed(step * static_cast<double>(i)) + "\" y=\"" + fixed(kBase - height) + "\" width=\"" +
           fixed(std::max(1.0, step - 1)) + "\" height=\"" + fixed(height) + "\"><title>" + range + unit + ": " +
           human_count(buckets[i].count) + "</title></rect>\n";
  }
  if (!buckets.empty()) {
    svg += text_at(0, 106, "start", human_count(histogram.min()) + unit);
    svg += text_at(kWidth / 2, 106, "middle", "median " + human_count(histogram.quantile(0.5)));
    svg += text_at(kWidth, 106, "end", human_count(histogram.max()) + unit);
  }
  return svg + "</svg></div>\n";
}

/// One bar a class, the largest first.
std::string classes_svg(const CorpusPage& page) {
  const auto& counts = page.report.label_counts;
  std::vector<std::size_t> order(counts.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return counts[a] > counts[b]; });
  const auto shown = std::min(order.size(), kMostClasses);
  const auto most = std::max<std::int64_t>(shown == 0 ? 1 : counts[order.front()], 1);
  const auto height = fixed(18.0 * static_cast<double>(shown) + 4);
  std::string svg = "<h3>Classes, " + human_count(static_cast<std::int64_t>(shown)) + " of " +
                    human_count(static_cast<std::int64_t>(counts.size())) + "</h3>\n<svg viewBox=\"0 0 720 " + height +
                    "\" width=\"720\" height=\"" + height + "\" role=\"img\" aria-label=\"Records by class\">\n";
  for (std::size_t i = 0; i < shown; ++i) {
    const double y = 18.0 * static_cast<double>(i);
    const double length = 420 * static_cast<double>(counts[order[i]]) / static_cast<double>(most);
    svg += text_at(232, y + 14, "end", escaped(page.class_names[order[i]]));
    svg += "<rect x=\"240\" y=\"" + fixed(y + 3) + "\" width=\"" + fixed(length) + "\" height=\"14\"/>\n";
    svg += text_at(246 + length, y + 14, "start", human_count(counts[order[i]]));
  }
  return svg + "</svg>\n";
}

std::string numbers_table(const CorpusPage& page) {
  const auto& report = page.report;
  std::string out = "<table>\n" + row("kind", escaped(page.kind)) + row("records", human_count(report.records)) +
                    row("unusable", human_count(report.records - report.usable)) +
                    row("pictures equal to an earlier one", human_count(page.duplicates.records)) +
                    row("bytes of pictures", human_size(static_cast<std::uint64_t>(report.image_bytes.sum())));
  if (report.captions.count() > 0) out += row("captions", human_count(report.captions.sum()));
  if (!report.label_counts.empty()) {
    const auto empty = std::count(report.label_counts.begin(), report.label_counts.end(), 0);
    out += row("classes", human_count(static_cast<std::int64_t>(report.label_counts.size()))) +
           row("classes without a record", human_count(empty));
  }
  return out + "</table>\n";
}

std::string unusable_table(const CorpusReport& report) {
  if (report.unusable.empty()) return "";
  std::string out = "<h3>Unusable records</h3>\n<table>\n";
  for (const auto& [reason, count] : report.reasons) out += row(human_count(count), escaped(reason));
  out += "</table>\n<h3>The first of them</h3>\n<table>\n";
  for (std::size_t i = 0; i < std::min(report.unusable.size(), kMostUnusable); ++i) {
    const auto& bad = report.unusable[i];
    out += "<tr><td>" + human_count(bad.record) + "</td><td>" + escaped(bad.place.shard) + "</td><td>" +
           escaped(bad.place.key) + "</td><td>" + escaped(bad.reason) + "</td></tr>\n";
  }
  return out + "</table>\n";
}

std::string pictures_html(const std::vector<SmallPicture>& pictures) {
  std::string out = "<h3>Some of the pictures</h3>\n<div class=\"pictures\">\n";
  for (const auto& picture : pictures) {
    const auto text = escaped(picture.text);
    const std::string_view jpeg(reinterpret_cast<const char*>(picture.jpeg.data()), picture.jpeg.size());
    out += "<figure><img alt=\"" + text + "\" src=\"data:image/jpeg;base64," + encode_base64(jpeg) +
           "\"/><figcaption>" + human_count(picture.record) + " · " + std::to_string(picture.width) + " × " +
           std::to_string(picture.height) + "<br/>" + text + "</figcaption></figure>\n";
  }
  return out + "</div>\n";
}

std::string corpus_html(const CorpusPage& page) {
  const auto& report = page.report;
  std::string out = "<h2>" + escaped(page.name) + "</h2>\n" + numbers_table(page) + "<div class=\"histograms\">\n" +
                    histogram_svg("Width", report.width, " px") + histogram_svg("Height", report.height, " px") +
                    histogram_svg("Encoded picture", report.image_bytes, " B");
  if (report.captions.count() > 0) {
    out += histogram_svg("Captions of a record", report.captions, "") +
           histogram_svg("Words of a caption", report.caption_words, "") +
           histogram_svg("Bytes of a caption", report.caption_bytes, " B");
  }
  out += "</div>\n";
  if (!report.label_counts.empty()) out += classes_svg(page);
  return out + unusable_table(report) + pictures_html(page.pictures);
}

}  // namespace

std::string html_page(const std::vector<CorpusPage>& corpora) {
  std::string page = kHead;
  for (const auto& corpus : corpora) page += corpus_html(corpus);
  return page + "</body>\n</html>\n";
}

}  // namespace triptych
