// protocol/encode.h -- the messages we write ourselves. Every function appends one complete message to `out`.
// Strings must not contain a zero byte; a string that does is cut there.
#pragma once
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

#include "protocol/bytes.h"
#include "protocol/types.h"

namespace sidepool::protocol {

// The fields of ErrorResponse and NoticeResponse that we send. Empty ones are left out.
struct ErrorFields {
  std::string_view severity = "ERROR";  // sent as S and V
  std::string_view code;                // SQLSTATE, five characters
  std::string_view message;
  std::string_view detail{};
  std::string_view hint{};
  std::string_view routine{};  // R, PostgreSQL's function: drivers tell some errors apart by it
};

// to a client
void error_response(Buffer& out, const ErrorFields& f);
void notice_response(Buffer& out, const ErrorFields& f);
void authentication_ok(Buffer& out);
void authentication_cleartext(Buffer& out);
void authentication_md5(Buffer& out, std::span<const std::uint8_t, 4> salt);
void authentication_sasl(Buffer& out, std::span<const std::string_view> mechanisms);
void authentication_sasl_continue(Buffer& out, Bytes data);
void authentication_sasl_final(Buffer& out, Bytes data);
void parameter_status(Buffer& out, std::string_view name, std::string_view value);
// `key` has 4 bytes (3.0) or up to kMaxCancelKey (3.2).
void backend_key_data(Buffer& out, std::uint32_t pid, Bytes key);
void negotiate_protocol_version(Buffer& out, std::uint32_t newest_minor,
                                std::span<const std::string_view> unknown);
void ready_for_query(Buffer& out, TxStatus status);
void parse_complete(Buffer& out);
void bind_complete(Buffer& out);
void close_complete(Buffer& out);
void command_complete(Buffer& out, std::string_view tag);
void empty_query_response(Buffer& out);
// The answer to Describe of something without rows: for a statement ParameterDescription (no parameters)
// first.
void no_data(Buffer& out, bool of_statement);

// to a server
using Parameter = std::pair<std::string_view, std::string_view>;
// Unframed: length, version, name/value pairs, terminator.
void startup_message(Buffer& out, std::uint32_t version, std::span<const Parameter> parameters);
void ssl_request(Buffer& out);
void cancel_request(Buffer& out, std::uint32_t pid, Bytes key);
void password_message(Buffer& out, std::string_view password);
void sasl_initial_response(Buffer& out, std::string_view mechanism, Bytes data);
void sasl_response(Buffer& out, Bytes data);
void query(Buffer& out, std::string_view text);
void parse(Buffer& out, std::string_view name, std::string_view text, std::span<const std::uint32_t> types);
// All parameters in text format, all results in text format. A null data() is SQL NULL.
void bind_text(Buffer& out, std::string_view portal, std::string_view statement,
               std::span<const std::string_view> values);
void describe(Buffer& out, char kind, std::string_view name);
void execute(Buffer& out, std::string_view portal, std::uint32_t max_rows);
void close(Buffer& out, char kind, std::string_view name);
void flush(Buffer& out);
void sync(Buffer& out);
void copy_fail(Buffer& out, std::string_view reason);
void terminate(Buffer& out);

}  // namespace sidepool::protocol
