// Asks the system; to JSON and back.
#include "distributed/launcher/machine_facts.h"

#include <sys/statvfs.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/base/atomic_file.h"
#include "core/base/hash.h"
#include "distributed/launcher/hosts.h"

namespace triptych {
namespace {

using Json = nlohmann::ordered_json;

FileFact file_fact(const std::string& path) {
  FileFact fact{.path = path, .xxh64 = "", .error = ""};
  try {
    fact.xxh64 = hash_text(xxh64_of_file(path));
  } catch (const StorageError& e) {
    fact.error = e.what();
  }
  return fact;
}

/// Of the nearest folder that exists: the run's own is made later.
std::uint64_t free_bytes_of(const std::string& folder) {
  std::error_code ignored;
  auto path = std::filesystem::absolute(folder.empty() ? "." : folder, ignored);
  while (!std::filesystem::exists(path, ignored) && path.has_relative_path()) path = path.parent_path();
  struct statvfs status {};
  if (::statvfs(path.c_str(), &status) != 0) throw storage_error("cannot ask for the free space of", path, errno);
  return static_cast<std::uint64_t>(status.f_bavail) * status.f_frsize;
}

/// By the rule that tensor kernels are chosen by: results are bit-identical only within one of these.
std::string instruction_set_name() {
#if defined(__x86_64__)
  const bool fma = __builtin_cpu_supports("fma");
  if (fma && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq")) {
    return "AVX512";
  }
  return fma && __builtin_cpu_supports("avx2") ? "AVX2" : "DEFAULT";
#elif defined(__aarch64__)
  return "aarch64";
#else
  return "DEFAULT";
#endif
}

Json file_json(const FileFact& fact) {
  Json object = {{"path", fact.path}};
  if (fact.error.empty()) {
    object["xxh64"] = fact.xxh64;
  } else {
    object["error"] = fact.error;
  }
  return object;
}

FileFact file_fact_of(const Json& object) {
  FileFact fact{.path = object.at("path").get<std::string>(), .xxh64 = "", .error = ""};
  if (object.contains("error")) {
    fact.error = object.at("error").get<std::string>();
  } else {
    fact.xxh64 = object.at("xxh64").get<std::string>();
  }
  return fact;
}

}  // namespace

MachineFacts probe(const ProbeRequest& request) {
  MachineFacts facts;
  std::array<char, 256> name{};
  facts.host = ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "";
  facts.program = file_fact(request.program);
  for (const auto& config : request.configs) facts.configs.push_back(file_fact(config));
  facts.free_bytes = free_bytes_of(request.run_dir);
  facts.instruction_set = instruction_set_name();
  facts.endianness = std::endian::native == std::endian::little ? "little" : "big";
  facts.cores = cores_of_process();
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  facts.unix_time = std::chrono::duration_cast<std::chrono::seconds>(now).count();
  return facts;
}

std::string to_json(const MachineFacts& facts) {
  auto configs = Json::array();
  for (const auto& config : facts.configs) configs.push_back(file_json(config));
  const Json object = {{"host", facts.host},
                       {"program", file_json(facts.program)},
                       {"configs", configs},
                       {"free_bytes", facts.free_bytes},
                       {"instruction_set", facts.instruction_set},
                       {"endianness", facts.endianness},
                       {"cores", facts.cores},
                       {"unix_time", facts.unix_time}};
  return object.dump(-1, ' ', false, Json::error_handler_t::replace);  // paths need not be UTF-8
}

MachineFacts machine_facts(std::string_view text) {
  try {
    const auto object = Json::parse(text);
    MachineFacts facts;
    facts.host = object.at("host").get<std::string>();
    facts.program = file_fact_of(object.at("program"));
    for (const auto& config : object.at("configs")) facts.configs.push_back(file_fact_of(config));
    facts.free_bytes = object.at("free_bytes").get<std::uint64_t>();
    facts.instruction_set = object.at("instruction_set").get<std::string>();
    facts.endianness = object.at("endianness").get<std::string>();
    facts.cores = object.at("cores").get<int>();
    facts.unix_time = object.at("unix_time").get<std::int64_t>();
    return facts;
  } catch (const nlohmann::json::exception& e) {
    throw DataError(std::string("the answer is not what probe prints: ") + e.what());
  }
}

}  // namespace triptych
