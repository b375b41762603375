// What a command prints with --format json.
#pragma once
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/apps/run_program.h"

namespace triptych {

/// Expects exit code 0. What is no JSON gives a discarded value.
inline nlohmann::json run_json(const std::string& command) {
  const auto outcome = run_shell(command + " --format json");
  EXPECT_EQ(outcome.code, 0) << command << "\n" << outcome.err;
  return nlohmann::json::parse(outcome.out, nullptr, false);
}

}  // namespace triptych
