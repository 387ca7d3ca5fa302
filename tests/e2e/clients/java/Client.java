// tests/e2e/clients/java/Client.java -- what applications do with JDBC, as lines of text: the same lines directly and pooled.
//
//   java Client HOST PORT DATABASE USER PASSWORD
import java.io.ByteArrayOutputStream;
import java.io.StringReader;
import java.sql.BatchUpdateException;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.sql.Types;
import java.util.Properties;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyManager;

public final class Client {
    private static String url;
    private static Properties login;

    private static Connection connect(String... more) throws SQLException {
        Properties all = new Properties();
        all.putAll(login);
        for (int i = 0; i < more.length; i += 2) all.setProperty(more[i], more[i + 1]);
        return DriverManager.getConnection(url, all);
    }

    private static void say(String what, Object seen) {
        System.out.println(what + ": " + seen);
    }

    private static Object one(Connection connection, String text) throws SQLException {
        try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery(text)) {
            rows.next();
            return rows.getObject(1);
        }
    }

    private static void table(Connection connection) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.execute("drop table if exists jdbc_item");
            statement.execute("create table jdbc_item (id int primary key, name text, at timestamptz)");
            statement.execute("insert into jdbc_item select n, 'item ' || n, '2024-01-01 00:00+00'::timestamptz"
                + " + n * interval '1 hour' from generate_series(1, 1000) n");
        }
    }

    // A fetch size makes named portals: Bind C_1, Execute with a row limit, again and again.
    private static void portals() throws SQLException {
        try (Connection connection = connect("defaultRowFetchSize", "37")) {
            connection.setAutoCommit(false);
            for (int turn = 0; turn < 3; turn++) {
                long sum = 0;
                try (PreparedStatement outer = connection.prepareStatement("select id from jdbc_item where id > ? order by id");
                     PreparedStatement inner = connection.prepareStatement("select name from jdbc_item where id = ?")) {
                    outer.setInt(1, turn);
                    try (ResultSet rows = outer.executeQuery()) {
                        while (rows.next()) {  // another statement between two fetches of the portal
                            sum += rows.getInt(1);
                            if (rows.getInt(1) % 100 != 0) continue;
                            inner.setInt(1, rows.getInt(1));
                            try (ResultSet names = inner.executeQuery()) {
                                names.next();
                                sum += names.getString(1).length();
                            }
                        }
                    }
                }
                say("portals", sum);
                connection.commit();
            }
            try (Statement statement = connection.createStatement()) {  // a portal that is left half read
                statement.setFetchSize(10);
                ResultSet rows = statement.executeQuery("select id from jdbc_item order by id");
                for (int i = 0; i < 15; i++) rows.next();
                say("half read", rows.getInt(1));
            }
            connection.rollback();
            say("after rollback", one(connection, "select count(*) from jdbc_item"));
        }
    }

    // prepareThreshold=1: named statements S_1 … from the first execution on; -1: binary at once.
    private static void prepared(String threshold) throws SQLException {
        try (Connection connection = connect("prepareThreshold", threshold, "preparedStatementCacheQueries", "4")) {
            for (int turn = 0; turn < 10; turn++) {
                for (int number = 0; number < 7; number++) {  // more texts than the cache holds: Close for the oldest
                    String text = "select " + number + ", ?::int, ?::text, ?::timestamptz, name from jdbc_item where id = ?";
                    try (PreparedStatement statement = connection.prepareStatement(text)) {
                        statement.setInt(1, turn);
                        statement.setString(2, "it's " + turn);
                        statement.setTimestamp(3, new java.sql.Timestamp(1700000000000L + turn));
                        statement.setInt(4, number + 1);
                        try (ResultSet rows = statement.executeQuery()) {
                            rows.next();
                            if (turn == 9) say("prepared", rows.getInt(1) + " " + rows.getInt(2) + " " + rows.getString(3) + " "
                                + rows.getTimestamp(4).getTime() + " " + rows.getString(5));
                        }
                    }
                }
                if (turn % 3 == 0) {
                    try (PreparedStatement bad = connection.prepareStatement("select 1 / ?::int")) {
                        bad.setInt(1, 0);
                        bad.executeQuery();
                    } catch (SQLException error) {
                        say("error", error.getSQLState());
                    }
                }
            }
            try (PreparedStatement nothing = connection.prepareStatement("select ?::int is null")) {
                nothing.setNull(1, Types.INTEGER);
                try (ResultSet rows = nothing.executeQuery()) {
                    rows.next();
                    say("null", rows.getBoolean(1));
                }
                say("parameters", nothing.getParameterMetaData().getParameterTypeName(1));
            }
        }
    }

    private static void batches() throws SQLException {
        for (String rewrite : new String[] {"false", "true"}) {
            try (Connection connection = connect("reWriteBatchedInserts", rewrite)) {
                connection.setAutoCommit(false);
                try (PreparedStatement insert = connection.prepareStatement("insert into jdbc_item (id, name) values (?, ?)")) {
                    for (int i = 2000; i < 2500; i++) {
                        insert.setInt(1, i);
                        insert.setString(2, "batch " + i);
                        insert.addBatch();
                    }
                    say("batch", insert.executeBatch().length);
                }
                connection.rollback();
                connection.setAutoCommit(true);
                try (PreparedStatement insert = connection.prepareStatement("insert into jdbc_item (id, name) values (?, ?)",
                        Statement.RETURN_GENERATED_KEYS)) {
                    for (int i : new int[] {3000, 3001, 1, 3002}) {  // the third is there already
                        insert.setInt(1, i);
                        insert.setString(2, "x");
                        insert.addBatch();
                    }
                    try {
                        insert.executeBatch();
                    } catch (BatchUpdateException error) {
                        say("refused batch", error.getSQLState() + " " + error.getUpdateCounts().length);
                    }
                }
                say("rows", one(connection, "select count(*) from jdbc_item where id >= 2000"));
                try (Statement statement = connection.createStatement()) {
                    statement.execute("delete from jdbc_item where id >= 2000");
                    for (int i = 0; i < 20; i++) statement.addBatch("update jdbc_item set name = name where id <= " + i);
                    int total = 0;
                    for (int count : statement.executeBatch()) total += count;
                    say("updates", total);
                }
            }
        }
    }

    private static void transactions() throws SQLException {
        try (Connection connection = connect()) {
            connection.setAutoCommit(false);
            connection.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
            say("isolation", one(connection, "show transaction_isolation"));
            try (Statement statement = connection.createStatement()) {
                statement.executeUpdate("delete from jdbc_item where id <= 100");
                Savepoint savepoint = connection.setSavepoint("here");
                try {
                    statement.executeUpdate("insert into jdbc_item values (500, 'again')");
                } catch (SQLException error) {
                    say("violation", error.getSQLState());
                }
                try {
                    statement.executeQuery("select 1");
                } catch (SQLException error) {
                    say("failed", error.getSQLState());
                }
                connection.rollback(savepoint);
                say("inside", one(connection, "select count(*) from jdbc_item"));
            }
            connection.rollback();
            say("outside", one(connection, "select count(*) from jdbc_item"));
            connection.commit();
            connection.setReadOnly(true);
            try (Statement statement = connection.createStatement()) {
                statement.executeUpdate("delete from jdbc_item");
            } catch (SQLException error) {
                say("read only", error.getSQLState());
            }
            connection.rollback();
        }
        try (Connection connection = connect("ApplicationName", "jdbc app", "autosave", "always")) {
            connection.setAutoCommit(false);
            try (Statement statement = connection.createStatement()) {
                for (int i = 0; i < 3; i++) {
                    try {
                        statement.executeQuery("select 1 / 0");
                    } catch (SQLException error) {
                        say("autosave", error.getSQLState() + " " + one(connection, "show application_name"));
                    }
                }
            }
            connection.commit();
            connection.setAutoCommit(true);
            connection.setClientInfo("ApplicationName", "renamed");
            for (int i = 0; i < 3; i++) say("client info", one(connection, "show application_name"));
            say("valid", connection.isValid(10));
        }
    }

    private static void cancels() throws Exception {
        try (Connection connection = connect(); Statement statement = connection.createStatement()) {
            for (int i = 0; i < 3; i++) {
                statement.setQueryTimeout(1);  // the driver sends a CancelRequest
                try {
                    statement.executeQuery("select pg_sleep(60)");
                } catch (SQLException error) {
                    say("cancelled", error.getSQLState());
                }
                statement.setQueryTimeout(0);
                say("after", one(connection, "select " + i));
                if (i == 0) statement.executeQuery("select 1").close();
            }
        }
    }

    private static void copies() throws Exception {
        try (Connection connection = connect()) {
            CopyManager copy = connection.unwrap(PGConnection.class).getCopyAPI();
            StringBuilder text = new StringBuilder();
            for (int i = 5000; i < 15000; i++) text.append(i).append("\tcopied ").append(i).append('\n');
            say("copied in", copy.copyIn("copy jdbc_item (id, name) from stdin", new StringReader(text.toString())));
            ByteArrayOutputStream out = new ByteArrayOutputStream();
            say("copied out", copy.copyOut("copy (select id, name from jdbc_item where id >= 5000 order by id) to stdout", out));
            say("the same", out.toString("UTF-8").contentEquals(text));
            try {
                copy.copyIn("copy jdbc_item (id, name) from stdin", new StringReader("20000\ta\nno number\tb\n"));
            } catch (SQLException error) {
                say("copy refused", error.getSQLState());
            }
            say("usable", one(connection, "select count(*) from jdbc_item where id >= 5000"));
        }
    }

    public static void main(String[] arguments) throws Exception {
        url = "jdbc:postgresql://" + arguments[0] + ":" + arguments[1] + "/" + arguments[2];
        login = new Properties();
        login.setProperty("user", arguments[3]);
        login.setProperty("password", arguments[4]);
        login.setProperty("socketTimeout", "60");
        try (Connection connection = connect()) {
            table(connection);
            say("product", connection.getMetaData().getDatabaseProductName());
        }
        portals();
        for (String threshold : new String[] {"1", "-1", "5", "0"}) prepared(threshold);
        for (String mode : new String[] {"simple", "extendedForPrepared", "extended", "extendedCacheEverything"}) {
            try (Connection connection = connect("preferQueryMode", mode)) {
                for (int i = 0; i < 8; i++) say(mode, one(connection, "select " + i % 2 + " + count(*) from jdbc_item"));
            }
        }
        batches();
        transactions();
        cancels();
        copies();
        say("done", true);
    }
}
