// Properties checked on drawn inputs (RapidCheck). The draws are the same in every run unless RC_PARAMS says otherwise.
#pragma once
#include <rapidcheck.h>

#include <cstdlib>
#include <string>
#include <utility>

namespace triptych {

/// True if `property` (a callable whose parameters RapidCheck draws, and which uses RC_ASSERT) holds; prints the
/// smallest counterexample otherwise. Usage: EXPECT_TRUE(holds("reverse twice", [](const std::string& s) { ... }));
template <class Property>
bool holds(const std::string& name, Property&& property) {
  setenv("RC_PARAMS", "seed=20261122", 0);
  return rc::check(name, std::forward<Property>(property));
}

}  // namespace triptych
