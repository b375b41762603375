// The grammar of the command line.
#include "apps/command_line.h"

#include <CLI/CLI.hpp>
#include <algorithm>

#include "core/base/strings.h"

namespace triptych {
namespace {

const std::map<std::string, Format> kFormats = {{"table", Format::kTable}, {"json", Format::kJson}};
constexpr const char* kSetHelp = "key.path=value: changes the configuration before it is read; may be repeated";

void add_format(CLI::App& app, Format& format) {
  app.add_option("--format", format, "table, or json: one object on stdout and nothing else there")
      ->transform(CLI::CheckedTransformer(kFormats, CLI::ignore_case).description(""))
      ->option_text("table|json");
}

void add_set(CLI::App& app, std::vector<std::string>& set) {
  app.add_option("--set", set, kSetHelp)->option_text("KEY=VALUE")->allow_extra_args(false);
}

/// Which subcommand was chosen, and everything that options write into.
struct Parsed {
  TrainArguments train;
  EvalArguments eval;
  InspectArguments inspect;
  DoctorArguments doctor;
  DataArguments data;
  BenchArguments bench;
  PlanArguments plan;
  LaunchArguments launch;
  ProbeArguments probe;
};

void declare_train(CLI::App& app, TrainArguments& a) {
  auto* train =
      app.add_subcommand("train", "Trains what CONFIG describes, or goes on with it. Works under mpirun -np N");
  train->add_option("CONFIG", a.config, "YAML file of the run")->required()->option_text(" ");
  add_set(*train, a.set);
  train->add_option("--run-dir", a.run_dir, "folder of the run instead of run.dir/run.name")->option_text("DIR");
  train
      ->add_option("--resume", a.resume,
                   "auto: go on if the run directory holds a valid checkpoint; never: refuse a directory that holds a "
                   "run; or the folder of a checkpoint")
      ->option_text("auto|never|PATH");
  train->add_option("--allow-change", a.allow_change, "a key that may differ from the resumed run; may be repeated")
      ->option_text("KEY")
      ->allow_extra_args(false);
  train->add_flag("--dry-run", a.dry_run,
                  "opens the corpora, builds the model, prints sizes and steps; trains nothing");
  train->add_flag("--print-config", a.print_config, "prints the resolved configuration and ends");
}

/// Options of `eval explain`.
void declare_explain(CLI::App& eval, ExplainArguments& a) {
  eval.add_option("--record", a.record, "explain: which record of the corpus")
      ->check(CLI::NonNegativeNumber.description(""))
      ->option_text("N");
  eval.add_option("--corpus-entry", a.corpus_entry,
                  "explain: eval entry or training corpus of the record; default: the first with captions")
      ->option_text("NAME");
  eval.add_option("--image", a.image, "explain: a picture's file instead of a record")
      ->check(CLI::ExistingFile.description(""))
      ->option_text("FILE");
  eval.add_option("--caption", a.caption, "explain: instead of the record's first caption")->option_text("TEXT");
  eval.add_option("--phrase", a.phrases,
                  "explain: bytes of a phrase in --caption; may be repeated; default: the noun phrases found in it")
      ->option_text("BEGIN:END")
      ->allow_extra_args(false);
  eval.add_option("--coalitions", a.coalitions, "explain: coalitions of cells that a region is judged by; default: 64")
      ->check(CLI::PositiveNumber.description(""))
      ->option_text("N");
  eval.add_option("--out", a.out, "explain: the page to write")->option_text("FILE");
}

void declare_eval(CLI::App& app, EvalArguments& a) {
  auto* eval = app.add_subcommand("eval", "Measures a checkpoint on held-out data. Works under mpirun -np N");
  eval->add_option(
          "WHAT", a.what,
          "zero-shot, retrieval, classify, knn, linear-probe, grounding, detection or all; explain: one picture "
          "and its caption as a page")
      ->required()
      ->check(CLI::IsMember({"zero-shot", "retrieval", "classify", "knn", "linear-probe", "grounding", "detection",
                             "all", "explain"})
                  .description(""))
      ->option_text(" ");
  eval->add_option("CONFIG", a.config, "YAML file whose eval entries are used; default: those of the run")
      ->option_text(" ");
  eval->add_option("--checkpoint", a.checkpoint, "a checkpoint, or a run directory: its newest valid checkpoint")
      ->required()
      ->option_text("DIR");
  add_set(*eval, a.set);
  eval->add_option("--device", a.device, "instead of train.device")
      ->check(CLI::IsMember({"auto", "cpu", "cuda"}).description(""))
      ->option_text("auto|cpu|cuda");
  eval->add_flag("--last-weights", a.last_weights, "of a run with train.ema: its weights instead of their average");
  eval->add_option("--batch", a.batch, "rows of one forward")
      ->check(CLI::PositiveNumber.description(""))
      ->option_text("N");
  declare_explain(*eval, a.explain);
  add_format(*eval, a.format);
}

void declare_inspect(CLI::App& app, InspectArguments& a) {
  auto* inspect = app.add_subcommand("inspect", "Shows what is in a checkpoint, a tar shard or a run directory");
  inspect->add_option("PATH", a.path, "checkpoint, shard or run directory")->required()->option_text(" ");
  add_format(*inspect, a.format);
}

void declare_doctor(CLI::App& app, DoctorArguments& a) {
  auto* doctor = app.add_subcommand("doctor", "Says what this machine offers and what is missing");
  doctor->add_option("CONFIG", a.config, "YAML file whose corpora are looked for")->option_text(" ");
  add_format(*doctor, a.format);
}

/// One action of `data` with what all of them take.
CLI::App* add_data_action(CLI::App& data, DataArguments& a, const std::string& name, const std::string& help) {
  auto* action = data.add_subcommand(name, help);
  action->add_option("CONFIG", a.config, "YAML file of a run")->required()->option_text(" ");
  add_set(*action, a.set);
  action->add_option("--corpus", a.corpus, "only the corpus of this name")->option_text("NAME");
  add_format(*action, a.format);
  action->callback([&a, name] { a.action = name; });
  return action;
}

CLI::Option* add_count(CLI::App& app, const char* name, std::int64_t& value, const char* help) {
  const auto from_one = [](const std::string& text) {
    const bool whole = !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
    return whole && text.find_first_not_of('0') != std::string::npos ? "" : text + " is no whole number from 1 on";
  };
  return app.add_option(name, value, help)->check(CLI::Validator(from_one, "", "from one"))->option_text("N");
}

CLI::Option* add_threads(CLI::App& app, std::int64_t& threads) {
  return add_count(app, "--threads", threads, "threads that read and decode; default: all cores of this machine");
}

void declare_data_pack(CLI::App& data, DataArguments& a) {
  auto* pack = add_data_action(data, a, "pack", "Writes a corpus as WebDataset shards; goes on where it was stopped");
  pack->add_option("--out", a.out, "folder of the shards; new, empty, or of the same pack")
      ->required()
      ->option_text("DIR");
  add_count(*pack, "--resize", a.resize,
            "short side of larger pictures, which become JPEG; default: pictures are copied as they are");
  pack->add_option("--quality", a.quality, "with --resize: of JPEG, 1 to 100; default: 95")
      ->check(CLI::Range(1, 100).description(""))
      ->option_text("N");
  add_count(*pack, "--shard-size", a.shard_size, "records of a shard");
  add_threads(*pack, a.threads);
}

void declare_data_filter(CLI::App& data, DataArguments& a) {
  auto* filter =
      add_data_action(data, a, "filter", "Writes the keep-list of a corpus by rules; the corpus is not changed");
  filter->add_option("--rules", a.rules, "YAML file of rules, as configs/filters/loupe.yaml")
      ->required()
      ->option_text("FILE");
  filter->add_option("--out", a.out, "keep-list to write, for the corpus's keep_list")->required()->option_text("FILE");
  add_threads(*filter, a.threads);
}

void declare_data_concepts(CLI::App& data, DataArguments& a) {
  auto* concepts =
      add_data_action(data, a, "concepts", "Counts how often the classes of the corpora are named in their captions");
  concepts->add_flag("--phrases", a.count_phrases,
                     "counts noun phrases instead, by the files that `data phrases` made");
  concepts->add_option("--more-than", a.more_than, "concepts named more often are counted as seen")
      ->check(CLI::NonNegativeNumber.description(""))
      ->option_text("N");
  add_count(*concepts, "--most", a.most, "rows of the table, the most frequent first; JSON has all");
  add_threads(*concepts, a.threads);
}

void declare_data_phrases(CLI::App& data, DataArguments& a) {
  auto* phrases =
      add_data_action(data, a, "phrases",
                      "Finds the noun phrases of captions, for corpora that name a file of phrases; goes on "
                      "where it was stopped");
  auto* to = phrases->add_option("--export", a.export_file, "writes the captions for a parser of your own")
                 ->option_text("JSONL");
  auto* from = phrases->add_option("--import", a.import_file, "takes the phrases that your own parser found")
                   ->option_text("JSONL")
                   ->excludes(to);
  phrases->add_flag("--overwrite", a.overwrite, "replaces a file of another parser, import or corpus")->excludes(to);
  add_threads(*phrases, a.threads)->excludes(to)->excludes(from);  // these go record by record
}

void declare_data(CLI::App& app, DataArguments& a) {
  auto* data = app.add_subcommand("data", "Looks at the corpora of a configuration, packs and filters them");
  data->require_subcommand(1);
  add_data_action(*data, a, "index", "Builds missing index files");
  auto* stats = add_data_action(*data, a, "stats", "Counts, sizes, captions, classes, unusable and equal pictures");
  stats->add_option("--html", a.html, "also writes one page with histograms and pictures")->option_text("FILE");
  add_threads(*stats, a.threads);
  auto* show = add_data_action(*data, a, "show", "Prints some records");
  auto* first = show->add_option("--first", a.first, "first record");
  first->check(CLI::NonNegativeNumber.description(""))->option_text("N");
  auto* count = add_count(*show, "--count", a.count, "how many records");
  auto* step = add_count(*show, "--step", a.step, "the records that step N of a run trains on, from 1, all ranks'");
  step->excludes(first)->excludes(count)->excludes(show->get_option("--corpus"));
  show->add_option("--png", a.png, "shows record --first alone, in full, and writes its decoded picture")
      ->option_text("FILE")
      ->excludes(count)
      ->excludes(step);
  auto* verify = add_data_action(*data, a, "verify",
                                 "Reads and decodes every record once and lists those that cannot be used; exit 3 when "
                                 "they are more than data.error_budget allows. Works under mpirun -np N");
  add_threads(*verify, a.threads);
  declare_data_pack(*data, a);
  declare_data_filter(*data, a);
  declare_data_concepts(*data, a);
  declare_data_phrases(*data, a);
}

void declare_bench(CLI::App& app, BenchArguments& a) {
  auto* bench = app.add_subcommand("bench", "Measures the speed of a part");
  bench
      ->add_option(
          "WHAT", a.what,
          "loader: read, decode, augment, tokenise; index: start, memory and seeks with a made-up index; loss: the "
          "objective's loss alone; step: whole steps on made-up pictures; checkpoint: what saving holds up; attention: "
          "both kernels, and what the rule takes; interactions: samplers and network of a checkpoint that learnt from "
          "games")
      ->required()
      ->check(
          CLI::IsMember({"loader", "index", "loss", "step", "checkpoint", "attention", "interactions"}).description(""))
      ->option_text(" ");
  bench
      ->add_option("CONFIG", a.config,
                   "YAML file of a run; default: configs/quickstart.yaml, for interactions that of the checkpoint")
      ->option_text(" ");
  add_set(*bench, a.set);
  bench->add_option("--seconds", a.seconds, "how long to measure")
      ->check(CLI::PositiveNumber.description(""))
      ->option_text("S");
  bench
      ->add_option("--threads", a.threads,
                   "loader: decode threads; loss, step, interactions: threads of tensor operations")
      ->check(CLI::PositiveNumber.description(""))
      ->option_text("N");
  bench->add_option("--batch", a.batch, "rows of a batch")
      ->check(CLI::PositiveNumber.description(""))
      ->option_text("N");
  bench->add_option("--records", a.records, "index: how many records are made up")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1'000'000'000}).description(""))
      ->option_text("N");
  bench
      ->add_option("--inputs", a.inputs,
                   "loss, step: a safetensors file of embeddings, or of pictures and tokens, to compute on "
                   "(docs/performance.md)")
      ->check(CLI::ExistingFile.description(""))
      ->option_text("FILE");
  bench->add_option("--checkpoint", a.checkpoint, "interactions: a checkpoint, or a run directory")->option_text("DIR");
  add_count(*bench, "--pictures", a.pictures, "interactions: how many at most; default: 4");
  add_count(*bench, "--coalitions", a.coalitions, "interactions: of the reference; default: 500");
  bench->add_option("--image-size", a.image_size, "loader: side of the pictures")
      ->check(CLI::PositiveNumber.description(""))
      ->option_text("N");
  add_format(*bench, a.format);
}

void declare_plan(CLI::App& app, PlanArguments& a) {
  auto* plan = app.add_subcommand(
      "plan", "Says what a run would take: parameters, work, memory by part, exchanges, time, the largest batch");
  plan->add_option("CONFIG", a.config, "YAML file of the run")->required()->option_text(" ");
  add_set(*plan, a.set);
  add_count(*plan, "--ranks", a.ranks, "ranks of the run")->required()->check(CLI::Range(1, 1 << 20).description(""));
  plan->add_option("--device", a.device, "what each rank computes on")
      ->required()
      ->check(CLI::IsMember({"h100", "a100", "cpu"}).description(""))
      ->option_text("h100|a100|cpu");
  add_count(*plan, "--ranks-per-node", a.ranks_per_node, "ranks of one machine; default: 8");
  add_count(*plan, "--text-tokens", a.text_tokens,
            "tokens that texts are taken to have, where padding is trimmed; default: their whole context");
  add_count(*plan, "--classes", a.classes, "classes of a head over them; default: the corpora are opened and counted");
  add_format(*plan, a.format);
}

void declare_launch(CLI::App& app, LaunchArguments& a) {
  auto* launch = app.add_subcommand("launch",
                                    "Starts `train CONFIG ...`, which stands behind --, on many hosts; watches it and "
                                    "starts it again when it breaks");
  launch
      ->add_option(
          "--hosts", a.hosts,
          "hostfile (NAME slots=N [spare] a line), slurm: those of this allocation, local: this machine (default)")
      ->option_text("FILE|slurm|local");
  launch->add_option("--np", a.ranks, "ranks; default: all slots of the hosts")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 20).description(""))
      ->option_text("N");
  launch
      ->add_option(
          "--elastic", a.elastic,
          "as many ranks as the hosts that are left hold, within these bounds, such that they divide the batch")
      ->option_text("MIN:MAX");
  launch->add_option("--engine", a.engine, "what starts the ranks; auto: srun with --hosts slurm, else mpirun")
      ->check(CLI::IsMember({"auto", "mpirun", "srun"}).description(""))
      ->option_text("auto|mpirun|srun");
  launch->add_option("--bind", a.bind, "bind each rank to a core or a socket; default: none")
      ->check(CLI::IsMember({"none", "core", "socket"}).description(""))
      ->option_text("none|core|socket");
  launch->add_option("--interface", a.interface, "network between the hosts, where there are several")
      ->option_text("NAME|CIDR");
  launch->add_option("--agent", a.agent, "command in place of ssh")->option_text("WORDS");
  launch->add_option("--forward", a.forward, "a further environment variable that the ranks get; may be repeated")
      ->option_text("NAME")
      ->allow_extra_args(false);
  launch->add_option("--max-restarts", a.max_restarts, "restarts within --restart-window; 0: none; default: 3")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1'000'000}).description(""))
      ->option_text("K");
  launch->add_option("--restart-window", a.restart_window_s, "seconds; default: 3600")
      ->check(CLI::PositiveNumber.description(""))
      ->option_text("S");
  add_count(*launch, "--same-step", a.same_step, "deaths in a row without a new step that end the run; default: 3");
  launch
      ->add_option("--hang", a.hang_s, "seconds, or ten steps if longer, without any progress are a hang; default: 10")
      ->check(CLI::PositiveNumber.description(""))
      ->option_text("S");
  launch->add_option("--patience", a.patience_s, "the same while starting, evaluating and saving; default: 600")
      ->check(CLI::PositiveNumber.description(""))
      ->option_text("S");
  launch
      ->add_option("--slow", a.slow_factor,
                   "a rank that works so many times as long as the others is named; default: 1.5")
      ->check(CLI::Range(1.05, 1e6).description(""))
      ->option_text("FACTOR");
  launch->add_option("--monitor", a.monitor, "live view at http://127.0.0.1:PORT/; default: none")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{65535}).description(""))
      ->option_text("PORT");
  auto* print = launch->add_flag("--print-command", a.print_command, "prints the command of mpirun or srun and ends");
  launch->add_flag("--check-only", a.check_only, "checks the hosts and ends")->excludes(print);
}

/// Hidden: launchers ask it of hosts.
void declare_probe(CLI::App& app, ProbeArguments& a) {
  auto* probe = app.add_subcommand("probe", "Prints what this machine is, for a launcher")->group("");
  probe->add_flag("--json", a.json, "the only form");
  probe->add_option("--program", a.program)->required();
  probe->add_option("--config", a.configs)->allow_extra_args(false);
  probe->add_option("--run-dir", a.run_dir)->required();
}

/// Names of the subcommands; those without a group are for developers and not listed.
std::vector<std::string> command_names(const CLI::App& app, bool hidden_too) {
  std::vector<std::string> names;
  for (const auto* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (hidden_too || !command->get_group().empty()) names.push_back(command->get_name());
  }
  return names;
}

bool contains(const std::vector<std::string>& words, const std::string& word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

std::string did_you_mean(const std::string& word, const std::vector<std::string>& known) {
  const auto near = nearest(word, known);
  return near ? "; did you mean '" + *near + "'?" : "";
}

/// One line for what CLI11 refuses, with the nearest option where one was mistyped.
std::string refusal(const CLI::App& app, const CLI::ParseError& error, int argc, const char* const* argv) {
  const CLI::App* innermost = &app;
  std::string name = "triptych", hint;
  while (!innermost->get_subcommands().empty()) {
    innermost = innermost->get_subcommands().front();
    name += " " + innermost->get_name();
  }
  const CLI::App& command = *innermost;
  if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr) {
    std::vector<std::string> options;
    for (const auto* option : command.get_options()) {
      for (const auto& word : option->get_lnames()) options.push_back("--" + word);
    }
    for (int i = 1; i < argc && hint.empty(); ++i) {
      const std::string word = std::string(argv[i]).substr(0, std::string(argv[i]).find('='));
      if (word.starts_with("--") && !contains(options, word)) hint = did_you_mean(word, options);
    }
  }
  std::string what = error.what();
  std::replace(what.begin(), what.end(), '\n', ' ');
  return name + ": " + what + hint + " (see `" + name + " --help`)";
}

/// Throws ConfigError for a word that is no subcommand of `app`; options are left to CLI11.
void check_known(const CLI::App& app, const std::string& what, const std::string& word) {
  if (word.starts_with("-") || contains(command_names(app, true), word)) return;
  const auto known = command_names(app, false);
  throw ConfigError("unknown " + what + " '" + word + "'" + did_you_mean(word, known) +
                    " (known: " + join(known, ", ") + ")");
}

/// What stands behind -- is a command line of its own.
LaunchArguments parse_launch(const std::vector<const char*>& words, const std::string& version) {
  const auto line = std::find(words.begin(), words.end(), std::string_view("--"));
  const std::vector<const char*> own(words.begin(), line);
  const auto parsed = parse_command_line(static_cast<int>(own.size()), own.data(), version);
  auto launch = std::get<LaunchArguments>(parsed);
  std::vector<const char*> job = {"triptych"};
  if (line != words.end()) job.insert(job.end(), line + 1, words.end());
  if (job.size() < 2 || std::string_view(job[1]) != "train") {
    throw ConfigError(
        "launch: what to run stands behind --, and is `train CONFIG ...`: triptych launch --np 2 -- train "
        "configs/quickstart.yaml");
  }
  const auto train = parse_command_line(static_cast<int>(job.size()), job.data(), version);
  if (!std::holds_alternative<TrainArguments>(train)) throw ConfigError("launch: --help stands before --");
  launch.train = std::get<TrainArguments>(train);
  if (launch.train.dry_run || launch.train.print_config) {
    throw ConfigError("launch: --dry-run and --print-config train nothing; run them without a launcher");
  }
  launch.train_words.assign(job.begin() + 1, job.end());
  return launch;
}

}  // namespace

Arguments parse_command_line(int argc, const char* const* argv, const std::string& version) {
  Parsed p;
  CLI::App app("Triptych pretrains vision-language models over many processes.", "triptych");
  app.require_subcommand(1);
  app.set_version_flag("--version", version);
  declare_train(app, p.train);
  declare_eval(app, p.eval);
  declare_inspect(app, p.inspect);
  declare_doctor(app, p.doctor);
  declare_data(app, p.data);
  declare_bench(app, p.bench);
  declare_plan(app, p.plan);
  declare_launch(app, p.launch);
  declare_probe(app, p.probe);
  app.add_subcommand("config-reference", "Prints docs/config_reference.md")->group("");

  if (argc < 2) return PrintArguments{app.help()};
  check_known(app, "command", argv[1]);
  const std::vector<const char*> words(argv, argv + argc);
  const auto asks_help = [](const char* word) {
    return std::string_view(word) == "--help" || std::string_view(word) == "-h";
  };
  const auto line = std::find(words.begin(), words.end(), std::string_view("--"));
  if (std::string_view(argv[1]) == "launch" && line != words.end() && std::none_of(words.begin(), line, asks_help)) {
    return parse_launch(words, version);
  }
  if (argc > 2 && std::string(argv[1]) == "data") check_known(*app.get_subcommand("data"), "action", argv[2]);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    return PrintArguments{app.help()};  // of the subcommand, if one was named
  } catch (const CLI::CallForVersion&) {
    return PrintArguments{version + "\n"};
  } catch (const CLI::ParseError& error) {
    throw ConfigError(refusal(app, error, argc, argv));
  }
  const std::string chosen = app.get_subcommands().front()->get_name();
  if (chosen == "train") return p.train;
  if (chosen == "eval") return p.eval;
  if (chosen == "inspect") return p.inspect;
  if (chosen == "doctor") return p.doctor;
  if (chosen == "data") return p.data;
  if (chosen == "bench") return p.bench;
  if (chosen == "plan") return p.plan;
  if (chosen == "launch") return p.launch;
  if (chosen == "probe") return p.probe;
  return ConfigReferenceArguments{};
}

}  // namespace triptych
