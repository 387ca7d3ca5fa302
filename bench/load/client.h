// bench/load/client.h -- one connection of the load client: libpq without blocking, one request at a time.
#pragma once
#include <libpq-fe.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>

#include "bench/load/options.h"

namespace sidepool::bench {

using Clock = std::chrono::steady_clock;

// What the server or libpq refused; ends the program, since a load with errors measures something else.
struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Every call throws Failure.
class Client {
 public:
  // Logs in and, where the mode wants it, prepares the statement. Blocks.
  Client(const Options& options, const std::string& database);

  void start(std::int64_t row);
  // The socket can be read from, or written to. True: the request that was started is answered.
  bool advance();
  // A slow reader: takes what one read of libpq gives. True: as advance().
  bool advance_slowly();

  int fd() const noexcept { return PQsocket(connection_.get()); }
  bool wants_write() const noexcept { return wants_write_; }
  std::uint64_t bytes() const noexcept { return bytes_; }  // of rows and COPY data so far

  // The loop's record of it.
  Clock::time_point intended;  // when the request should have been sent
  bool busy = false;
  std::uint64_t served = 0;  // in the window
  std::uint32_t armed = 0;   // as epoll knows it

 private:
  struct Finish {
    void operator()(PGconn* connection) const noexcept { PQfinish(connection); }
  };
  void start_select(std::int64_t row);
  bool take_results();
  bool take_copy_out();
  void give_copy_in();
  void flush();
  [[noreturn]] void fail(const char* what) const;
  void expect(bool done, const char* what) const {
    if (!done) fail(what);
  }

  const Options& options_;
  std::unique_ptr<PGconn, Finish> connection_;
  std::uint64_t bytes_ = 0, copied_ = 0;
  bool wants_write_ = false, copying_in_ = false, copying_out_ = false;
};

}  // namespace sidepool::bench
