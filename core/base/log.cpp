// The log by spdlog, with one sink of our own that knows the progress line.
#include "core/base/log.h"

#include <spdlog/logger.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <vector>

#include "core/base/clock.h"
#include "core/base/errors.h"

namespace triptych {
namespace {

/// stderr, and on a terminal the progress line at its end.
class StderrSink : public spdlog::sinks::base_sink<std::mutex> {
 public:
  explicit StderrSink(bool terminal) : terminal_(terminal) {}
  bool terminal() const { return terminal_; }
  void set_terminal(bool terminal) { terminal_ = terminal; }

  void show(const std::string& line) {
    const std::lock_guard lock(mutex_);
    const auto now = Clock::now();
    if (!progress_.empty() && now - drawn_ < std::chrono::milliseconds(100)) return;
    drawn_ = now;
    progress_ = fitted(line);
    put("\r" + progress_ + "\x1b[K");
  }

  void end() {
    const std::lock_guard lock(mutex_);
    if (!progress_.empty()) put("\n");
    progress_.clear();
  }

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t text;
    formatter_->format(message, text);
    std::string line(text.data(), text.size());
    if (!progress_.empty()) line = "\r\x1b[K" + line + progress_;
    put(line);
  }
  void flush_() override { std::fflush(stderr); }

 private:
  /// Cut to the terminal's width: a line that wraps could not be redrawn.
  static std::string fitted(const std::string& line) {
    winsize size{};
    if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col < 2) return line;
    return line.substr(0, size.ws_col - 1u);
  }
  void put(const std::string& bytes) {
    std::fwrite(bytes.data(), 1, bytes.size(), stderr);
    std::fflush(stderr);
  }
  bool terminal_;
  std::string progress_;
  Clock::time_point drawn_{};
};

struct Log {
  std::mutex mutex;
  int rank = 0;
  std::shared_ptr<StderrSink> screen = std::make_shared<StderrSink>(::isatty(STDERR_FILENO) == 1);
  std::shared_ptr<spdlog::logger> logger = std::make_shared<spdlog::logger>("triptych", screen);
  Clock::time_point last_plain_progress{};

  Log() { dress("%H:%M:%S %v"); }
  void dress(const std::string& pattern) {
    logger->set_level(spdlog::level::info);
    logger->set_pattern(pattern);
    logger->flush_on(spdlog::level::info);
    logger->set_error_handler([](const std::string&) {});  // a full disk must not end a run through its log
  }
};

Log& the_log() {
  static Log log;
  return log;
}

void say(spdlog::level::level_enum level, const std::string& word, const std::string& message) {
  auto& log = the_log();
  const std::lock_guard lock(log.mutex);
  if (log.rank != 0 && level < spdlog::level::warn) return;
  const std::string who = log.rank == 0 ? "" : "[rank " + std::to_string(log.rank) + "] ";
  log.logger->log(level, spdlog::string_view_t(who + word + message));
}

}  // namespace

void start_log(int rank, int ranks) {
  auto& log = the_log();
  const std::lock_guard lock(log.mutex);
  if (rank < 0 || rank >= ranks) throw std::invalid_argument("start_log: rank outside 0 .. ranks-1");
  log.rank = rank;
  log.screen->set_terminal(::isatty(STDERR_FILENO) == 1);  // lines from before the start may have gone elsewhere
}

void log_to_file(const std::filesystem::path& path) {
  auto& log = the_log();
  const std::lock_guard lock(log.mutex);
  std::shared_ptr<spdlog::sinks::basic_file_sink_mt> file;
  try {
    file = std::make_shared<spdlog::sinks::basic_file_sink_mt>(path.string());
  } catch (const spdlog::spdlog_ex& error) {
    throw StorageError("cannot open the log " + path.string() + ": " + error.what());
  }
  file->set_pattern("%Y-%m-%d %H:%M:%S.%e %v");
  log.logger->sinks().resize(1);
  log.logger->sinks().push_back(file);
}

void close_log_file() {
  auto& log = the_log();
  const std::lock_guard lock(log.mutex);
  log.logger->sinks().resize(1);
}

void log_info(const std::string& message) {
  say(spdlog::level::info, "", message);
}
void log_warning(const std::string& message) {
  say(spdlog::level::warn, "warning: ", message);
}
void log_warnings(const std::vector<std::string>& messages) {
  for (const auto& message : messages) log_warning(message);
}
void log_error(const std::string& message) {
  say(spdlog::level::err, "error: ", message);
}

void show_progress(const std::string& line) {
  auto& log = the_log();
  {
    const std::lock_guard lock(log.mutex);
    if (log.rank != 0) return;
    if (log.screen->terminal()) {
      log.screen->show(line);
      return;
    }
    const auto now = Clock::now();
    if (log.last_plain_progress != Clock::time_point{} && now - log.last_plain_progress < std::chrono::seconds(30))
      return;
    log.last_plain_progress = now;
    log.screen->log(spdlog::details::log_msg("triptych", spdlog::level::info, line));
  }
}

void end_progress() {
  auto& log = the_log();
  const std::lock_guard lock(log.mutex);
  if (log.screen->terminal()) log.screen->end();
}

}  // namespace triptych
