// tests/e2e/differential/script.cpp -- random scripts: mostly what drivers say, sometimes what none would.
#include "tests/e2e/differential/script.h"

#include <functional>

#include "protocol/encode.h"
#include "tests/e2e/differential/script_texts.h"

namespace sidepool::differential {

using protocol::Buffer;

std::string printable(std::string_view bytes) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string out;
  for (const char c : bytes.substr(0, 300)) {
    const auto u = static_cast<unsigned char>(c);
    if (u >= 32 && u < 127) {
      out += c;
    } else {
      out += "\\x";
      out += kHex[u >> 4];
      out += kHex[u & 15];
    }
  }
  if (bytes.size() > 300) out += "… (" + std::to_string(bytes.size()) + " bytes)";
  return out;
}

namespace {

class Writer {
 public:
  explicit Writer(std::uint64_t seed) : random_(seed), seed_(seed) {}

  Script script() {
    Script s;
    startup(s);
    const auto exchanges = 2 + below(6);
    for (std::size_t i = 0; i < exchanges; ++i) s.exchanges.push_back(exchange());
    return s;
  }

 private:
  std::size_t below(std::size_t n) { return std::uniform_int_distribution<std::size_t>(0, n - 1)(random_); }
  bool chance(int percent) { return static_cast<int>(below(100)) < percent; }
  template <class A>
  auto pick(const A& a) {
    return a[below(a.size())];
  }
  std::string pick_of(std::initializer_list<std::string_view> choices) {
    return std::string(choices.begin()[below(choices.size())]);
  }

  void startup(Script& s) {
    auto& p = s.startup;
    if (chance(30)) p.emplace_back("application_name", pick_of({"script", "with 'quote'", "ünï"}));
    if (chance(20)) p.emplace_back("TimeZone", pick_of({"Asia/Tokyo", "America/Lima", "UTC"}));
    if (chance(10)) p.emplace_back("DateStyle", pick_of({"ISO", "SQL, DMY", "Postgres"}));
    if (chance(15)) p.emplace_back("client_encoding", pick_of({"UTF8", "utf-8", "LATIN1", "SQL_ASCII"}));
    if (chance(10)) p.emplace_back("extra_float_digits", pick_of({"0", "2", "3"}));
    if (chance(8)) p.emplace_back("search_path", pick_of({"other", "public, other"}));
    if (chance(12)) {
      p.emplace_back("options",
                     pick_of({"-c work_mem=1MB", "-c timezone=Asia/Seoul",
                              "-c search_path=other -c work_mem=2MB", "--datestyle=ISO", "-c app.xopt=1",
                              "-c statement_timeout=60000", "-c default_transaction_read_only=on"}));
    }
    if (!chance(10)) return;
    switch (below(6)) {
      case 0:
        return p.emplace_back("TimeZone", "Not/There"), void();
      case 1:
        return p.emplace_back("no_such_parameter", "1"), void();
      case 2:
        return p.emplace_back("options", "-c work_mem=lots"), void();
      case 3:
        return p.emplace_back("client_encoding", "EBCDIC"), void();
      case 4:
        return p.emplace_back("options", "-c shared_buffers=1MB"), void();
      case 5:
      default:
        return p.emplace_back("database", "no_such_database"), void();
    }
  }

  Exchange exchange() {
    Exchange e;
    const auto cycles = 1 + below(chance(30) ? 6 : 2);
    for (std::size_t i = 0; i < cycles; ++i) cycle(e.ops);
    const auto cuts = below(4);
    for (std::size_t i = 0; i < cuts; ++i) e.cuts.push_back(static_cast<std::uint32_t>(random_()));
    return e;
  }

  void cycle(std::vector<Op>& ops) {
    const auto kind = below(100);
    if (kind < 32) return ops.push_back(query(text()));
    if (kind < 62) return extended(ops);
    if (kind < 80) return reuse(ops);
    if (kind < 86) return chaos(ops);
    if (kind < 91) return copy_simple(ops);
    if (kind < 94) return copy_extended(ops);
    if (kind < 96) return ops.push_back(function_call());
    if (kind < 98) return ops.push_back(stray());
    if (kind < 99 || !chance(50)) return ops.push_back(malformed());
    ops.push_back(last());
  }

  std::string text() {
    const auto kind = below(100);
    std::string s;
    if (kind < 40) {
      s = pick(kPlain);
    } else if (kind < 60) {
      s = pick(kTransaction);
    } else if (kind < 76) {
      s = pick(kSettings);
    } else if (kind < 88) {
      s = pick(kSession);
    } else if (kind < 96) {
      s = pick(kMulti);
    } else {
      s = pick(kCopyOut);
    }
    return own(s);
  }
  // Sometimes long, so that it comes in pieces.
  std::string own(std::string s) {
    for (auto at = s.find("SEED"); at != std::string::npos; at = s.find("SEED", at)) {
      s.replace(at, 4, std::to_string(seed_));
    }
    if (chance(4)) s = "/* " + std::string(below(2) ? 700 : 90'000, '.') + " */ " + s;
    return s;
  }
  // For Parse.
  std::string single_text() {
    const auto kind = below(100);
    return own(std::string(kind < 50   ? pick(kPlain)
                           : kind < 66 ? pick(kTransaction)
                           : kind < 80 ? pick(kSettings)
                           : kind < 92 ? pick(kSession)
                           : kind < 96 ? pick(kMulti)
                                       : pick(kCopyOut)));
  }
  std::string statement_name() {
    const auto k = below(100);
    if (k < 35) return "";
    if (k < 97) return pick_of({"s1", "s2", "s3"});
    return std::string(63, 'n') + pick_of({"", "one", "two"});
  }
  std::string portal_name() { return chance(70) ? "" : pick_of({"p1", "p2"}); }

  template <class Encode>
  static Op make(std::string text, Encode&& encode) {
    Op op;
    encode(op.bytes);
    op.text = std::move(text);
    return op;
  }
  static bool reads_copy(std::string_view text) {
    return text.find("from stdin") != std::string_view::npos ||
           text.find("FROM STDIN") != std::string_view::npos;
  }
  Op query(const std::string& text) {
    auto op = make("Query " + printable(text), [&](Buffer& b) { protocol::query(b, text); });
    op.copy_in = reads_copy(text);
    return op;
  }
  Op parse(const std::string& name, const std::string& text) {
    std::vector<std::uint32_t> types;
    if (chance(15)) types.push_back(chance(50) ? 25 : chance(50) ? 23 : 999'999);
    auto op = make("Parse [" + name + "] " + printable(text) + (types.empty() ? "" : " (types)"),
                   [&](Buffer& b) { protocol::parse(b, name, text, types); });
    op.copy_in = reads_copy(text);
    return op;
  }
  Op bind(const std::string& portal, const std::string& name, std::size_t count) {
    std::vector<std::string> values;
    for (std::size_t i = 0; i < count; ++i) {
      values.emplace_back(chance(2) ? std::string(150'000, 'v') : std::string(pick(kValues)));
    }
    std::vector<std::string_view> views(values.begin(), values.end());
    if (!views.empty() && chance(8)) views.front() = std::string_view{};
    std::string shown = "Bind [" + portal + "] <- [" + name + "]";
    for (const auto v : views) shown += " '" + printable(v.substr(0, 20)) + "'";
    return make(shown, [&](Buffer& b) { protocol::bind_text(b, portal, name, views); });
  }
  Op describe(char kind, const std::string& name) {
    return make(std::string("Describe ") + kind + " [" + name + "]",
                [&](Buffer& b) { protocol::describe(b, kind, name); });
  }
  Op execute(const std::string& portal, std::uint32_t rows) {
    return make("Execute [" + portal + "] " + std::to_string(rows),
                [&](Buffer& b) { protocol::execute(b, portal, rows); });
  }
  Op close(char kind, const std::string& name) {
    return make(std::string("Close ") + kind + " [" + name + "]",
                [&](Buffer& b) { protocol::close(b, kind, name); });
  }
  Op sync() {
    return make("Sync", [](Buffer& b) { protocol::sync(b); });
  }
  Op flush() {
    return make("Flush", [](Buffer& b) { protocol::flush(b); });
  }
  std::uint32_t limit() { return chance(60) ? 0 : static_cast<std::uint32_t>(1 + below(4)); }

  void end_cycle(std::vector<Op>& ops) {
    if (chance(12)) ops.push_back(flush());
    if (chance(92)) ops.push_back(sync());
    if (chance(3)) ops.push_back(sync());
  }

  void extended(std::vector<Op>& ops) {
    const auto parts = 1 + below(chance(20) ? 3 : 1);
    for (std::size_t i = 0; i < parts; ++i) {
      const auto name = statement_name(), portal = portal_name();
      std::size_t count = 0;
      if (chance(35)) {
        const auto p = pick(kParameters);
        count = static_cast<std::size_t>(p.count);
        ops.push_back(parse(name, own(std::string(p.text))));
        if (chance(5)) count = below(4);
      } else {
        ops.push_back(parse(name, single_text()));
      }
      if (chance(25)) ops.push_back(describe('S', name));
      if (chance(6)) ops.push_back(sync());
      if (chance(88)) run(ops, portal, name, count);
      if (chance(10)) ops.push_back(close('S', name));
    }
    end_cycle(ops);
  }
  void run(std::vector<Op>& ops, const std::string& portal, const std::string& name, std::size_t count) {
    ops.push_back(bind(portal, name, count));
    if (chance(40)) ops.push_back(describe('P', portal));
    if (chance(95)) ops.push_back(execute(portal, limit()));
    if (chance(20)) ops.push_back(execute(portal, limit()));
    if (chance(10)) ops.push_back(close('P', portal));
  }
  // A name of earlier, which may exist or not.
  void reuse(std::vector<Op>& ops) {
    const auto parts = 1 + below(3);
    for (std::size_t i = 0; i < parts; ++i) {
      const auto name = statement_name(), portal = portal_name();
      switch (below(8)) {
        case 0:
          ops.push_back(describe('S', name));
          break;
        case 1:
          ops.push_back(close('S', name));
          break;
        case 2:
          ops.push_back(execute(portal, limit()));
          break;
        case 3:
          ops.push_back(describe('P', portal));
          break;
        default:
          run(ops, portal, name, chance(80) ? 0 : below(3));
          break;
      }
    }
    end_cycle(ops);
  }
  void chaos(std::vector<Op>& ops) {
    const auto parts = 1 + below(8);
    for (std::size_t i = 0; i < parts; ++i) {
      switch (below(10)) {
        case 0:
          ops.push_back(parse(statement_name(), single_text()));
          break;
        case 1:
          ops.push_back(bind(portal_name(), statement_name(), below(3)));
          break;
        case 2:
          ops.push_back(describe(chance(50) ? 'S' : 'P', statement_name()));
          break;
        case 3:
          ops.push_back(execute(portal_name(), limit()));
          break;
        case 4:
          ops.push_back(close(chance(50) ? 'S' : 'P', statement_name()));
          break;
        case 5:
          ops.push_back(flush());
          break;
        case 6:
          ops.push_back(query(text()));
          break;
        case 7:
          ops.push_back(function_call());
          break;
        default:
          ops.push_back(sync());
          break;
      }
    }
  }

  Op copy_data(const std::string& data) {
    return make("CopyData " + printable(data), [&](Buffer& b) {
      b.push_back('d');
      b.resize(b.size() + 4);
      protocol::store_be32(b.data() + b.size() - 4, static_cast<std::uint32_t>(data.size() + 4));
      b.insert(b.end(), data.begin(), data.end());
    });
  }
  Op copy_done() { return raw('c', ""); }
  Op copy_fail() {
    return make("CopyFail", [](Buffer& b) { protocol::copy_fail(b, "changed my mind"); });
  }
  void copy_rows(std::vector<Op>& ops) {
    const auto rows = below(4);
    for (std::size_t i = 0; i < rows; ++i) {
      ops.push_back(copy_data(pick_of({"201\tcopied\n", "202,csv\n", "not a number\tx\n", "203\n",
                                       "204\ta\tb\n", "205\thalf", " line\n", "\\.\n", "1\n"})));
    }
    if (chance(3)) ops.push_back(copy_data(std::string(100'000, '7') + "\tlong\n"));
  }
  void copy_end(std::vector<Op>& ops) {
    const auto k = below(100);
    if (k < 70) ops.push_back(copy_done());
    if (k >= 70 && k < 90) ops.push_back(copy_fail());
  }
  void copy_simple(std::vector<Op>& ops) {
    ops.push_back(query(std::string(pick(kCopyIn))));
    copy_rows(ops);
    if (chance(8)) ops.push_back(sync());
    if (chance(8)) ops.push_back(flush());
    copy_end(ops);
  }
  void copy_extended(std::vector<Op>& ops) {
    const auto name = statement_name();
    ops.push_back(parse(name, std::string(pick(kCopyIn))));
    ops.push_back(bind("", name, 0));
    ops.push_back(execute("", 0));
    if (chance(30)) ops.push_back(chance(50) ? flush() : sync());
    copy_rows(ops);
    copy_end(ops);
    ops.push_back(sync());
  }

  Op raw(char type, std::string_view body) {
    return make(std::string("raw '") + type + "' " + printable(body), [&](Buffer& b) {
      b.push_back(static_cast<std::uint8_t>(type));
      b.resize(b.size() + 4);
      protocol::store_be32(b.data() + b.size() - 4, static_cast<std::uint32_t>(body.size() + 4));
      b.insert(b.end(), body.begin(), body.end());
    });
  }
  // int4pl(2, 3), a division by zero, a function that is not there, a wrong number of arguments.
  Op function_call() {
    static constexpr auto kFunctions = std::to_array<std::uint32_t>({177, 154, 999'999, 177});
    const auto which = below(4);
    Buffer body(4);
    protocol::store_be32(body.data(), kFunctions[which]);
    const auto be16 = [&](std::uint16_t v) {
      body.push_back(static_cast<std::uint8_t>(v >> 8)), body.push_back(static_cast<std::uint8_t>(v));
    };
    be16(0);
    const std::uint16_t count = which == 3 ? 1 : 2;
    be16(count);
    for (int i = 0; i < count; ++i) {
      body.insert(body.end(), {0, 0, 0, 1, static_cast<std::uint8_t>(which == 1 && i == 1 ? '0' : '2' + i)});
    }
    be16(0);
    auto op = raw('F', protocol::as_text(body));
    op.text = "FunctionCall " + std::to_string(kFunctions[which]) + " of " + std::to_string(count);
    return op;
  }
  Op stray() {
    switch (below(5)) {
      case 0:
        return copy_data("late\n");
      case 1:
        return copy_done();
      case 2:
        return copy_fail();
      case 3:
        return flush();
      default:
        return sync();
    }
  }
  Op malformed() {
    using namespace std::string_view_literals;
    switch (below(13)) {
      case 0:
        return raw('Q', "no terminator"sv);
      case 1:
        return raw('Q', "select 1\0more"sv);
      case 2:
        return raw('P', "s1\0select 1\0\0"sv);
      case 3:
        return raw('P', "s1"sv);
      case 4:
        return raw('B', "\0s1\0\0\0\0\1"sv);
      case 5:
        return raw('B', "p1"sv);
      case 6:
        return raw('D', "Xs1\0"sv);
      case 7:
        return raw('D', ""sv);
      case 8:
        return raw('E', "\0\0"sv);
      case 9:
        return raw('C', "Zs1\0"sv);
      case 10:
        return raw('S', "extra"sv);
      case 11:
        return raw('F', "\0\0"sv);
      default:
        return raw('C', "Ss1"sv);
    }
  }
  // PostgreSQL ends the connection over these.
  Op last() {
    Op op;
    switch (below(4)) {
      case 0:
        op = raw('?', "what");
        break;
      case 1:
        op = raw('p', std::string_view("secret\0", 7));
        break;
      case 2:
        op = make("Query with length 2", [](Buffer& b) { b.insert(b.end(), {'Q', 0, 0, 0, 2}); });
        break;
      default:
        op = make("Terminate", [](Buffer& b) { protocol::terminate(b); });
        op.leaves = true;
        break;
    }
    op.ends = true;
    return op;
  }

  std::mt19937_64 random_;
  std::uint64_t seed_;
};

}  // namespace

Script make_script(std::uint64_t seed) { return Writer(seed).script(); }

}  // namespace sidepool::differential
