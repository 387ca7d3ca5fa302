// tests/e2e/differential/script_texts.h -- the statements that scripts are made of.
#pragma once
#include <array>
#include <string_view>

namespace sidepool::differential {

// SEED is replaced by a number of this script: a custom setting, once made, leaves its name on a server for
// ever.
inline constexpr auto kPlain = std::to_array<std::string_view>({
    "select 1",
    "select id, v from t order by id",
    "select generate_series(1, 12)",
    "select 1 as a, 'x'::text as b, null::date as c where false",
    "select '2024-06-01 12:00'::timestamptz",
    "select '2024-06-01 12:00+00'::timestamptz, interval '1 day 2 hours', 1.5::float8, '\\x4142'::bytea",
    "select 'a\\nb', E'a\\nb', $$x;y$$, \"v\" from t where id = 1 -- ; rollback",
    "insert into t values (100, 'new') returning id, v",
    "update t set v = v || '+' where id <= 2",
    "delete from t where id = 100",
    "select 1/0",
    "select id, 10/(id-3) from t order by id",
    "select * from nosuch",
    "selec 1",
    "select 'abc'::int",
    "insert into u values (1)",
    "values (1, 'one'), (2, 'two')",
    "show timezone",
    "show datestyle",
    "show application_name",
    "show search_path",
    "show work_mem",
    "show client_encoding",
    "show standard_conforming_strings",
    "show transaction_read_only",
    "select current_setting('app.xSEED', true)",
    "select current_user, session_user",
    "select count(*) from pg_catalog.pg_locks where locktype = 'advisory' and pid = pg_backend_pid()",
    "select name from pg_catalog.pg_cursors order by name",
    "explain (costs off) select 1",
    "lock table t in share mode",
    "select pg_catalog.pg_notify('c1', 'hello')",
    "notify c1, 'direct'",
    "do $$ begin perform 1; end $$",
    "select length(repeat('x', 70000))",
    "select repeat('0123456789', 3000) from generate_series(1, 5)",
});

inline constexpr auto kTransaction = std::to_array<std::string_view>({
    "begin",
    "begin isolation level serializable read only",
    "start transaction read only",
    "commit",
    "commit",
    "rollback",
    "rollback",
    "end",
    "abort",
    "commit and chain",
    "savepoint a",
    "savepoint b",
    "rollback to a",
    "rollback to savepoint nosuch",
    "release a",
    "set transaction isolation level repeatable read",
    "set transaction read only",
    "prepare transaction 'x'",
    "declare k cursor for select id from t order by id",
    "declare h cursor with hold for select id from t order by id",
    "fetch 2 from k",
    "fetch all from h",
    "move 1 in k",
    "close k",
    "close all",
});

inline constexpr auto kSettings = std::to_array<std::string_view>({
    "set timezone to 'America/New_York'",
    "set timezone = 'Asia/Kolkata'",
    "SET TIME ZONE 'UTC'",
    "set time zone local",
    "set timezone to 'Nowhere/Land'",
    "set local timezone to 'Europe/Berlin'",
    "set datestyle to 'German, DMY'",
    "set datestyle = iso",
    "set intervalstyle to 'iso_8601'",
    "set application_name to 'app one'",
    "set application_name = 'two'; select 2",
    "set local application_name to 'inner'",
    "set client_encoding to 'LATIN1'",
    "set names 'UTF8'",
    "set client_encoding to 'nonsense'",
    "set standard_conforming_strings to off",
    "set standard_conforming_strings to on",
    "set default_transaction_read_only to on",
    "set default_transaction_read_only to off",
    "set session characteristics as transaction read only",
    "set search_path to public, other",
    "set local search_path to other",
    "set work_mem to '123kB'",
    "set work_mem to '5MB'",
    "set nosuch_parameter to 1",
    "set app.xSEED to 'mine'",
    "set app.xSEED to 'mine'; set timezone = 'Asia/Tokyo'; select 1/0",
    "set local app.xSEED to 'inner'",
    "reset app.xSEED",
    "reset timezone",
    "reset application_name",
    "reset work_mem",
    "reset search_path",
    "set timezone to default",
    "set application_name to default",
    "set session work_mem to default",
    "reset all",
    "RESET ALL",
    "discard all",
    "discard all",
    "discard plans",
    "discard temp",
    "select set_config('timezone', 'Pacific/Auckland', false)",
    "select set_config('app.xSEED', 'by function', false)",
    "select set_config('timezone', 'Pacific/Apia', true)",
    "set role other_role",
    "set role nosuch_role",
    "reset role",
    "set session authorization other_role",
    "reset session authorization",
    "begin; set timezone to 'Africa/Cairo'; commit",
    "begin; set timezone to 'Africa/Lagos'; rollback",
});

inline constexpr auto kSession = std::to_array<std::string_view>({
    "deallocate s1",
    "deallocate s2",
    "deallocate nosuch",
    "deallocate all",
    "DEALLOCATE PREPARE \"s3\"",
    "prepare q1 as select 1",
    "prepare q2 (int) as select $1 + 1",
    "execute q1",
    "execute q2 (41)",
    "deallocate q1",
    "execute nosuch",
    "create temp table tmp (a int)",
    "create temp table if not exists tmp (a int)",
    "insert into tmp values (1)",
    "select count(*) from tmp",
    "drop table tmp",
    "create temp table gone on commit drop as select 1",
    "select pg_advisory_lock(7)",
    "select pg_try_advisory_lock(8)",
    "select pg_advisory_unlock(7)",
    "select pg_advisory_unlock_all()",
    "select pg_advisory_xact_lock(9)",
    "select nextval('sq') > 0",
    "select nextval('sq') > 0, currval('sq') > 0, lastval() > 0",  // later transactions may be on another
                                                                   // server
    "listen c1",
    "unlisten c1",
    "unlisten *",
    "alter table t add column w int default 5",
    "alter table t drop column if exists w",
    "create or replace view vw as select id from t",
    "load 'plpgsql'",
    "checkpoint_nosuch",
});

// Several statements in one Query.
inline constexpr auto kMulti = std::to_array<std::string_view>({
    "",
    ";",
    "  -- nothing",
    "select 1; select 2",
    "select 1; select 1/0; select 3",
    "insert into t values (101, 'a'); select count(*) from t; insert into u values (1)",
    "begin; select 1",
    "begin; select 1/0; select 2",
    "select 1; commit; select 2",
    "commit; begin; select 3",
    "rollback; select 4",
    "begin; insert into t values (102, 'b'); rollback; select count(*) from t",
    "savepoint a; select 1",
    "select 1; begin; savepoint z; select 1/0; rollback to z; commit",
    "set timezone = 'Asia/Dubai'; show timezone",
    "select 1; select 2; selec 3",
    "discard all; select 1",
    "copy t from stdin; select 1",
    "select 1; copy t from stdin",
});

inline constexpr auto kCopyIn = std::to_array<std::string_view>({
    "copy t (id, v) from stdin",
    "copy t from stdin with (format csv)",
    "copy u from stdin",
    "copy nosuch from stdin",
    "copy t (id, v) from stdin with (format binary)",
    "COPY t (id) FROM STDIN",
});

inline constexpr auto kCopyOut = std::to_array<std::string_view>({
    "copy t (id, v) to stdout",
    "copy (select 1, 'a') to stdout with (format csv, header)",
    "copy (select 10/(3-g) from generate_series(1, 5) g) to stdout",
    "copy (select repeat('y', 5000) from generate_series(1, 20)) to stdout",
});

// With parameters; how many there are.
struct WithParameters {
  std::string_view text;
  int count;
};
inline constexpr auto kParameters = std::to_array<WithParameters>({
    {"select $1::int + 1", 1},
    {"select $1::text || $2::text", 2},
    {"select id, v from t where id <= $1 order by id", 1},
    {"insert into t values ($1, $2)", 2},
    {"select 10 / $1::int", 1},
    {"select $1::timestamptz", 1},
    {"select $1", 1},
    {"update t set v = $2 where id = $1 returning v", 2},
    {"select set_config('timezone', $1, false)", 1},
    {"select $3::int", 3},
});

inline constexpr auto kValues =
    std::to_array<std::string_view>({"0", "1", "2", "3", "abc", "UTC", "2024-01-02", "", "Asia/Tokyo"});

}  // namespace sidepool::differential
