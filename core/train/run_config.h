// The `run` section: where a run lives and what all of its draws are keyed by.
#pragma once
#include <cstdint>
#include <string>

#include "core/base/config.h"

namespace triptych {

struct RunConfig {
  std::string name = "run";
  std::string dir = "runs";
  std::int64_t seed = 1;
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("name", c.name, "name of the run; its files lie in DIR/NAME");
    field("dir", c.dir, "folder of all runs, relative to the working directory");
    field("seed", c.seed, "decides initial weights, order, augmentation and drop path", at_least(0));
  }
  void validate() const {
    if (name.empty() || name == "." || name == ".." || name.find('/') != std::string::npos) {
      throw FieldError("name", "got '" + name + "', expected a file name without '/'");
    }
  }
};

}  // namespace triptych
