// A folder of picture files: class = sub-folder, or a caption beside each picture.
#pragma once
#include <memory>

#include "data/corpus.h"

namespace triptych {

/// Lists the pictures below config.path, sorted by bytes. image_label: the class of a picture is the sub-folder of
/// config.path it lies in (at any depth); classes are sorted by name. image_text: the caption is the .txt file of the
/// same name. Throws ConfigError.
std::unique_ptr<Corpus> open_image_folder(const CorpusConfig& config);

}  // namespace triptych
