// tests/e2e/clients/node/client.js -- what applications do with node-postgres, as lines of text: the same directly and pooled.
//
//   NODE_PATH=…/node_modules node client.js      where to: libpq's environment
'use strict';
const { once } = require('events');
const { pipeline } = require('stream/promises');
const { Readable, Writable } = require('stream');
const pg = require('pg');
const Cursor = require('pg-cursor');
const QueryStream = require('pg-query-stream');
const { from: copyFrom, to: copyTo } = require('pg-copy-streams');

const say = (what, seen) => console.log(`${what}: ${JSON.stringify(seen)}`);

async function fails(what, promise) {
  try {
    await promise;
    say(what, 'no error');
  } catch (error) {
    say(what, [error.code, error.message]);
  }
}

async function connected(work, options = {}) {
  const client = new pg.Client(options);
  await client.connect();
  try {
    await work(client);
  } finally {
    await client.end();
  }
}

async function queries(client) {
  await client.query('drop table if exists node_item');
  await client.query('create table node_item (id int primary key, name text)');
  await client.query("insert into node_item select n, 'item ' || n from generate_series(1, 500) n");
  for (let turn = 0; turn < 5; turn++) {
    for (let number = 1; number <= 4; number++) {
      const named = await client.query({ name: `statement ${number}`, text: `select ${number} as n, $1::int as t, name from node_item where id = $2`,
        values: [turn, number] });
      const unnamed = await client.query('select $1::text || $2::text as joined', [`turn ${turn}`, ` number ${number}`]);
      if (turn === 4) say('queries', [named.rows, unnamed.rows]);
    }
    await fails('error', client.query({ name: 'bad', text: 'select 1 / $1::int', values: [0] }));
    await fails('type', client.query('select $1::int', ['no number']));
  }
  say('types', (await client.query({ text: "select 1::int8 as big, 1.50::numeric as n, true as b, null as nothing, array[1,2] as a, "
    + "'{\"x\": 1}'::jsonb as j, '\\x00ff'::bytea as bytes, 'ü€😀' as text", rowMode: 'array' })).rows);
  say('many at once', (await Promise.all(Array.from({ length: 30 }, (_, n) => client.query('select $1::int as n', [n])))).map((r) => r.rows[0].n));
  say('multi', (await client.query('select 1; select 2; update node_item set name = name where id = 1')).map((r) => [r.command, r.rowCount]));
}

async function transactions(client) {
  await client.query('begin');
  await client.query('delete from node_item where id <= 10');
  await fails('violation', client.query('insert into node_item values ($1, $2)', [20, 'again']));
  await fails('failed', client.query('select 1'));
  await client.query('rollback');
  say('count', (await client.query('select count(*) from node_item')).rows);
  await client.query("set timezone to 'Asia/Tokyo'");
  for (let i = 0; i < 4; i++) {
    say('zone', (await client.query("select current_setting('timezone') as z, current_setting('application_name') as a")).rows);
  }
}

async function cursors(client) {
  await client.query('begin');
  const cursor = client.query(new Cursor('select id from node_item where id > $1 order by id', [5]));
  say('first', (await cursor.read(3)).map((r) => r.id));
  say('next', (await cursor.read(40)).length);
  await cursor.close();
  await client.query('commit');
  let sum = 0;
  for await (const row of client.query(new QueryStream('select id from node_item order by id', [], { batchSize: 17 }))) sum += row.id;
  say('stream', sum);
  for await (const row of client.query(new QueryStream('select id from node_item order by id', [], { batchSize: 5 }))) {
    if (row.id === 12) break;  // the portal is closed half read
  }
  say('after', (await client.query('select count(*) from node_item')).rows);
}

async function copies(client) {
  const rows = Array.from({ length: 5000 }, (_, n) => `${n + 1000}\tcopied ${n}\n`);
  await pipeline(Readable.from(rows), client.query(copyFrom('copy node_item from stdin')));
  let bytes = 0;
  const sink = new Writable({ write(chunk, _, done) { bytes += chunk.length; done(); } });
  await pipeline(client.query(copyTo('copy (select * from node_item where id >= 1000 order by id) to stdout')), sink);
  say('copied', [bytes === rows.join('').length, (await client.query('select count(*) from node_item where id >= 1000')).rows]);
  await fails('copy', pipeline(Readable.from(['9000\tx\n', 'no number\ty\n']), client.query(copyFrom('copy node_item from stdin'))));
  say('usable', (await client.query('select count(*) from node_item where id >= 9000')).rows);
}

async function listens(client) {
  await client.query('listen node_news');
  const heard = [];
  client.on('notification', (message) => heard.push([message.channel, message.payload]));
  await connected(async (other) => {
    for (let i = 0; i < 3; i++) await other.query("select pg_notify('node_news', $1)", [`number ${i}`]);
  });
  while (heard.length < 3) await once(client, 'notification');
  say('heard', heard);
}

async function pools() {
  const pool = new pg.Pool({ max: 8 });
  const rows = await Promise.all(Array.from({ length: 60 }, (_, n) => pool.query({ name: 'pooled', text: 'select $1::int * 2 as n', values: [n] })));
  say('pool', rows.map((r) => r.rows[0].n));
  // The driver gives up on the answer; the connection and its server are busy until it has come.
  await fails('timeout', pool.query({ text: 'select pg_sleep(1)', query_timeout: 200 }));
  await pool.end();
}

async function main() {
  for (const work of [queries, transactions, cursors, copies, listens]) await connected(work, { application_name: work.name });
  await connected(async (client) => fails('server timeout', client.query('select pg_sleep(60)')), { statement_timeout: 200 });
  await pools();
  say('done', true);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
