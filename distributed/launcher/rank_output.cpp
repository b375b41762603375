// Labels off, host and rank on.
#include "distributed/launcher/rank_output.h"

#include <algorithm>
#include <charconv>
#include <utility>

namespace triptych {
namespace {

constexpr std::size_t kLongestLabel = 40;  // [4294967295,2147483647]<stddiag>:

/// Reads digits at the start of `text` and takes them off; -1 if there are none.
int take_number(std::string_view& text) {
  int value = -1;
  const bool digit = !text.empty() && text.front() >= '0' && text.front() <= '9';
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  if (!digit || result.ec != std::errc()) return -1;
  text.remove_prefix(static_cast<std::size_t>(result.ptr - text.data()));
  return value;
}

bool take(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

/// Rank of the label at the start of `text`, which is taken off; -1 if there is none.
int take_mpirun_label(std::string_view& text, Stream stream, int ranks) {
  auto rest = text;
  if (!take(rest, "[") || take_number(rest) < 0 || !take(rest, ",")) return -1;
  const int rank = take_number(rest);
  if (rank < 0 || rank >= ranks || !take(rest, "]<")) return -1;
  const bool known =
      stream == Stream::kOut ? take(rest, "stdout>:") : take(rest, "stderr>:") || take(rest, "stddiag>:");
  if (!known) return -1;
  text = rest;
  return rank;
}

/// srun pads the number to the width of the largest.
int take_srun_label(std::string_view& text, int ranks) {
  auto rest = text;
  while (take(rest, " ")) {
  }
  const int rank = take_number(rest);
  if (rank < 0 || rank >= ranks || !take(rest, ":")) return -1;
  take(rest, " ");
  text = rest;
  return rank;
}

/// A rank cannot move the cursor, colour the terminal or begin another line.
std::string printable_text(std::string_view text) {
  if (text.ends_with('\r')) text.remove_suffix(1);
  std::string out(text);
  for (char& c : out) {
    if ((c >= 0 && c < ' ' && c != '\t') || c == 127) c = '?';
  }
  return out;
}

}  // namespace

struct RankLines::Label {
  std::size_t begin, end;  // in the text; begin == npos: there is none
  int rank;
};

RankLines::RankLines(Engine engine, int ranks, Emit emit, std::size_t longest)
    : engine_(engine), ranks_(ranks), emit_(std::move(emit)), longest_(longest) {}

RankLines::Label RankLines::next_label(Stream stream, std::string_view text, std::size_t from) const {
  if (engine_ == Engine::kSrun) {
    auto rest = text;
    const int rank = from == 0 && !goes_on_.contains(stream) ? take_srun_label(rest, ranks_) : -1;
    return {rank < 0 ? text.npos : 0, text.size() - rest.size(), rank};
  }
  for (auto at = text.find('[', from); at != text.npos; at = text.find('[', at + 1)) {
    auto rest = text.substr(at);
    const int rank = take_mpirun_label(rest, stream, ranks_);
    if (rank >= 0) return {at, text.size() - rest.size(), rank};
  }
  return {text.npos, text.npos, -1};
}

void RankLines::add(Stream stream, std::string_view line, bool whole) {
  auto joined = std::exchange(held_[stream], {});
  joined += line;
  std::string_view text = joined;
  if (!whole && engine_ == Engine::kMpirun) {
    // The cut may go through a label: its begin waits for the rest.
    const auto bracket = text.rfind('[');
    if (bracket != text.npos && text.size() - bracket < kLongestLabel) {
      held_[stream] = text.substr(bracket);
      text = text.substr(0, bracket);
    }
  }
  auto label = next_label(stream, text, 0);
  const auto owner = goes_on_.find(stream);
  int rank = owner == goes_on_.end() ? -1 : owner->second;
  if (label.begin != 0) add_piece(rank, stream, text.substr(0, label.begin), whole && label.begin == text.npos);
  while (label.begin != text.npos) {
    rank = label.rank;
    const auto begin = label.end;
    label = next_label(stream, text, begin);
    add_piece(rank, stream, text.substr(begin, label.begin - begin), whole && label.begin == text.npos);
  }
  if (whole) {
    goes_on_.erase(stream);
  } else {
    goes_on_[stream] = rank;
  }
}

void RankLines::add_piece(int rank, Stream stream, std::string_view text, bool ends) {
  auto& begun = begun_[{rank, stream}];
  begun += text;
  for (; begun.size() > longest_; begun.erase(0, longest_)) emit_(rank, stream, begun.substr(0, longest_));
  if (!ends) return;
  const auto line = std::exchange(begun, {});
  begun_.erase({rank, stream});
  emit_(rank, stream, line);
}

void RankLines::flush() {
  for (auto& [stream, text] : held_) {
    const auto owner = goes_on_.find(stream);
    if (!text.empty()) add_piece(owner == goes_on_.end() ? -1 : owner->second, stream, text, false);
  }
  for (const auto& [key, text] : std::exchange(begun_, {})) {
    if (!text.empty()) emit_(key.first, key.second, text);
  }
  held_.clear();
  goes_on_.clear();
}

RankOutput::RankOutput(boost::asio::io_context& io, Engine engine, std::vector<std::string> hosts, int out, int err,
                       std::size_t limit)
    : engine_(engine), out_(io, out, limit), err_(io, err, limit), timer_(io) {
  restart(std::move(hosts));
}

RankOutput::~RankOutput() = default;

void RankOutput::restart(std::vector<std::string> hosts) {
  if (lines_) lines_->flush();
  hosts_ = std::move(hosts);
  lines_ = std::make_unique<RankLines>(engine_, static_cast<int>(hosts_.size()),
                                       [this](int rank, Stream stream, auto text) { print(rank, stream, text); });
}

void RankOutput::add(Stream stream, std::string_view line, bool whole) {
  lines_->add(stream, line, whole);
}

void RankOutput::print(int rank, Stream stream, std::string_view text) {
  const auto who = rank < 0 ? std::string(engine_name(engine_))
                            : hosts_[static_cast<std::size_t>(rank)] + ":" + std::to_string(rank);
  writer(stream).add(who + " | " + printable_text(text));
}

void RankOutput::say(Stream stream, std::string_view line) {
  writer(stream).add(printable_text(line));
}

void RankOutput::finish(std::chrono::milliseconds limit, std::function<void()> done) {
  lines_->flush();
  // The timer's end is the one place that calls: when its time is over, or earlier because both streams are idle.
  timer_.expires_after(limit);
  timer_.async_wait([call = std::move(done)](const auto&) { call(); });
  out_.when_idle([this] { err_.when_idle([this] { timer_.cancel(); }); });
}

}  // namespace triptych
