// What statements do: one row a text, in the notation of describe().
#include <set>

#include "tests/unit/protocol/sql_scan_cases.h"

namespace sidepool::protocol {
namespace {

TEST(SqlScan, PlainStatementsHaveNoEffect) {
  constexpr ScanCase kCases[] = {
      {"", "n=0"},
      {"  \n\t ", "n=0"},
      {";;;", "n=0"},
      {"-- nothing", "n=0"},
      {"/* nothing */ ;", "n=0"},
      {"SELECT 1", ""},
      {"select 1;", ""},
      {"select 1; select 2", "n=2"},
      {"select 1;; ;select 2;", "n=2"},
      {"(select 1) union (select 2)", ""},
      {"((select 1))", ""},
      {"VALUES (1), (2)", ""},
      {"TABLE pg_class", ""},
      {"SELECT * FROM users WHERE id = $1", ""},
      {"INSERT INTO t(a,b) VALUES ($1,$2) RETURNING id", ""},
      {"UPDATE t SET a = 1 WHERE b = 2", ""},
      {"UPDATE \"t\" SET \"role\" = 'x', session = 2", ""},
      {"DELETE FROM t", ""},
      {"WITH x AS (SELECT 1) SELECT * FROM x", ""},
      {"SELECT CASE WHEN a THEN b ELSE c END FROM t", ""},
      {"SELECT 1 FOR UPDATE", ""},
      {"FETCH 10 FROM c", ""},
      {"CLOSE c", ""},
      {"NOTIFY ch, 'x'", ""},
      {"SELECT pg_notify('a', 'b')", ""},
      {"SHOW search_path", ""},
      {"EXPLAIN ANALYZE SELECT 1", ""},
      {"VACUUM t", ""},
      {"TRUNCATE temp", ""},
      {"GRANT EXECUTE ON FUNCTION f() TO r", ""},
      {"GRANT SELECT ON t TO role_x", ""},
      {"REINDEX TABLE t", ""},
      {"LOCK TABLE t IN ACCESS EXCLUSIVE MODE", ""},
      {"INSERT INTO t VALUES (1) ON CONFLICT DO UPDATE SET a = excluded.a", ""},
      {"INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING", ""},
      {"select current_setting('app.x'), set_masklen('1.2.3.4', 8)", ""},
      {"SELECT pg_advisory_xact_lock(1), pg_try_advisory_xact_lock_shared(2)", ""},
      {"SELECT reset, listen, load, discard FROM t", ""},
      {"SELECT t.temp, t.hold FROM t", ""},
  };
  check(kCases);
}

TEST(SqlScan, PreparedStatements) {
  constexpr ScanCase kCases[] = {
      {"PREPARE p AS SELECT 1", "prepare"},
      {"PREPARE p(int, text) AS SELECT $1, $2", "prepare"},
      {"PREPARE \"transaction\" AS SELECT 1", "prepare"},
      {"PREPARE transaction AS SELECT 1", "prepare"},
      {"PREPARE transaction (int) AS SELECT 1", "prepare"},
      {"EXECUTE p", "execute"},
      {"EXECUTE p(1)", "execute"},
      {"EXPLAIN EXECUTE p", "execute"},
      {"EXPLAIN (ANALYZE, BUFFERS) EXECUTE p(1)", "execute"},
      {"CREATE TABLE x AS EXECUTE p", "execute ddl"},
      {"CREATE TABLE x AS /* c */ EXECUTE p", "execute ddl"},
      {"CREATE TRIGGER t AFTER INSERT ON x EXECUTE FUNCTION f()", "ddl routine_ddl"},
      {"DEALLOCATE p", "deallocate lone=<p>"},
      {"DEALLOCATE PREPARE p;", "deallocate lone=<p>"},
      {"DEALLOCATE PREPARE", "deallocate lone=<prepare>"},
      {"DEALLOCATE \"_pg3_0\"", "deallocate lone=<_pg3_0>"},
      {"DEALLOCATE _PG3_0", "deallocate lone=<_pg3_0>"},
      {"DEALLOCATE \"Mixed \"\"Case\"", "deallocate lone=<Mixed \"Case>"},
      {"/* x */ deallocate /* y */ prepare /* z */ p -- end", "deallocate lone=<p>"},
      {"DEALLOCATE ALL", "deallocate_all lone=ALL"},
      {"DEALLOCATE PREPARE ALL", "deallocate_all lone=ALL"},
      {"DEALLOCATE \"ALL\"", "deallocate lone=<ALL>"},
      {"DEALLOCATE \"all\"", "deallocate lone=<all>"},
      {"DEALLOCATE p q", "deallocate"},
      {"DEALLOCATE p.q", "deallocate"},
      {"DEALLOCATE PREPARE;", "deallocate lone=<prepare>"},
      {"DEALLOCATE", "deallocate"},
      {"DEALLOCATE 'p'", "deallocate"},
      {"DEALLOCATE p; SELECT 1", "deallocate n=2"},
      {"SELECT 1; DEALLOCATE p", "deallocate n=2"},
      {"DEALLOCATE a; DEALLOCATE b", "deallocate n=2"},
      {";DEALLOCATE a;", "deallocate lone=<a>"},
      {"DEALLOCATE \"\xc3\xa9\"", "deallocate lone=<\xc3\xa9>"},
      {"DEALLOCATE \xc3\xa9", "deallocate"},
      {"SELECT * FROM pg_prepared_statements", "prepared_statements_view"},
      {"SELECT * FROM \"pg_catalog\".\"pg_prepared_statements\"", "prepared_statements_view"},
      {"SELECT pg_prepared_statement()", "prepared_statements_view"},
  };
  check(kCases);
  const std::string longest(63, 'n');
  EXPECT_EQ(scan("DEALLOCATE " + longest), "deallocate lone=<" + longest + ">");
  EXPECT_EQ(scan("DEALLOCATE " + longest + "m"), "deallocate");
  EXPECT_EQ(scan("DEALLOCATE \"" + longest + "m\""), "deallocate");
}

TEST(SqlScan, Discard) {
  constexpr ScanCase kCases[] = {
      {"DISCARD ALL", "discard_all"},        {"discard all;", "discard_all"},
      {"DISCARD TEMP", "discard_temp"},      {"DISCARD TEMPORARY", "discard_temp"},
      {"DISCARD PLANS", "discard_plans"},    {"DISCARD SEQUENCES", "discard_sequences"},
      {"SELECT discard, all_of FROM t", ""},
  };
  check(kCases);
}

TEST(SqlScan, StateThatPins) {
  constexpr ScanCase kCases[] = {
      {"LISTEN ch", "listen"},
      {"SET seed = 0.5", "set_session setseed {seed}"},
      {"SET LOCAL seed TO 0.5", "set_local setseed"},
      {"UNLISTEN ch", "unlisten"},
      {"UNLISTEN *", "unlisten"},
      {"LOAD 'auto_explain'", "load"},
      {"DECLARE c CURSOR FOR SELECT 1", ""},
      {"DECLARE c CURSOR WITH HOLD FOR SELECT 1", "declare_hold"},
      {"DECLARE c BINARY INSENSITIVE NO SCROLL CURSOR WITH/*x*/HOLD FOR SELECT 1", "declare_hold"},
      {"DECLARE hold CURSOR WITHOUT HOLD FOR SELECT 1", ""},
      {"DECLARE c CURSOR FOR WITH x AS (SELECT 1) SELECT * FROM x", ""},
      {"SELECT name FROM pg_cursors", "cursors_view"},
      {"SELECT pg_advisory_lock(1)", "advisory_lock"},
      {"SELECT pg_advisory_lock_shared(1,2)", "advisory_lock"},
      {"SELECT pg_try_advisory_lock(1)", "advisory_lock"},
      {"SELECT pg_try_advisory_lock_shared($1)", "advisory_lock"},
      {"select pg_catalog.pg_advisory_lock(1)", "advisory_lock"},
      {"select Pg_Catalog . /*c*/ PG_ADVISORY_LOCK (1)", "advisory_lock"},
      {"SELECT \"pg_advisory_lock\" (1)", "advisory_lock"},
      {"SELECT \"pg_catalog\".\"pg_advisory_lock\"(1)", "advisory_lock"},
      {"SELECT pg_advisory_unlock(1)", "advisory_unlock"},
      {"SELECT pg_advisory_unlock_all()", "advisory_unlock"},
      {"SELECT my_pg_advisory_lock(1), pg_advisory_locks()", ""},
      {"SELECT currval('s')", "sequence_session"},
      {"SELECT LASTVAL()", "sequence_session"},
      {"INSERT INTO t VALUES (1); SELECT lastval()", "sequence_session n=2"},
      {"SELECT nextval('s')", "sequence_touch"},
      {"SELECT setval('s', 1)", "sequence_touch"},
      {"CREATE TABLE t (id int DEFAULT nextval('s'))", "sequence_touch ddl"},
      {"SELECT dblink_connect('n', 'c')", "dblink"},
      {"SELECT dblink_connect_u('n', 'c')", "dblink"},
      {"SELECT * FROM public.dblink('n', 'select 1') AS t(a int)", "dblink"},
      {"SELECT setseed(0.5)", "setseed"},
      {"SELECT pg_create_physical_replication_slot('s', true, true)", "replication_slot"},
      {"SELECT pg_create_logical_replication_slot('s', 'p', true)", "replication_slot"},
      {"SELECT pg_replication_origin_session_setup('o')", "replication_origin"},
      {"SELECT pg_backup_start('x')", "backup"},
      {"SELECT pg_backend_pid()", "backend_pid"},
      {"SELECT pg_terminate_backend(pg_backend_pid())", "backend_pid"},
      {"SELECT pg_listening_channels()", "listening_view"},
      {"SELECT set_config('a', 'b', false)", "set_config_call"},
      {"SELECT pg_catalog.set_config('search_path', '', false);", "set_config_call"},
      {"SELECT \"set_config\"('a', 'b', false)", "set_config_call"},
      {"SELECT set_limit(0.5)", "set_config_call"},
      {"SELECT * FROM pg_settings", ""},
      {"UPDATE pg_settings SET setting = 'x' WHERE name = 'y'", "set_config_call"},
      {"UPDATE pg_catalog.\"pg_settings\" SET setting = 'x'", "set_config_call"},
  };
  check(kCases);
}

TEST(SqlScan, TemporaryObjects) {
  constexpr ScanCase kCases[] = {
      {"CREATE TEMP TABLE t (a int)", "temp_object ddl"},
      {"CREATE TEMPORARY TABLE t (a int)", "temp_object ddl"},
      {"CREATE LOCAL TEMP TABLE t (a int)", "temp_object ddl"},
      {"CREATE GLOBAL TEMPORARY TABLE t (a int)", "temp_object ddl"},
      {"create/*x*/temp--y\ntable t ()", "temp_object ddl"},
      {"CREATE TEMP TABLE IF NOT EXISTS t AS SELECT 1", "temp_object ddl"},
      {"CREATE TEMP VIEW v AS SELECT 1", "temp_object ddl"},
      {"CREATE OR REPLACE TEMP VIEW v AS SELECT 1", "temp_object ddl"},
      {"CREATE OR REPLACE TEMPORARY RECURSIVE VIEW v(n) AS SELECT 1", "temp_object ddl"},
      {"CREATE TEMP SEQUENCE s", "temp_object ddl"},
      {"CREATE TEMP TABLE t (a int) ON COMMIT DROP", "temp_on_commit_drop ddl"},
      {"CREATE TEMP TABLE t ON COMMIT /* c */ DROP AS SELECT 1", "temp_on_commit_drop ddl"},
      {"CREATE TEMP TABLE t (a int) ON COMMIT DELETE ROWS", "temp_object ddl"},
      {"CREATE TEMP TABLE t (a int) ON COMMIT PRESERVE ROWS", "temp_object ddl"},
      {"CREATE TEMP TABLE t (a int) ON COMMIT DROP; CREATE TEMP TABLE u ()",
       "temp_object temp_on_commit_drop ddl n=2"},
      {"SELECT 1 INTO TEMP t", "temp_object"},
      {"SELECT 1 AS a INTO TEMPORARY TABLE t FROM x", "temp_object"},
      {"SELECT 1 INTO LOCAL TEMP t", "temp_object"},
      {"EXPLAIN ANALYZE CREATE TEMP TABLE t AS SELECT 1", "temp_object"},
      {"INSERT INTO temp VALUES (1)", ""},
      {"INSERT INTO temp AS t SELECT 1", ""},
      {"WITH x AS (INSERT INTO temporary VALUES (1) RETURNING *) SELECT * FROM x", ""},
      {"MERGE INTO temp USING x ON true WHEN MATCHED THEN DELETE", ""},
      {"SELECT * FROM temp", ""},
      {"CREATE TABLE temp (a int)", "ddl"},
      {"CREATE TABLE \"temp\" (a int)", "ddl"},
      {"CREATE \"temp\" TABLE x (a int)", "ddl"},
      {"CREATE UNLOGGED TABLE t (a int)", "ddl"},
      {"CREATE TABLE pg_temp.t (a int)", "temp_object ddl"},
      {"CREATE TABLE \"pg_temp\".t (a int)", "temp_object ddl"},
      {"CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'select 1'", "temp_object ddl routine_ddl"},
      {"DROP TABLE pg_temp_3.t", "temp_object ddl"},
      {"SELECT * FROM PG_TEMP.t", "temp_object"},
      {"SET search_path = pg_temp, public", "set_session temp_object {search_path}"},
      {"SET search_path = 'pg_temp'", "set_session temp_object {search_path}"},
      {"SET search_path TO 'a', 'PG_Temp', 'b'", "set_session temp_object {search_path}"},
      {"SET search_path TO 'a, pg_temp_5'", "set_session temp_object {search_path}"},
      {"SET search_path TO 'ppg_pg_tempo'", "set_session temp_object {search_path}"},
      {"SET search_path TO 'pg_tem', 'p'", "set_session {search_path}"},
      {"SET search_path TO 'pg_'\n'temp'", "set_session temp_object {search_path}"},
      {"SET search_path TO $$pg_temp$$", "set_session temp_object {search_path}"},
      {"SET search_path TO E'\\x70g_temp'", "set_session unsure {search_path} tx=unknown"},
      {"SET search_path TO E'pg_\\temp'", "set_session {search_path}"},
      {"SELECT set_config('app.claims', E'{\\\"a\\\": \\'\\\\\\n\\'}', true)", "set_config_call"},
      {"SELECT set_config('a', 'b', true); SELECT E'\\x70', 'pg_temp'", "set_config_call n=2"},
      {"SET LOCAL search_path TO 'pg_temp'", "set_local temp_object"},
      {"SET SCHEMA 'pg_temp'", "set_session temp_object {search_path}"},
      {"SELECT set_config('search_path', 'pg_temp,a', true)", "set_config_call temp_object"},
      {"SET application_name = 'pg_temp'", "set_session {application_name}"},
      {"SELECT 'pg_temp'", ""},
      {"CREATE FUNCTION f() RETURNS int LANGUAGE sql SET search_path = pg_catalog, pg_temp AS 'select 1'",
       "ddl routine_ddl"},
      {"ALTER FUNCTION f() SET search_path TO pg_temp", "ddl routine_ddl"},
  };
  check(kCases);
}

TEST(SqlScan, DriversAndTools) {
  constexpr ScanCase kCases[] = {
      // pgJDBC, asyncpg, psycopg, node-postgres, Rails, Django, pg_dump
      {"SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED", "set_other"},
      {"SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "set_other"},
      {"SET extra_float_digits = 3; SET application_name = 'x'",
       "set_session {extra_float_digits,application_name} n=2"},
      {"SELECT pg_advisory_unlock_all();\nCLOSE ALL;\nUNLISTEN *;\nRESET ALL;",
       "reset_all unlisten advisory_unlock n=4"},
      {"ROLLBACK;\nSELECT pg_advisory_unlock_all()", "advisory_unlock rollback tx=ends n=2"},
      {"BEGIN ISOLATION LEVEL READ COMMITTED", "begin tx=begins"},
      {"SET client_min_messages TO warning;SET standard_conforming_strings = on",
       "set_session {client_min_messages,standard_conforming_strings} n=2"},
      {"SET SESSION timezone TO 'UTC'", "set_session {timezone}"},
      {"SET idle_in_transaction_session_timeout = 0;", "set_session {idle_in_transaction_session_timeout}"},
      {"SET default_table_access_method = heap;", "set_session {default_table_access_method}"},
      {"SET SESSION AUTHORIZATION 'owner'", "set_session set_session_authorization {session_authorization}"},
      {"SELECT oid, typname FROM pg_type WHERE typname = 'hstore'", ""},
      {"SELECT t.typname FROM pg_catalog.pg_type t WHERE t.oid = $1", ""},
      {"SELECT name, setting FROM pg_settings WHERE source='session'", ""},
      {"select version()", ""},
      {"-- ping", "n=0"},
      {"SELECT \"users\".* FROM \"users\" WHERE \"users\".\"id\" = $1 LIMIT $2 /*app:x,action:set*/", ""},
      {"INSERT INTO \"t\" (\"a\") VALUES ('x') RETURNING \"t\".\"id\"", ""},
      {"DECLARE \"_django_curs_1_sync_1\" NO SCROLL CURSOR WITH HOLD FOR SELECT 1", "declare_hold"},
      {"DECLARE \"c\" CURSOR FOR SELECT 'WITH HOLD'", ""},
  };
  check(kCases);
}

TEST(SqlScan, AResetScannerIsNew) {
  SqlScanner s(true, EncodingClass::AsciiSafe);
  s.feed(as_bytes("SET x = 'unfinished"));
  EXPECT_EQ(describe(s.finish()), "set_session unsure {x} tx=unknown");
  s.reset(true, EncodingClass::AsciiSafe);
  s.feed(as_bytes("select 1"));
  EXPECT_EQ(describe(s.finish()), "");
}

TEST(SqlScan, AZeroByteEndsTheText) {
  using namespace std::string_view_literals;
  constexpr ScanCase kCases[] = {
      {"SELECT 1\0SET x = 1"sv, ""},
      {"SELECT 'a\0'"sv, "unsure tx=unknown"},
      {"SET x\0"sv, "set_session {x}"},
      {"\0SET x = 1"sv, "n=0"},
  };
  check(kCases);
}

TEST(SqlScan, CountsStatementsUpToItsLimit) {
  std::string many;
  for (int i = 0; i < 70000; ++i) many += "a;";
  EXPECT_EQ(scan(many), "n=65535");
  EXPECT_EQ(scan(many + "DEALLOCATE p"), "deallocate n=65535");
}

TEST(Effects, HaveDistinctNames) {
  std::set<std::string_view> names;
  for (std::uint64_t bit = 1; bit <= static_cast<std::uint64_t>(Effect::Unsure); bit <<= 1) {
    EXPECT_TRUE(names.insert(to_string(static_cast<Effect>(bit))).second);
  }
  EXPECT_FALSE(names.contains("?"));
  EXPECT_EQ(to_string(Effect::BackendPid), "backend_pid");
  EXPECT_EQ(to_string(Effect::Unsure), "unsure");
  EXPECT_TRUE(Effects(kPinningEffects).has(Effect::Listen));
  EXPECT_FALSE(Effects(kPinningEffects).has_any(Effect::SetSession | Effect::Begin | Effect::SetLocal));
}

}  // namespace
}  // namespace sidepool::protocol
