// The table of evaluators. To add one: a file, its section in eval_config.h, a line in make_evaluator(), a test.
#include "core/eval/evaluator_table.h"

#include <variant>

#include "core/base/errors.h"
#include "core/eval/classify.h"
#include "core/eval/detection.h"
#include "core/eval/grounding.h"
#include "core/eval/knn.h"
#include "core/eval/linear_probe.h"
#include "core/eval/retrieval.h"
#include "core/eval/zero_shot.h"
#include "data/loader.h"

namespace triptych {
namespace {

struct Maker {
  const DataConfig& data;
  const std::string name;

  std::unique_ptr<Corpus> open(CorpusConfig corpus) const {
    if (corpus.weight != 1) throw ConfigError("eval " + name + ": corpus.weight means nothing here; remove it");
    if (!corpus.phrases.empty()) throw ConfigError("eval " + name + ": corpus.phrases means nothing here; remove it");
    if (corpus.name.empty()) corpus.name = "eval " + name;
    corpus.inherit_index_dir(data.index_dir);
    return open_corpus(corpus);
  }
  std::unique_ptr<Evaluator> operator()(const ZeroShotConfig& c) const {
    return std::make_unique<ZeroShot>(c, open(c.corpus), data.decode);
  }
  std::unique_ptr<Evaluator> operator()(const RetrievalConfig& c) const {
    return std::make_unique<Retrieval>(c, open(c.corpus), data.decode);
  }
  std::unique_ptr<Evaluator> operator()(const ClassifyConfig& c) const {
    return std::make_unique<Classify>(c, open(c.corpus), data.decode);
  }
  std::unique_ptr<Evaluator> operator()(const KnnConfig& c) const {
    return std::make_unique<Knn>(c, open(c.corpus), open(c.bank), data.decode);
  }
  std::unique_ptr<Evaluator> operator()(const LinearProbeConfig& c) const {
    return std::make_unique<LinearProbe>(c, open(c.corpus), open(c.bank), data.decode);
  }
  std::unique_ptr<Evaluator> operator()(const GroundingConfig& c) const {
    return std::make_unique<Grounding>(c, open(c.corpus), data.decode);
  }
  std::unique_ptr<Evaluator> operator()(const DetectionConfig& c) const {
    return std::make_unique<Detection>(c, open(c.corpus), data.decode);
  }
};

}  // namespace

std::unique_ptr<Evaluator> make_evaluator(const EvalConfig& config, const DataConfig& data, std::int64_t image_size) {
  check_test_size(data.decode, image_size);
  return std::visit(Maker{data, evaluator_name(config)}, config);
}

std::string evaluator_name(const EvalConfig& config) {
  return std::visit([](const auto& c) { return c.label.empty() ? std::string(c.kTag) : c.label; }, config);
}

Duration evaluator_every(const EvalConfig& config) {
  return std::visit([](const auto& c) { return c.every; }, config);
}

void check_served(const Evaluator& evaluator, const Encoders& encoders, const std::string& objective) {
  const auto refuse = [&](const std::string& lacks) {
    throw ConfigError("eval " + evaluator.name() + " needs " + lacks + ", which objective " + objective +
                      " does not have; remove the eval entry or train another objective");
  };
  if (evaluator.needs().text && !encoders.text) refuse("a text tower");
  if (evaluator.needs().classify && !encoders.classify) refuse("a classification head");
  if (evaluator.needs().match && !encoders.match) refuse("a fusion encoder");
  if (evaluator.needs().patches && !encoders.patches) refuse("embeddings of patches");
  if (evaluator.needs().regions && !encoders.regions) refuse("a region head");
}

}  // namespace triptych
