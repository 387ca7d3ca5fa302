// tests/sim/session_world_script.cpp -- what the clients of the simulation send.
#include "tests/sim/session_world.h"

namespace sidepool::test {

void SessionWorld::say(Client& c, const Buffer& b, const std::string& story) {
  c.script.insert(c.script.end(), b.begin(), b.end());
  c.story += " " + story;
}

std::string SessionWorld::name() { return "s" + std::to_string(pick(3)); }

std::string SessionWorld::text(Client& c) {
  std::string t = "SELECT m" + std::to_string(c.number) + "x" + std::to_string(pick(3));
  if (pick(3) == 0) t = "SELECT shared" + std::to_string(pick(2));
  if (pick(12) == 0) t += " error";
  if (pick(16) == 0) t += " syntax";
  if (pick(20) == 0) t += std::string(600, ' ') + "long";
  return t;
}

// Behind a change of settings nothing is prepared before it is answered: under which settings the server
// reads a Parse is not known then, and the pool says so by parsing it again under others.
void SessionWorld::generate(Client& c) {
  if (c.touchy) {
    if (quiet(c) && c.oracle->status() == 'I' && c.oracle->idle()) {
      c.touchy = false;
    } else if (quiet(c)) {
      Buffer b;
      protocol::query(b, "ROLLBACK");
      return say(c, b, "Q(ROLLBACK)");
    } else {
      return;
    }
  }
  if (pick(3) != 0 && !quiet(c)) return;
  switch (pick(5)) {
    case 0:
    case 1:
      return simple(c);
    case 2:
      return copy(c);
    default:
      return cycle(c);
  }
}

void SessionWorld::simple(Client& c) {
  static const char* const kTexts[] = {
      "BEGIN", "COMMIT",        "ROLLBACK",      "SAVEPOINT p",        "ROLLBACK TO p",
      "",      "DEALLOCATE s0", "DEALLOCATE s1", "SELECT a; SELECT b", "SELECT a; SELECT error"};
  static const char* const kSettings[] = {"SET TimeZone = 'Zone1'",
                                          "SET TimeZone = 'Zone2'",
                                          "SET TimeZone = 'UTC'",
                                          "RESET TimeZone",
                                          "RESET ALL",
                                          "SET LOCAL lock_timeout = '5'",
                                          "SET TimeZone = 'Zone0'"};
  static const char* const kPins[] = {"CREATE TEMP TABLE t", "LISTEN l",    "SET search_path = 'p'",
                                      "DISCARD ALL",         "DISCARD ALL", "DEALLOCATE ALL"};
  static const char* const kNames[] = {"EXECUTE s0", "EXECUTE s1", "PREPARE s1 AS SELECT p",
                                       "SELECT pg_prepared_statements", "SELECT x; DEALLOCATE s0"};
  std::string t = text(c);
  const int kind = pick(10);
  if (kind == 6 && pick(3) == 0 && options_.pinning == pool::Pinning::Auto) t = kNames[pick(5)];
  if (kind < 4) t = kTexts[pick(10)];
  if (kind == 4) t = kSettings[pick(7)];
  if (kind == 5 && pick(3) == 0) t = kPins[pick(6)];
  if (t.starts_with("SET") || t.starts_with("RESET") || t.starts_with("DISCARD")) c.touchy = true;
  // What a transaction loses is told when nothing is outstanding.
  if (options_.pinning == pool::Pinning::Off && (t.starts_with("CREATE") || t.starts_with("LISTEN"))) {
    c.touchy = true;
  }
  Buffer b;
  protocol::query(b, t);
  say(c, b, "Q(" + t + ")");
}

void SessionWorld::cycle(Client& c) {
  const bool unnamed_only = pick(6) == 0;
  if (unnamed_only) {
    Buffer b;
    const auto t = text(c);
    protocol::parse(b, "", t, {});
    protocol::sync(b);
    say(c, b, "P(:" + t + ") S");
    const std::string_view value[] = {"u"};
    b.clear();
    protocol::bind_text(b, "", "", value);
    protocol::execute(b, "", 0);
    protocol::sync(b);
    return say(c, b, "B() E() S");
  }
  for (int n = 1 + pick(4); n > 0; --n) extended(c, pick(8));
  Buffer b;
  protocol::sync(b);
  say(c, b, "S");
}

void SessionWorld::extended(Client& c, int kind) {
  Buffer b;
  const auto s = name();
  const std::string mark = "m" + std::to_string(c.number) + "x";
  const std::string_view value[] = {mark};
  switch (kind) {
    case 0: {
      const auto t = text(c);
      protocol::parse(b, s, t, {});
      return say(c, b, "P(" + s + ":" + t + ")");
    }
    case 1: {
      const auto t = pick(8) == 0 ? std::string("DEALLOCATE " + s) : pick(6) == 0 ? "COMMIT" : text(c);
      protocol::parse(b, "", t, {});
      protocol::bind_text(b, "", "", value);
      protocol::describe(b, 'P', "");
      protocol::execute(b, "", 0);
      return say(c, b, "P(:" + t + ") B() DP() E()");
    }
    case 2:
      protocol::describe(b, 'S', s);
      return say(c, b, "DS(" + s + ")");
    case 3:
      protocol::close(b, 'S', s);
      return say(c, b, "C(" + s + ")");
    case 4:
      protocol::flush(b);
      return say(c, b, "H");
    default:
      protocol::bind_text(b, "", s, value);
      protocol::execute(b, "", 0);
      return say(c, b, "B(" + s + ") E()");
  }
}

void SessionWorld::copy(Client& c) {
  if (pick(4) != 0 || !quiet(c)) return;
  const bool extended = pick(2) == 0, fails = pick(3) == 0;
  Buffer b;
  if (extended) {
    protocol::parse(b, "", "COPY t FROM STDIN", {});
    protocol::bind_text(b, "", "", {});
    protocol::execute(b, "", 0);
    protocol::sync(b);
  } else {
    protocol::query(b, "COPY t FROM STDIN");
  }
  say(c, b, extended ? "P B E(COPY) S" : "Q(COPY)");
  // The data follows only if the server asks for it: a driver waits for that.
  const bool asked = c.oracle->status() != 'E';
  if (!asked) return;
  b.clear();
  for (int n = pick(3); n > 0; --n) b.insert(b.end(), {'d', 0, 0, 0, 6, 'a', '\n'});
  if (fails) {
    protocol::copy_fail(b, "no");
  } else {
    b.insert(b.end(), {'c', 0, 0, 0, 4});
  }
  if (extended) protocol::sync(b);
  say(c, b, fails ? "d f" : "d c");
}

}  // namespace sidepool::test
