// bench/scan_bench.cpp -- the SQL scanner on texts as applications send them: time a statement, bytes a
// second.
#include <benchmark/benchmark.h>

#include <string>

#include "protocol/sql_scan.h"

namespace {

using namespace sidepool::protocol;

const std::string point_text = "SELECT abalance FROM pgbench_accounts WHERE aid = $1;";
const std::string orm_text =
    "SELECT \"users\".\"id\", \"users\".\"email\", \"users\".\"first_name\", \"users\".\"last_name\", "
    "\"users\".\"created_at\" FROM \"users\" INNER JOIN \"memberships\" ON \"memberships\".\"user_id\" = "
    "\"users\".\"id\" WHERE \"memberships\".\"team_id\" = $1 AND \"users\".\"deleted_at\" IS NULL ORDER BY "
    "\"users\".\"last_name\" ASC, \"users\".\"id\" ASC LIMIT $2 /*application:shop,controller:users*/";
const std::string report_text = R"(
WITH monthly AS (
  SELECT date_trunc('month', o.created_at) AS month, c.region, sum(o.total_cents) / 100.0 AS revenue,
         count(DISTINCT o.customer_id) AS customers
    FROM orders o
    JOIN customers c ON c.id = o.customer_id
   WHERE o.status IN ('paid', 'shipped', 'delivered') -- not the cancelled ones
     AND o.created_at >= now() - interval '12 months'
   GROUP BY 1, 2
)
SELECT month, region, revenue, customers,
       revenue - lag(revenue) OVER (PARTITION BY region ORDER BY month) AS change,
       CASE WHEN customers > 1000 THEN 'large' WHEN customers > 100 THEN 'middle' ELSE 'small' END AS size
  FROM monthly
 ORDER BY region, month DESC NULLS LAST
)";
const std::string settings_text =
    "SET extra_float_digits = 3; SET application_name = 'PostgreSQL JDBC Driver'";
const std::string blob_text =
    "INSERT INTO blobs (id, data) VALUES (1, '" + std::string(64 * 1024, 'x') + "')";

void scan(benchmark::State& state, const std::string& text, EncodingClass encoding) {
  SqlScanner s(true, encoding);
  for (auto _ : state) {
    s.reset(true, encoding);
    s.feed(as_bytes(text));
    benchmark::DoNotOptimize(s.finish());
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * text.size()));
}

BENCHMARK_CAPTURE(scan, point_select, point_text, EncodingClass::AsciiSafe);
BENCHMARK_CAPTURE(scan, orm_select, orm_text, EncodingClass::AsciiSafe);
BENCHMARK_CAPTURE(scan, report, report_text, EncodingClass::AsciiSafe);
BENCHMARK_CAPTURE(scan, settings, settings_text, EncodingClass::AsciiSafe);
BENCHMARK_CAPTURE(scan, large_literal, blob_text, EncodingClass::AsciiSafe);
BENCHMARK_CAPTURE(scan, report_sjis, report_text, EncodingClass::Sjis);

}  // namespace

BENCHMARK_MAIN();
