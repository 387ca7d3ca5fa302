// tests/cloudsql_emulator/side_connection.h -- the life of one connection to port 3307.
#pragma once
#include <memory>

#include "tests/cloudsql_emulator/connection_table.h"
#include "tests/cloudsql_emulator/instances.h"
#include "tests/cloudsql_emulator/principals.h"
#include "tests/cloudsql_emulator/recorder.h"
#include "tests/cloudsql_emulator/upstream.h"

namespace sidepool::emulator {

struct SideServices {
  Principals& principals;
  Instances& instances;
  Recorder& recorder;
  Upstream password;  // asks everybody for a password
  Upstream trust;     // lets everybody in: for those whom the emulator has authenticated
};

// Handshake, MDX, startup, relay. Runs on a thread of its own and returns when the connection is over; the
// caller closes the socket.
void serve_connection(const Slot& slot, const Endpoint& endpoint, const SideServices& services);

}  // namespace sidepool::emulator
