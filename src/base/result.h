// src/base/result.h -- errors of the outside world as values.
#pragma once
#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace sidepool {

enum class Errc : unsigned char { Config, Io, Tls, Protocol, Auth, Timeout, Limit, Api };

// `what` is one sentence for a stranger and never holds a secret. `sys`: errno, libuv or HTTP status, 0 if
// none. `reason` is a short fixed word for metrics and de-duplication (Google's errors[].reason, "refused",
// …).
struct Error {
  Errc code = Errc::Io;
  int sys = 0;
  std::string what{};
  std::string reason{};
};

template <class T>
using Result = tl::expected<T, Error>;  // std::expected with a later compiler
using Status = Result<void>;

inline tl::unexpected<Error> fail(Errc code, std::string what, int sys = 0, std::string reason = {}) {
  return tl::unexpected<Error>(Error{code, sys, std::move(what), std::move(reason)});
}

}  // namespace sidepool
