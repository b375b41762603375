// The handler only walks frames into memory that is there already; names are looked up by the thread that asked.
#include "distributed/launcher/thread_stack.h"

#include <cxxabi.h>
#include <dlfcn.h>
#include <execinfo.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <sstream>
#include <system_error>
#include <thread>

#include "core/base/clock.h"

namespace triptych {
namespace {

constexpr int kFrames = 64;
constexpr auto kAnswerWithin = std::chrono::seconds(1);

int stack_signal() {
  return SIGRTMAX - 3;
}

/// One question at a time. `state` is 4 x question number + what became of it: a late handler finds another number.
struct StackQuestion {
  enum : std::int64_t { kAsked = 0, kWriting = 1, kDone = 2, kGivenUp = 3 };
  std::atomic<std::int64_t> state{kGivenUp};
  std::array<void*, kFrames> frames{};
  int count = 0;
};
StackQuestion question;
static_assert(std::atomic<std::int64_t>::is_always_lock_free);

void answer(int, siginfo_t* info, void*) {
  const int saved = errno;
  const std::int64_t number = info->si_value.sival_int;
  auto expected = 4 * number + StackQuestion::kAsked;
  if (question.state.compare_exchange_strong(expected, 4 * number + StackQuestion::kWriting)) {
    question.count = backtrace(question.frames.data(), kFrames);
    question.state.store(4 * number + StackQuestion::kDone);
  }
  errno = saved;
}

/// The first backtrace of a process loads a library, which a handler must not do.
void take_signal() {
  static const int failed = [] {
    std::array<void*, 2> frames;
    backtrace(frames.data(), static_cast<int>(frames.size()));
    struct sigaction action = {};
    action.sa_sigaction = answer;
    action.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK;
    sigfillset(&action.sa_mask);
    return sigaction(stack_signal(), &action, nullptr) == 0 ? 0 : errno;
  }();
  if (failed != 0) throw std::system_error(failed, std::generic_category(), "stacks of threads: sigaction");
}

bool ask(pid_t tid, int number) {
  siginfo_t info = {};
  info.si_code = SI_QUEUE;
  info.si_pid = getpid();
  info.si_uid = getuid();
  info.si_value.sival_int = number;
  return syscall(SYS_rt_tgsigqueueinfo, getpid(), tid, stack_signal(), &info) == 0;
}

bool wait_for_answer(std::int64_t number) {
  const auto until = Clock::now() + kAnswerWithin;
  while (Clock::now() < until) {
    if (question.state.load() == 4 * number + StackQuestion::kDone) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  auto expected = 4 * number + StackQuestion::kAsked;
  question.state.compare_exchange_strong(expected, 4 * number + StackQuestion::kGivenUp);
  return question.state.load() == 4 * number + StackQuestion::kDone;
}

std::string hexadecimal(std::uintptr_t number) {
  std::ostringstream text;
  text << "0x" << std::hex << number;
  return text.str();
}

std::string demangled(const char* name) {
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> plain(abi::__cxa_demangle(name, nullptr, nullptr, &status),
                                                          &std::free);
  return status == 0 && plain ? plain.get() : name;
}

std::string frame_line(int number, void* frame) {
  const auto address = reinterpret_cast<std::uintptr_t>(frame);
  std::string line = "#" + std::to_string(number) + " ";
  Dl_info info = {};
  // But for the innermost, a frame is where a call returns to, perhaps the next function's first byte: look at the
  // call.
  if (dladdr(reinterpret_cast<void*>(address - (number > 0)), &info) == 0 || !info.dli_fname)
    return line + hexadecimal(address);
  if (info.dli_sname) {
    const auto offset = address - reinterpret_cast<std::uintptr_t>(info.dli_saddr);
    line += demangled(info.dli_sname) + "+" + hexadecimal(offset) + " ";
  }
  const auto in_module = address - reinterpret_cast<std::uintptr_t>(info.dli_fbase);
  return line + "(" + std::filesystem::path(info.dli_fname).filename().string() + "+" + hexadecimal(in_module) + ")";
}

std::optional<char> state_in(const std::string& stat_file) {
  std::ifstream file(stat_file);
  std::string text;
  std::getline(file, text, '\0');
  const auto after_name = text.rfind(") ");  // the name in parentheses may hold anything
  if (after_name == std::string::npos || after_name + 2 >= text.size()) return std::nullopt;
  return text[after_name + 2];
}

struct Watched {
  std::mutex mutex;
  int next_id = 1;
  struct Thread {
    std::string name;
    pid_t tid;
  };
  std::map<int, Thread> threads;
};

Watched& watched() {
  static Watched the;
  return the;
}

pid_t own_tid() {
  return static_cast<pid_t>(syscall(SYS_gettid));
}

}  // namespace

WatchedThread::WatchedThread(std::string name) {
  take_signal();
  auto& all = watched();
  const std::lock_guard lock(all.mutex);
  id_ = all.next_id++;
  all.threads[id_] = {std::move(name), own_tid()};
}

WatchedThread::~WatchedThread() {
  auto& all = watched();
  const std::lock_guard lock(all.mutex);
  all.threads.erase(id_);
}

std::vector<std::string> thread_stack(pid_t tid) {
  static std::mutex one_at_a_time;
  static int number = 0;
  const std::lock_guard lock(one_at_a_time);
  take_signal();
  const auto silent = "thread " + std::to_string(tid) + " did not answer";
  if (question.state.load() % 4 == StackQuestion::kWriting) return {silent + ": an earlier one is still at it"};
  question.state.store(4 * std::int64_t{++number} + StackQuestion::kAsked);
  if (!ask(tid, number)) return {silent + ": there is no such thread"};
  if (!wait_for_answer(number)) return {silent + " within 1 s"};
  std::vector<std::string> lines;
  // The two innermost frames are the handler and what the system calls it through.
  for (int i = 2; i < question.count; ++i) lines.push_back(frame_line(i - 2, question.frames[i]));
  return lines;
}

std::string watched_stacks() {
  auto& all = watched();
  const std::lock_guard lock(all.mutex);  // a thread that is asked stays watched until it has answered
  std::string text;
  for (const auto& [id, thread] : all.threads) {
    const auto state = thread_state(thread.tid);
    text += "thread " + thread.name + " (" + (state ? std::string(1, *state) : "gone") + ")\n";
    for (const auto& line : thread_stack(thread.tid)) text += "  " + line + "\n";
  }
  return text;
}

std::optional<char> process_state(pid_t pid) {
  return state_in("/proc/" + std::to_string(pid) + "/stat");
}
std::optional<char> thread_state(pid_t tid) {
  return state_in("/proc/self/task/" + std::to_string(tid) + "/stat");
}

}  // namespace triptych
