// bench/load/client.cpp -- see client.h
#include "bench/load/client.h"

#include <algorithm>
#include <array>
#include <string>

namespace sidepool::bench {

namespace {

constexpr const char* kSelect = "SELECT abalance FROM pgbench_accounts WHERE aid = $1";
constexpr const char* kStatement = "account";
constexpr std::uint64_t kRow = 10'000;  // bytes of a row of a large result

struct Clear {
  void operator()(PGresult* result) const noexcept { PQclear(result); }
};
using Result = std::unique_ptr<PGresult, Clear>;

std::string rows_of(std::uint64_t bytes) {
  return "SELECT repeat('x', " + std::to_string(kRow) + ") FROM generate_series(1, " +
         std::to_string(std::max<std::uint64_t>(1, bytes / kRow)) + ")";
}

}  // namespace

void Client::fail(const char* what) const {
  throw Failure(std::string(what) + ": " + PQerrorMessage(connection_.get()));
}

Client::Client(const Options& options, const std::string& database)
    : options_(options), connection_(PQconnectdb(database.c_str())) {
  PGconn* const c = connection_.get();
  expect(PQstatus(c) == CONNECTION_OK, "connect");
  if (options.workload == Workload::Select && options.mode >= Mode::Prepared) {
    const Result prepared(PQprepare(c, kStatement, kSelect, 1, nullptr));
    expect(PQresultStatus(prepared.get()) == PGRES_COMMAND_OK, "prepare");
  }
  if (options.workload == Workload::Select && options.mode == Mode::Pipeline)
    expect(PQenterPipelineMode(c) == 1, "pipeline");
  expect(PQsetnonblocking(c, 1) == 0, "set non-blocking");
}

void Client::start(std::int64_t row) {
  PGconn* const c = connection_.get();
  switch (options_.workload) {
    case Workload::Select:
      start_select(row);
      break;
    case Workload::Result:
      expect(PQsendQuery(c, rows_of(options_.bytes).c_str()) == 1 && PQsetSingleRowMode(c) == 1, "send");
      break;
    case Workload::CopyOut:
      expect(PQsendQuery(c, ("COPY (" + rows_of(options_.bytes) + ") TO STDOUT").c_str()) == 1, "send");
      break;
    case Workload::CopyIn:
      copied_ = 0;
      expect(PQsendQuery(c, "COPY bench_copied FROM STDIN") == 1, "send");
      break;
  }
  flush();
}

void Client::start_select(std::int64_t row) {
  PGconn* const c = connection_.get();
  const std::string value = std::to_string(row);
  const std::array<const char*, 1> values{value.c_str()};
  switch (options_.mode) {
    case Mode::Simple:
      expect(PQsendQuery(c, ("SELECT abalance FROM pgbench_accounts WHERE aid = " + value).c_str()) == 1,
             "send");
      break;
    case Mode::Extended:
      expect(PQsendQueryParams(c, kSelect, 1, nullptr, values.data(), nullptr, nullptr, 0) == 1, "send");
      break;
    case Mode::Prepared:
      expect(PQsendQueryPrepared(c, kStatement, 1, values.data(), nullptr, nullptr, 0) == 1, "send");
      break;
    case Mode::Pipeline:
      for (unsigned i = 0; i < options_.batch; ++i)
        expect(PQsendQueryPrepared(c, kStatement, 1, values.data(), nullptr, nullptr, 0) == 1, "send");
      expect(PQpipelineSync(c) == 1, "sync");
      break;
  }
}

bool Client::advance() {
  expect(PQconsumeInput(connection_.get()) == 1, "receive");
  if (wants_write_) flush();
  if (copying_in_) give_copy_in();
  return !copying_in_ && take_results();
}

bool Client::advance_slowly() {
  expect(PQconsumeInput(connection_.get()) == 1, "receive");
  return take_results();
}

bool Client::take_results() {
  PGconn* const c = connection_.get();
  if (copying_out_ && !take_copy_out()) return false;
  while (PQisBusy(c) == 0) {
    const Result result(PQgetResult(c));
    if (!result) {
      // Between the statements of a pipeline there is a null, too; it ends with its Sync.
      if (PQpipelineStatus(c) == PQ_PIPELINE_OFF) return true;
      continue;
    }
    switch (PQresultStatus(result.get())) {
      case PGRES_SINGLE_TUPLE:
        bytes_ += static_cast<std::uint64_t>(PQgetlength(result.get(), 0, 0));
        break;
      case PGRES_TUPLES_OK:
      case PGRES_COMMAND_OK:
        break;
      case PGRES_COPY_OUT:
        copying_out_ = true;
        if (!take_copy_out()) return false;
        break;
      case PGRES_COPY_IN:
        copying_in_ = true;
        give_copy_in();
        return false;
      case PGRES_PIPELINE_SYNC:
        return true;
      default:
        fail("answer");
    }
  }
  return false;
}

// Whether all of the COPY has come.
bool Client::take_copy_out() {
  for (;;) {
    char* line = nullptr;
    const int n = PQgetCopyData(connection_.get(), &line, 1);
    if (n == 0) return false;
    if (n == -1) break;
    expect(n > 0, "copy out");
    bytes_ += static_cast<std::uint64_t>(n);
    PQfreemem(line);
  }
  copying_out_ = false;
  return true;
}

// As much as libpq takes without waiting.
void Client::give_copy_in() {
  static const std::string line = std::string(kRow - 1, 'x') + "\n";
  PGconn* const c = connection_.get();
  while (!wants_write_ && copied_ < options_.bytes) {
    expect(PQputCopyData(c, line.data(), static_cast<int>(line.size())) == 1, "copy in");
    copied_ += line.size();
    bytes_ += line.size();
    flush();
  }
  if (copied_ < options_.bytes) return;
  const int ended = PQputCopyEnd(c, nullptr);
  expect(ended >= 0, "end of copy in");
  copying_in_ = ended == 0;
  flush();
}

void Client::flush() {
  const int left = PQflush(connection_.get());
  expect(left >= 0, "send");
  wants_write_ = left > 0;
}

}  // namespace sidepool::bench
