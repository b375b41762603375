// The table of tokenizers and the search for their vocabularies.
#include "data/text/tokenizer.h"

#include <cstdlib>
#include <filesystem>

#include "core/base/errors.h"
#include "data/text/clip_bpe.h"

namespace triptych {
namespace {

std::filesystem::path find_asset(const std::string& name) {
  std::vector<std::filesystem::path> folders = {"assets", TRIPTYCH_ASSETS_DIR};
  if (const char* own = std::getenv("TRIPTYCH_ASSETS")) folders.insert(folders.begin(), own);
  std::string looked_in;
  for (const auto& folder : folders) {
    if (std::error_code ignored; std::filesystem::is_regular_file(folder / name, ignored)) return folder / name;
    looked_in += (looked_in.empty() ? "" : ", ") + folder.string();
  }
  throw ConfigError("the vocabulary " + name + " is missing (looked in " + looked_in +
                    "); run scripts/setup, which fetches it, or set TRIPTYCH_ASSETS to its folder");
}

}  // namespace

std::shared_ptr<const Tokenizer> make_tokenizer(const std::string& name) {
  // To add a tokenizer: one file, one line here, one test.
  if (name == "clip_bpe") return std::make_shared<ClipBpe>(find_asset("clip_bpe_merges.txt.gz"));
  throw ConfigError("tokenizer: got '" + name + "', known: clip_bpe");
}

}  // namespace triptych
