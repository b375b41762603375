// A tar shard from its headers, and its first captions. Writes no index file.
#include <map>

#include "apps/inspect.h"
#include "core/base/errors.h"
#include "core/base/strings.h"
#include "data/formats/printable.h"
#include "data/formats/shard_index.h"

namespace triptych {
namespace {

using Json = nlohmann::ordered_json;
constexpr std::int64_t kShown = 5;

Json first_records(const ShardIndex& index, const InputFile& shard) {
  Json rows = Json::array();
  for (std::int64_t i = 0; i < std::min(kShown, index.size()); ++i) {
    std::string members, text;
    for (const auto& member : index.members(i)) {
      const auto& extension = index.extensions()[member.extension];
      members += (members.empty() ? "" : " ") + extension;
      if ((extension == "txt" || extension == "cls") && member.damage == 0) {
        std::string bytes(std::min<std::size_t>(member.size, 200), '\0');
        bytes.resize(shard.read_at(static_cast<std::int64_t>(member.data_offset),
                                   {reinterpret_cast<unsigned char*>(bytes.data()), bytes.size()}));
        text += (text.empty() ? "" : " | ") + printable(bytes);
      }
    }
    rows.push_back(
        {{"key", printable(index.key(i))}, {"offset", index.record(i).offset}, {"members", members}, {"text", text}});
  }
  return rows;
}

}  // namespace

Json inspect_shard(const std::filesystem::path& file) {
  const InputFile shard(file.string());
  const auto index = ShardIndex::build(shard);
  struct Sum {
    std::int64_t members = 0, bytes = 0;
  };
  std::map<std::string, Sum> by_extension;
  std::map<std::string, std::int64_t> damaged;
  for (std::int64_t i = 0; i < index.size(); ++i) {
    if (const auto damage = static_cast<Damage>(index.record(i).damage); damage != Damage::kNone) {
      damaged[damage_text(damage)] += 1;
    }
    for (const auto& member : index.members(i)) {
      auto& sum = by_extension[index.extensions()[member.extension]];
      sum.members += 1;
      sum.bytes += member.size;
      if (const auto damage = static_cast<Damage>(member.damage); damage != Damage::kNone) {
        damaged[damage_text(damage)] += 1;
      }
    }
  }
  Json members = Json::array(), damages = Json::array();
  for (const auto& [extension, sum] : by_extension) {
    members.push_back({{"extension", extension},
                       {"members", sum.members},
                       {"bytes", sum.bytes},
                       {"mean_bytes", static_cast<double>(sum.bytes) / static_cast<double>(sum.members)}});
  }
  for (const auto& [what, count] : damaged) damages.push_back({{"damage", what}, {"count", count}});
  return {{"kind", "shard"},
          {"path", file.string()},
          {"bytes", shard.size()},
          {"records", index.size()},
          {"members", members},
          {"damages", damages},
          {"first_records", first_records(index, shard)}};
}

}  // namespace triptych
