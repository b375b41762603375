// `triptych eval explain` as a user runs it: what the page and its numbers say, and what is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <regex>

#include "core/base/hash.h"
#include "data/formats/base64.h"
#include "tests/apps/run_json.h"
#include "tests/apps/tiny_loupe_run.h"

namespace triptych {
namespace {

using Json = nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

/// One run for all tests: it takes seconds.
class Explain : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    dir_ = new TempDir();
    train_tiny_loupe(*dir_);
  }
  static void TearDownTestSuite() {
    delete dir_;
    dir_ = nullptr;
  }
  static std::string page() { return (*dir_ / "page.html").string(); }
  static std::string command(const std::string& options) {
    return "triptych eval explain --checkpoint " + (*dir_ / "runs/loupe").string() + " --out " + page() + " " + options;
  }
  static void expect_refusal(const std::string& options, const std::string& words) {
    const auto outcome = run_shell(command(options));
    EXPECT_EQ(outcome.code, 2) << options << "\n" << outcome.err;
    EXPECT_THAT(complaint(outcome), HasSubstr(words)) << options;
    EXPECT_EQ(outcome.out, "");
  }
  inline static TempDir* dir_ = nullptr;
};

/// Whether every tag is closed, in order, and every ampersand begins an entity: what XML asks beyond its characters.
testing::AssertionResult well_formed(const std::string& page) {
  const std::regex tag("<(/?)([a-zA-Z][a-zA-Z0-9]*)([^<>]*?)(/?)>");
  std::vector<std::string> open;
  const std::string doctype = "<!DOCTYPE html>";
  if (!page.starts_with(doctype)) return testing::AssertionFailure() << "no doctype";
  const auto style = page.find("<style>"), body = page.find("</style>");
  const std::string markup = page.substr(doctype.size(), style - doctype.size()) + page.substr(body + 8);
  for (auto at = std::sregex_iterator(markup.begin(), markup.end(), tag); at != std::sregex_iterator(); ++at) {
    const auto& found = *at;
    if (found[1] == "/") {
      if (open.empty() || open.back() != found[2]) return testing::AssertionFailure() << "</" << found[2] << ">";
      open.pop_back();
    } else if (found[4] != "/") {
      open.push_back(found[2]);
    }
  }
  const auto bare = std::regex_replace(markup, tag, "");
  const std::regex loose("[<>]|&(?!(amp|lt|gt|quot);)");
  std::smatch wrong;
  if (std::regex_search(bare, wrong, loose))
    return testing::AssertionFailure() << "loose " << wrong.str() << " before " << wrong.suffix().str().substr(0, 40);
  if (!open.empty()) return testing::AssertionFailure() << "<" << open.back() << "> stays open";
  return testing::AssertionSuccess();
}

/// Equation 10 by its definition: all coalitions of the other players, with the value of losses/semantic_game.h.
double enumerated_interaction(const std::vector<std::vector<double>>& cosine, double temperature, std::size_t region,
                              std::size_t phrase) {
  const std::size_t m = cosine.size(), p = cosine[0].size(), players = m + p;
  auto over_phrases = cosine, over_regions = cosine;
  for (std::size_t i = 0; i < m; ++i) {
    double sum = 0;
    for (std::size_t j = 0; j < p; ++j) sum += std::exp(cosine[i][j] / temperature);
    for (std::size_t j = 0; j < p; ++j) over_phrases[i][j] = std::exp(cosine[i][j] / temperature) / sum;
  }
  for (std::size_t j = 0; j < p; ++j) {
    double sum = 0;
    for (std::size_t i = 0; i < m; ++i) sum += std::exp(cosine[i][j] / temperature);
    for (std::size_t i = 0; i < m; ++i) over_regions[i][j] = std::exp(cosine[i][j] / temperature) / sum;
  }
  const auto worth = [&](unsigned set) {
    const auto has_region = [&](std::size_t i) { return (set >> i & 1U) != 0; };
    const auto has_phrase = [&](std::size_t j) { return (set >> (m + j) & 1U) != 0; };
    double rows = 0, columns = 0, regions = 0, phrases = 0;
    for (std::size_t i = 0; i < m; ++i) regions += has_region(i);
    for (std::size_t j = 0; j < p; ++j) phrases += has_phrase(j);
    if (regions == 0 || phrases == 0) return 0.0;
    for (std::size_t i = 0; i < m; ++i) {
      double best = 0;
      for (std::size_t j = 0; j < p; ++j)
        if (has_phrase(j)) best = std::max(best, over_phrases[i][j]);
      rows += has_region(i) ? best : 0;
    }
    for (std::size_t j = 0; j < p; ++j) {
      double best = 0;
      for (std::size_t i = 0; i < m; ++i)
        if (has_region(i)) best = std::max(best, over_regions[i][j]);
      columns += has_phrase(j) ? best : 0;
    }
    return (rows / regions + columns / phrases) / 2;
  };
  const unsigned one = 1U << region, other = 1U << (m + phrase);
  double sum = 0;
  for (unsigned set = 0; set < 1U << players; ++set) {
    if ((set & (one | other)) != 0) continue;
    const auto size = static_cast<double>(std::popcount(set)), n = static_cast<double>(players);
    const double weight = std::exp(std::lgamma(size + 1) + std::lgamma(n - size - 1) - std::lgamma(n));
    sum += weight * (worth(set | one | other) - worth(set | one) - worth(set | other) + worth(set));
  }
  return sum;
}

/// Adds `shift` to all values that an fp64 tensor of count, sum and sum of squares stands for, and hashes the
/// checkpoint again.
void shift_moments(const std::filesystem::path& checkpoint, const std::string& name, double shift) {
  const auto file = checkpoint / "state.safetensors";
  auto bytes = slurp(file);
  std::uint64_t header = 0;
  std::memcpy(&header, bytes.data(), 8);
  const std::size_t begin = Json::parse(bytes.substr(8, header)).at(name).at("data_offsets")[0];
  std::array<double, 3> sums = {};
  std::memcpy(sums.data(), bytes.data() + 8 + header + begin, sizeof(sums));
  sums[2] += 2 * shift * sums[1] + shift * shift * sums[0];
  sums[1] += shift * sums[0];
  std::memcpy(bytes.data() + 8 + header + begin, sums.data(), sizeof(sums));
  spill(file, bytes);
  auto manifest = nlohmann::ordered_json::parse(slurp(checkpoint / "manifest.json"));
  manifest["files"]["state.safetensors"]["xxh64"] = hash_text(xxh64(bytes));
  manifest.erase("xxh64");
  manifest["xxh64"] = hash_text(xxh64(manifest.dump()));
  spill(checkpoint / "manifest.json", manifest.dump(1) + "\n");
}

TEST_F(Explain, GivesPageAndNumbersOfARecord) {
  const auto result = run_json(command("--record 3"));
  ASSERT_TRUE(result.is_object());
  EXPECT_EQ(result["step"], 4);
  EXPECT_EQ(result["caption"], "a picture with the number 3");
  EXPECT_EQ(result["regions"].size(), 3U);
  EXPECT_EQ(result["cells"].size(), 1 + result["phrases"].size());
  EXPECT_EQ(result["cells"][0].size(), 16U);
  ASSERT_GE(result["phrases"].size(), 2U);
  EXPECT_EQ(result["phrases"][0]["text"], "a picture");
  for (std::size_t i = 1; i < 3; ++i)
    EXPECT_LE(result["regions"][i]["confidence"], result["regions"][i - 1]["confidence"]);

  const auto html = slurp(page());
  EXPECT_TRUE(well_formed(html));
  EXPECT_THAT(html, AllOf(HasSubstr("<mark>a picture<sup>1</sup></mark>"), HasSubstr("prefers-color-scheme: dark"),
                          Not(HasSubstr("<script")), Not(HasSubstr("http")), Not(HasSubstr("src="))));
  const std::string begin = "data:image/png;base64,";
  const auto at = html.find(begin) + begin.size();
  EXPECT_EQ(html.find(begin, at), std::string::npos) << "the maps use the picture again, not a copy";
  const auto png = decode_base64(html.substr(at, html.find('"', at) - at));
  ASSERT_GT(png.size(), 24U);
  EXPECT_EQ(std::string(png.begin() + 1, png.begin() + 4), "PNG");
  EXPECT_EQ(png[19], 32) << "width as the model sees it";
  EXPECT_EQ(png[23], 32);
}

TEST_F(Explain, InteractionsOfPairsAreTheDefinition) {
  const auto result = run_json(command("--record 3"));
  const std::size_t phrases = result["phrases"].size();
  std::vector<std::vector<double>> cosine(3, std::vector<double>(phrases));
  ASSERT_EQ(result["pairs"].size(), 3 * phrases);
  for (const auto& pair : result["pairs"])
    cosine[pair["region"].get<std::size_t>() - 1][pair["phrase"].get<std::size_t>() - 1] = pair["similarity"];
  for (const auto& pair : result["pairs"]) {
    const std::size_t i = pair["region"].get<std::size_t>() - 1, j = pair["phrase"].get<std::size_t>() - 1;
    EXPECT_NEAR(pair["interaction"], enumerated_interaction(cosine, 0.3, i, j), 1e-6);
    EXPECT_GT(std::fabs(pair["interaction"].get<double>() - enumerated_interaction(cosine, 0.6, i, j)), 1e-6)
        << "the control";
  }
}

TEST_F(Explain, TheSameAgainAndMoreCoalitionsErrLess) {
  const auto few = run_json(command("--record 3 --coalitions 16")),
             many = run_json(command("--record 3 --coalitions 400"));
  EXPECT_EQ(few, run_json(command("--record 3 --coalitions 16")));
  double few_error = 0, many_error = 0;
  for (std::size_t i = 0; i < 3; ++i) {
    const double a = few["regions"][i]["interaction"], b = many["regions"][i]["interaction"];
    few_error += few["regions"][i]["standard_error"].get<double>();
    many_error += many["regions"][i]["standard_error"].get<double>();
    EXPECT_LT(std::fabs(a - b), 5 * (few["regions"][i]["standard_error"].get<double>() +
                                     many["regions"][i]["standard_error"].get<double>()));
  }
  EXPECT_NEAR(few_error / many_error, 5, 2.5) << "the root of 25";
}

/// Its outputs are standardised; what takes them back is no part of the model's weights.
TEST_F(Explain, TheNetworkAnswersInTheUnitsOfItsLabels) {
  const TempDir copy;
  std::filesystem::copy(*dir_ / "runs/loupe", copy / "run", std::filesystem::copy_options::recursive);
  shift_moments(copy / "run/checkpoints/step_00000004", "unsil.tokens.moments", 10);
  const auto as_it_is = run_json(command("--record 3"));
  const auto shifted =
      run_json("triptych eval explain --record 3 --checkpoint " + (copy / "run").string() + " --out " + page());
  for (std::size_t i = 0; i < 3; ++i) {
    const auto &region = as_it_is["regions"][i], &other = shifted["regions"][i];
    EXPECT_NEAR(region["network"].get<double>() + 10, other["network"], 1e-4);
    EXPECT_EQ(region["uncertainty"], other["uncertainty"]);
    EXPECT_EQ(region["interaction"], other["interaction"]);
    EXPECT_GT(region["uncertainty"], 0);
    EXPECT_LT(region["uncertainty"], 1);
  }
}

TEST_F(Explain, TakesPhrasesFromFileParserOrUser) {
  const auto entry = run_json(command("--record 3")), corpus = run_json(command("--record 3 --corpus-entry text"));
  EXPECT_THAT(entry["phrases_from"].get<std::string>(), HasSubstr("link-grammar"));
  EXPECT_THAT(corpus["phrases_from"].get<std::string>(), HasSubstr("text.phrases"));
  EXPECT_EQ(entry["phrases"], corpus["phrases"]);
  EXPECT_EQ(entry["pairs"], corpus["pairs"]);
  const auto own = run_json(command("--record 3 --caption 'red and blue' --phrase 0:3 --phrase 8:12"));
  EXPECT_EQ(own["phrases"][0]["text"], "red");
  EXPECT_EQ(own["phrases"][1]["text"], "blue");
  EXPECT_NE(own["pairs"], entry["pairs"]);
}

TEST_F(Explain, ShowsAFileAndEscapesWhatIsForeign) {
  spill(*dir_ / "one.webp", made_up_picture(3));
  const auto image = "--image " + (*dir_ / "one.webp").string();
  const auto file = run_json(command(image + " --caption 'a picture with the number 3'"));
  const auto record = run_json(command("--record 3"));
  EXPECT_EQ(file["pairs"], record["pairs"]);
  EXPECT_EQ(file["cells"], record["cells"]);

  ASSERT_EQ(run_shell(command(image + R"( --caption '<script>alert("1 & 2")</script> a dog' --phrase 0:8)")).code, 0);
  EXPECT_TRUE(well_formed(slurp(page())));
  EXPECT_THAT(slurp(page()), AllOf(Not(HasSubstr("<script")), HasSubstr("&lt;script&gt;")));
  ASSERT_EQ(run_shell(command(image + " --caption of")).code, 0);
  EXPECT_THAT(slurp(page()), AllOf(HasSubstr("The caption has no phrases"), Not(HasSubstr("matrix\">"))));
  EXPECT_TRUE(well_formed("<!DOCTYPE html><style></style><p>1 &amp; 2<br/></p>"));
  EXPECT_FALSE(well_formed("<!DOCTYPE html><style></style><p>1 & 2</p>")) << "the control";
  EXPECT_FALSE(well_formed("<!DOCTYPE html><style></style><p><b></p></b>")) << "the control";
}

TEST_F(Explain, RefusesWhatItCannotShow) {
  expect_refusal("", "one of --record N and --image FILE");
  expect_refusal("--record 1 --image README.md --caption x", "one of --record N and --image FILE");
  expect_refusal("--record 20", "--record 20: the corpus has 20 records");
  expect_refusal("--record 1 --corpus-entry pears", "'pears', there are: pairs, text");
  expect_refusal("--record 1 --coalitions 7", "--coalitions: antithetic");
  expect_refusal("--record 1 --batch 4", "--batch means nothing");
  expect_refusal("--image README.md", "--image needs --caption");
  expect_refusal("--image README.md --caption x --corpus-entry text", "--corpus-entry is for --record");
  expect_refusal("--record 1 --phrase 0:3", "--phrase counts bytes of --caption");
  expect_refusal("--record 1 --caption 'a dog' --phrase 0-3", "--phrase 0-3 is not BEGIN:END");
  expect_refusal("--record 1 --caption 'a dog' --phrase 2:9", "--phrase: ");
  expect_refusal("--record 1 --caption 'a dog' --phrase 1:2", "--phrase 1:2: stands for no word pieces");
  expect_refusal("--record 1 --set model.embed_dim=4", "model.embed_dim=4: changes nothing here");
  const auto checkpoint = " --checkpoint " + (*dir_ / "runs/loupe").string();
  EXPECT_THAT(run_shell("triptych eval explain --record 1" + checkpoint).err, HasSubstr("--out names the page"));
  const auto other = run_shell("triptych eval retrieval --record 1" + checkpoint);
  EXPECT_EQ(other.code, 2);
  EXPECT_THAT(other.err, HasSubstr("eval retrieval: --record, "));
  const auto broken = run_shell(command("--image README.md --caption x"));
  EXPECT_EQ(broken.code, 3) << broken.err;
  EXPECT_THAT(broken.err, HasSubstr("README.md: "));
}

TEST(ExplainOtherObjectives, AreRefusedByName) {
  const TempDir dir;
  const auto config = write_tiny_run(dir);
  ASSERT_EQ(run_shell("triptych train " + config).code, 0);
  const auto command = "--checkpoint " + (dir / "runs/tiny").string();
  const auto explain =
      run_shell("triptych eval explain --record 1 --out " + (dir / "page.html").string() + " " + command);
  EXPECT_EQ(explain.code, 2) << explain.err;
  EXPECT_THAT(explain.err, HasSubstr("eval explain: objective unicl"));
  EXPECT_FALSE(std::filesystem::exists(dir / "page.html"));
  const auto bench = run_shell("triptych bench interactions " + command);
  EXPECT_EQ(bench.code, 2) << bench.err;
  EXPECT_THAT(bench.err, HasSubstr("bench interactions: objective unicl"));
}

}  // namespace
}  // namespace triptych
