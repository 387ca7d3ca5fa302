// What we write ourselves, byte by byte, and read back through the views.
#include "protocol/encode.h"

#include <gtest/gtest.h>

#include <array>
#include <functional>
#include <string>

#include "protocol/frame.h"
#include "protocol/messages.h"

namespace sidepool::protocol {
namespace {

using std::string_literals::operator""s;
using std::string_view_literals::operator""sv;

std::string made(const std::function<void(Buffer&)>& write) {
  Buffer out{'x'};  // appended to, never overwritten
  write(out);
  EXPECT_EQ(out.at(0), 'x');
  return std::string(as_text(Bytes{out}.subspan(1)));
}

struct Case {
  const char* name;
  std::function<void(Buffer&)> write;
  std::string bytes;
};

TEST(Encode, MessagesToAClient) {
  const std::array<std::uint8_t, 4> salt{1, 2, 3, 4};
  const std::array<std::string_view, 2> mechanisms{"A", "BC"};
  const Case cases[] = {
      {"ok", authentication_ok, "R\0\0\0\x8\0\0\0\0"s},
      {"cleartext", authentication_cleartext, "R\0\0\0\x8\0\0\0\x3"s},
      {"md5", [&](Buffer& b) { authentication_md5(b, salt); }, "R\0\0\0\xc\0\0\0\x5\1\2\3\4"s},
      {"sasl", [&](Buffer& b) { authentication_sasl(b, mechanisms); }, "R\0\0\0\xe\0\0\0\xa"s + "A\0BC\0\0"s},
      {"continue", [](Buffer& b) { authentication_sasl_continue(b, as_bytes("r=")); },
       "R\0\0\0\xa\0\0\0\xb"
       "r="s},
      {"final", [](Buffer& b) { authentication_sasl_final(b, as_bytes("v=")); },
       "R\0\0\0\xa\0\0\0\xc"
       "v="s},
      {"parameter", [](Buffer& b) { parameter_status(b, "a", "b\0c"sv); },
       "S\0\0\0\x8"
       "a\0b\0"s},
      {"key", [](Buffer& b) { backend_key_data(b, 7, as_bytes("keyy")); }, "K\0\0\0\xc\0\0\0\x7keyy"s},
      {"negotiate", [&](Buffer& b) { negotiate_protocol_version(b, 2, mechanisms); },
       "v\0\0\0\x11\0\3\0\2\0\0\0\2"s + "A\0BC\0"s},
      {"ready", [](Buffer& b) { ready_for_query(b, TxStatus::Failed); }, "Z\0\0\0\5E"s},
      {"parse", parse_complete, "1\0\0\0\4"s},
      {"bind", bind_complete, "2\0\0\0\4"s},
      {"close", close_complete, "3\0\0\0\4"s},
      {"empty", empty_query_response, "I\0\0\0\4"s},
      {"command", [](Buffer& b) { command_complete(b, "SET"); }, "C\0\0\0\x8SET\0"s},
      {"error", [](Buffer& b) { error_response(b, {.severity = "FATAL", .code = "08P01", .message = "m"}); },
       "E\0\0\0\x1d"
       "SFATAL\0VFATAL\0C08P01\0Mm\0\0"s},
      {"notice",
       [](Buffer& b) {
         notice_response(b, {"NOTICE", "00000", "m", "d", "h"});
       },
       "N\0\0\0\x25"
       "SNOTICE\0VNOTICE\0C00000\0Mm\0Dd\0Hh\0\0"s},
  };
  for (const auto& c : cases) EXPECT_EQ(made(c.write), c.bytes) << c.name;
}

TEST(Encode, MessagesToAServer) {
  const std::array<Parameter, 2> parameters{Parameter{"user", "u"}, Parameter{"database", "d"}};
  const std::array<std::uint32_t, 1> types{23};
  const std::array<std::string_view, 3> values{"one"sv, std::string_view{}, ""sv};
  const Case cases[] = {
      {"startup", [&](Buffer& b) { startup_message(b, kProtocol32, parameters); },
       "\0\0\0\x1b\0\3\0\2user\0u\0database\0d\0\0"s},
      {"ssl", ssl_request, "\0\0\0\x8\x4\xd2\x16\x2f"s},
      {"cancel", [](Buffer& b) { cancel_request(b, 258, as_bytes("keykey")); },
       "\0\0\0\x12\x4\xd2\x16\x2e\0\0\1\2keykey"s},
      {"password", [](Buffer& b) { password_message(b, "pw"); }, "p\0\0\0\x7pw\0"s},
      {"sasl", [](Buffer& b) { sasl_initial_response(b, "M", as_bytes("dd")); }, "p\0\0\0\xcM\0\0\0\0\2dd"s},
      {"response", [](Buffer& b) { sasl_response(b, as_bytes("dd")); }, "p\0\0\0\6dd"s},
      {"query", [](Buffer& b) { query(b, "select 1"); }, "Q\0\0\0\xdselect 1\0"s},
      {"parse", [&](Buffer& b) { parse(b, "s", "q", types); }, "P\0\0\0\xes\0q\0\0\1\0\0\0\x17"s},
      {"bind", [&](Buffer& b) { bind_text(b, "p", "s", values); },
       "B\0\0\0\x1dp\0s\0\0\0\0\3\0\0\0\3one\xff\xff\xff\xff\0\0\0\0\0\0"s},
      {"describe", [](Buffer& b) { describe(b, 'S', "n"); }, "D\0\0\0\7Sn\0"s},
      {"execute", [](Buffer& b) { execute(b, "", 9); }, "E\0\0\0\x9\0\0\0\0\x9"s},
      {"close", [](Buffer& b) { close(b, 'P', ""); }, "C\0\0\0\6P\0"s},
      {"flush", flush, "H\0\0\0\4"s},
      {"sync", sync, "S\0\0\0\4"s},
      {"copy_fail", [](Buffer& b) { copy_fail(b, "no"); }, "f\0\0\0\7no\0"s},
      {"terminate", terminate, "X\0\0\0\4"s},
  };
  for (const auto& c : cases) EXPECT_EQ(made(c.write), c.bytes) << c.name;
}

TEST(Encode, AFrameOfEachIsWhatWasWritten) {
  Buffer out;
  query(out, "a");
  error_response(out, {.code = "XX000", .message = "m"});
  terminate(out);
  Framer f(1000);
  Bytes in = out;
  std::string types;
  while (const auto s = f.next(in)) types += s->type;
  EXPECT_EQ(types, "QEX");
  EXPECT_TRUE(f.at_boundary());
}

Bytes body_of(const Buffer& message) { return Bytes{message}.subspan(5); }

TEST(Messages, ReadBackWhatEncodeWrites) {
  Buffer out;
  const std::array<std::uint32_t, 2> types{23, 25};
  parse(out, "name", "select $1", types);
  const auto p = ParseView::decode(body_of(out));
  ASSERT_TRUE(p);
  EXPECT_EQ(p->name, "name");
  EXPECT_EQ(p->query, "select $1");
  ASSERT_EQ(p->types.size(), 8U);
  EXPECT_EQ(load_be32(p->types.data() + 4), 25U);

  out.clear();
  bind_text(out, "po", "st", {});
  const auto b = BindHead::decode(body_of(out));
  ASSERT_TRUE(b);
  EXPECT_EQ(b->portal, "po");
  EXPECT_EQ(b->statement, "st");
  EXPECT_EQ(b->size, 6U);
  EXPECT_FALSE(BindHead::decode(body_of(out).first(5)));

  out.clear();
  backend_key_data(out, 12, as_bytes("abcd"));
  const auto k = BackendKeyDataView::decode(body_of(out));
  ASSERT_TRUE(k);
  EXPECT_EQ(k->pid, 12U);
  EXPECT_EQ(as_text(k->key), "abcd");

  out.clear();
  error_response(out, {"FATAL", "28000", "msg", "det", "hint"});
  const auto e = ErrorView::decode(body_of(out));
  ASSERT_TRUE(e);
  EXPECT_TRUE(e->fatal());
  EXPECT_EQ(e->code, "28000");
  EXPECT_EQ(e->message, "msg");
  EXPECT_EQ(e->detail, "det");
  EXPECT_EQ(e->hint, "hint");
}

// Every strict prefix and every extension of a good body is refused, for views that take whole bodies.
template <class View>
void only_whole(std::string_view good) {
  EXPECT_TRUE(View::decode(as_bytes(good)));
  for (std::size_t n = 0; n < good.size(); ++n) EXPECT_FALSE(View::decode(as_bytes(good.substr(0, n)))) << n;
  EXPECT_FALSE(View::decode(as_bytes(std::string(good) + 'x')));
}

TEST(Messages, TruncatedOrLongerBodiesAreRefused) {
  only_whole<ParseView>("n\0q\0\0\1\0\0\0\x17"sv);
  only_whole<TargetView>("Sname\0"sv);
  only_whole<TargetView>("P\0"sv);
  only_whole<ParameterStatusView>("TimeZone\0UTC\0"sv);
  only_whole<ErrorView>("SERROR\0Mtext\0\0"sv);
  EXPECT_FALSE(TargetView::decode(as_bytes("Xname\0"sv)));
  EXPECT_FALSE(ParseView::decode(as_bytes("n\0q\0\xff\xff\0\0\0\x17"sv)));
  for (std::size_t n : {0, 4, 7, 4 + 257, 4 + 4096}) {
    EXPECT_FALSE(BackendKeyDataView::decode(as_bytes(std::string(n, 'k')))) << n;
  }
  for (std::size_t n : {8, 4 + 32, 4 + 256})
    EXPECT_TRUE(BackendKeyDataView::decode(as_bytes(std::string(n, 'k'))));
}

TEST(Messages,
     ErrorsWithoutFieldsAreReadAsEmpty) {  // CVE-2026-6666 was a pooler's crash on a missing SQLSTATE
  const auto e = ErrorView::decode(as_bytes("\0"sv));
  ASSERT_TRUE(e);
  EXPECT_EQ(e->code, "");
  EXPECT_EQ(e->severity, "");
  EXPECT_FALSE(e->fatal());
  EXPECT_FALSE(ErrorView::decode({}));
  const auto only_message = ErrorView::decode(as_bytes("Mhello\0zunknown field\0\0"sv));
  ASSERT_TRUE(only_message);
  EXPECT_EQ(only_message->message, "hello");
}

TEST(Messages, UntranslatedSeverityWins) {
  for (const auto body : {"SFATAL in words\0VFATAL\0\0"sv, "VFATAL\0SFATAL in words\0\0"sv}) {
    const auto e = ErrorView::decode(as_bytes(body));
    ASSERT_TRUE(e);
    EXPECT_TRUE(e->fatal());
  }
}

TEST(Messages, TagsAndStatus) {
  EXPECT_EQ(decode_command_tag(as_bytes("SELECT 1\0"sv)), "SELECT 1");
  EXPECT_FALSE(decode_command_tag(as_bytes("SELECT 1"sv)));
  EXPECT_FALSE(decode_command_tag(as_bytes("SELECT\0 1\0"sv)));
  EXPECT_EQ(decode_ready_for_query(as_bytes("T")), TxStatus::InTransaction);
  for (const auto bad : {""sv, "X"sv, "II"sv, "\0"sv}) EXPECT_FALSE(decode_ready_for_query(as_bytes(bad)));
}

}  // namespace
}  // namespace sidepool::protocol
