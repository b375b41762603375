// The page of the live view: one document that asks for nothing but /state.json, once a second.
#pragma once
#include <string>

namespace triptych {

/// The whole document, with its style and script inside. All that comes from a run is shown as text, never as markup.
const std::string& monitor_page();
/// Content-Security-Policy that lets exactly this style and this script run and talk to this server only.
const std::string& monitor_page_policy();

}  // namespace triptych
