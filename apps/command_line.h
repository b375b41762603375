// What may stand on the command line, as plain structs: one per subcommand. The only user of CLI11 is command_line.cpp.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "core/base/errors.h"

namespace triptych {

enum class Format { kTable, kJson };

/// A text that answers --help or --version: goes to stdout, exit 0.
struct PrintArguments {
  std::string text;
};

struct TrainArguments {
  std::string config;
  std::vector<std::string> set;  ///< "key.path=value"
  std::string run_dir;
  std::string resume = "auto";  ///< auto | never | path of a checkpoint
  std::vector<std::string> allow_change;
  bool dry_run = false, print_config = false;
};

/// What `eval explain` looks at.
struct ExplainArguments {
  std::optional<std::int64_t> record;  ///< of the corpus
  std::string corpus_entry;            ///< eval entry or training corpus; empty: the first with captions
  std::string image;                   ///< a picture's file, instead of a record
  std::string caption;                 ///< empty: the record's first
  std::vector<std::string> phrases;    ///< "BEGIN:END", bytes of the caption; empty: those found in it
  std::int64_t coalitions = 0;         ///< 0: 64
  std::string out;                     ///< the page
};

struct EvalArguments {
  std::string what;  ///< zero-shot | retrieval | classify | knn | linear-probe | grounding | detection | all | explain
  std::string checkpoint;  ///< a checkpoint, or a run directory: its newest valid one
  std::string config;      ///< whose eval entries to use; empty: the checkpoint's own
  std::vector<std::string> set;
  std::string device;         ///< empty: as the configuration says
  std::int64_t batch = 0;     ///< rows of one forward; 0: 64
  bool last_weights = false;  ///< not their average, which a run with train.ema has
  ExplainArguments explain;
  Format format = Format::kTable;
};

struct InspectArguments {
  std::string path;  ///< a checkpoint, a tar shard or a run directory
  Format format = Format::kTable;
};

struct DoctorArguments {
  std::string config;  ///< whose corpora to look for; may be empty
  Format format = Format::kTable;
};

struct DataArguments {
  std::string action;  ///< index | stats | show | verify | pack | filter | concepts | phrases
  std::string config;
  std::vector<std::string> set;
  std::string corpus;                    ///< empty: all; pack, filter: the only one
  std::int64_t threads = 0;              ///< 0: all cores
  std::int64_t count = 5, first = 0;     ///< show
  std::int64_t step = 0;                 ///< show: the records of this step's batch instead; 0: none
  std::string png;                       ///< show: file for the picture of record `first`; empty: none
  std::string html;                      ///< stats: file of the page; empty: none
  std::string out;                       ///< pack: folder; filter: keep-list
  std::int64_t resize = 0;               ///< pack: short side; 0: pictures are copied
  std::optional<std::int64_t> quality;   ///< pack with resize
  std::int64_t shard_size = 2000;        ///< pack: records
  std::string rules;                     ///< filter: YAML file
  std::int64_t more_than = 5;            ///< concepts: threshold
  bool count_phrases = false;            ///< concepts: noun phrases instead of class names
  std::string import_file, export_file;  ///< phrases: JSON Lines of a user's own parser, and for it
  bool overwrite = false;                ///< phrases: replaces a file of another parser, import or corpus
  std::int64_t most = 50;                ///< concepts: rows of the table
  Format format = Format::kTable;
};

struct BenchArguments {
  std::string what;    ///< loader | index | loss | step | checkpoint | attention | interactions
  std::string config;  ///< empty: configs/quickstart.yaml
  std::vector<std::string> set;
  double seconds = 0;           ///< of measurement; 0: five
  std::int64_t threads = 0;     ///< 0: as the configuration says
  std::int64_t batch = 0;       ///< 0: as the configuration says
  std::int64_t image_size = 0;  ///< loader: 0: as the configuration says
  std::int64_t records = 0;     ///< index: 0: a million
  std::string inputs;           ///< loss, step: a safetensors file; empty: made up
  std::string checkpoint;       ///< interactions: a checkpoint or run directory
  std::int64_t pictures = 0;    ///< interactions: 0: four
  std::int64_t coalitions = 0;  ///< interactions: of the reference; 0: 500
  double measured_s() const { return seconds > 0 ? seconds : 5; }
  Format format = Format::kTable;
};

struct PlanArguments {
  std::string config;
  std::vector<std::string> set;
  std::int64_t ranks = 1, ranks_per_node = 8;
  std::string device;            ///< h100 | a100 | cpu
  std::int64_t text_tokens = 0;  ///< 0: the whole context
  std::int64_t classes = 0;      ///< of a head over them; 0: as many as the corpora have
  Format format = Format::kTable;
};

/// What starts and watches the ranks. Runs in triptych-launch, a small program of its own beside triptych.
struct LaunchArguments {
  std::string hosts = "local";       ///< hostfile | slurm | local
  std::int64_t ranks = 0;            ///< 0: all slots of the hosts
  std::string elastic;               ///< "MIN:MAX"; empty: always `ranks`
  std::string engine = "auto";       ///< auto | mpirun | srun
  std::string bind = "none";         ///< none | core | socket
  std::string agent;                 ///< words of a command in place of ssh
  std::string interface;             ///< network interface or CIDR
  std::vector<std::string> forward;  ///< names of further environment variables that the ranks get
  std::int64_t max_restarts = 3;
  double restart_window_s = 3600;
  std::int64_t same_step = 3;
  double hang_s = 10;       ///< without any progress
  double patience_s = 600;  ///< the same while starting, evaluating, saving
  double slow_factor = 1.5;
  std::optional<std::int64_t> monitor;  ///< port of the live view; nothing: none
  bool print_command = false, check_only = false;
  TrainArguments train;                  ///< what stands behind --
  std::vector<std::string> train_words;  ///< the same as written, "train" first
};

/// What a launcher asks of each host: prints what this machine is, as JSON. Not for people.
struct ProbeArguments {
  bool json = true;                  ///< the only form
  std::string program;               ///< the triptych that ranks will run
  std::vector<std::string> configs;  ///< files that ranks read
  std::string run_dir;
};

/// Prints docs/config_reference.md.
struct ConfigReferenceArguments {};

using Arguments =
    std::variant<PrintArguments, TrainArguments, EvalArguments, InspectArguments, DoctorArguments, DataArguments,
                 BenchArguments, PlanArguments, LaunchArguments, ProbeArguments, ConfigReferenceArguments>;

/// Throws ConfigError, one line: what is wrong, the nearest known word, where help is. `version` answers --version.
Arguments parse_command_line(int argc, const char* const* argv, const std::string& version);

}  // namespace triptych
