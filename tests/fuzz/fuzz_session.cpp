// One session between a hostile client and a hostile server. First byte: mode and isolation; then steps: a
// byte for what happens, and for bytes from a side the piece that arrives.
#include <cstdint>

#include "pool/session.h"
#include "tests/fuzz/input.h"
#include "tests/fuzz/require.h"

using namespace sidepool;
using protocol::Bytes;

namespace {

struct Driver {
  pool::StatementStore& store;
  pool::SessionOptions& options;
  pool::ServerState server;
  pool::Actions out{};
  pool::Session session{{}, options, store, nullptr};
  bool waiting = false, held = false, closed = false;
  std::size_t written = 0;

  void run() {
    for (std::size_t i = 0; i < out.size(); ++i) {
      const auto a = out[i];
      for (const auto b : a.bytes) written += b;  // every byte is there
      if (a.what == pool::Do::ToServer) test::require(held, "writes to a server that is held");
      if (a.what == pool::Do::AcquireServer) {
        test::require(!held && !waiting, "one server at a time");
        waiting = true;
      }
      if (a.what == pool::Do::ReleaseServer || a.what == pool::Do::CloseServer ||
          a.what == pool::Do::CutServer) {
        test::require(held, "gives back what it holds");
        held = false;
      }
      if (a.what == pool::Do::CancelServer) session.on_cancel_begun();
      if (a.what == pool::Do::CloseClient) closed = true;
    }
    out.clear();
    test::require(held == session.holds_server(), "the driver knows who holds the server");
  }
  void from_client(Bytes in) {
    for (bool more = true; more && !in.empty() && !closed && session.takes_client_input();) {
      const auto before = in.size();
      session.on_client(in, out);
      more = in.size() != before || !out.empty();
      run();
    }
  }
  void from_server(Bytes in) {
    for (bool more = true; more && !in.empty() && held;) {
      const auto before = in.size();
      session.on_server(in, out);
      more = in.size() != before || !out.empty();
      run();
    }
  }
  void event(unsigned what) {
    if (what == 2 && waiting) {
      waiting = false, held = true;
      session.on_granted(server, out);
    } else if (what == 3 && waiting) {
      waiting = false;
      session.on_refused({"ERROR", "53300", "full", {}, {}}, out);
    } else if (what == 4 && held) {
      held = false;
      session.on_server_lost(out);
    } else if (what == 5 && held) {
      session.on_cancel_begun();
    } else if (what == 6) {
      session.on_cancel_done(false, out);
    } else if (what == 7) {
      session.on_client_gone(out);
    }
    run();
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  test::FuzzInput input(data, size);
  const unsigned first = input.byte();
  pool::SessionOptions options;
  options.mode = static_cast<pool::Mode>(first % 3);
  options.isolation = (first & 4) != 0 ? pool::Isolation::Tracked : pool::Isolation::Reset;
  options.pinning = static_cast<pool::Pinning>((first >> 4) % 3);
  options.max_message = 1U << 20;
  options.max_client_statements = 4;
  options.max_server_statements = (first & 8) != 0 ? 0 : 2;
  pool::StatementStore store("fuzz", pool::WorkerId{0}, 4096);
  {
    Driver d{store, options, pool::ServerState()};
    d.session.begin(nullptr, std::nullopt, d.out);
    d.run();
    while (!input.empty() && !d.closed) {
      const unsigned what = input.byte() & 7;
      if (what == 0) d.from_client(input.piece());
      if (what == 1) d.from_server(input.piece());
      if (what > 1) d.event(what);
      test::require(store.used() <= 4096, "kept texts are bounded");
    }
  }
  test::require(store.used() == 0 && store.size() == 0, "nothing outlives its client");
  return 0;
}
