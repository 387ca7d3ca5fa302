// Which settings a text assigns and puts back, in the notation of describe().
#include <string>

#include "tests/unit/protocol/sql_scan_cases.h"

namespace sidepool::protocol {
namespace {

TEST(SqlSettings, Set) {
  constexpr ScanCase kCases[] = {
      {"SET statement_timeout = 0", "set_session {statement_timeout}"},
      {"set Statement_Timeout to '5s'", "set_session {statement_timeout}"},
      {"SET statement_timeout=-1", "set_session {statement_timeout}"},
      {"SET SESSION work_mem = '1MB'", "set_session {work_mem}"},
      {"SET LOCAL work_mem = '1MB'", "set_local"},
      {"set local lock_timeout to 5", "set_local"},
      {"SET/**/LOCAL/**/x=1", "set_local"},
      {"SET --c\n LOCAL x = 1", "set_local"},
      {"SET \"TimeZone\" = 'UTC'", "set_session {timezone}"},
      {"SET timezone TO DEFAULT", "set_session {timezone*}"},
      {"SET TimeZone='UTC'", "set_session {timezone}"},
      {"SET TIME ZONE 'UTC'", "set_session {timezone}"},
      {"SET TIME ZONE -7", "set_session {timezone}"},
      {"SET TIME ZONE INTERVAL '-08:00' HOUR TO MINUTE", "set_session {timezone}"},
      {"SET TIME ZONE LOCAL", "set_session {timezone*}"},
      {"SET TIME ZONE DEFAULT", "set_session {timezone*}"},
      {"SET SESSION TIME ZONE 'UTC'", "set_session {timezone}"},
      {"SET LOCAL TIME ZONE 'UTC'", "set_local"},
      {"SET synchronous_commit TO local", "set_session {synchronous_commit}"},
      {"SET NAMES 'utf8'", "set_session {client_encoding}"},
      {"SET NAMES", "set_session {client_encoding*}"},
      {"SET NAMES DEFAULT;", "set_session {client_encoding*}"},
      {"SET client_encoding TO 'UTF8'", "set_session {client_encoding}"},
      {"SET SCHEMA 'x'", "set_session {search_path}"},
      {"SET XML OPTION DOCUMENT", "set_session {xmloption}"},
      {"SET search_path TO a, b", "set_session {search_path}"},
      {"SET search_path = ''", "set_session {search_path}"},
      {"SET app.tenant = '42'", "set_session {app.tenant}"},
      {"SET App . Tenant TO 42", "set_session {app.tenant}"},
      {"SET \"App\".\"Tenant.Id\" TO 42", "set_session {app.tenant.id}"},
      {"SET local.x = 1", "set_session {local.x}"},
      {"SET session.user_id = 1", "set_session {session.user_id}"},
      {"SET SESSION session.user_id = 1", "set_session {session.user_id}"},
      {"SET LOCAL local.x = 1", "set_local"},
      {"SET time.x = 1", "set_session {time.x}"},
      {"SET names.x = 1", "set_session {names.x}"},
      {"SET role.x = 1", "set_session {role.x}"},
      {"SET a=1;SET b=2;RESET c", "set_session reset {a,b,c*} n=3"},
      {"SET a=1;SET a=default", "set_session {a,a*} n=2"},
      {"SET LOCAL a=1; SET b=2", "set_session set_local {b} n=2"},
      {"SET extra_float_digits = 3", "set_session {extra_float_digits}"},
      {"SET application_name = 'PostgreSQL JDBC Driver'", "set_session {application_name}"},
  };
  check(kCases);
}

TEST(SqlSettings, SetOfRightsAndTransactions) {
  constexpr ScanCase kCases[] = {
      {"SET ROLE r", "set_session set_role {role}"},
      {"SET ROLE NONE", "set_session set_role {role*}"},
      {"SET ROLE 'r'", "set_session set_role {role}"},
      {"SET role = r", "set_session set_role {role}"},
      {"SET \"role\" TO r", "set_session set_role {role}"},
      {"SET SESSION ROLE r", "set_session set_role {role}"},
      {"SET LOCAL ROLE r", "set_local"},
      {"SET SESSION AUTHORIZATION u", "set_session set_session_authorization {session_authorization}"},
      {"SET SESSION AUTHORIZATION DEFAULT", "set_session set_session_authorization {session_authorization*}"},
      {"SET SESSION SESSION AUTHORIZATION u",
       "set_session set_session_authorization {session_authorization}"},
      {"SET session_authorization TO u", "set_session set_session_authorization {session_authorization}"},
      {"SET LOCAL SESSION AUTHORIZATION u", "set_local"},
      {"SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "set_other"},
      {"SET SESSION SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "set_other"},
      {"SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", "set_transaction"},
      {"SET SESSION TRANSACTION READ ONLY", "set_transaction"},
      {"SET LOCAL TRANSACTION READ ONLY", "set_local set_transaction"},
      {"SET TRANSACTION SNAPSHOT '1'", "set_transaction"},
      {"SET transaction_read_only = on", "set_transaction"},
      {"SET default_transaction_read_only = on", "set_session {default_transaction_read_only}"},
      {"SET CONSTRAINTS ALL DEFERRED", ""},
      {"SET CONSTRAINTS a, b IMMEDIATE", ""},
      {"ALTER ROLE r SET search_path = x", "ddl"},
      {"ALTER DATABASE d SET work_mem TO 1", "ddl"},
      {"ALTER SYSTEM SET work_mem TO 1", "ddl"},
  };
  check(kCases);
}

TEST(SqlSettings, Reset) {
  constexpr ScanCase kCases[] = {
      {"RESET ALL", "reset_all"},
      {"reset/**/all;", "reset_all"},
      {"RESET work_mem", "reset {work_mem*}"},
      {"RESET \"Work_Mem\"", "reset {work_mem*}"},
      {"RESET app.x", "reset {app.x*}"},
      {"RESET ROLE", "set_role reset {role*}"},
      {"RESET SESSION AUTHORIZATION", "set_session_authorization reset {session_authorization*}"},
      {"RESET TIME ZONE", "reset {timezone*}"},
      {"RESET TRANSACTION ISOLATION LEVEL", "set_transaction"},
      {"RESET \"all\"", "reset {all*}"},
      {"RESET local", "reset {local*}"},
      {"SET ROLE \"none\"", "set_session set_role {role}"},
      {"SET LOCAL x TO DEFAULT", "set_local local_default"},
      {"SET LOCAL TIME ZONE LOCAL", "set_local local_default"},
      {"SET LOCAL x TO 'default'", "set_local"},
      {"SELECT 1; RESET x", "reset {x*} n=2"},
      {"RESET x; SELECT 1", "reset runs_behind_reset {x*} n=2"},
      {"SET x TO DEFAULT; INSERT INTO t VALUES (1)", "set_session runs_behind_reset {x*} n=2"},
      {"DISCARD ALL; SELECT 1", "discard_all n=2"},  // PostgreSQL refuses it
      {"RESET ALL; CLOSE ALL; UNLISTEN *; SELECT pg_advisory_unlock_all(); DISCARD TEMP; COMMIT",
       "reset_all discard_temp unlisten advisory_unlock commit tx=ends n=6"},
      {"RESET ALL; SELECT pg_catalog.pg_advisory_unlock_all()", "reset_all advisory_unlock n=2"},
      {"RESET ALL; SELECT pg_advisory_unlock_all(), f() FROM t",
       "reset_all advisory_unlock runs_behind_reset n=2"},
  };
  check(kCases);
}

TEST(SqlSettings, NamesThatDoNotFitAreToldOf) {
  const std::string eight = "SET a=1;SET b=1;SET c=1;SET d=1;SET e=1;SET f=1;SET g=1;SET h=1";
  EXPECT_EQ(scan(eight), "set_session {a,b,c,d,e,f,g,h} n=8");
  EXPECT_EQ(scan(eight + ";RESET i"),
            "set_session set_role set_session_authorization reset {a,b,c,d,e,f,g,h...} n=9");
  const std::string part(63, 'p');
  EXPECT_EQ(scan("SET " + part + "." + part + " = 1"), "set_session {" + part + "." + part + "}");
  EXPECT_EQ(scan("SET " + part + "." + part + ".x = 1; SET y = 2"),
            "set_session set_role set_session_authorization {y...} n=2");
  EXPECT_EQ(scan("SET \"" + part + "q\" = 1"), "set_session set_role set_session_authorization {...}");
  expect_same_at_every_split("SET " + part + "." + part + ".x = 1; SET y = 2");
}

}  // namespace
}  // namespace sidepool::protocol
