// Folders of pictures: classes, captions beside pictures, links, several roots.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/errors.h"
#include "data/corpus.h"
#include "data/formats/record_error.h"
#include "tests/support/corpus_configs.h"
#include "tests/support/tar_writer.h"
#include "tests/support/temp_dir.h"

namespace triptych {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

template <class Error, class Action>
std::string folder_error(Action&& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(ImageFolderTest, ClassIsTheSubFolder) {
  const TempDir folder;
  for (const auto* file : {"dog/1.jpg", "dog/deep/er/2.PNG", "cat_fish/3.webp", "cat_fish/.hidden.jpg",
                           "cat_fish/notes.txt", ".git/4.jpg", "empty_class/readme.md"}) {
    write_test_file(folder / file, file);
  }
  const auto corpus = open_corpus(folder_corpus(folder.path(), "image_label"));
  EXPECT_THAT(corpus->class_names(),
              ElementsAre(ElementsAre("cat fish"), ElementsAre("dog"), ElementsAre("empty class")));
  ASSERT_EQ(corpus->size(), 3);
  std::vector<std::string> found;
  for (std::int64_t i = 0; i < 3; ++i) {
    const auto record = corpus->read(i);
    EXPECT_EQ(std::string(record.image.begin(), record.image.end()), record.place.key);
    found.push_back(record.place.key + " " + std::to_string(record.label));
  }
  EXPECT_THAT(found, ElementsAre("cat_fish/3.webp 0", "dog/1.jpg 1", "dog/deep/er/2.PNG 1"));
}

TEST(ImageFolderTest, CaptionIsTheTextFileBeside) {
  const TempDir folder;
  write_test_file(folder / "a/x.jpg", "p");
  write_test_file(folder / "a/x.txt", "a caption\n");
  write_test_file(folder / "y.png", "p");
  const auto corpus = open_corpus(folder_corpus(folder.path(), "image_text"));
  ASSERT_EQ(corpus->size(), 2);
  EXPECT_THAT(corpus->read(0).captions, ElementsAre("a caption"));
  EXPECT_THAT(
      folder_error<RecordError>([&] { corpus->read(1); }),
      testing::AllOf(HasSubstr("key 'y.png'"), HasSubstr("the files txt beside the picture are absent or empty")));
  std::filesystem::remove(folder / "a/x.jpg");
  EXPECT_THROW(corpus->read(0), RecordError);
}

TEST(ImageFolderTest, CaptionFilesThatAreAbsentAreLeftOut) {
  const TempDir folder;
  for (const auto* picture : {"a.jpg", "b.jpg", "c.jpg", "d.jpg"}) write_test_file(folder / picture, "p");
  write_test_file(folder / "a.txt", "text a");
  write_test_file(folder / "b.alt", "alt b");
  write_test_file(folder / "c.txt", "text c");
  write_test_file(folder / "c.alt", "alt c");
  std::filesystem::create_directory(folder / "d.txt");  // is there and cannot be read
  write_test_file(folder / "d.alt", "alt d");
  auto config = folder_corpus(folder.path(), "image_text");
  config.caption_keys = {"txt", "alt"};
  const auto corpus = open_corpus(config);
  EXPECT_THAT(corpus->read(0).captions, ElementsAre("text a"));
  EXPECT_THAT(corpus->read(1).captions, ElementsAre("alt b"));
  EXPECT_THAT(corpus->read(2).captions, ElementsAre("text c", "alt c"));
  EXPECT_THROW(corpus->read(3), RecordError);
}

TEST(ImageFolderTest, LinkedFoldersAreFollowedDirectlyBelowThePath) {
  namespace fs = std::filesystem;
  for (const std::string kind : {"image_text", "image_label"}) {
    const TempDir dir;
    for (const auto* file : {"root/own/1.jpg", "far/2.jpg", "far/deep/3.jpg", "farther/4.jpg"}) {
      write_test_file(dir / file, "p");
      write_test_file((dir / file).replace_extension(".txt"), "c");
    }
    fs::create_directory_symlink(dir / "far", dir / "root/linked");
    fs::create_directory_symlink(dir / "farther", dir / "far/not_followed");
    fs::create_directory_symlink(dir / "root", dir / "root/circle");
    fs::create_directory_symlink("..", dir / "root/above");
    fs::create_directory_symlink("own", dir / "root/twice");
    fs::create_symlink(dir / "far/2.jpg", dir / "root/own/5.jpg");
    fs::create_symlink("5.txt", dir / "root/own/5.txt");  // itself
    fs::create_symlink(dir / "gone", dir / "root/nowhere");
    fs::create_symlink(dir / "gone.jpg", dir / "far/gone.jpg");
    testing::internal::CaptureStderr();
    const auto corpus = open_corpus(folder_corpus(dir / "root", kind));
    EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("passed over 6 links that lead nowhere"));
    std::vector<std::string> keys;
    for (std::int64_t i = 0; i < corpus->size(); ++i) keys.push_back(corpus->place(i).key);
    EXPECT_THAT(keys, ElementsAre("linked/2.jpg", "linked/deep/3.jpg", "own/1.jpg", "own/5.jpg")) << kind;
    EXPECT_FALSE(corpus->read(0).image.empty());
  }
}

TEST(ImageFolderTest, PicturesOfOtherFormatsAreCountedInOneWarning) {
  for (const std::string kind : {"image_text", "image_label"}) {
    const TempDir folder;
    for (const auto* file : {"c/1.JPE", "c/2.jfif", "c/3.gif", "c/4.BMP", "c/5.tiff", "c/deep/6.heic", "c/7.avif",
                             "c/8.json", "c/.9.gif", "c/10.txt"}) {
      write_test_file(folder / file, "p");
    }
    testing::internal::CaptureStderr();
    const auto corpus = open_corpus(folder_corpus(folder.path(), kind));
    const auto log = testing::internal::GetCapturedStderr();
    EXPECT_EQ(corpus->size(), 2);
    EXPECT_THAT(log, HasSubstr("corpus folder: passed over 5 pictures of formats that are not read"));
    EXPECT_EQ(log.find("passed over"), log.rfind("passed over")) << log;
  }
}

TEST(ImageFolderTest, WrongFoldersAreRefused) {
  const TempDir folder;
  const auto message = [](const CorpusConfig& config) {
    return folder_error<ConfigError>([&] { open_corpus(config); });
  };
  EXPECT_THAT(message(folder_corpus(folder / "missing", "image_label")), HasSubstr("there is no file or folder"));
  write_test_file(folder / "a_file", "x");
  EXPECT_THAT(message(folder_corpus(folder / "a_file", "image_label")), HasSubstr("is no folder"));
  std::filesystem::remove(folder / "a_file");
  EXPECT_THAT(message(folder_corpus(folder.path(), "image_label")), HasSubstr("holds no .jpg"));
  write_test_file(folder / "Big_cat/1.jpg", "p");
  write_test_file(folder / "big cat/2.jpg", "p");
  EXPECT_THAT(message(folder_corpus(folder.path(), "image_label")), HasSubstr("have the same name up to case"));
  auto named = folder_corpus(folder.path(), "image_label");
  named.class_names = (folder / "classes.txt").string();
  write_test_file(folder / "classes.txt", "lion\ntiger\nlynx\n");
  EXPECT_THAT(message(named), HasSubstr("has 3 lines for 2 class folders"));
  write_test_file(folder / "classes.txt", "lion|king\ntiger\n");
  EXPECT_THAT(open_corpus(named)->class_names(), ElementsAre(ElementsAre("lion", "king"), ElementsAre("tiger")));
  write_test_file(folder / "stray.jpg", "p");
  EXPECT_THAT(message(named), HasSubstr("lies in no class folder"));
}

/// Lines in the order of numbers, folders in that of bytes: every label would be another class's.
TEST(ImageFolderTest, ClassNamesInAnotherOrderAreRefused) {
  const TempDir folder;
  for (const auto* file : {"Big_cat/1.jpg", "dog/2.jpg", "zebra/3.jpg"}) write_test_file(folder / file, "p");
  auto config = folder_corpus(folder.path(), "image_label");
  config.class_names = (folder / "classes.txt").string();
  const auto outcome = [&](const std::string& lines) {
    write_test_file(folder / "classes.txt", lines);
    return folder_error<ConfigError>([&] { open_corpus(config); });
  };
  EXPECT_THAT(
      outcome("big cat\nzebra\nhound|dog\n"),
      HasSubstr("classes.txt:2: got 'zebra', the name of folder 'zebra'; expected a name of folder 'dog', which "
                "is number 2 in sorted order"));
  EXPECT_THAT(outcome("lion\nhound\nhorse|BIG-CAT\n"), HasSubstr("classes.txt:3: got 'BIG-CAT'"));
  EXPECT_EQ(outcome("big cat\ndog\nzebra\n"), "no error");
  EXPECT_EQ(outcome("lion\nhound\nhorse\n"), "no error");
  EXPECT_EQ(outcome("BIG CAT|dog\nhound\nzebra\n"), "no error");  // its own name too
}

TEST(ImageFolderTest, SeveralRootsAreOneCorpus) {
  const TempDir folder;
  for (const auto* file : {"a/cat/1.jpg", "a/dog/2.jpg", "b/bird/3.jpg", "b/cat/4.jpg", "c/dog/5.jpg"}) {
    write_test_file(folder / file, file);
  }
  const auto corpus = open_corpus(folder_corpus(folder / "{a,b}", "image_label"));
  EXPECT_THAT(corpus->class_names(), ElementsAre(ElementsAre("bird"), ElementsAre("cat"), ElementsAre("dog")));
  ASSERT_EQ(corpus->size(), 4);
  std::vector<std::int64_t> labels;
  for (std::int64_t i = 0; i < 4; ++i) {
    const auto record = corpus->read(i);
    labels.push_back(record.label);
    EXPECT_EQ(record.place.shard + "/" + record.place.key,
              (folder / std::string(record.image.begin(), record.image.end())).string());
  }
  EXPECT_THAT(labels, ElementsAre(1, 2, 0, 1));
  EXPECT_EQ(open_corpus(folder_corpus(folder / "?", "image_label"))->size(), 5);
}

TEST(ImageFolderTest, ShardsAreShortRuns) {
  const TempDir folder;
  for (int i = 0; i < 40; ++i) write_test_file(folder / ("c/" + std::to_string(100 + i) + ".jpg"), "p");
  const auto corpus = open_corpus(folder_corpus(folder.path(), "image_label"));
  std::int64_t next = 0;
  for (const auto& span : corpus->shards()) {
    EXPECT_EQ(span.first, next);
    EXPECT_LE(span.count, 16);
    next += span.count;
  }
  EXPECT_EQ(next, 40);
}

}  // namespace
}  // namespace triptych
