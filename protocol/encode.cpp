// protocol/encode.cpp -- layouts from the PostgreSQL manual, "Message Formats".
#include "protocol/encode.h"

#include <algorithm>

namespace sidepool::protocol {
namespace {

// One message under construction at the end of a buffer; the length word is filled in at the end of its life.
class Message {
 public:
  Message(Buffer& out, char type) : out_(out) {
    out_.push_back(static_cast<std::uint8_t>(type));
    open();
  }
  // Without a type byte: the packets of the startup phase.
  explicit Message(Buffer& out) : out_(out) { open(); }
  ~Message() { store_be32(out_.data() + start_, static_cast<std::uint32_t>(out_.size() - start_)); }
  Message(const Message&) = delete;
  Message& operator=(const Message&) = delete;

  Message& byte(char c) {
    out_.push_back(static_cast<std::uint8_t>(c));
    return *this;
  }
  Message& u16(std::size_t v) { return byte(static_cast<char>(v >> 8)).byte(static_cast<char>(v)); }
  Message& u32(std::uint32_t v) {
    out_.resize(out_.size() + 4);
    store_be32(out_.data() + out_.size() - 4, v);
    return *this;
  }
  Message& bytes(Bytes b) {
    out_.insert(out_.end(), b.begin(), b.end());
    return *this;
  }
  Message& cstr(std::string_view s) { return bytes(as_bytes(s.substr(0, s.find('\0')))).byte('\0'); }

 private:
  void open() {
    start_ = out_.size();
    out_.resize(start_ + 4);
  }

  Buffer& out_;
  std::size_t start_ = 0;
};

void fields(Message& m, const ErrorFields& f) {
  m.byte('S').cstr(f.severity).byte('V').cstr(f.severity).byte('C').cstr(f.code).byte('M').cstr(f.message);
  if (!f.detail.empty()) m.byte('D').cstr(f.detail);
  if (!f.hint.empty()) m.byte('H').cstr(f.hint);
  if (!f.routine.empty()) m.byte('R').cstr(f.routine);
  m.byte('\0');
}

}  // namespace

void error_response(Buffer& out, const ErrorFields& f) {
  Message m(out, 'E');
  fields(m, f);
}

void notice_response(Buffer& out, const ErrorFields& f) {
  Message m(out, 'N');
  fields(m, f);
}

void authentication_ok(Buffer& out) { Message(out, 'R').u32(kAuthOk); }

void authentication_cleartext(Buffer& out) { Message(out, 'R').u32(kAuthCleartext); }

void authentication_md5(Buffer& out, std::span<const std::uint8_t, 4> salt) {
  Message(out, 'R').u32(kAuthMd5).bytes(salt);
}

void authentication_sasl(Buffer& out, std::span<const std::string_view> mechanisms) {
  Message m(out, 'R');
  m.u32(kAuthSasl);
  for (const auto& name : mechanisms) m.cstr(name);
  m.byte('\0');
}

void authentication_sasl_continue(Buffer& out, Bytes data) {
  Message(out, 'R').u32(kAuthSaslContinue).bytes(data);
}

void authentication_sasl_final(Buffer& out, Bytes data) { Message(out, 'R').u32(kAuthSaslFinal).bytes(data); }

void parameter_status(Buffer& out, std::string_view name, std::string_view value) {
  Message(out, 'S').cstr(name).cstr(value);
}

void backend_key_data(Buffer& out, std::uint32_t pid, Bytes key) { Message(out, 'K').u32(pid).bytes(key); }

void negotiate_protocol_version(Buffer& out, std::uint32_t newest_minor,
                                std::span<const std::string_view> unknown) {
  Message m(out, 'v');
  // The manual speaks of the newest minor version; PostgreSQL sends the whole version word and libpq expects
  // it (pqcomm: NegotiateProtocolVersion in SendNegotiateProtocolVersion, fe-protocol3.c).
  m.u32((kProtocol30 & 0xffff0000U) | newest_minor).u32(static_cast<std::uint32_t>(unknown.size()));
  for (const auto& name : unknown) m.cstr(name);
}

void ready_for_query(Buffer& out, TxStatus status) { Message(out, 'Z').byte(static_cast<char>(status)); }

void parse_complete(Buffer& out) { Message(out, '1'); }
void bind_complete(Buffer& out) { Message(out, '2'); }
void close_complete(Buffer& out) { Message(out, '3'); }
void command_complete(Buffer& out, std::string_view tag) { Message(out, 'C').cstr(tag); }
void empty_query_response(Buffer& out) { Message(out, 'I'); }
void no_data(Buffer& out, bool of_statement) {
  if (of_statement) Message(out, 't').u16(0);
  Message(out, 'n');
}

void startup_message(Buffer& out, std::uint32_t version, std::span<const Parameter> parameters) {
  Message m(out);
  m.u32(version);
  for (const auto& [name, value] : parameters) m.cstr(name).cstr(value);
  m.byte('\0');
}

void ssl_request(Buffer& out) { Message(out).u32(kSslRequestCode); }

void cancel_request(Buffer& out, std::uint32_t pid, Bytes key) {
  Message(out).u32(kCancelRequestCode).u32(pid).bytes(key);
}

void password_message(Buffer& out, std::string_view password) { Message(out, 'p').cstr(password); }

void sasl_initial_response(Buffer& out, std::string_view mechanism, Bytes data) {
  Message(out, 'p').cstr(mechanism).u32(static_cast<std::uint32_t>(data.size())).bytes(data);
}

void sasl_response(Buffer& out, Bytes data) { Message(out, 'p').bytes(data); }

void query(Buffer& out, std::string_view text) { Message(out, 'Q').cstr(text); }

void parse(Buffer& out, std::string_view name, std::string_view text, std::span<const std::uint32_t> types) {
  Message m(out, 'P');
  m.cstr(name).cstr(text).u16(types.size());
  for (const auto oid : types) m.u32(oid);
}

void bind_text(Buffer& out, std::string_view portal, std::string_view statement,
               std::span<const std::string_view> values) {
  Message m(out, 'B');
  m.cstr(portal).cstr(statement).u16(0).u16(values.size());
  for (const auto& v : values) {
    if (!v.data()) {
      m.u32(0xffffffffU);
      continue;
    }
    const auto text = v.substr(0, v.find('\0'));
    m.u32(static_cast<std::uint32_t>(text.size())).bytes(as_bytes(text));
  }
  m.u16(0);
}

void describe(Buffer& out, char kind, std::string_view name) { Message(out, 'D').byte(kind).cstr(name); }

void execute(Buffer& out, std::string_view portal, std::uint32_t max_rows) {
  Message(out, 'E').cstr(portal).u32(max_rows);
}

void close(Buffer& out, char kind, std::string_view name) { Message(out, 'C').byte(kind).cstr(name); }
void flush(Buffer& out) { Message(out, 'H'); }
void sync(Buffer& out) { Message(out, 'S'); }
void copy_fail(Buffer& out, std::string_view reason) { Message(out, 'f').cstr(reason); }
void terminate(Buffer& out) { Message(out, 'X'); }

}  // namespace sidepool::protocol
