// Style, body and script of the page, and the hashes that let them run.
#include "distributed/launcher/monitor_page.h"

#include <sodium.h>

#include <string_view>

namespace triptych {
namespace {

constexpr std::string_view kPageStyle = R"css(
:root { color-scheme: light dark; --ground: #f5f6f8; --card: #fff; --ink: #1c2330; --soft: #667085; --line: #e3e6ec;
  --accent: #2a63d6; --busy: #2a63d6; --data: #e09a1b; --wait: #c3cad6; --good: #1a7f4b; --warn: #b26a00;
    --bad: #c02f37; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #10141b; --card: #181e28; --ink: #e8ebf1; --soft: #98a3b5; --line: #2a3240;
    --accent: #7aa7ff; --busy: #5b8ff0; --data: #d99a2b; --wait: #465064; --good: #58c48a; --warn: #e8b04a;
    --bad: #f2777e; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 15px/1.45 system-ui, -apple-system, "Segoe UI",
  Roboto, "DejaVu Sans", sans-serif; font-variant-numeric: tabular-nums; }
main, header { max-width: 1480px; margin: 0 auto; padding: 0 clamp(12px, 2.5vw, 32px); }
header { padding-top: 22px; }
h1 { display: inline; font-size: 22px; margin: 0 10px 0 0; letter-spacing: -.01em; overflow-wrap: anywhere; }
h2 { font-size: 13px; font-weight: 600; color: var(--soft); margin: 0 0 12px; }
.pill { display: inline-block; vertical-align: 3px; padding: 2px 11px; border-radius: 99px; font-size: 13px;
  font-weight: 600; color: var(--soft); border: 1px solid currentColor; }
.pill.training { color: var(--good); } .pill.restarting, .pill.stopping { color: var(--warn); }
.pill.gone { color: var(--bad); }
.soft { color: var(--soft); overflow-wrap: anywhere; }
#gone { margin-top: 14px; padding: 10px 14px; border-radius: 8px; border: 1px solid var(--bad); color: var(--bad);
  font-weight: 600; }
.lost main { opacity: .5; }
.headline { display: flex; flex-wrap: wrap; gap: 2px 22px; align-items: baseline; margin-top: 18px; }
#steps { font-size: clamp(24px, 4vw, 34px); font-weight: 650; letter-spacing: -.02em; }
.track { height: 8px; border-radius: 4px; background: var(--line); overflow: hidden; margin: 10px 0 20px; }
#progress { height: 100%; width: 0; border-radius: 4px; background: var(--accent); }
.tiles, .columns, #ranks { display: grid; gap: 14px; }
.tiles { grid-template-columns: repeat(auto-fit, minmax(128px, 1fr)); margin-bottom: 14px; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 14px 16px; min-width: 0; }
.tile { padding: 12px 14px; position: relative; overflow: hidden; }
.tile b { display: block; font-size: 21px; font-weight: 620; letter-spacing: -.01em; }
.tile span { font-size: 13px; color: var(--soft); }
@media (max-width: 979px) { .tile:first-child { grid-column: span 2; } }
#spark { position: absolute; right: 0; bottom: 0; width: 55%; height: 55%; opacity: .55; }
.columns { grid-template-columns: 1fr; margin-bottom: 14px; }
@media (min-width: 980px) { .columns { grid-template-columns: 3fr 2fr; } }
svg { display: block; width: 100%; overflow: visible; }
svg text { fill: var(--soft); font-size: 12px; }
#loss { height: 260px; } .grid { stroke: var(--line); }
.raw { stroke: var(--accent); opacity: .28; } .smooth { stroke: var(--accent); }
path { fill: none; stroke-width: 1.6; vector-effect: non-scaling-stroke; stroke-linejoin: round; }
#ranks { grid-template-columns: repeat(auto-fill, minmax(min(100%, 290px), 1fr)); gap: 12px 24px; max-height: 380px;
  overflow: auto; }
.rank .names { display: flex; gap: 8px; justify-content: space-between; font-size: 13px; }
.rank .who { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.rank .how { color: var(--soft); white-space: nowrap; } .rank.slow .how { color: var(--warn); }
.rank.silent .how, .rank.gone .how { color: var(--bad); font-weight: 600; }
.bar { display: flex; height: 10px; border-radius: 5px; overflow: hidden; background: var(--line); margin-top: 4px; }
.rank.gone .bar, .rank.silent .bar { opacity: .35; }
.busy { background: var(--busy); } .data { background: var(--data); } .wait { background: var(--wait); }
.legend { display: flex; flex-wrap: wrap; gap: 4px 16px; font-size: 13px; color: var(--soft); margin: 0 0 12px; }
.legend i { display: inline-block; width: 10px; height: 10px; border-radius: 3px; margin-right: 6px; }
ol { list-style: none; margin: 0; padding: 0; max-height: 300px; overflow: auto; }
li { display: flex; gap: 12px; padding: 5px 0; border-top: 1px solid var(--line); font-size: 14px;
  overflow-wrap: anywhere; }
li:first-child { border-top: 0; } li span { color: var(--soft); white-space: nowrap; }
footer { padding: 4px 0 26px; font-size: 13px; }
)css";

constexpr std::string_view kPageBody = R"html(
<header><h1 id="run">Triptych</h1><span class="pill" id="state">connecting</span>
<div class="soft" id="facts"></div><div id="gone" role="alert" hidden></div></header>
<main>
<div class="headline"><div id="steps">...</div><div class="soft" id="eta"></div></div>
<div class="track"><div id="progress"></div></div>
<div class="tiles">
<div class="card tile"><span>samples per second</span><b id="rate">-</b>
<svg id="spark" preserveAspectRatio="none"></svg></div>
<div class="card tile"><span>time of a step</span><b id="step_s">-</b></div>
<div class="card tile"><span>loss</span><b id="newest">-</b></div>
<div class="card tile"><span>goodput</span><b id="goodput">-</b></div>
<div class="card tile"><span>restarts</span><b id="restarts">-</b></div>
</div>
<div class="columns">
<section class="card"><h2>Loss over steps</h2><svg id="loss" role="img" aria-label="loss over steps"></svg></section>
<section class="card"><h2>Events</h2><ol id="events"></ol></section>
</div>
<div class="columns">
<section class="card"><h2>Ranks, last step</h2><div class="legend"><span><i class="busy"></i>computing</span>
<span><i class="data"></i>waiting for data</span><span><i class="wait"></i>waiting for others</span></div>
<div id="ranks"></div></section>
<section class="card"><h2>Checkpoints</h2><ol id="checkpoints"></ol></section>
</div>
<footer class="soft" id="foot"></footer>
</main>
)html";

constexpr std::string_view kPageScript = R"js(
'use strict';
const at = id => document.getElementById(id);
const say = (id, text) => { const node = at(id); if (node.textContent !== text) node.textContent = text; };
const make = (tag, name, text) => {
  const node = document.createElement(tag);
  if (name) node.className = name;
  if (text !== undefined) node.textContent = text;
  return node;
};
const known = x => typeof x === 'number' && isFinite(x);
const count = x => known(x) ? Math.round(x).toLocaleString('en-US') : '-';
const short = x => !known(x) ? '-' : Math.abs(x) >= 1000 ? count(x) : String(Number(x.toPrecision(4)));
const clock = date => date.toLocaleTimeString('en-GB');
const ago = s => {
  if (!known(s)) return '-';
  if (s < 10) return s.toFixed(s < 1 ? 2 : 1) + ' s';
  if (s < 60) return Math.round(s) + ' s';
  if (s < 3600) return Math.floor(s / 60) + ' min ' + Math.floor(s % 60) + ' s';
  if (s < 86400) return Math.floor(s / 3600) + ' h ' + Math.floor(s % 3600 / 60) + ' min';
  return Math.floor(s / 86400) + ' d ' + Math.floor(s % 86400 / 3600) + ' h';
};

// Few round numbers that lie in [low, high]; + 0, so that none is -0.
function ticks(low, high, most) {
  const rough = (high - low) / most, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map(m => m * power).find(s => s >= rough * 0.999);
  const list = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; ++i) list.push(i * step + 0);
  return list;
}

function element(parent, tag, attributes, text) {
  const node = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const name in attributes) node.setAttribute(name, attributes[name]);
  if (text !== undefined) node.textContent = text;
  parent.append(node);
}
const line = points => points.map((p, i) => (i ? 'L' : 'M') + p[0].toFixed(1) + ' ' + p[1].toFixed(1)).join('');

// A mean over what lies near, so that the trend shows through the noise.
function smoothed(points) {
  return points.map((p, i) => {
    const most = Math.floor(points.length / 40), edge = Math.min(i, points.length - 1 - i);
    const reach = Math.max(Math.min(most, 4), Math.min(most, edge));
    const near = points.slice(Math.max(0, i - reach), i + reach + 1);
    return [p[0], near.reduce((sum, q) => sum + q[1], 0) / near.length];
  });
}

function drawLoss(all) {
  const svg = at('loss'), width = svg.clientWidth, height = svg.clientHeight;
  const points = all.filter(p => known(p[1]));
  svg.replaceChildren();
  if (points.length < 2 || width < 50) {
    element(svg, 'text', {x: 4, y: 24}, 'no losses yet');
    return;
  }
  const values = points.map(p => p[1]).sort((a, b) => a - b);
  let low = values[0], high = values[Math.min(values.length - 1, Math.ceil(values.length * 0.995))];
  if (high - low < 1e-9 * Math.max(1, Math.abs(high))) { low -= 0.5; high += 0.5; }
  const last = points[points.length - 1][0], first = points[0][0] < last / 4 ? 0 : points[0][0];
  const up = ticks(low, high, 4), left = 14 + 7 * Math.max(...up.map(v => short(v).length)), bottom = height - 24;
  const x = step => left + (step - first) / Math.max(1, last - first) * (width - left - 8);
  const y = loss => Math.max(4, bottom - (loss - low) / (high - low) * (bottom - 12));
  for (const v of up) {
    element(svg, 'line', {x1: left, x2: width, y1: y(v), y2: y(v), 'class': 'grid'});
    element(svg, 'text', {x: left - 8, y: y(v) + 4, 'text-anchor': 'end'}, short(v));
  }
  for (const s of ticks(first, last, width < 480 ? 4 : 7).filter(Number.isInteger)) {
    const anchor = x(s) > width - 24 ? 'end' : 'middle';
    element(svg, 'text', {x: Math.min(x(s), width), y: height - 4, 'text-anchor': anchor}, count(s));
  }
  const place = p => [x(p[0]), y(p[1])];
  element(svg, 'path', {d: line(points.map(place)), 'class': 'raw'});
  element(svg, 'path', {d: line(smoothed(points).map(place)), 'class': 'smooth'});
}

const rates = [];
function drawRate(rate) {
  rates.push(known(rate) ? rate : 0);
  if (rates.length > 120) rates.shift();
  const svg = at('spark'), most = Math.max(...rates, 1e-9);
  svg.setAttribute('viewBox', '0 0 120 40');
  svg.replaceChildren();
  if (rates.length > 1) {
    const points = rates.map((r, i) => [120 - rates.length + 1 + i, 38 - r / most * 30]);
    element(svg, 'path', {d: line(points), 'class': 'smooth'});
  }
}

function rankRow(rank) {
  const row = make('div', 'rank ' + rank.state), names = make('div', 'names'), bar = make('div', 'bar');
  names.append(make('span', 'who', 'rank ' + rank.rank + ' on ' + rank.host));
  const age = rank.state === 'silent' || rank.state === 'gone' ? rank.state + ' for ' + ago(rank.report_age_s)
            : (rank.state === 'ok' ? '' : rank.state + ', ') + rank.phase + ' ' + count(rank.step);
  names.append(make('span', 'how', age));
  const share = s => Math.min(1, Math.max(0, known(s) ? s : 0));
  const busy = share(rank.busy_share), data = Math.min(share(rank.data_wait_share), 1 - busy),
      percent = s => (s * 100).toFixed(1) + '%';
  for (const [name, part] of [['busy', busy], ['data', data], ['wait', busy + data > 0 ? 1 - busy - data : 0]]) {
    const piece = make('div', name);
    piece.style.width = percent(part);
    bar.append(piece);
  }
  row.title = 'computing ' + percent(busy) + ', data ' + percent(data) + ', ' + short(rank.samples_per_s) +
      ' samples/s, reported ' + ago(rank.report_age_s) + ' ago';
  row.append(names, bar);
  return row;
}

function list(id, items, none) {
  at(id).replaceChildren(...(items.length ? items : [['', none]]).map(([small, text]) => {
    const item = make('li');
    if (small) item.append(make('span', '', small));
    item.append(make('div', '', text));
    return item;
  }));
}

function headline(s) {
  say('run', s.run);
  say('state', s.state);
  at('state').className = 'pill ' + s.state;
  say('facts', s.config + ', ' + s.ranks.length + (s.ranks.length === 1 ? ' rank' : ' ranks') + ', attempt ' +
      (s.attempt + 1));
  say('steps', s.total > 0 ? 'Step ' + count(s.step) + ' of ' + count(s.total) : 'Step ' + count(s.step));
  const left = (s.total - s.step) * s.step_s, share = s.total > 0 ? Math.min(1, s.step / s.total) : 0;
  const soon = s.state === 'training' && known(left) && left > 0;
  const end = new Date(Date.now() + left * 1000);
  const day = left > 43200 ? end.toLocaleDateString('en-GB', {weekday: 'short', day: 'numeric', month: 'short'}) +
      ' ' : '';
  say('eta', (share * 100).toFixed(1) + ' %' + (soon ? ', ' + ago(left) + ' left, until ' + day + clock(end).slice(0,
      5) : ''));
  at('progress').style.width = (share * 100).toFixed(2) + '%';
  document.title = (share * 100).toFixed(0) + ' % ' + s.run;
}

function show(s) {
  headline(s);
  say('rate', short(s.samples_per_s));
  say('step_s', known(s.step_s) && s.step_s < 60 ? short(s.step_s) + ' s' : ago(s.step_s));
  say('newest', s.loss.length ? short(s.loss[s.loss.length - 1][1]) : '-');
  say('goodput', known(s.goodput) ? (s.goodput * 100).toFixed(1) + ' %' : '-');
  say('restarts', count(s.restarts));
  drawLoss(s.loss);
  const top = at('ranks').scrollTop;
  at('ranks').replaceChildren(...s.ranks.map(rankRow));
  at('ranks').scrollTop = top;
  list('events', s.events.slice().reverse().map(e => [clock(new Date(e.time)), e.text]), 'nothing happened yet');
  list('checkpoints', s.checkpoints.slice().reverse().map(c => ['took ' + ago(c.seconds), 'step ' + count(c.step)]),
      'none yet');
  say('foot', 'Launcher up ' + ago(s.uptime_s) + ', since ' + new Date(s.started).toLocaleString('en-GB'));
}

let newest = null, answered = new Date();
function lost(is) {
  document.body.classList.toggle('lost', is);
  at('gone').hidden = !is;
  if (!is) return;
  const ended = newest && newest.state === 'ended';
  say('gone', 'No answer since ' + clock(answered) + (ended ? ': the run has ended.' :
      ': the launcher has ended or cannot be reached.') +
      (newest ? ' This is what it said last.' : ''));
  say('state', ended ? 'ended' : 'no answer');
  at('state').className = 'pill gone';
}

async function poll() {
  let state = null;
  try {
    const answer = await fetch('/state.json', {cache: 'no-store', signal: AbortSignal.timeout(4000)});
    if (answer.ok) state = await answer.json();
  } catch (error) {}  // nobody there: said below
  setTimeout(poll, 1000);
  lost(state === null);
  if (state === null) return;
  newest = state;
  answered = new Date();
  show(state);
  drawRate(state.samples_per_s);
}
addEventListener('resize', () => { if (newest) drawLoss(newest.loss); });
poll();
)js";

/// As a Content-Security-Policy names a source text.
std::string source_hash(std::string_view text) {
  unsigned char digest[crypto_hash_sha256_BYTES];
  crypto_hash_sha256(digest, reinterpret_cast<const unsigned char*>(text.data()), text.size());
  char encoded[sodium_base64_ENCODED_LEN(crypto_hash_sha256_BYTES, sodium_base64_VARIANT_ORIGINAL)];
  sodium_bin2base64(encoded, sizeof(encoded), digest, sizeof(digest), sodium_base64_VARIANT_ORIGINAL);
  return std::string("'sha256-") + encoded + "'";
}

std::string between(const char* before, std::string_view text, const char* after) {
  return before + std::string(text) + after;
}

}  // namespace

const std::string& monitor_page() {
  static const std::string page =
      "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<link rel=\"icon\" href=\"data:,\">\n<title>Triptych</title>\n" +
      between("<style>", kPageStyle, "</style>\n</head>\n<body>") + between("", kPageBody, "") +
      between("<script>", kPageScript, "</script>\n</body>\n</html>\n");
  return page;
}

const std::string& monitor_page_policy() {
  static const std::string policy = "default-src 'none'; script-src " + source_hash(kPageScript) + "; style-src " +
                                    source_hash(kPageStyle) +
                                    "; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
                                    "frame-ancestors 'none'";
  return policy;
}

}  // namespace triptych
