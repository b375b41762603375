// The largest number of ranks that fits.
#include "distributed/launcher/elastic.h"

#include <algorithm>
#include <charconv>
#include <string_view>

#include "core/base/errors.h"
#include "core/base/strings.h"

namespace triptych {
namespace {

std::optional<int> count_of(std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 1) return std::nullopt;
  return value;
}

bool has_micro_batch(const RankDivisors& divisors) {
  return divisors.micro_batch > 0 && !divisors.virtual_shards;
}

std::string divisors_text(const RankDivisors& divisors) {
  std::string text = "the global batch of " + std::to_string(divisors.global_batch) + " rows";
  if (has_micro_batch(divisors)) text += " (in micro-batches of " + std::to_string(divisors.micro_batch) + ")";
  if (divisors.virtual_shards) text += " and the " + std::to_string(*divisors.virtual_shards) + " virtual shards";
  return text;
}

/// As train has it: all rows of a rank at once, or micro-batches of one size.
bool micro_batch_fits(const RankDivisors& divisors, std::int64_t ranks) {
  const auto local = divisors.global_batch / ranks;
  return !has_micro_batch(divisors) || divisors.micro_batch >= local || local % divisors.micro_batch == 0;
}

std::string listed(const std::vector<int>& numbers) {
  std::vector<std::string> words;
  for (const int number : numbers) words.push_back(std::to_string(number));
  return join(words, ", ");
}

}  // namespace

ElasticRange parse_elastic(const std::string& text) {
  const auto colon = text.find(':');
  const auto min = count_of(std::string_view(text).substr(0, colon));
  const auto max = colon == std::string::npos ? std::nullopt : count_of(std::string_view(text).substr(colon + 1));
  if (!min || !max || *min > *max) {
    throw ConfigError("--elastic '" + text + "' is not MIN:MAX; write two numbers of ranks, 1 <= MIN <= MAX, as 2:8");
  }
  return {*min, *max};
}

std::vector<int> allowed_ranks(const ElasticRange& range, const RankDivisors& divisors) {
  if (divisors.global_batch < 1 || divisors.virtual_shards.value_or(1) < 1) {
    throw ConfigError("--elastic: " + divisors_text(divisors) + " cannot be divided; both must be at least 1");
  }
  std::vector<int> allowed;
  const auto last = std::min<std::int64_t>(range.max, divisors.global_batch);
  for (std::int64_t ranks = range.min; ranks <= last; ++ranks) {
    if (divisors.global_batch % ranks == 0 && divisors.virtual_shards.value_or(0) % ranks == 0 &&
        micro_batch_fits(divisors, ranks)) {
      allowed.push_back(static_cast<int>(ranks));
    }
  }
  return allowed;
}

int choose_ranks(const ElasticRange& range, const RankDivisors& divisors, int free_slots) {
  const auto allowed = allowed_ranks(range, divisors);
  const auto asked = std::to_string(range.min) + ":" + std::to_string(range.max);
  if (allowed.empty()) {
    const auto any = allowed_ranks({1, std::max(range.max, 1024)}, divisors);
    throw ConfigError("--elastic " + asked + ": no number of ranks in it divides " + divisors_text(divisors) +
                      "; allowed are " + listed(any) + ": change the range or the global batch");
  }
  const auto above = std::upper_bound(allowed.begin(), allowed.end(), free_slots);
  if (above == allowed.begin()) {
    throw ConfigError("--elastic " + asked + ": " + std::to_string(free_slots) +
                      " slots are free, allowed numbers of ranks are " + listed(allowed) +
                      "; give more hosts or slots, or a smaller MIN");
  }
  return *(above - 1);
}

}  // namespace triptych
