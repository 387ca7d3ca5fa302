// src/io/io_result.h -- what one non-blocking read or write came to.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

namespace sidepool::io {

enum class Io : std::uint8_t {
  Done,       // read: n > 0 bytes. write: all was taken and is on its way
  WantRead,   // wait until the fd is readable, then call again
  WantWrite,  // wait until the fd is writable, then call again
  Closed,     // read only: the peer has ended its direction in good order (or by EOF without close_notify)
  Failed,     // the connection is of no more use; the stream's failure() says why
};

// `n` counts bytes the call consumed, whatever the status: they must not be offered again. In particular a
// TLS write that must wait returns {WantWrite, n} with n possibly all of it: the stream keeps the sealed
// record, and the caller arms for write and calls write() again, with an empty span if nothing else is left.
struct IoResult {
  Io status;
  std::size_t n;
};

using ConstBytes = std::span<const std::uint8_t>;
using MutBytes = std::span<std::uint8_t>;

}  // namespace sidepool::io
