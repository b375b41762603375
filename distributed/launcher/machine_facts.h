// What a machine says of itself, so that the hosts of a job can be compared.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace triptych {

/// What a machine is asked.
struct ProbeRequest {
  std::string program;               ///< path of triptych
  std::vector<std::string> configs;  ///< paths of files that the ranks read
  std::string run_dir;               ///< need not exist yet
};

struct FileFact {
  std::string path;
  std::string xxh64;  ///< 16 hexadecimal digits; empty if it cannot be read
  std::string error;  ///< why it cannot be read
};

/// What a machine says of itself.
struct MachineFacts {
  std::string host;  ///< as it calls itself
  FileFact program;
  std::vector<FileFact> configs;
  std::uint64_t free_bytes = 0;  ///< for this user, on the file system of the run directory
  std::string
      instruction_set;         ///< that the kernels of tensors are chosen by: AVX512, AVX2, DEFAULT, or the processor's
  std::string endianness;      ///< little or big
  int cores = 0;               ///< that a process may use
  std::int64_t unix_time = 0;  ///< seconds
};

/// Asks this machine; reads whole files, so it takes as long as they are large. Throws StorageError if the file system
/// of the run directory does not answer.
MachineFacts probe(const ProbeRequest& request);
/// One line of JSON, what `probe --json` prints.
std::string to_json(const MachineFacts& facts);
/// Reads what to_json wrote. Throws DataError for anything else.
MachineFacts machine_facts(std::string_view json);

}  // namespace triptych
