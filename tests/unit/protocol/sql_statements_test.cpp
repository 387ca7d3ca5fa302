// Where statements end and what they do to the transaction block, in the notation of describe().
#include "tests/unit/protocol/sql_scan_cases.h"

namespace sidepool::protocol {
namespace {

TEST(SqlStatements, Transactions) {
  constexpr ScanCase kCases[] = {
      {"BEGIN", "begin tx=begins"},
      {"begin;", "begin tx=begins"},
      {"BEGIN WORK", "begin tx=begins"},
      {"BEGIN TRANSACTION ISOLATION LEVEL SERIALIZABLE READ ONLY", "begin tx=begins"},
      {"BEGIN ISOLATION LEVEL REPEATABLE READ", "begin tx=begins"},
      {"START TRANSACTION", "begin tx=begins"},
      {"START TRANSACTION READ ONLY, DEFERRABLE", "begin tx=begins"},
      {"COMMIT", "commit tx=ends"},
      {"COMMIT WORK AND NO CHAIN", "commit tx=ends"},
      {"COMMIT AND CHAIN", "commit tx=begins"},
      {"END", "commit tx=ends"},
      {"END TRANSACTION AND CHAIN", "commit tx=begins"},
      {"ROLLBACK", "rollback tx=ends"},
      {"ROLLBACK;", "rollback tx=ends"},
      {"ROLLBACK AND CHAIN", "rollback tx=begins"},
      {"ABORT", "rollback tx=ends"},
      {"ABORT WORK", "rollback tx=ends"},
      {"ROLLBACK TO SAVEPOINT s", "savepoint"},
      {"ROLLBACK TO s", "savepoint"},
      {"ROLLBACK WORK TO SAVEPOINT s", "savepoint"},
      {"ROLLBACK TRANSACTION TO s", "savepoint"},
      {"SAVEPOINT s", "savepoint"},
      {"RELEASE SAVEPOINT s", "savepoint"},
      {"RELEASE s", "savepoint"},
      {"PREPARE TRANSACTION 'x'", "two_phase tx=ends"},
      {"prepare/**/transaction/**/'x'", "two_phase tx=ends"},
      {"COMMIT PREPARED 'x'", "two_phase"},
      {"ROLLBACK PREPARED 'x'", "two_phase"},
      {"begin;select 1;commit", "begin commit tx=ends n=3"},
      {"commit;begin", "begin commit tx=begins n=2"},
      {"BEGIN; SAVEPOINT a; ROLLBACK TO a", "begin savepoint tx=begins n=3"},
      {"ROLLBACK; BEGIN READ ONLY; SELECT 1", "begin rollback tx=begins n=3"},
      {"BEGIN; DO $$ begin commit; end $$", "do_or_call begin tx=begins n=2"},
      {"DO $$ begin null; end $$", "do_or_call"},
      {"DO LANGUAGE plpgsql 'begin end'", "do_or_call"},
      {"CALL p(1)", "do_or_call"},
      {"COPY t FROM STDIN", "copy"},
      {"COPY (SELECT 1) TO STDOUT", "copy"},
      {"SELECT 1 AS begin, 2 AS commit", ""},
      {"BEGIN; SELECT 'x", "begin unsure tx=unknown n=2"},
  };
  check(kCases);
}

TEST(SqlStatements, Definitions) {
  constexpr ScanCase kCases[] = {
      {"CREATE TABLE t (a int)", "ddl"},
      {"ALTER TABLE t ADD b int", "ddl"},
      {"DROP TABLE t", "ddl"},
      {"CREATE OR REPLACE FUNCTION f() RETURNS int AS $$ select set_config('a','b',false) $$ LANGUAGE sql",
       "ddl routine_ddl"},
      {"DROP PROCEDURE p", "ddl routine_ddl"},
      {"ALTER TABLE t DISABLE TRIGGER ALL", "ddl routine_ddl"},
      {"CREATE EXTENSION hstore", "ddl routine_ddl"},
      {"CREATE RULE r AS ON INSERT TO t DO ALSO (INSERT INTO u VALUES (1); DELETE FROM v); SET x = 1",
       "set_session ddl routine_ddl {x} n=2"},
      {"SELECT (1;SET x = 1", "unsure tx=unknown"},
      {"SELECT 1); SET x = 1", "set_session unsure {x} tx=unknown n=2"},
  };
  check(kCases);
}

TEST(SqlStatements, RoutineBodies) {
  constexpr ScanCase kCases[] = {
      {"CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END", "ddl routine_ddl"},
      {"CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; END; SET x = 1",
       "set_session ddl routine_ddl {x} n=2"},
      {"CREATE OR REPLACE PROCEDURE p() BEGIN/**/ATOMIC INSERT INTO t VALUES (1); END; COMMIT",
       "ddl routine_ddl commit tx=ends n=2"},
      {"CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN a THEN 1 ELSE 2 END; END; SET x = 1",
       "set_session ddl routine_ddl {x} n=2"},
      {"CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN (CASE a WHEN 1 THEN b END) THEN 1 END; "
       "SELECT 2; END; BEGIN",
       "ddl routine_ddl begin tx=begins n=2"},
      {"CREATE FUNCTION f() RETURNS int BEGIN ATOMIC END; SET x = 1", "set_session ddl routine_ddl {x} n=2"},
      // labels
      {"CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1 AS end; END; SET x = 1",
       "set_session ddl routine_ddl {x} n=2"},
      {"CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1 AS case; END; SET x = 1",
       "set_session ddl routine_ddl {x} n=2"},
      {"CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1 end; SELECT t.case, t.end; END; SET x = 1",
       "set_session ddl routine_ddl {x} n=2"},
      {"CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN a THEN 1 END end; END; SET x = 1",
       "set_session ddl routine_ddl {x} n=2"},
      {"CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1 case; END; SET x = 1; END",
       "ddl routine_ddl unsure tx=unknown"},
      // functions in the body are seen
      {"CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT set_config('a','b',false); END",
       "set_config_call ddl routine_ddl"},
      // no body
      {"CREATE FUNCTION begin() RETURNS int AS 'select 1' LANGUAGE sql; SET x = 1",
       "set_session ddl routine_ddl {x} n=2"},
      {"CREATE FUNCTION f(begin atomic) RETURNS int RETURN 1; SET x = 1",
       "set_session ddl routine_ddl {x} n=2"},
      {"CREATE TABLE f (a int); BEGIN; SELECT 1; END", "ddl begin commit tx=ends n=4"},
      {"CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1;", "ddl routine_ddl unsure tx=unknown"},
  };
  check(kCases);
}

}  // namespace
}  // namespace sidepool::protocol
