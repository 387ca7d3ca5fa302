// protocol/messages.h -- views of message bodies. Each decode() checks the whole body it is given and returns
// nothing when that is malformed. Views borrow from the body they were decoded from.
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>

#include "protocol/bytes.h"
#include "protocol/types.h"

namespace sidepool::protocol {

// Parse ('P'). `types` is the raw array of big-endian type OIDs.
struct ParseView {
  std::string_view name, query;
  Bytes types;
  static std::optional<ParseView> decode(Bytes body) noexcept;
};

// The names at the head of Bind ('B'). `size` is how many body bytes they take; `body` may be a prefix of the
// message, nullopt then means: not complete yet, or (for a whole body) malformed.
struct BindHead {
  std::string_view portal, statement;
  std::size_t size;
  static std::optional<BindHead> decode(Bytes prefix) noexcept;
};

// Describe ('D') and Close ('C') from a client. kind: 'S' or 'P', anything else is malformed.
struct TargetView {
  char kind;
  std::string_view name;
  static std::optional<TargetView> decode(Bytes body) noexcept;
};

struct ParameterStatusView {
  std::string_view name, value;
  static std::optional<ParameterStatusView> decode(Bytes body) noexcept;
};

// BackendKeyData; `key` has 4 to kMaxCancelKey bytes.
struct BackendKeyDataView {
  std::uint32_t pid;
  Bytes key;
  static std::optional<BackendKeyDataView> decode(Bytes body) noexcept;
};

// ErrorResponse and NoticeResponse. A missing field is empty; `severity` prefers the untranslated V over S.
struct ErrorView {
  std::string_view severity, code, message, detail, hint;
  static std::optional<ErrorView> decode(Bytes body) noexcept;
  bool fatal() const noexcept { return severity == "FATAL" || severity == "PANIC"; }
};

// CommandComplete from a server.
std::optional<std::string_view> decode_command_tag(Bytes body) noexcept;
// ReadyForQuery; nullopt unless the body is exactly one of I, T, E.
std::optional<TxStatus> decode_ready_for_query(Bytes body) noexcept;

}  // namespace sidepool::protocol
