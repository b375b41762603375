// From bytes to the tree: yaml-cpp's events, with what this program does not allow refused as it appears.
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <optional>
#include <set>
#include <sstream>
#include <utility>

#include "core/base/atomic_file.h"
#include "core/base/errors.h"
#include "core/base/yaml_tree.h"

namespace triptych {
namespace {

constexpr std::size_t kMaxDepth = 64;
constexpr std::size_t kMaxBytes = std::size_t{1} << 20;

[[noreturn]] void fail(const YamlPlace& place, const std::string& message) {
  throw ConfigError(place.text() + ": " + message);
}

/// Bytes of the UTF-8 character that starts `text`, or 0 if it is none (overlong forms and surrogates are none).
std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  const auto tail = [&](std::size_t i) { return (byte(i) & 0xc0u) == 0x80u; };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first <= 0xdf) return tail(1) ? 2 : 0;
  if (first >= 0xe0 && first <= 0xef) {
    const bool allowed = (first != 0xe0 || byte(1) >= 0xa0) && (first != 0xed || byte(1) < 0xa0);
    return allowed && tail(1) && tail(2) ? 3 : 0;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    const bool allowed = (first != 0xf0 || byte(1) >= 0x90) && (first != 0xf4 || byte(1) < 0x90);
    return allowed && tail(1) && tail(2) && tail(3) ? 4 : 0;
  }
  return 0;
}

/// Builds the tree from the parser's events.
class TreeBuilder : public YAML::EventHandler {
 public:
  TreeBuilder(std::shared_ptr<const std::string> source, bool with_lines)
      : source_(std::move(source)), with_lines_(with_lines) {}

  YamlNode take_root() { return std::move(root_); }

  YamlPlace place(const YAML::Mark& mark) const {
    if (!with_lines_) return {source_, 0, 0};
    return {source_, std::max(mark.line, 0) + 1, std::max(mark.column, 0) + 1};
  }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    refuse_anchor(mark, anchor);
    YamlNode node;
    node.place = place(mark);
    add(std::move(node));
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    fail(place(mark), "aliases (*name) are not allowed; write the value out, or use extends");
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    refuse_anchor(mark, anchor);
    if (tag != "?" && tag != "!" && !tag.empty()) refuse_tag(mark, tag);
    YamlNode node = yaml_scalar(value, tag == "!");
    node.place = place(mark);
    add(std::move(node));
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(mark, tag, anchor, YamlNode::Kind::kList);
  }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(mark, tag, anchor, YamlNode::Kind::kMap);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapEnd() override { close(); }

 private:
  struct Frame {
    YamlNode node;
    std::optional<YamlNode> key;  ///< of a map: the key whose value comes next
    std::set<std::string> keys;   ///< of a map: those seen
  };

  void refuse_anchor(const YAML::Mark& mark, YAML::anchor_t anchor) const {
    if (anchor != 0) fail(place(mark), "anchors (&name) are not allowed; write the value out, or use extends");
  }
  [[noreturn]] void refuse_tag(const YAML::Mark& mark, const std::string& tag) const {
    fail(place(mark), "tag " + shown(tag) + " is not allowed; write the plain value");
  }

  void open(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, YamlNode::Kind kind) {
    refuse_anchor(mark, anchor);
    if (tag != "?" && !tag.empty()) refuse_tag(mark, tag);
    if (stack_.size() >= kMaxDepth) fail(place(mark), "more than " + std::to_string(kMaxDepth) + " levels deep");
    Frame frame;
    frame.node.kind = kind;
    frame.node.place = place(mark);
    stack_.push_back(std::move(frame));
  }

  void close() {
    YamlNode node = std::move(stack_.back().node);
    stack_.pop_back();
    add(std::move(node));
  }

  void add(YamlNode node) {
    if (stack_.empty()) {
      root_ = std::move(node);
      return;
    }
    Frame& frame = stack_.back();
    if (frame.node.is_list()) {
      frame.node.items.push_back(std::move(node));
    } else if (!frame.key) {
      check_key(frame, node);
      frame.key = std::move(node);
    } else {
      if (node.is_null()) node.place = frame.key->place;  // yaml-cpp gives the place of whatever comes next
      frame.node.entries.push_back({frame.key->scalar, frame.key->place, std::move(node)});
      frame.key.reset();
    }
  }

  static void check_key(Frame& frame, const YamlNode& key) {
    if (!key.is_scalar() || key.scalar.empty()) fail(key.place, "a key must be a word, got " + shown(key));
    if (key.scalar == "<<") fail(key.place, "merge keys (<<) are not allowed; use extends");
    if (frame.keys.insert(key.scalar).second) return;
    for (const auto& entry : frame.node.entries) {
      if (entry.key == key.scalar) {
        fail(key.place, "key " + shown(key.scalar) + " is given twice, first at " + entry.key_place.text());
      }
    }
  }

  std::shared_ptr<const std::string> source_;
  bool with_lines_;
  std::vector<Frame> stack_;
  YamlNode root_;
};

/// What is refused before parsing, because YAML readers disagree about it or terminals would obey it.
void check_bytes(std::string_view text, const TreeBuilder& builder) {
  YAML::Mark mark;
  mark.line = mark.column = 0;
  if (text.size() > kMaxBytes) {
    fail(builder.place(mark), "a configuration of " + std::to_string(text.size()) + " bytes; at most 1 MiB is read");
  }
  if (text.substr(0, 3) == "\xef\xbb\xbf") fail(builder.place(mark), "byte order mark; save as UTF-8 without one");
  while (!text.empty()) {
    const auto c = static_cast<unsigned char>(text.front());
    const auto length = utf8_length(text);
    if (length == 0) fail(builder.place(mark), "not UTF-8: byte " + shown(text.substr(0, 1)));
    if (c == '%' && mark.column == 0)
      fail(builder.place(mark), "directives (%) are not allowed at the start of a line");
    if (c == '\t') fail(builder.place(mark), "tab character; use spaces (inside quotes: \"\\t\")");
    if (c == 0) fail(builder.place(mark), "NUL byte; is this a text file?");
    if ((c < 0x20 && c != '\n' && c != '\r') || c == 0x7f) {
      fail(builder.place(mark), "control character " + shown(text.substr(0, 1)));
    }
    if (c == '\n') {
      ++mark.line;
      mark.column = 0;
    } else {
      ++mark.column;
    }
    text.remove_prefix(length);
  }
}

}  // namespace

YamlNode parse_yaml(std::string_view text, const std::string& source, bool with_lines) {
  TreeBuilder builder(std::make_shared<const std::string>(source), with_lines);
  check_bytes(text, builder);
  // yaml-cpp takes the end of the file for the end of a quoted text. A document end inside quotes it does refuse.
  std::istringstream stream(std::string(text) + (text.empty() || text.back() == '\n' ? "...\n" : "\n...\n"));
  try {
    YAML::Parser parser(stream);
    parser.HandleNextDocument(builder);
    YamlNode root = builder.take_root();
    TreeBuilder rest(std::make_shared<const std::string>(source), with_lines);
    if (parser.HandleNextDocument(rest)) {
      fail(rest.take_root().place, "a second document starts here; a configuration is one document");
    }
    return root;
  } catch (const YAML::Exception& error) {
    fail(builder.place(error.mark), "this is no YAML: " + error.msg);
  }
}

YamlNode parse_yaml_file(const std::filesystem::path& path) {
  std::string bytes;
  try {
    bytes = read_file(path, kMaxBytes);
  } catch (const StorageError& error) {
    throw ConfigError(error.what());
  }
  return parse_yaml(bytes, path.string());
}

}  // namespace triptych
