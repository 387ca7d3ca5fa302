// tests/unit/metrics/page_test.cpp -- the page's names, labels and values.
#include "src/metrics/page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>

#include "src/metrics/families.h"
#include "tests/unit/metrics/example.h"

namespace sidepool::metrics {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(Page, PoolSeriesAreSumsOverWorkers) {
  const Example example;
  const std::string text = page(example.registry);
  const std::string labels = R"(upstream="p:r:i",database="shop",user="app")";
  for (const std::string& line : {
           "sidepool_clients{" + labels + ",state=\"idle\"} 4\n",
           "sidepool_clients{" + labels + ",state=\"waiting\"} 2\n",
           "sidepool_servers{" + labels + ",state=\"pinned\"} 3\n",
           "sidepool_servers{" + labels + ",state=\"closing\"} 5\n",
           "sidepool_servers_limit{" + labels + "} 10\n",
           "sidepool_queries_total{" + labels + "} 42\n",
           "sidepool_server_sent_bytes_total{" + labels + "} 42\n",
           "sidepool_pins_total{" + labels + ",reason=\"temp_table\"} 2\n",
           "sidepool_errors_total{" + labels + ",kind=\"query_wait_timeout\"} 2\n",
           "sidepool_server_login_failures_total{" + labels + ",reason=\"refused\"} 2\n",
           "sidepool_wait_seconds_count{" + labels + "} 2\n",
       }) {
    EXPECT_THAT(text, HasSubstr(line));
  }
}

TEST(Page, HistogramsAreCumulativeInSecondsAndEndWithInf) {
  const Example example;
  const std::string text = page(example.registry);
  const std::string labels = R"({upstream="p:r:i",database="shop",user="app",le=)";
  EXPECT_THAT(text, HasSubstr("sidepool_wait_seconds_bucket" + labels + "\"6.4e-05\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("sidepool_wait_seconds_bucket" + labels + "\"0.000128\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("sidepool_wait_seconds_bucket" + labels + "\"33.554432\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("sidepool_query_seconds_bucket" + labels + "\"33.554432\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("sidepool_query_seconds_bucket" + labels + "\"+Inf\"} 2\n"));
}

TEST(Page, InstanceSeries) {
  const Example example;
  const std::string text = page(example.registry);
  for (const char* line : {
           "sidepool_dial_seconds_count{upstream=\"p:r:i\",phase=\"tls\"} 1\n",
           "sidepool_dial_failures_total{upstream=\"p:r:i\",phase=\"api\"} 1\n",
           "sidepool_login_failures_total{upstream=\"p:r:i\",reason=\"28p01\"} 1\n",
           "sidepool_certificate_refreshes_total{upstream=\"p:r:i\"} 1\n",
           "sidepool_certificate_refresh_failures_total{upstream=\"p:r:i\",reason=\"forbidden\"} 1\n",
           "sidepool_certificate_expiry_timestamp_seconds{upstream=\"p:r:i\"} 1700003600\n",
           "sidepool_server_connections{upstream=\"p:r:i\"} 1\n",
       }) {
    EXPECT_THAT(text, HasSubstr(line));
  }
  EXPECT_THAT(text, Not(HasSubstr("sidepool_certificate_refreshes_total{upstream=\"10.0.0.5:5432\"}")));
}

TEST(Page, ProcessSeries) {
  const Example example;
  const std::string text = page(example.registry);
  for (const char* line : {
           "sidepool_build_info{version=\"1.2.3\"} 1\n",
           "sidepool_ready 1\n",
           "sidepool_clients_connected 7\n",
           "sidepool_clients_limit 100\n",
           "sidepool_clients_refused_total{limit=\"max_client_conn\"} 1\n",
           "sidepool_log_lines_dropped_total 3\n",
           "sidepool_config_last_reload_successful 0\n",
           "sidepool_config_last_reload_success_timestamp_seconds 1700000000\n",
           "process_resident_memory_bytes ",
           "process_cpu_seconds_total ",
           "process_start_time_seconds ",
       }) {
    EXPECT_THAT(text, HasSubstr(line));
  }
}

// Names, labels and buckets of the Cloud SQL connector 1.22, internal/trace/metrics.go.
TEST(Page, ConnectorNames) {
  const Example example;
  const std::string text = page(example.registry);
  const std::string id = "cloudsql_dialer_id=\"00000000-0000-4000-8000-000000000001\"";
  const std::string labels = id + ",cloudsql_instance=\"p:r:i\"";
  for (const std::string& line : {
           std::string("# HELP cloudsqlconn_dial_latency The distribution of dialer latencies (ms)\n"
                       "# TYPE cloudsqlconn_dial_latency histogram\n"),
           "cloudsqlconn_dial_latency_bucket{" + labels + ",le=\"25\"} 0\n",
           "cloudsqlconn_dial_latency_bucket{" + labels + ",le=\"100\"} 1\n",
           "cloudsqlconn_dial_latency_bucket{" + labels + ",le=\"30000\"} 1\n",
           "cloudsqlconn_dial_latency_bucket{" + labels + ",le=\"+Inf\"} 2\n",
           "cloudsqlconn_open_connections{" + labels + "} 1\n",
           "cloudsqlconn_dial_failure_count{" + labels + "} 1\n",
           "cloudsqlconn_refresh_success_count{" + labels + "} 1\n",
           "cloudsqlconn_refresh_failure_count{" + labels + "} 1\n",
           "cloudsqlconn_refresh_failure_count{" + id +
               ",cloudsql_error_code=\"notAuthorized\",cloudsql_instance=\"p:r:i\"} 1\n",
           "cloudsqlconn_bytes_sent{" + labels + "} 42\n",
           "cloudsqlconn_bytes_received{" + labels + "} 42\n",
       }) {
    EXPECT_THAT(text, HasSubstr(line));
  }
  EXPECT_THAT(text, Not(HasSubstr("cloudsql_instance=\"10.0.0.5:5432\"")));
}

TEST(Page, TheNamespaceIsBeforeEveryName) {
  Registry registry(1, {"1", "id", "team"});
  registry.add_upstream("p:r:i", true).dial_failed();
  const std::string text = page(registry);
  EXPECT_THAT(text, HasSubstr("\nteam_cloudsqlconn_dial_failure_count{"));
  EXPECT_THAT(text, HasSubstr("\nteam_sidepool_build_info{"));
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);)
    EXPECT_THAT(line, testing::ContainsRegex("^(# (HELP|TYPE) )?team_")) << line;
}

TEST(Page, TotalsOfAnInstanceOutliveItsPools) {
  Example example;
  example.registry.remove_pool(example.pool);
  const std::string text = page(example.registry);
  EXPECT_THAT(text, HasSubstr("cloudsql_instance=\"p:r:i\"} 42\n"));
  EXPECT_THAT(text, Not(HasSubstr("user=\"app\"")));
}

TEST(Page, NothingBeforeItsFirstRecord) {
  Registry registry(1, {"1", "id", ""});
  registry.add_upstream("p:r:i", true);
  const std::string text = page(registry);
  EXPECT_THAT(text, Not(HasSubstr("cloudsqlconn_")));
  EXPECT_THAT(text, Not(HasSubstr("sidepool_queries_total")));
  EXPECT_THAT(text, Not(HasSubstr("sidepool_config_last_reload_successful")));
}

// Names of databases and users are chosen by strangers, and PostgreSQL allows any byte but zero in them.
TEST(Page, HostileNamesStayInsideTheirLabel) {
  Registry registry(1, {"1", "id", ""});
  registry.add_pool({"u", "a\"} 1\nevil{x=\"", "b\\\xff\xfe"}, {});
  const std::string text = page(registry);
  EXPECT_THAT(text, HasSubstr(R"(database="a\"} 1\nevil{x=\"")"));
  EXPECT_THAT(text, HasSubstr("user=\"b\\\\\xef\xbf\xbd\xef\xbf\xbd\""));
  EXPECT_THAT(text, Not(HasSubstr("\nevil")));
}

TEST(Page, PoolsWithEqualLabelsAreAddedUp) {
  Registry registry(1, {"1", "id", ""});
  for (int i = 0; i < 2; ++i) {
    registry.add_pool({"u", "d", "app"}, [] { return PoolGauges{.idle = 1, .limit = 5}; })
        .of(0)
        .queries.add(3);
  }
  const std::string text = page(registry);
  EXPECT_THAT(text, HasSubstr("sidepool_queries_total{upstream=\"u\",database=\"d\",user=\"app\"} 6\n"));
  EXPECT_THAT(text,
              HasSubstr("sidepool_servers{upstream=\"u\",database=\"d\",user=\"app\",state=\"idle\"} 2\n"));
}

TEST(LabelValue, IsValidUtf8AndBounded) {
  EXPECT_EQ(label_value("größe€😀"), "größe€😀");
  const std::string bad = "\xef\xbf\xbd";
  EXPECT_EQ(label_value("\xc0\xaf"), bad + bad);                      // overlong
  EXPECT_EQ(label_value("\xed\xa0\x80"), bad + bad + bad);            // surrogate
  EXPECT_EQ(label_value("\xf4\x90\x80\x80"), bad + bad + bad + bad);  // beyond U+10FFFF
  EXPECT_EQ(label_value("a\xe2\x82"), "a" + bad + bad);               // cut short
  EXPECT_LE(label_value(std::string(10000, '\xff')).size(), 130u);
}

// One HELP and TYPE a family, before its samples, and no line twice: what a scraper would refuse.
TEST(Page, IsOnceOnly) {
  const Example example;
  std::istringstream lines(page(example.registry));
  std::set<std::string> seen;
  for (std::string line; std::getline(lines, line);) {
    const std::string series = line[0] == '#' ? line : line.substr(0, line.rfind(' '));
    EXPECT_TRUE(seen.insert(series).second) << line;
  }
  EXPECT_GT(seen.size(), 100u);
}

// `promtool check metrics` reads this file, in a ctest entry of its own.
TEST(Page, CanBeGivenToPromtool) {
  const char* path = std::getenv("SIDEPOOL_PAGE_FILE");
  const Example example;
  std::ofstream file(path != nullptr ? path : testing::TempDir() + "sidepool_page");
  file << page(example.registry);
  EXPECT_TRUE(file.flush());
}

}  // namespace
}  // namespace sidepool::metrics
