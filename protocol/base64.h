// protocol/base64.h -- base64 as SCRAM uses it (RFC 4648 §4): padded, canonical, no white space.
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "protocol/bytes.h"

namespace sidepool::protocol {

std::string base64_encode(Bytes b);
// nullopt when `text` is not the canonical encoding of 1 to `max` bytes. Length is checked before anything is
// made.
std::optional<Buffer> base64_decode(std::string_view text, std::size_t max);

}  // namespace sidepool::protocol
