// Class names to sentences: prompt templates and the clean-up of class names (spec of UniCL: CLIP's 80 templates and
// the bare name, one drawn per sample).
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace triptych {

/// Templates, each with one `{}` where the class name goes. `name`:
///   clip81: the 80 of configs/prompts/clip80.txt and `{}.`;
///   plain:  `{}` alone;
///   else a text file, one template a line; empty lines and lines that begin with # are left out.
/// Throws ConfigError (file:line) when the file is missing or empty or a line does not hold exactly one `{}`.
std::vector<std::string> load_prompts(const std::string& name);

/// The template with its `{}` replaced by the class name, which is taken as it is.
std::string fill_prompt(std::string_view prompt, std::string_view class_name);

/// A class name as prompts use it: commas dropped, `+` to a space, runs of white space to one space, none at the ends.
std::string clean_class_name(std::string_view class_name);

}  // namespace triptych
