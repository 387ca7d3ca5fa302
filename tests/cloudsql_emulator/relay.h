// tests/cloudsql_emulator/relay.h -- the byte pump between a TLS client and PostgreSQL.
#pragma once
#include <functional>
#include <string>

#include "tests/cloudsql_emulator/connection_table.h"
#include "tests/cloudsql_emulator/instances.h"
#include "tests/cloudsql_emulator/tls_socket.h"

namespace sidepool::emulator {

enum class RelayEnd { ClientLeft, ServerLeft, Ordered };

// Moves bytes until one side ends; `first_bytes` go to the server before anything else. Holds at most one
// chunk a direction, and reads a side only when its chunk is empty: a slow reader stops the writer, nobody
// else.
RelayEnd relay(TlsSocket& client, int server, std::string first_bytes, const Slot& slot,
               const std::function<SideFault()>& fault);

}  // namespace sidepool::emulator
