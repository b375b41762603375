// `triptych config-reference`: docs/config_reference.md, from the field lists.
#include "apps/commands.h"
#include "apps/result.h"
#include "core/base/config_describe.h"
#include "core/train/train_config.h"
#include "data/tools/filter_config.h"

namespace triptych {
namespace {

constexpr const char* kHead =
    "# Configuration reference\n\n"
    "Written by `triptych config-reference` from the field lists beside each part of the program; a test fails when "
    "this\n"
    "page is stale. `triptych train CONFIG --print-config` shows a configuration with every default filled in.\n\n"
    "A file may begin with `extends: other.yaml`, a path relative to the file: sections merge key by key, lists and\n"
    "lengths are replaced, a section whose kind (`name` or `type`) changes is replaced whole. On the command line "
    "`--set "
    "a.b=value`\n"
    "changes a key, `--set data.corpora.0.weight=2` an element of a list. Lengths of a run are written `{steps: "
    "2000}`,\n"
    "`{samples: 1000000}` or `{epochs: 3}`. Paths of data are relative to the working directory. `[]` stands for "
    "every\n"
    "element of a list.\n\n";

constexpr const char* kFilterHead =
    "\n# Rules of `triptych data filter`\n\n"
    "A file of its own, given as `--rules FILE`; read as strictly, with `extends`. A rule that is not listed is "
    "off.\n\n";

}  // namespace

ExitCode run_command(const ConfigReferenceArguments&) {
  print_text(kHead + config_markdown(describe_config<TrainConfig>()) + kFilterHead +
             config_markdown(describe_config<FilterConfig>()));
  return ExitCode::kDone;
}

}  // namespace triptych
