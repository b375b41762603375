// One pass over the characters of a caption; what does not belong to words or stands between them ends a segment.
#include "data/text/caption_segment.h"

#include <unicode/uchar.h>

#include <algorithm>

namespace triptych {
namespace {

constexpr std::string_view kInsideWords = "'-.&%$";

bool is_word_character(char32_t c) {
  return (U_GET_GC_MASK(static_cast<UChar32>(c)) & (U_GC_L_MASK | U_GC_M_MASK | U_GC_N_MASK)) != 0;
}

bool is_blank(char32_t c) {
  return is_python_space(c) && c != '\n' && c != '\r' && c != 0x2028 && c != 0x2029;
}

bool blank_at(const Characters& text, std::size_t i) {
  return i >= text.size() || is_python_space(text[i].code);
}

bool ends_segment(const Characters& text, std::size_t i) {
  const auto c = text[i].code;
  if (is_word_character(c) || is_blank(c) || c == 0x2019) return false;
  if (c == '.') return blank_at(text, i + 1);
  if (c == '-') return blank_at(text, i + 1) || i == 0 || blank_at(text, i - 1);
  return c >= 0x80 || kInsideWords.find(static_cast<char>(c)) == kInsideWords.npos;
}

// A caption in capitals has no names to tell.
void lower_shouted(std::string& text) {
  if (std::any_of(text.begin(), text.end(), [](char c) { return c >= 'a' && c <= 'z'; })) return;
  for (char& c : text) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
}

void trim(CaptionSegment& segment) {
  const std::string dropped = std::string(kInsideWords) + ' ';
  segment.text.erase(segment.text.find_last_not_of(dropped) + 1);
  const auto first = std::min(segment.text.find_first_not_of(dropped), segment.text.size());
  segment.text.erase(0, first);
  segment.begin += static_cast<std::uint32_t>(first);
}

}  // namespace

std::vector<CaptionSegment> caption_segments(std::string_view caption) {
  const auto text = decode_utf8(caption);
  std::vector<CaptionSegment> segments;
  CaptionSegment open;
  const auto close = [&] {
    trim(open);
    if (!open.text.empty()) {
      lower_shouted(open.text);
      segments.push_back(std::move(open));
    }
    open = {};
  };
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto [begin, end] = text[i].source;
    if (text[i].code == 0xfffd || ends_segment(text, i)) {
      close();
      continue;
    }
    if (open.text.empty()) open.begin = begin;
    if (is_blank(text[i].code))
      open.text.append(end - begin, ' ');
    else
      open.text += caption.substr(begin, end - begin);
  }
  close();
  return segments;
}

std::vector<SegmentWord> segment_words(const CaptionSegment& segment) {
  const std::string_view text = segment.text;
  std::vector<SegmentWord> words;
  for (std::size_t at = 0; at < text.size();) {
    if (text[at] == ' ') {
      ++at;
      continue;
    }
    const auto end = std::min(text.find(' ', at), text.size());
    const auto word = text.substr(at, end - at);
    const auto first = word.find_first_not_of(kInsideWords), last = word.find_last_not_of(kInsideWords);
    if (first != word.npos)
      words.push_back({word.substr(first, last - first + 1),
                       {static_cast<std::uint32_t>(at + first), static_cast<std::uint32_t>(at + last + 1)}});
    at = end;
  }
  return words;
}

}  // namespace triptych
