// The table of broken tars.
#include "tests/support/broken_tars.h"

#include <ostream>

#include "tests/support/tiny_png.h"

namespace triptych {
namespace {

/// Of less than a block, as every picture of a record that shall be read.
const std::string kPicture = tiny_png(4, 3, 0);
const auto kPictureSize = static_cast<std::int64_t>(kPicture.size());

}  // namespace

TarWriter& record(TarWriter& tar, int i) {
  return tar.file("r" + std::to_string(i) + ".jpg", kPicture)
      .file("r" + std::to_string(i) + ".txt", "caption " + std::to_string(i));
}
TarWriter first_record() {
  TarWriter tar;
  record(tar, 0);
  return tar;
}

namespace {

/// `tar` with record 1 behind it and an end mark.
std::string then_record_1(TarWriter tar) {
  return record(tar, 1).end().bytes();
}

const std::vector<std::string> kBoth = {"caption 0", "caption 1"}, kFirst = {"caption 0"};

std::vector<BrokenTar> cut_tars() {
  TarWriter two = first_record();
  record(two, 1);
  const auto whole = two.bytes();
  return {
      {"empty_file", "", {}, {}, "the shards hold no record"},
      {"only_an_end_mark", std::string(1024, '\0'), {}, {}, "the shards hold no record"},
      {"no_end_mark", whole, kBoth, {}, {}},
      {"one_zero_block_at_the_end", whole + std::string(512, '\0'), kBoth, {}, {}},
      {"cut_in_the_padding_of_the_last_member", whole.substr(0, whole.size() - 100), kBoth, {}, {}},
      {"cut_in_a_caption",
       whole.substr(0, whole.size() - 510),
       kFirst,
       {"r1@2048: .txt: the shard ends inside this member"},
       {}},
      {"cut_in_a_picture",
       whole.substr(0, 2048 + 512 + 3),
       kFirst,
       {"r1@2048: .jpg: the shard ends inside this member"},
       {}},
      {"cut_in_the_first_header_of_a_record",
       whole.substr(0, 2048 + 300),
       kFirst,
       {"@2048: the shard ends inside a tar header"},
       {}},
      {"cut_in_the_second_header_of_a_record",
       whole.substr(0, 3072 + 300),
       kFirst,
       {"r1@2048: no caption", "@3072: the shard ends inside a tar header"},
       {}},
      {"cut_between_header_and_bytes",
       whole.substr(0, 3072 + 512),
       kFirst,
       {"r1@2048: .txt: the shard ends inside this member"},
       {}},
      {"cut_between_members", whole.substr(0, 3072), kFirst, {"r1@2048: no caption"}, {}},
      {"cut_in_the_only_header", whole.substr(0, 300), {}, {"@0: the shard ends inside a tar header"}, {}},
      {"cut_behind_a_pax_header",
       first_record().pax(TarWriter::pax_record("path", "r1.jpg")).bytes(),
       kFirst,
       {"@2048: the shard ends inside a tar header"},
       {}},
  };
}

std::vector<BrokenTar> bad_headers() {
  const auto picture = [](const char* name, std::int64_t size = 7) { return TarHeader(name, size); };
  return {
      {"checksum_of_a_picture",
       then_record_1(first_record().header(picture("x.jpg"), 1).data("picture").file("x.txt", "lost")),
       kBoth,
       {"@2048: tar header with a wrong checksum", "x@3072: no picture"},
       {}},
      {"checksum_of_a_whole_record",
       then_record_1(first_record().header(picture("x.jpg"), 1).data("p").header(picture("x.txt"), 1).data("c")),
       kBoth,
       {"@2048: tar header with a wrong checksum"},
       {}},
      {"checksum_of_the_first_header",
       then_record_1(TarWriter().header(picture("r0.jpg"), -1).data("picture")),
       {"caption 1"},
       {"@0: tar header with a wrong checksum"},
       {}},
      {"negative_base256_size",
       then_record_1(first_record().header(picture("x.jpg").base256(124, 12, -512)).data("p").file("x.txt", "c")),
       kBoth,
       {"x@2048: .jpg: the tar header's size is negative or no number"},
       {}},
      {"size_that_is_no_number",
       then_record_1(first_record().header(picture("x.jpg").text(124, "12z45678901")).data("p")),
       kBoth,
       {"x@2048: .jpg: the tar header's size is negative or no number"},
       {}},
      {"base256_size_beyond_the_end",
       then_record_1(first_record().header(picture("x.jpg").base256(124, 12, std::int64_t{1} << 60)).data("p")),
       kBoth,
       {"x@2048: .jpg: the shard ends inside this member"},
       {}},
      {"base256_size_of_more_than_64_bits",
       then_record_1(first_record()
                         .header(picture("x.jpg").text(124, "\x80\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"))
                         .data("p")),
       kBoth,
       {"x@2048: .jpg: the tar header's size is negative or no number"},
       {}},
      {"garbage_between_records",
       then_record_1(first_record().raw(std::string(1024, 'g'))),
       kBoth,
       {"@2048: tar header with a wrong checksum"},
       {}},
      {"garbage_behind_the_end_mark",
       record(first_record().end(), 1).bytes().substr(0, 3072) + std::string(2048, 'g'),
       kFirst,
       {},
       {}},
      {"two_archives_behind_one_another", then_record_1(first_record().end()), kBoth, {}, {}},
      {"garbage_and_an_archive_behind_the_end_mark",
       then_record_1(first_record().end().raw(std::string(512, 'g'))),
       kBoth,
       {"@3072: tar header with a wrong checksum"},
       {}},
  };
}

std::vector<BrokenTar> bad_extensions() {
  const auto& pax = TarWriter::pax_record;
  const auto with = [](const std::string& records) {
    return then_record_1(first_record().pax(records).file("x.jpg", kPicture).file("x.txt", "c"));
  };
  const auto bad_pax = "x@2048: .jpg: a PAX header that cannot be read";
  return {
      {"pax_record_longer_than_the_header", with("99 path=y.jpg\n"), kBoth, {bad_pax}, {}},
      {"pax_record_without_equals", with("10 abcdef\n"), kBoth, {bad_pax}, {}},
      {"pax_record_without_newline", with("11 path=abc"), kBoth, {bad_pax}, {}},
      {"pax_length_zero", with("0 path=abc\n"), kBoth, {bad_pax}, {}},
      {"pax_negative_size", with(pax("size", "-1")), kBoth, {"x@2048: .jpg: the tar header's size is negative"}, {}},
      {"pax_size_that_is_no_number",
       with(pax("size", "seven")),
       kBoth,
       {"x@2048: .jpg: the tar header's size is negative"},
       {}},
      {"pax_size_beyond_the_end",
       with(pax("size", "999999999999")),
       kBoth,
       {"x@2048: .jpg: the shard ends inside"},
       {}},
      {"pax_path_with_a_nul",
       with(pax("path", std::string("y\0z.jpg", 7))),
       kBoth,
       {"x@2048: .jpg: a member name longer than 64 KiB or with a NUL"},
       {}},
      {"pax_sparse", with(pax("GNU.sparse.major", "1")), kBoth, {"x@2048: .jpg: a sparse tar member"}, {}},
      {"pax_header_of_2_MiB",
       then_record_1(first_record().pax(pax("comment", std::string(2 << 20, 'c'))).file("x.jpg", kPicture)),
       kBoth,
       {bad_pax},
       {}},
      {"pax_header_beyond_the_end",
       then_record_1(first_record().header(TarHeader("PaxHeaders/x", 1 << 30, 'x'))),
       kBoth,
       {"@2048: the shard ends inside a tar header"},
       {}},
      {"gnu_long_name_of_1_GiB",
       then_record_1(first_record().header(TarHeader("././@LongLink", 1 << 30, 'L'))),
       kBoth,
       {"@2048: the shard ends inside a tar header"},
       {}},
      {"gnu_long_name_of_100_KiB",
       then_record_1(first_record().long_name(std::string(100 << 10, 'n')).file("x.jpg", kPicture)),
       kBoth,
       {"x@2048: .jpg: a member name longer than 64 KiB"},
       {}},
      {"gnu_sparse_member",
       then_record_1(first_record().header(TarHeader("x.jpg", 7, 'S')).data("picture")),
       kBoth,
       {"x@2048: .jpg: a sparse tar member"},
       {}},
      {"gnu_sparse_member_with_a_long_map",
       then_record_1(first_record()
                         .header(TarHeader("x.jpg", 7, 'S').text(482, "\x01"))
                         .raw(std::string(512, '\0'))
                         .data("picture")),
       kBoth,
       {"x@2048: .jpg: a sparse tar member"},
       {}},
  };
}

std::vector<BrokenTar> bad_groups() {
  TarWriter apart;  // members of two keys mixed
  apart.file("r0.jpg", kPicture).file("r1.jpg", kPicture).file("r1.txt", "caption 1").file("r0.txt", "caption 0").end();
  return {
      {"members_of_a_key_apart", apart.bytes(), kBoth, {}, {}},
      {"a_key_twice",
       then_record_1(first_record()
                         .file("x.jpg", kPicture)
                         .file("x.txt", "one")
                         .file("y.jpg", kPicture)
                         .file("y.txt", "caption y")
                         .file("x.jpg", kPicture)
                         .file("x.txt", "two")),
       {"caption 0", "caption y", "caption 1"},
       {"x@2048: the key has two members of one extension"},
       {}},
      {"extension_twice_in_another_case",
       then_record_1(first_record().file("x.jpg", kPicture).file("x.JPG", kPicture).file("x.txt", "c")),
       kBoth,
       {"x@2048: the key has two members of one extension"},
       {}},
      {"no_picture", then_record_1(first_record().file("x.txt", "c")), kBoth, {"x@2048: no picture"}, {}},
      {"no_caption",
       then_record_1(first_record().file("x.jpg", kPicture)),
       kBoth,
       {"x@2048: no caption: members or JSON keys txt absent or empty"},
       {}},
      {"empty_picture",
       then_record_1(first_record().file("x.jpg", "").file("x.txt", "c")),
       kBoth,
       {"x@2048: .jpg: the member is empty"},
       {}},
      {"empty_caption",
       then_record_1(first_record().file("x.jpg", kPicture).file("x.txt", " \n")),
       kBoth,
       {"x@2048: no caption: members or JSON keys txt absent or empty"},
       {}},
      {"caption_not_utf8",
       then_record_1(first_record().file("x.jpg", kPicture).file("x.txt", "\xC3(")),
       kBoth,
       {"x@2048: the caption is not UTF-8"},
       {}},
      {"caption_with_nul",
       then_record_1(first_record().file("x.jpg", kPicture).file("x.txt", std::string("a\0b", 3))),
       kBoth,
       {"x@2048: the caption holds a NUL"},
       {}},
      {"caption_of_1_MB",
       then_record_1(first_record().file("x.jpg", kPicture).file("x.txt", std::string(1000000, 'c'))),
       kBoth,
       {"x@2048: the caption has 1000000 bytes; at most 65536 are taken"},
       {}},
      {"caption_of_2_MiB",
       then_record_1(first_record().file("x.jpg", kPicture).file("x.txt", std::string(2 << 20, 'c'))),
       kBoth,
       {"x@2048: .txt: 2097152 bytes are too many"},
       {}},
  };
}

std::vector<BrokenTar> ignored_members() {
  const auto link = [](char type) { return TarHeader("x.jpg", 0, type).text(157, "/etc/passwd"); };
  TarWriter many = first_record();
  for (const char type : {'1', '2', '3', '4', '6'}) many.header(link(type));
  return {
      {"links_and_devices", then_record_1(many), kBoth, {}, {}},
      {"link_with_a_size", then_record_1(first_record().header(TarHeader("x.jpg", 4096, '2'))), kBoth, {}, {}},
      {"folders",
       then_record_1(first_record().header(TarHeader("d.jpg/", 0, '5')).header(TarHeader("e.jpg/", 0, '\0'))),
       kBoth,
       {},
       {}},
      {"volume_label", then_record_1(first_record().header(TarHeader("label", 0, 'V'))), kBoth, {}, {}},
      {"global_pax_header",
       then_record_1(first_record().pax(TarWriter::pax_record("comment", "c"), 'g')),
       kBoth,
       {},
       {}},
      {"global_pax_header_at_the_end",
       first_record().pax(TarWriter::pax_record("comment", "c"), 'g').end().bytes(),
       kFirst,
       {},
       {}},
      {"names_that_are_no_records",
       then_record_1(first_record()
                         .file("README", "r")
                         .file(".hidden.jpg", "h")
                         .file("a/._x.jpg", "m")
                         .file("__meta__.json", "{}")
                         .file("x.", "d")),
       kBoth,
       {},
       {}},
  };
}

std::vector<BrokenTar> odd_names() {
  const auto named = [](const std::string& key) {
    return then_record_1(first_record().file(key + ".jpg", kPicture).file(key + ".txt", "caption odd"));
  };
  const std::vector<std::string> all = {"caption 0", "caption odd", "caption 1"};
  const std::string deep = std::string(120, 'd') + "/" + std::string(120, 'n');
  TarWriter gnu = first_record(), pax = first_record(), pax_name = first_record();
  gnu.long_name(deep + ".jpg")
      .file("cut", kPicture)
      .long_name("/target", 'K')
      .long_name(deep + ".txt")
      .file("cut", "caption odd");
  pax.pax(TarWriter::pax_record("path", deep + ".jpg")).file("cut", kPicture);
  pax.pax(TarWriter::pax_record("mtime", "1.5") + TarWriter::pax_record("path", deep + ".txt"))
      .file("cut", "caption odd");
  const auto prefixed = TarHeader("x.jpg", kPictureSize).text(345, "long/prefix"),
             prefixed_text = TarHeader("x.txt", 11).text(345, "long/prefix");
  TarWriter sized = first_record();
  sized.pax(TarWriter::pax_record("size", "11"))
      .header(TarHeader("x.txt", 0))
      .data("caption odd")
      .file("x.jpg", kPicture);
  return {
      {"path_upwards", named("../../x"), all, {}, {}},
      {"absolute_path", named("/etc/x"), all, {}, {}},
      {"blanks_and_quotes", named("a b'\"\\"), all, {}, {}},
      {"newline", named("a\nb"), all, {}, {}},
      {"not_utf8", named("\xFF\xFE"), all, {}, {}},
      {"gnu_long_names", then_record_1(gnu), all, {}, {}},
      {"pax_paths", then_record_1(pax), all, {}, {}},
      {"ustar_prefix",
       then_record_1(first_record().header(prefixed).data(kPicture).header(prefixed_text).data("caption odd")),
       all,
       {},
       {}},
      {"pax_size", then_record_1(sized), all, {}, {}},
      {"base256_size",
       then_record_1(first_record()
                         .header(TarHeader("x.jpg", 0).base256(124, 12, kPictureSize))
                         .data(kPicture)
                         .file("x.txt", "caption odd")),
       all,
       {},
       {}},
      {"old_tar_without_magic",
       then_record_1(first_record()
                         .header(TarHeader("x.jpg", kPictureSize).text(257, std::string(8, '\0')))
                         .data(kPicture)
                         .file("x.txt", "caption odd")),
       all,
       {},
       {}},
  };
}

std::vector<BrokenTar> foreign_files() {
  return {
      {"html",
       "<!DOCTYPE html><html><body>" + std::string(2000, ' ') + "</body></html>",
       {},
       {},
       "is no tar archive: it has no tar header"},
      {"short_text", "not found", {}, {}, "is no tar archive"},
      {"gzip", std::string("\x1F\x8B\x08\x00", 4) + std::string(2000, 'z'), {}, {}, "its gzip data is"},
      {"zstd", "\x28\xB5\x2F\xFD" + std::string(2000, 'z'), {}, {}, "its zstd data is damaged"},
      {"xz",
       std::string("\xFD"
                   "7zXZ\0",
                   6) +
           std::string(2000, 'z'),
       {},
       {},
       "unxz"},
      {"bzip2", "BZh9" + std::string(2000, 'z'), {}, {}, "bunzip2"},
      {"zip", "PK\x03\x04" + std::string(2000, 'z'), {}, {}, "pack the files with tar"},
  };
}

}  // namespace

void PrintTo(const BrokenTar& tar, std::ostream* out) {
  *out << tar.name;
}

std::vector<BrokenTar> broken_tars() {
  std::vector<BrokenTar> all;
  for (const auto part :
       {cut_tars, bad_headers, bad_extensions, bad_groups, ignored_members, odd_names, foreign_files}) {
    for (auto& tar : part()) all.push_back(std::move(tar));
  }
  return all;
}

}  // namespace triptych
