// tests/e2e/clients/libpq/libpq_client.cpp -- libpq's own features as lines of text: the same directly and
// pooled.
//
//   libpq-client      where to: libpq's environment
#include <libpq-fe.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

namespace {

using Connection = std::unique_ptr<PGconn, decltype(&PQfinish)>;
using Result = std::unique_ptr<PGresult, decltype(&PQclear)>;

[[noreturn]] void fail(const std::string& what) {
  std::fprintf(stderr, "%s\n", what.c_str());
  std::exit(1);
}

Connection connect() {
  Connection c(PQconnectdb(""), PQfinish);
  if (PQstatus(c.get()) != CONNECTION_OK) fail(PQerrorMessage(c.get()));
  return c;
}

void must(const Connection& c, int done, const char* what) {
  if (done != 1) fail(std::string(what) + ": " + PQerrorMessage(c.get()));
}

Result next(const Connection& c) { return {PQgetResult(c.get()), PQclear}; }

// Status, SQLSTATE, tag and first value of a result, or "-" where libpq gives none.
std::string text_of(const PGresult* r) {
  if (r == nullptr) return "-";
  std::string text = PQresStatus(PQresultStatus(r));
  if (const char* state = PQresultErrorField(r, PG_DIAG_SQLSTATE)) text += std::string(" ") + state;
  if (const char* tag = PQcmdStatus(const_cast<PGresult*>(r)); *tag != 0) text += std::string(" ") + tag;
  if (PQntuples(r) > 0) text += std::string(" ") + PQgetvalue(r, 0, 0);
  return text;
}

void say(const char* what, const std::string& seen) { std::printf("%s: %s\n", what, seen.c_str()); }

std::string run(const Connection& c, const char* text) {
  return text_of(Result(PQexec(c.get(), text), PQclear).get());
}

void send(const Connection& c, const char* text, const char* value = nullptr) {
  const std::array<const char*, 1> values{value};
  must(c, PQsendQueryParams(c.get(), text, value ? 1 : 0, nullptr, values.data(), nullptr, nullptr, 0),
       "sending");
}

// All results of a pipeline up to the given number of synchronisation points.
void read_pipeline(const Connection& c, const char* what, int syncs) {
  int nothing = 0;
  while (syncs > 0) {
    const Result r = next(c);
    if (!r) {
      if (++nothing > 2) fail("the pipeline has ended too early");
      continue;
    }
    nothing = 0;
    say(what, text_of(r.get()));
    if (PQresultStatus(r.get()) == PGRES_PIPELINE_SYNC) --syncs;
    if (PQstatus(c.get()) != CONNECTION_OK) fail(PQerrorMessage(c.get()));
  }
}

void enter(const Connection& c) { must(c, PQenterPipelineMode(c.get()), "entering pipeline mode"); }
void leave(const Connection& c) { must(c, PQexitPipelineMode(c.get()), "leaving pipeline mode"); }
void sync(const Connection& c) { must(c, PQpipelineSync(c.get()), "synchronising"); }

// Several cycles in one write, an error in the middle of one of them: what follows it there is skipped, the
// next cycle runs.
void pipelines(const Connection& c) {
  for (int turn = 0; turn < 5; ++turn) {
    const auto mark = std::to_string(turn);
    enter(c);
    send(c, "select $1::int + 1", mark.c_str());
    send(c, "insert into libpq_item values ($1, 'kept')", mark.c_str());
    sync(c);
    send(c, "insert into libpq_item values ($1 + 100, 'undone by the error behind it')", mark.c_str());
    send(c, "select 1 / ($1::int - $1::int)", mark.c_str());
    send(c, "insert into libpq_item values ($1 + 200, 'skipped')", mark.c_str());
    must(c, PQsendPrepare(c.get(), "never", "select 1", 0, nullptr), "preparing");
    sync(c);
    must(c, PQsendPrepare(c.get(), "named", "select $1::text || ' named'", 0, nullptr), "preparing");
    const std::array<const char*, 1> values{mark.c_str()};
    for (int i = 0; i < 3; ++i)
      must(c, PQsendQueryPrepared(c.get(), "named", 1, values.data(), nullptr, nullptr, 0), "executing");
    must(c, PQsendDescribePrepared(c.get(), "named"), "describing");
    sync(c);
    must(c, PQsendQueryPrepared(c.get(), "never", 0, nullptr, nullptr, nullptr, 0), "executing");
    sync(c);
    read_pipeline(c, "pipeline", 4);
    leave(c);
    say("deallocate", run(c, "deallocate named"));
  }
  say("rows", run(c, "select string_agg(id::text, ',' order by id) from libpq_item"));
}

// A transaction block over several cycles, with an error: the block stays failed until its ROLLBACK.
void pipelined_block(const Connection& c) {
  enter(c);
  for (const char* text :
       {"begin", "insert into libpq_item values (900, 'undone')", "select 1 / 0", "select 2"}) {
    send(c, text);
    sync(c);
  }
  send(c, "rollback");
  send(c, "select count(*) from libpq_item where id = 900");
  sync(c);
  read_pipeline(c, "block", 5);
  leave(c);
}

// Flush requests: replies before the Sync.
void flushes(const Connection& c) {
  enter(c);
  for (int i = 0; i < 5; ++i) {
    send(c, "select $1::int", std::to_string(i).c_str());
    must(c, PQsendFlushRequest(c.get()), "asking for a flush");
    if (PQflush(c.get()) != 0) fail("flushing");
    say("flushed", text_of(next(c).get()));
    if (next(c)) fail("more than one result");
  }
  sync(c);
  read_pipeline(c, "flush", 1);
  leave(c);
}

// More than the socket buffers hold in one direction while the other is full too: nobody may wait for the
// other.
void long_pipeline(const Connection& c) {
  constexpr int kMany = 20000;
  const std::string value(400, 'x');
  enter(c);
  if (PQsetnonblocking(c.get(), 1) != 0) fail("non-blocking mode");
  int answered = 0;
  for (int sent = 0; sent < kMany; ++sent) {
    send(c, "select $1::text", value.c_str());
    if (PQflush(c.get()) < 0) fail(PQerrorMessage(c.get()));
    if (!PQconsumeInput(c.get())) fail(PQerrorMessage(c.get()));
  }
  sync(c);
  while (true) {  // PQgetResult() sends what is left
    const Result r = next(c);
    if (!r) continue;
    if (PQresultStatus(r.get()) == PGRES_PIPELINE_SYNC) break;
    if (PQresultStatus(r.get()) != PGRES_TUPLES_OK || PQgetlength(r.get(), 0, 0) != 400)
      fail(text_of(r.get()));
    ++answered;
  }
  if (PQsetnonblocking(c.get(), 0) != 0) fail("blocking mode");
  leave(c);
  say("long pipeline", std::to_string(answered));
}

void single_rows(const Connection& c) {
  must(c, PQsendQuery(c.get(), "select n, 100 / (90 - n) from generate_series(1, 200) n"), "sending");
  must(c, PQsetSingleRowMode(c.get()), "single-row mode");
  int rows = 0;
  for (Result r = next(c); r; r = next(c)) {
    if (PQresultStatus(r.get()) == PGRES_SINGLE_TUPLE) {
      ++rows;
    } else {
      say("single rows", std::to_string(rows) + " then " + text_of(r.get()));
    }
  }
  enter(c);
  send(c, "select generate_series(1, 5)");
  send(c, "select 'the other'");
  sync(c);
  must(c, PQsetSingleRowMode(c.get()), "single-row mode");
  read_pipeline(c, "single rows in a pipeline", 1);
  leave(c);
}

// PQcancel while the first of two pipelined cycles runs.
void cancels(const Connection& c) {
  for (int i = 0; i < 3; ++i) {
    enter(c);
    send(c, "select pg_sleep(0), 'before'");
    sync(c);
    send(c, "select pg_sleep(60)");
    send(c, "select 'skipped'");
    sync(c);
    send(c, "select 'after'");
    sync(c);
    if (PQflush(c.get()) != 0) fail("flushing");
    // The first answer tells that the pipeline is being worked on; a cancel that comes before the second
    // begins would be lost, as on a direct connection, so it is repeated until it has hit.
    const Connection watch = connect();
    const std::string ask =
        "select count(*) from pg_stat_activity where state = 'active' and query = 'select pg_sleep(60)'";
    while (run(watch, ask.c_str()) != "PGRES_TUPLES_OK SELECT 1 1") {
    }
    std::array<char, 256> error{};
    const std::unique_ptr<PGcancel, decltype(&PQfreeCancel)> cancel(PQgetCancel(c.get()), PQfreeCancel);
    if (!PQcancel(cancel.get(), error.data(), static_cast<int>(error.size()))) fail(error.data());
    read_pipeline(c, "cancel", 3);
    leave(c);
  }
}

void large_and_odd(const Connection& c) {
  const std::string large(3 << 20, 'y');
  const std::array<const char*, 1> values{large.c_str()};
  const Result r(PQexecParams(c.get(), "select length($1::text), $1::text", 1, nullptr, values.data(),
                              nullptr, nullptr, 0),
                 PQclear);
  say("large", text_of(r.get()) + " " + std::to_string(PQgetlength(r.get(), 0, 1)));
  say("empty", run(c, ""));
  say("comment", run(c, "-- nothing"));
  say("function call", text_of([&c] {
        int value = 0, length = 0;
        const std::array<PQArgBlock, 1> arguments{PQArgBlock{4, 1, {.integer = -7}}};
        return Result(PQfn(c.get(), 1397, &value, &length, 1, arguments.data(), 1), PQclear);  // int4abs
      }()
                                   .get()));
  const std::string long_name(200, 'n');
  say("long name",
      text_of(Result(PQprepare(c.get(), long_name.c_str(), "select 'long'", 0, nullptr), PQclear).get()));
  for (int i = 0; i < 3; ++i) {
    const Result again(PQexecPrepared(c.get(), long_name.c_str(), 0, nullptr, nullptr, nullptr, 0), PQclear);
    say("long name", text_of(again.get()));
  }
  say("unknown",
      text_of(Result(PQexecPrepared(c.get(), "unknown", 0, nullptr, nullptr, nullptr, 0), PQclear).get()));
  say("twice", text_of(Result(PQprepare(c.get(), "twice", "select 1", 0, nullptr), PQclear).get()));
  say("twice", text_of(Result(PQprepare(c.get(), "twice", "select 2", 0, nullptr), PQclear).get()));
}

}  // namespace

int main() {
  const Connection c = connect();
  say("table", run(c, "drop table if exists libpq_item"));
  say("table", run(c, "create table libpq_item (id int primary key, name text)"));
  pipelines(c);
  pipelined_block(c);
  flushes(c);
  long_pipeline(c);
  single_rows(c);
  cancels(c);
  large_and_odd(c);
  say("done", run(c, "select 'true'"));
  return 0;
}
