// cloudsql/call.h -- what every call to Google may use, and how one fails.
#pragma once
#include <functional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

#include "src/base/result.h"
#include "src/cloudsql/command.h"
#include "src/cloudsql/http.h"
#include "src/cloudsql/refresh.h"

namespace sidepool::cloudsql {

// What a refresh does its calls with; tests pass their own. All of it is used on one thread.
struct Caller {
  HttpSend send;
  std::function<bool(Millis)>
      pause;  // false: do not try again (stopping, or the refresh has used up its time)
  std::function<Now()> now;
  std::function<double()> random;  // [0,1)
  RunCommand run{};
};

// A failed call with what the pace of the next one depends on.
struct CallFailure {
  Error error;
  FailureKind kind = FailureKind::Refused;
  Millis retry_after{0};
  // Google's errors[].reason, comma-joined, of an answer outside 2xx: the connector's cloudsql_error_code.
  std::string api_code{};
};
template <class T>
using CallResult = tl::expected<T, CallFailure>;

// No answer, or an answer that cannot be used.
CallFailure no_answer(Error error, std::string_view prefix);
CallFailure unusable(Error error, std::string_view prefix);
// A program that gives no output.
CallFailure not_run(Error error);
// An answer outside 2xx: the text is PREFIX: WHO: Error STATUS: Google's message, reason.
CallFailure refused(Errc code, std::string_view prefix, std::string_view who, const HttpResponse& response);

// What an operator can do about an error of this library, as one sentence; empty if there is nothing to say.
std::string_view remedy(const Error& error) noexcept;

}  // namespace sidepool::cloudsql
