// A small driver for compilers without libFuzzer: random mutations of the seeds, the same for one --seed.
//   fuzz_tar [--runs N] [--seed N] [FILE]...      FILEs are read once each, before any mutation
//   fuzz_tar --write-seeds DIR                    the seeds as files, for libFuzzer
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>

#include "tests/fuzz/fuzz_target.h"

namespace triptych {
namespace {

using Random = std::mt19937_64;

std::size_t below(Random& random, std::size_t limit) {
  return limit == 0 ? 0 : static_cast<std::size_t>(random() % limit);
}

/// One change of the kinds that break parsers: bits, bytes of meaning, numbers, pieces moved, doubled or lost.
void mutate_once(std::string& bytes, const std::vector<std::string>& seeds, Random& random) {
  static constexpr char kMeaningful[] = {0,    '\xFF', '\x7F', '\x80', '"', '\\', ',', '\t', '\n',
                                         '\r', '[',    ']',    '{',    '}', '0',  '7', '9',  '='};
  const auto at = below(random, bytes.size()), length = 1 + below(random, std::min<std::size_t>(64, bytes.size() + 1));
  switch (below(random, 8)) {
    case 0:
      if (!bytes.empty()) bytes[at] = static_cast<char>(bytes[at] ^ (1 << below(random, 8)));
      return;
    case 1:
      if (!bytes.empty()) bytes[at] = kMeaningful[below(random, sizeof(kMeaningful))];
      return;
    case 2:
      bytes.erase(at, length);
      return;
    case 3:
      bytes.insert(at, bytes.substr(below(random, bytes.size()), length));
      return;
    case 4:
      bytes.insert(at, length, kMeaningful[below(random, sizeof(kMeaningful))]);
      return;
    case 5:
      for (std::size_t i = at; i < std::min(at + 8, bytes.size()); ++i) bytes[i] = random() % 2 ? '\xFF' : '\0';
      return;
    case 6: {
      const auto& other = seeds[below(random, seeds.size())];
      bytes = bytes.substr(0, at) + other.substr(below(random, other.size()));
      return;
    }
    default:
      bytes.resize(at);
  }
}

/// The input that runs, as a file: what a crash leaves behind. Stays open, because closing a file that was made anew
/// costs a flush to the disk for every input.
class LastInput {
 public:
  explicit LastInput(std::filesystem::path path)
      : path_(std::move(path)), file_(::open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)) {}
  LastInput(const LastInput&) = delete;
  LastInput& operator=(const LastInput&) = delete;
  ~LastInput() {
    ::close(file_);
    std::filesystem::remove(path_);
  }
  void set(const std::string& bytes) {
    const auto size = static_cast<ssize_t>(bytes.size());
    if (::pwrite(file_, bytes.data(), bytes.size(), 0) != size || ::ftruncate(file_, size) != 0)
      throw std::runtime_error("cannot write " + path_.string());
  }

 private:
  std::filesystem::path path_;
  int file_;
};

void run(const std::string& bytes, LastInput& last_input) {
  last_input.set(bytes);
  LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
}

int write_seeds(const std::filesystem::path& folder) {
  std::filesystem::create_directories(folder);
  int number = 0;
  for (const auto& seed : fuzz_seeds())
    std::ofstream(folder / ("seed-" + std::to_string(number++)), std::ios::binary) << seed;
  return 0;
}

int fuzz(long long runs, std::uint64_t seed, const std::vector<std::string>& files, LastInput& last_input) {
  const auto seeds = fuzz_seeds();
  for (const auto& file : files) {
    std::ifstream in(file, std::ios::binary);
    run(std::string(std::istreambuf_iterator<char>(in), {}), last_input);
  }
  for (const auto& bytes : seeds) run(bytes, last_input);
  Random random(seed);
  for (long long i = 0; i < runs; ++i) {
    auto bytes = seeds[below(random, seeds.size())];
    for (auto changes = 1 + below(random, 6); changes > 0; --changes) mutate_once(bytes, seeds, random);
    run(bytes, last_input);
  }
  std::printf("%lld inputs from %zu seeds: none broke it\n", runs, seeds.size());
  return 0;
}

}  // namespace
}  // namespace triptych

int main(int count, char** arguments) {
  long long runs = 10'000;
  std::uint64_t seed = 1;
  std::vector<std::string> files;
  for (int i = 1; i < count; ++i) {
    const std::string argument = arguments[i];
    const bool has_value = i + 1 < count;
    if (argument == "--write-seeds" && has_value) return triptych::write_seeds(arguments[++i]);
    if (argument == "--runs" && has_value) {
      runs = std::stoll(arguments[++i]);
    } else if (argument == "--seed" && has_value) {
      seed = std::stoull(arguments[++i]);
    } else {
      files.push_back(argument);
    }
  }
  // Named after the program, because ctest runs several in one folder.
  triptych::LastInput last_input(std::filesystem::path(arguments[0]).filename().string() + "-last-input");
  return triptych::fuzz(runs, seed, files, last_input);
}
