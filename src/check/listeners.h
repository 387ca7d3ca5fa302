// src/check/listeners.h -- whether an address that is to be listened on is free, and who has it if not.
#pragma once
#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "conf/config.h"
#include "src/check/report.h"

namespace sidepool::check {

// Binds and lets go at once; never listens, so no client is taken from anybody. A sidepool that runs there
// (the same program file, /proc/PID/exe) is what one hopes for, so it is no failure.
void check_listener(const conf::Address& address, Report& report);

// The inode of the socket that listens on a TCP address, out of one of /proc/net/tcp, tcp6 (proc(5)): local
// address "0100007F:1538", state 0A. `local` as the table writes it, with the wildcard "00000000:1538"
// counting too.
std::optional<std::uint64_t> listening_inode(std::string_view table, std::string_view local);

}  // namespace sidepool::check
