// conf/parse.h -- TOML text to a document.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>
#include <variant>

#include "conf/document.h"

namespace sidepool::conf {

inline constexpr std::size_t kLargestFile = std::size_t{1} << 20;

// `file` is only for the diagnostic. A syntax error ends the parse, so there is one diagnostic.
std::variant<Table, Diagnostic> parse_toml(std::string_view text, const std::string& file);

}  // namespace sidepool::conf
