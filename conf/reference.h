// conf/reference.h -- the reference page of the configuration, made from the schema.
#pragma once
#include <string>

namespace sidepool::conf {

// Markdown; docs/reference.md is this text (a test compares them; `reference_page > docs/reference.md` renews
// it).
std::string reference_page();

}  // namespace sidepool::conf
