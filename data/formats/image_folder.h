// A folder of picture files: class = sub-folder, or a caption beside each picture.
#pragma once
#include <memory>

#include "data/corpus.h"

namespace triptych {

/// Lists the pictures below the folders that config.path names, sorted by bytes. image_label: the class of a picture is
/// the sub-folder of such a folder it lies in (at any depth); classes are sorted by name. image_text: the captions are
/// the files of the same name with the extensions of config.caption_keys. Throws ConfigError.
std::unique_ptr<Corpus> open_image_folder(const CorpusConfig& config);

}  // namespace triptych
