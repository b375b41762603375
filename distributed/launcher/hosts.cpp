// Hostfile, Slurm's compressed lists, placement.
#include "distributed/launcher/hosts.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <map>
#include <optional>
#include <system_error>

#include "core/base/atomic_file.h"
#include "core/base/errors.h"
#include "core/base/strings.h"

namespace triptych {
namespace {

constexpr int kMaxSlots = 4096;              // of one host
constexpr std::size_t kMaxHosts = 4096;      // of a job
constexpr std::size_t kMaxNameLength = 253;  // of a DNS name
constexpr std::size_t kMaxProblems = 100;    // of a hostfile that are quoted
constexpr std::uint64_t kMaxHostfile = 1 << 20;
constexpr const char* kNameRule = "letters, digits and . _ : - inside, at most 253";

bool is_alnum(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/// The same as ^[A-Za-z0-9]([A-Za-z0-9._:-]*[A-Za-z0-9])?$: no name can be read as an option or by a shell.
bool is_host_name(std::string_view name) {
  if (name.empty() || name.size() > kMaxNameLength || !is_alnum(name.front()) || !is_alnum(name.back())) return false;
  return std::all_of(name.begin(), name.end(),
                     [](char c) { return is_alnum(c) || c == '.' || c == '_' || c == ':' || c == '-'; });
}

/// Foreign text in a message: quoted, short, without control characters.
std::string shown(std::string_view text) {
  std::string out = "'";
  for (const char c : text.substr(0, 60)) out += c >= ' ' && c <= '~' ? c : '?';
  return out + (text.size() > 60 ? "...'" : "'");
}

std::optional<int> number_in(std::string_view text, int low, int high) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = error == std::errc() && end == text.data() + text.size();
  return whole && value >= low && value <= high ? std::optional<int>(value) : std::nullopt;
}

std::vector<std::string_view> words_of(std::string_view line) {
  constexpr std::string_view kSpace = " \t\r\v\f";
  std::vector<std::string_view> words;
  for (auto begin = line.find_first_not_of(kSpace); begin != line.npos; begin = line.find_first_not_of(kSpace, begin)) {
    const auto end = std::min(line.find_first_of(kSpace, begin), line.size());
    words.push_back(line.substr(begin, end - begin));
    begin = end;
  }
  return words;
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

/// Reads a hostfile line by line and keeps every complaint.
class HostfileReader {
 public:
  explicit HostfileReader(const std::string& name) : name_(name) { list_.source = name; }

  void add_line(std::string_view line) {
    ++line_;
    const auto words = words_of(line.substr(0, line.find('#')));
    if (words.empty()) return;
    Host host;
    host.name = words[0];
    host.where = name_ + ":" + std::to_string(line_);
    const auto before = problems_;
    check_name(words[0]);
    bool has_slots = false;
    for (const auto word : std::vector(words.begin() + 1, words.end())) add_word(word, host, has_slots);
    if (!has_slots && problems_ == before)
      complain("slots are missing; expected NAME slots=N, N the ranks that fit there");
    list_.hosts.push_back(std::move(host));
  }

  HostList end() {
    if (problems_ == 0) check_whole();
    if (problems_ > kMaxProblems) messages_.push_back("... and " + std::to_string(problems_ - kMaxProblems) + " more");
    if (problems_ > 0) throw ConfigError(join(messages_, "\n"));
    return std::move(list_);
  }

 private:
  void check_name(std::string_view name) {
    if (!is_host_name(name)) return complain("host name " + shown(name) + "; expected " + kNameRule);
    const auto [first, fresh] = line_of_.emplace(lower(name), line_);
    if (!fresh) {
      complain("host " + shown(name) + " stands in line " + std::to_string(first->second) +
               " already; write each host once, slots= says how many ranks it takes");
    }
  }

  void add_word(std::string_view word, Host& host, bool& has_slots) {
    constexpr std::string_view kSlots = "slots=";
    if (word == "spare" && !host.spare) {
      host.spare = true;
    } else if (word.starts_with(kSlots) && !has_slots) {
      has_slots = true;
      const auto value = word.substr(kSlots.size());
      const auto slots = number_in(value, 1, kMaxSlots);
      if (!slots) return complain("slots=" + shown(value) + "; expected a whole number from 1 to 4096");
      host.slots = *slots;
    } else if (word == "spare" || word.starts_with(kSlots)) {
      complain(shown(word) + " is said twice; once is enough");
    } else {
      complain("unknown word " + shown(word) + "; expected slots=N or spare");
    }
  }

  void check_whole() {
    line_ = 0;
    if (list_.hosts.empty()) complain("no host; expected lines of NAME slots=N");
    if (list_.hosts.size() > kMaxHosts) complain(std::to_string(list_.hosts.size()) + " hosts; expected at most 4096");
    if (!list_.hosts.empty() && list_.slots() == 0)
      complain("every host is a spare; expected one without the word spare");
  }

  void complain(const std::string& what) {
    const auto place = line_ > 0 ? name_ + ":" + std::to_string(line_) : name_;
    if (++problems_ <= kMaxProblems) messages_.push_back(place + ": " + what);
  }

  const std::string name_;
  HostList list_;
  int line_ = 0;
  std::map<std::string, int> line_of_;
  std::size_t problems_ = 0;
  std::vector<std::string> messages_;
};

[[noreturn]] void refuse_variable(const char* variable, std::string_view text, const std::string& why) {
  throw ConfigError(std::string(variable) + "=" + shown(text) + ": " + why);
}

[[noreturn]] void refuse_nodelist(std::string_view text, const std::string& why) {
  refuse_variable("SLURM_JOB_NODELIST", text, why + "; expected names as in n[01-03,7],m1, at most 4096");
}

/// The pieces between commas that are not in brackets.
std::vector<std::string_view> outer_pieces(std::string_view text, std::string_view whole) {
  std::vector<std::string_view> pieces;
  std::size_t begin = 0;
  bool inside = false;
  for (std::size_t i = 0; i <= text.size(); ++i) {
    if (i == text.size() || (text[i] == ',' && !inside)) {
      pieces.push_back(text.substr(begin, i - begin));
      begin = i + 1;
    } else if (text[i] == '[' || text[i] == ']') {
      if (inside == (text[i] == '[')) refuse_nodelist(whole, "brackets do not match");
      inside = !inside;
    }
  }
  if (inside) refuse_nodelist(whole, "a bracket is open at the end");
  return pieces;
}

/// "01-03" -> 01 02 03, "7" -> 7: the digits' width is kept.
std::vector<std::string> numbers_of(std::string_view range, std::string_view whole) {
  const auto dash = range.find('-');
  const auto first_text = range.substr(0, dash), last_text = dash == range.npos ? first_text : range.substr(dash + 1);
  const auto first = number_in(first_text, 0, 999999999), last = number_in(last_text, 0, 999999999);
  if (!first || !last || *last < *first) refuse_nodelist(whole, shown(range) + " is no range");
  if (static_cast<std::size_t>(*last - *first) >= kMaxHosts) refuse_nodelist(whole, shown(range) + " is too long");
  std::vector<std::string> numbers;
  for (int n = *first; n <= *last; ++n) {
    auto digits = std::to_string(n);
    if (digits.size() < first_text.size()) digits.insert(0, first_text.size() - digits.size(), '0');
    numbers.push_back(std::move(digits));
  }
  return numbers;
}

/// All names of one piece; several brackets multiply: "r[1-2]n[1-2]".
std::vector<std::string> names_of(std::string_view piece, std::string_view whole) {
  std::vector<std::string> names = {""};
  while (!piece.empty()) {
    const auto open = std::min(piece.find('['), piece.size());
    for (auto& name : names) name += piece.substr(0, open);
    if (open == piece.size()) break;
    const auto close = piece.find(']', open);
    std::vector<std::string> longer;
    for (const auto range : outer_pieces(piece.substr(open + 1, close - open - 1), whole)) {
      const auto numbers = numbers_of(range, whole);
      if (longer.size() + names.size() * numbers.size() > kMaxHosts) refuse_nodelist(whole, "too many names");
      longer.insert(longer.end(), numbers.begin(), numbers.end());
    }
    std::vector<std::string> product;
    if (names.size() * longer.size() > kMaxHosts) refuse_nodelist(whole, "too many names");
    for (const auto& name : names) {
      for (const auto& number : longer) product.push_back(name + number);
    }
    names = std::move(product);
    piece = piece.substr(close + 1);
  }
  return names;
}

std::string slurm_variable(const ReadVariable& variable, const char* name) {
  const auto text = variable(name);
  if (text && !text->empty()) return *text;
  throw ConfigError(std::string("--hosts slurm: ") + name +
                    " is not set; start this inside an allocation (sbatch, or salloc --ntasks=N), or name a hostfile");
}

/// "hosts.txt:1 node1 has 2, hosts.txt:2 node2 has 2", the first eight.
std::string offers(const HostList& list, const std::set<std::string>& excluded) {
  std::vector<std::string> parts;
  for (const auto& host : list.hosts) {
    if (parts.size() == 8) {
      parts.push_back("...");
      break;
    }
    parts.push_back(host.where + " " + host.name + " has " + std::to_string(host.slots) +
                    (host.spare ? ", spare" : "") + (excluded.contains(host.name) ? ", left out" : ""));
  }
  return join(parts, "; ");
}

}  // namespace

int HostList::slots() const {
  int sum = 0;
  for (const auto& host : hosts) sum += host.spare ? 0 : host.slots;
  return sum;
}

HostList parse_hostfile(std::string_view text, const std::string& name) {
  HostfileReader reader(name);
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    reader.add_line(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return reader.end();
}

HostList read_hostfile(const std::filesystem::path& path) {
  try {
    return parse_hostfile(read_file(path, kMaxHostfile), path.string());
  } catch (const StorageError& e) {
    throw ConfigError(std::string("--hosts: ") + e.what() +
                      "; expected a file with lines of NAME slots=N of at most 1 MiB, or the word slurm or local");
  }
}

std::vector<std::string> expand_nodelist(std::string_view text) {
  std::vector<std::string> names;
  std::set<std::string> seen;
  for (const auto piece : outer_pieces(text, text)) {
    for (auto& name : names_of(piece, text)) {
      if (!is_host_name(name)) refuse_nodelist(text, shown(name) + " is no host name");
      if (!seen.insert(lower(name)).second) refuse_nodelist(text, shown(name) + " stands twice");
      if (names.size() == kMaxHosts) refuse_nodelist(text, "too many names");
      names.push_back(std::move(name));
    }
  }
  return names;
}

std::vector<int> expand_tasks_per_node(std::string_view text) {
  const auto refuse = [&](const std::string& why) {
    refuse_variable("SLURM_TASKS_PER_NODE", text, why + "; expected numbers as in 4(x2),3, at most 4096");
  };
  std::vector<int> tasks;
  std::size_t begin = 0;
  while (begin <= text.size()) {
    const auto end = std::min(text.find(',', begin), text.size());
    const auto piece = text.substr(begin, end - begin);
    begin = end + 1;
    const auto open = piece.find("(x");
    const bool closed = open == piece.npos || piece.back() == ')';
    const auto count = number_in(piece.substr(0, open), 1, kMaxSlots);
    const auto times =
        open == piece.npos ? 1 : number_in(piece.substr(open + 2, piece.size() - open - 3), 1, kMaxSlots);
    if (!closed || !count || !times) refuse(shown(piece) + " is no number of tasks");
    if (tasks.size() + static_cast<std::size_t>(*times) > kMaxHosts) refuse("too many nodes");
    tasks.insert(tasks.end(), static_cast<std::size_t>(*times), *count);
  }
  return tasks;
}

HostList slurm_hosts(const ReadVariable& variable) {
  HostList list{.source = "SLURM_JOB_NODELIST", .hosts = {}};
  const auto names = expand_nodelist(slurm_variable(variable, "SLURM_JOB_NODELIST"));
  const auto tasks_text = slurm_variable(variable, "SLURM_TASKS_PER_NODE");
  const auto tasks = expand_tasks_per_node(tasks_text);
  if (tasks.size() != names.size()) {
    refuse_variable("SLURM_TASKS_PER_NODE", tasks_text,
                    "tasks of " + std::to_string(tasks.size()) + " nodes, but SLURM_JOB_NODELIST names " +
                        std::to_string(names.size()) + "; start this in the batch script itself, not in a step of it");
  }
  for (std::size_t i = 0; i < names.size(); ++i) {
    list.hosts.push_back({.name = names[i], .slots = tasks[i], .spare = false, .where = list.source});
  }
  return list;
}

int cores_of_process() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  return ::sched_getaffinity(0, sizeof(allowed), &allowed) == 0 ? std::max(1, CPU_COUNT(&allowed)) : 1;
}

HostList local_host(int slots) {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0 || !is_host_name(name.data())) {
    throw ConfigError("--hosts local: this machine calls itself " + shown(name.data()) + "; expected " + kNameRule +
                      "; set another name with hostname");
  }
  if (slots < 0 || slots > kMaxSlots) {
    throw ConfigError("--hosts local: " + std::to_string(slots) + " ranks; expected --np from 1 to 4096");
  }
  const std::string where = "--hosts local";
  return {.source = where,
          .hosts = {
              {.name = name.data(), .slots = slots > 0 ? slots : cores_of_process(), .spare = false, .where = where}}};
}

HostList read_hosts(const std::string& spec, int ranks, const ReadVariable& variable) {
  if (spec == "slurm") return slurm_hosts(variable);
  if (spec == "local") return local_host(ranks);
  return read_hostfile(spec);
}

void check_ranks(const HostList& list, int ranks) {
  if (ranks >= 1 && ranks <= list.slots()) return;
  const auto slots = std::to_string(list.slots());
  std::string what = "--np " + std::to_string(ranks) + ": " + list.source + " offers " + slots + " slots (" +
                     offers(list, {}) + "); expected 1 to " + slots + ": start fewer ranks";
  const int with_spares = usable_slots(list, {});
  what += list.source == "SLURM_JOB_NODELIST" ? ", or ask Slurm for more tasks" : ", raise slots=, or add a host";
  if (with_spares > list.slots()) what += "; spares take ranks only after a restart";
  throw ConfigError(what);
}

int usable_slots(const HostList& list, const std::set<std::string>& excluded) {
  int sum = 0;
  for (const auto& host : list.hosts) sum += excluded.contains(host.name) ? 0 : host.slots;
  return sum;
}

std::vector<HostShare> place_ranks(const HostList& list, int ranks, const std::set<std::string>& excluded) {
  if (ranks < 1 || ranks > usable_slots(list, excluded)) {
    throw ConfigError(std::to_string(ranks) + " ranks do not fit onto the " +
                      std::to_string(usable_slots(list, excluded)) + " slots that are left of " + list.source + " (" +
                      offers(list, excluded) + "); add a host or a spare, or start fewer ranks");
  }
  std::vector<HostShare> shares;
  for (const bool spare : {false, true}) {
    for (const auto& host : list.hosts) {
      if (host.spare != spare || excluded.contains(host.name) || ranks == 0) continue;
      shares.push_back({.host = host, .ranks = std::min(ranks, host.slots)});
      ranks -= shares.back().ranks;
    }
  }
  return shares;
}

std::vector<std::string> hosts_by_rank(const std::vector<HostShare>& shares) {
  std::vector<std::string> hosts;
  for (const auto& share : shares) hosts.insert(hosts.end(), static_cast<std::size_t>(share.ranks), share.host.name);
  return hosts;
}

}  // namespace triptych
