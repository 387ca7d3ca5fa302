// tests/e2e/clients/go/main.go -- what applications do with pgx and lib/pq, as lines of text: the same directly and pooled.
//
//	client pgx|pq      where to: libpq's environment
package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/lib/pq"
)

var ctx = context.Background()

func say(what string, seen ...any) { fmt.Println(what+":", fmt.Sprint(seen...)) }

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func state(err error) string {
	var inPgx *pgconn.PgError
	var inPq *pq.Error
	switch {
	case errors.As(err, &inPgx):
		return inPgx.Code + " " + inPgx.Message
	case errors.As(err, &inPq):
		return string(inPq.Code) + " " + inPq.Message
	default:
		return fmt.Sprint(err)
	}
}

const schema = `drop table if exists go_item;
create table go_item (id int primary key, name text, price numeric(8, 2));
insert into go_item select n, 'item ' || n, n * 1.5 from generate_series(1, 500) n`

func pgxModes() {
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe,
		pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
		config, err := pgx.ParseConfig("")
		must(err)
		config.DefaultQueryExecMode = mode
		config.StatementCacheCapacity, config.DescriptionCacheCapacity = 3, 3 // more texts than that: old ones are closed
		connection, err := pgx.ConnectConfig(ctx, config)
		must(err)
		for turn := 0; turn < 6; turn++ {
			for number := 1; number <= 5; number++ {
				var n, seen int
				var name string
				text := fmt.Sprintf("select %d, $1::int, name from go_item where id = $2", number)
				must(connection.QueryRow(ctx, text, turn, number).Scan(&n, &seen, &name))
				if turn == 5 {
					say(mode.String(), n, " ", seen, " ", name)
				}
			}
			var ignored int
			say("error", state(connection.QueryRow(ctx, "select 1 / $1::int", 0).Scan(&ignored)))
		}
		must(connection.Close(ctx))
	}
}

func pgxTransactions(connection *pgx.Conn) {
	tx, err := connection.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.Serializable})
	must(err)
	_, err = tx.Exec(ctx, "delete from go_item where id <= $1", 50)
	must(err)
	nested, err := tx.Begin(ctx)
	must(err)
	_, err = nested.Exec(ctx, "insert into go_item values (100, 'again')")
	say("violation", state(err))
	_, err = nested.Exec(ctx, "select 1")
	say("failed", state(err))
	must(nested.Rollback(ctx))
	var count int
	must(tx.QueryRow(ctx, "select count(*) from go_item").Scan(&count))
	must(tx.Rollback(ctx))
	say("inside", count)
	must(connection.QueryRow(ctx, "select count(*) from go_item").Scan(&count))
	say("outside", count)
}

func pgxBatches(connection *pgx.Conn) {
	for turn := 0; turn < 4; turn++ {
		batch := &pgx.Batch{}
		for number := 0; number < 20; number++ {
			batch.Queue("select $1::int + $2::int", turn, number)
		}
		results := connection.SendBatch(ctx, batch)
		sum := 0
		for number := 0; number < 20; number++ {
			var n int
			must(results.QueryRow().Scan(&n))
			sum += n
		}
		must(results.Close())
		say("batch", sum)
		bad := &pgx.Batch{}
		bad.Queue("insert into go_item values (9000, 'undone')")
		bad.Queue("select 1 / $1::int", 0)
		bad.Queue("insert into go_item values (9001, 'never')")
		say("bad batch", state(connection.SendBatch(ctx, bad).Close()))
		var count int
		must(connection.QueryRow(ctx, "select count(*) from go_item where id >= 9000").Scan(&count))
		say("undone", count)
	}
	pipeline := connection.PgConn().StartPipeline(ctx)
	pipeline.SendPrepare("piped", "select $1::int * 2", nil)
	for number := 0; number < 3; number++ {
		pipeline.SendQueryPrepared("piped", [][]byte{[]byte(fmt.Sprint(number))}, nil, nil)
	}
	pipeline.SendDeallocate("piped")
	must(pipeline.Sync())
	for {
		result, err := pipeline.GetResults()
		must(err)
		switch r := result.(type) {
		case *pgconn.StatementDescription:
			say("described", len(r.Fields))
			continue
		case *pgconn.ResultReader:
			read := r.Read()
			must(read.Err)
			say("piped", string(read.Rows[0][0]))
			continue
		case *pgconn.CloseComplete:
			say("closed")
			continue
		case *pgconn.PipelineSync:
		}
		break
	}
	must(pipeline.Close())
}

func pgxCopies(connection *pgx.Conn) {
	rows := [][]any{}
	for number := 2000; number < 6000; number++ {
		rows = append(rows, []any{number, fmt.Sprint("copied ", number)})
	}
	count, err := connection.CopyFrom(ctx, pgx.Identifier{"go_item"}, []string{"id", "name"}, pgx.CopyFromRows(rows))
	must(err)
	say("copied in", count)
	var out bytes.Buffer
	tag, err := connection.PgConn().CopyTo(ctx, &out, "copy (select id, name from go_item where id >= 5998 order by id) to stdout")
	must(err)
	say("copied out", tag.String(), out.String())
	_, err = connection.CopyFrom(ctx, pgx.Identifier{"go_item"}, []string{"id", "name"}, pgx.CopyFromRows([][]any{{1, "there already"}}))
	say("copy refused", state(err))
	_, err = connection.PgConn().CopyFrom(ctx, strings.NewReader("no number\tx\n"), "copy go_item (id, name) from stdin")
	say("copy refused", state(err))
	must(connection.QueryRow(ctx, "select count(*) from go_item where id >= 2000").Scan(&count))
	say("usable", count)
}

func pgxPool() {
	pool, err := pgxpool.New(ctx, "pool_max_conns=8")
	must(err)
	defer pool.Close()
	answers := make([]int, 200)
	var all sync.WaitGroup
	for number := range answers {
		all.Add(1)
		go func(number int) {
			defer all.Done()
			must(pool.QueryRow(ctx, "select $1::int * 3", number).Scan(&answers[number]))
		}(number)
	}
	all.Wait()
	say("pool", answers)
}

// The context of a query ends: pgx closes the connection and sends a cancel request beside it.
func pgxCancel() {
	connection, err := pgx.Connect(ctx, "")
	must(err)
	short, end := context.WithTimeout(ctx, 200*time.Millisecond)
	defer end()
	_, err = connection.Exec(short, "select pg_sleep(60)")
	say("context", errors.Is(err, context.DeadlineExceeded), connection.IsClosed())
	connection, err = pgx.Connect(ctx, "")
	must(err)
	go func() {
		time.Sleep(200 * time.Millisecond)
		must(connection.PgConn().CancelRequest(ctx))
	}()
	_, err = connection.Exec(ctx, "select pg_sleep(60)")
	say("cancelled", state(err))
	var one int
	must(connection.QueryRow(ctx, "select 1").Scan(&one))
	say("usable", one)
	must(connection.Close(ctx))
}

func pgxListen() {
	connection, err := pgx.Connect(ctx, "")
	must(err)
	_, err = connection.Exec(ctx, "listen go_news")
	must(err)
	other, err := pgx.Connect(ctx, "")
	must(err)
	for number := 0; number < 3; number++ {
		_, err = other.Exec(ctx, "select pg_notify('go_news', $1)", fmt.Sprint("number ", number))
		must(err)
		heard, err := connection.WaitForNotification(ctx)
		must(err)
		say("heard", heard.Channel, " ", heard.Payload)
	}
	must(other.Close(ctx))
	must(connection.Close(ctx))
}

func runPgx() {
	connection, err := pgx.Connect(ctx, "")
	must(err)
	_, err = connection.Exec(ctx, schema)
	must(err)
	pgxModes()
	pgxTransactions(connection)
	pgxBatches(connection)
	pgxCopies(connection)
	must(connection.Close(ctx))
	pgxPool()
	pgxCancel()
	pgxListen()
}

func pqQueries(database *sql.DB) {
	statement, err := database.Prepare("select $1::int, name from go_item where id = $2")
	must(err)
	for number := 1; number <= 30; number++ {
		var seen int
		var name string
		must(statement.QueryRow(number, number).Scan(&seen, &name))
		must(database.QueryRow("select $1::int, name from go_item where id = $2", number, number).Scan(&seen, &name))
		say("queries", seen, " ", name)
		var ignored int
		say("error", state(database.QueryRow("select 1 / $1::int", 0).Scan(&ignored)))
	}
	must(statement.Close())
}

func pqTransactions(database *sql.DB) {
	tx, err := database.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead})
	must(err)
	statement, err := tx.Prepare("update go_item set name = $1 where id = $2")
	must(err)
	for number := 1; number <= 10; number++ {
		_, err = statement.Exec("changed", number)
		must(err)
	}
	_, err = tx.Exec("insert into go_item values (1, 'again')")
	say("violation", state(err))
	_, err = tx.Exec("select 1")
	say("failed", state(err))
	must(tx.Rollback())
	var count int
	must(database.QueryRow("select count(*) from go_item where name = 'changed'").Scan(&count))
	say("rolled back", count)
}

func pqCopy(database *sql.DB) {
	tx, err := database.Begin()
	must(err)
	statement, err := tx.Prepare(pq.CopyIn("go_item", "id", "name"))
	must(err)
	for number := 7000; number < 7500; number++ {
		_, err = statement.Exec(number, "copied")
		must(err)
	}
	_, err = statement.Exec()
	must(err)
	must(statement.Close())
	must(tx.Commit())
	tx, err = database.Begin()
	must(err)
	statement, err = tx.Prepare(pq.CopyIn("go_item", "id", "name"))
	must(err)
	_, err = statement.Exec(1, "there already")
	must(err)
	_, err = statement.Exec()
	say("copy refused", state(err))
	statement.Close()
	must(tx.Rollback())
	var count int
	must(database.QueryRow("select count(*) from go_item where id >= 7000").Scan(&count))
	say("copied", count)
}

func runPq() {
	database, err := sql.Open("postgres", "sslmode=disable")
	must(err)
	defer database.Close()
	_, err = database.Exec(schema)
	must(err)
	pqQueries(database)
	pqTransactions(database)
	pqCopy(database)
	short, end := context.WithTimeout(ctx, 200*time.Millisecond)
	defer end()
	_, err = database.ExecContext(short, "select pg_sleep(60)")
	say("cancelled", state(err))
	var one int
	must(database.QueryRow("select 1").Scan(&one))
	say("usable", one)
	listener := pq.NewListener("sslmode=disable", time.Second, time.Minute, nil)
	must(listener.Listen("pq_news"))
	for number := 0; number < 3; number++ {
		_, err = database.Exec("select pg_notify('pq_news', $1)", fmt.Sprint("number ", number))
		must(err)
		heard := <-listener.Notify
		say("heard", heard.Channel, " ", heard.Extra)
	}
	must(listener.Close())
}

func main() {
	if os.Args[1] == "pgx" {
		runPgx()
	} else {
		runPq()
	}
	say("done", true)
}
