// Files that are complete or absent.
#include "core/base/atomic_file.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/temp_dir.h"

namespace triptych {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

std::size_t files_in(const fs::path& folder) {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const StorageError& error) {
    return error.what();
  }
  return "nothing was thrown";
}

TEST(AtomicFile, WritesAndReplaces) {
  const TempDir folder;
  const std::string bytes("a\0b\n", 4);
  write_file_atomically(folder / "config.yaml", bytes);
  EXPECT_EQ(read_file(folder / "config.yaml"), bytes);
  write_file_atomically(folder / "config.yaml", "");
  EXPECT_EQ(read_file(folder / "config.yaml"), "");
  EXPECT_EQ(files_in(folder.path()), 1u);  // nothing is left beside it
}

TEST(AtomicFile, WorksOnBareNames) {
  const TempDir folder;
  const auto before = fs::current_path();
  fs::current_path(folder.path());
  write_file_atomically("bare", "x");
  EXPECT_EQ(read_file("bare"), "x");
  fs::current_path(before);
}

TEST(AtomicFile, ErrorsNamePathNeedAndCause) {
  const TempDir folder;
  EXPECT_THAT(message_of([&] { write_file_atomically(folder / "absent" / "a", std::string(2048, 'x')); }),
              AllOf(HasSubstr("cannot write"), HasSubstr((folder / "absent" / "a").string()),
                    HasSubstr("No such file or directory")));
  EXPECT_THAT(storage_error("cannot write", folder / "a", ENOSPC, 2048).what(),
              AllOf(HasSubstr("needs 2.0 KiB"), HasSubstr("free"), HasSubstr("No space left on device")));
  EXPECT_THAT(message_of([&] { read_file(folder / "absent"); }), HasSubstr("cannot open"));
  EXPECT_THAT(message_of([&] { sync_folder(folder / "absent"); }), HasSubstr("cannot open folder"));
  EXPECT_THAT(message_of([&] { sync_file(folder / "absent"); }), HasSubstr("cannot open"));
  EXPECT_THAT(message_of([&] { rename_durably(folder / "absent", folder / "b"); }), HasSubstr("cannot rename"));
}

TEST(AtomicFile, AFailedWriteKeepsTheOldFileAndLeavesNothing) {
  const TempDir folder;
  write_file_atomically(folder / "a", "old");
  const auto child = fork();
  if (child == 0) {  // a limit on file sizes stands for a full disk
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{4096, 4096};
    setrlimit(RLIMIT_FSIZE, &limit);
    const auto message = message_of([&] { write_file_atomically(folder / "a", std::string(100000, 'x')); });
    _exit(message.find("File too large") != std::string::npos && files_in(folder.path()) == 1 ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(read_file(folder / "a"), "old");
}

TEST(AtomicFile, ManyWritersEachWriteWholeFiles) {
  const TempDir folder;
  const auto path = folder / "a";
  write_file_atomically(path, std::string(5000, 'a'));
  std::vector<std::thread> writers;
  for (const char letter : {'b', 'c'}) {
    writers.emplace_back([&path, letter] {
      for (int i = 0; i < 20; ++i) write_file_atomically(path, std::string(5000, letter));
    });
  }
  for (int i = 0; i < 200; ++i) {
    const auto bytes = read_file(path);
    ASSERT_EQ(bytes, std::string(5000, bytes.empty() ? '?' : bytes[0]));
  }
  for (auto& writer : writers) writer.join();
  EXPECT_EQ(files_in(folder.path()), 1u);
}

TEST(AtomicFile, AKilledWriterLeavesTheOldFileOrTheNewOne) {
  const TempDir folder;
  const auto path = folder / "a";
  write_file_atomically(path, std::string(200000, 'a'));
  for (int i = 0; i < 10; ++i) {
    const auto child = fork();
    if (child == 0) {
      while (true) {
        write_file_atomically(path, std::string(200000, 'b'));
        write_file_atomically(path, std::string(200000, 'a'));
      }
    }
    usleep(static_cast<useconds_t>(2000 + 700 * i));
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    const auto bytes = read_file(path);
    ASSERT_EQ(bytes.size(), 200000u);
    ASSERT_EQ(bytes, std::string(200000, bytes[0]));
  }
  write_file_atomically(path, "new");  // what killed writers left beside it is no obstacle
  EXPECT_EQ(read_file(path), "new");
}

TEST(AtomicFile, ReplacesALinkAndDoesNotWriteThroughIt) {
  const TempDir folder;
  write_file_atomically(folder / "outside", "precious");
  fs::create_symlink(folder / "outside", folder / "link");
  write_file_atomically(folder / "link", "new");
  EXPECT_EQ(read_file(folder / "outside"), "precious");
  EXPECT_FALSE(fs::is_symlink(folder / "link"));
}

TEST(AtomicFile, RenamesFolders) {
  const TempDir folder;
  fs::create_directory(folder / "step.tmp");
  write_file_atomically(folder / "step.tmp" / "a", "x");
  sync_file(folder / "step.tmp" / "a");
  sync_folder(folder / "step.tmp");
  rename_durably(folder / "step.tmp", folder / "step");
  EXPECT_EQ(read_file(folder / "step" / "a"), "x");
}

TEST(AtomicFile, ReadingIsBounded) {
  const TempDir folder;
  write_file_atomically(folder / "a", std::string(1000, 'x'));
  EXPECT_EQ(read_file(folder / "a", 1000).size(), 1000u);
  EXPECT_THAT(message_of([&] { read_file(folder / "a", 999); }), HasSubstr("is larger than"));
  EXPECT_THAT(message_of([] { read_file("/dev/zero", 5000); }), HasSubstr("is larger than"));
}

TEST(FileHandle, OwnsItsDescriptor) {
  FileHandle a(open("/dev/null", O_RDONLY));
  const int fd = a.get();
  FileHandle b = std::move(a);
  EXPECT_EQ(a.get(), -1);
  EXPECT_EQ(b.get(), fd);
  EXPECT_TRUE(b.close());
  EXPECT_EQ(fcntl(fd, F_GETFD), -1);
  EXPECT_TRUE(b.close());  // nothing left to close
}

}  // namespace
}  // namespace triptych
