// pool/session.h -- one client's life between login and goodbye, as a machine: bytes and events in, actions
// out.
//
// Thread: one (its worker's). Owner: the worker's client object. It owns no server: on_granted() lends it one
// until it says Release, Close or Cut.
//
//   Idle ─Acquire─► Waiting ─granted─► Preparing ─► Active ─last reply─► Idle (Release)
//                      └─refused─► Refusing ─► Idle or RefusedTransaction
//
// In Preparing the pool talks to the server: the clean-up after another client and the replay of this
// client's settings, through ledger entries that are swallowed. In Active everything is relayed and counted.
// When the client leaves while a server is held, Draining brings the server to rest. (product.md §5 and §6.)
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "pool/actions.h"
#include "pool/ids.h"
#include "pool/ledger.h"
#include "pool/outcome.h"
#include "pool/server_state.h"
#include "pool/session_options.h"
#include "pool/statements.h"
#include "pool/traits.h"
#include "pool/unnamed_statement.h"
#include "protocol/encode.h"
#include "protocol/frame.h"
#include "protocol/messages.h"

namespace sidepool::pool {

class Session {
 public:
  // `reported`: what the pool's servers report after login; the client has been or will be told these.
  // `scope`: among whom it shares texts of prepared statements.
  Session(SessionId id, const SessionOptions& options, StatementStore& store, Settings reported,
          StatementScope scope = {});
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // The startup parameters of the client. Before any other call. With `known` (the outcome of an earlier
  // validation of the same set; may be null when `startup` is) LoginDone follows at once; otherwise a server
  // is acquired and they are tried there. A value that PostgreSQL refuses ends in its error as FATAL.
  void begin(Settings startup, std::optional<Settings> known, Actions& out);

  // Bytes from the client, or none when the session could go on with what the driver has kept. Consumes from
  // the front; what is left must be offered again after the next event.
  void on_client(Bytes& in, Actions& out);
  // Bytes from the server, consumed to the end unless `out` is full or the server was released (what is left
  // then came unasked and makes the server unfit) or closed.
  void on_server(Bytes& in, Actions& out);

  // REQUIRES: Acquire was given and not answered. `server` is lent until Release or CloseServer.
  void on_granted(ServerState& server, Actions& out);
  // No server can be had. The error answers exactly one cycle; the connection stays (§6, pool full).
  void on_refused(const protocol::ErrorFields& why, Actions& out);
  // The server has closed its end or the connection broke. The driver forgets the server.
  // A client that had nothing at stake waits for another one; Acquire is given again.
  void on_server_lost(Actions& out);
  // The client said Terminate or is gone. CloseClient follows when nothing is left to do.
  void on_client_gone(Actions& out);
  // The client may not go on (time-out, administrator, shutdown): FATAL with `why`, then as if it had left;
  // what it has running is cancelled.
  void end(const protocol::ErrorFields& why, Actions& out);

  // A CancelRequest for this session is on its way to its server: the server stays until it has arrived.
  // Also called when CancelServer is carried out.
  void on_cancel_begun() noexcept {
    if (!std::exchange(cancel_asked_, false)) ++cancels_;
  }
  void on_cancel_done(bool server_unfit, Actions& out);

  bool takes_client_input() const noexcept;  // the driver reads only then
  Phase phase() const noexcept;
  bool draining() const noexcept { return state_ == State::Draining; }
  bool holds_server() const noexcept { return server_ != nullptr; }
  bool pinned() const noexcept { return pins_ != 0; }
  std::uint32_t pins() const noexcept { return pins_; }
  protocol::TxStatus tx_status() const noexcept { return tx_; }
  // What the server is at work on is ours, not the client's: a CancelRequest has to wait, or it would meet
  // that.
  bool setting_up() const noexcept { return server_ && !ledger_.empty() && ledger_.at(0).setup; }
  // For the broker: equal keys, equal state. 0 for a client without state of its own.
  std::uint64_t state_key() const noexcept;
  const Settings& overrides() const noexcept { return overrides_; }
  // The reported values the client is to be told in its welcome, after LoginDone.
  SettingSet welcome_values() const;
  const SessionEvents& events() const noexcept { return events_; }
  SessionEvents take_events() noexcept { return std::exchange(events_, {}); }
  SessionId id() const noexcept { return id_; }
  const StatementScope& scope() const noexcept { return scope_; }
  // The pid the client was given at login, for NotificationResponse in place of the server's own.
  void set_client_pid(std::uint32_t pid) noexcept { client_pid_ = pid; }

 private:
  enum class State : std::uint8_t {
    Login,  // before begin(), and while startup parameters are tried
    Idle,
    Waiting,
    Preparing,           // clean-up and replay are under way; the client's bytes wait
    Active,              // relays
    Refusing,            // answers one cycle with an error
    RefusedTransaction,  // the refused cycle would have opened a block: failed until COMMIT or ROLLBACK
    Draining,
    Closed,
  };
  // What becomes of the message of the client whose bytes are passing.
  enum class Passing : std::uint8_t { None, Forward, Drop, Collect, CollectHead, Scan };

  // Whether a Bind by an outdated description is described in its own cycle: the next message tells.
  enum class Outdated : std::uint8_t { Unknown, Described, Fails };

  using Unnamed = UnnamedStatement::Kind;
  struct TextScan;  // the text of a Query or Parse that comes in pieces
  struct Refusal;   // the answers without a server

  // session.cpp: states
  bool nothing_at_stake() const noexcept;
  bool keeps_server() const noexcept;
  void spell_startup();
  void acquire(Actions& out);
  void settle(Actions& out);
  bool between_replies() const noexcept { return !server_ || server_->exchange.framer.at_boundary(); }
  bool at_rest() const noexcept;
  void forget_server() noexcept;
  void release(Actions& out);
  void close_server(Actions& out);
  void fatal(const protocol::ErrorFields& why, Actions& out);
  void close(Actions& out);
  void drain(Actions& out);
  void request_cancel(Actions& out);

  // session_prepare.cpp: clean-up and replay
  void prepare(Actions& out);
  void send_clean_up(Actions& out);
  void send_replay(const SettingSet& values, Actions& out);
  void send_set_config(const SettingSet& values, bool encoding, Actions& out);
  void set_within_cycle(const SettingSet& values, Actions& out);
  void need_replay_statement(bool setup, Actions& out);
  void hide_replay_statement(bool setup, Actions& out);
  void setup_ready(Actions& out);
  void prepared(Actions& out);
  void replay_failed(Actions& out);

  // session_settings.cpp: what the client has as its own
  void tell_differences(Actions& out);
  void note_encoding() noexcept;
  void note_own_values();
  void drop_equal_overrides();
  void keep_equal_overrides();
  bool has_values() const noexcept;
  SettingSet missing_values() const;
  void change_overrides(Settings changed) noexcept;
  SettingSet startup_subset(std::uint32_t bits) const;

  // session_client.cpp: messages of the client
  bool start_cycle(Bytes& in, Actions& out);
  bool relay_client(Bytes& in, Actions& out);
  void begin_message(const protocol::Slice& s, Actions& out);
  void continue_message(const protocol::Slice& s, Actions& out);
  void on_message(char type, Bytes whole, Actions& out);
  void pass(Bytes bytes, Actions& out);
  bool on_query(Bytes whole, Actions& out);
  bool drops_unnamed_if_run() const noexcept;
  void note_query();
  void note_call();
  void end_piecemeal(char type) noexcept;
  bool on_function_call(Bytes whole, Actions& out);
  void on_sync(Bytes whole, Actions& out);
  void send_sync(Bytes whole, Actions& out);
  void on_execute(Bytes whole);
  void flush_if_full(Actions& out);
  void expect(Request request, Reply reply = Reply::Forward);
  void open_cycle() noexcept { cycle_open_ = true; }
  void malformed(std::string_view what, Actions& out);
  void spoil(Bytes bytes, Actions& out);
  void bad_length(char type, std::uint32_t length, Actions& out);

  // session_judge.cpp: what texts and calls do to the session
  protocol::ScanResult scan(std::string_view text) const noexcept;
  protocol::ScanResult doubt(protocol::ScanResult result) const noexcept;
  Traits judge_text(const protocol::ScanResult& scan) const;
  static Traits judge_call(Bytes body);
  bool creates_temporary() const noexcept;
  bool resets_too_soon(const Traits& t) const noexcept;
  // A failed clean-up leaves a transaction block that has failed, too: what would end it waits.
  bool must_not_end_setup(const Traits& t) const noexcept { return t.ends_block && cleaning(); }
  bool cleaning() const noexcept { return setting_up() && ledger_.at(0).request == Request::Query; }
  void use(const Traits& t) noexcept;
  void hold_behind() noexcept;

  // session_again.cpp: a cycle that met an outdated plan
  void begin_keeping(const ClientStatements::Entry& entry);
  void keep(char type, Bytes whole);
  void drop_kept() noexcept;
  void forget_cycle() noexcept;
  bool send_again(Actions& out);
  void run_again(Actions& out);
  bool put_off(Bytes bind);
  void end_putting_off(char type, Bytes whole, Actions& out);

  // session_names.cpp: the client's statements under its own names on its server
  bool sees_names(const protocol::ScanResult& scan) const noexcept;
  static bool needs_own_names(const Traits& t) noexcept {
    return (t.pins & static_cast<std::uint32_t>(Pin::OwnNames)) != 0;
  }
  bool give_own_names(const Traits& t, Actions& out);
  bool wait_for_names(Actions& out);
  void end_unsent_query(Actions& out);
  void switch_names(Actions& out);
  void put_under_own_name(const std::string& name, const Statement& statement, Actions& out);
  bool parse_own(const protocol::ParseView& p, Bytes whole, Actions& out);
  bool bind_own(std::string_view name);
  bool close_own(std::string_view name, Bytes whole, Actions& out);

  // session_policy.cpp: pinning = "refuse" and "off"
  Pinning policy() const noexcept {
    return options_->mode == Mode::Session ? Pinning::Auto : options_->pinning;
  }
  std::uint32_t refused(const Traits& t) const noexcept { return refused_pins(t.pins, policy()); }
  bool refuse_query(std::uint32_t pins, Actions& out);
  bool refuse_call(std::uint32_t pins, Actions& out);
  bool refuse_bind(std::uint32_t pins, bool whole, Actions& out);
  bool refuse_parse(std::string_view name, std::uint32_t pins, Actions& out);
  void refuse_statements(bool too_many, Actions& out);
  void refuse_scanned(const TextScan& text, std::uint32_t pins, Actions& out);
  void send_failing(Request request, Buffer error, Actions& out);
  void tell_losses(std::uint32_t lost, Actions& out);
  bool let_go(Actions& out);

  // session_long.cpp: messages of the client that come in pieces, or that have to wait
  void begin_long_message(const protocol::Slice& s, Actions& out);
  void begin_long_call(const protocol::Slice& s, Actions& out);
  void begin_long_parse(Bytes header, Bytes body, std::uint32_t size, bool last, Actions& out);
  bool holds_query_back(std::uint32_t size);
  void begin_scan(char type);
  void scan_piece(Bytes piece, Bytes text, bool last, Actions& out);
  void end_scan(Bytes last, Actions& out);
  void collect(const protocol::Slice& s, Actions& out);
  void collect_head(const protocol::Slice& s, Actions& out);
  void bind_part(Actions& out);
  void retry_stalled(Actions& out);

  // session_statements.cpp: prepared statements
  bool on_parse(Bytes whole, Actions& out);
  bool parse_named(std::string_view full_name, Bytes tail, const protocol::ScanResult& scanned, Actions& out);
  bool parse_twice(std::string_view name, const StatementRef& statement, Actions& out);
  bool parse_once(std::string_view name, const StatementRef& statement, Actions& out);
  bool behind_alone(Actions& out);
  void put_back_within_cycle(Actions& out);
  bool on_bind(Bytes part, bool whole, std::uint32_t body_size, Actions& out);
  bool on_describe(Bytes whole, Actions& out);
  bool describe_bound();
  bool on_close(Bytes whole, Actions& out);
  void ensure_on_server(const ClientStatements::Entry& entry, Actions& out);
  bool unsettled(const StatementRef& statement) const noexcept;
  bool sql_may_have_prepared() const noexcept;
  void close_stale(StatementId id, Actions& out);
  void send_parse(const Statement& statement, Reply reply, std::unique_ptr<ClientStatements::Change> change,
                  Actions& out);
  void fail_instead(std::string_view code, std::string_view message, Actions& out,
                    std::string_view routine = {});
  bool absent(std::string_view name) const noexcept;
  void fail_as_absent(std::string_view name, Actions& out);
  void evict_statements(Actions& out);
  void parse_under(const Settings& fingerprint, Actions& out, bool begin);
  bool may_invent() const noexcept;
  // Names on the server are ours, not the client's.
  bool rewrites() const noexcept {
    return options_->mode != Mode::Session && options_->max_server_statements != 0 && !own_names_;
  }
  ClientStatements& statements();
  bool parses_apart() const noexcept;
  const Settings& fingerprint();

  // session_unnamed.cpp: the unnamed statement, and DEALLOCATE
  UnnamedStatement& unnamed();
  bool unnamed_on_server_only() const noexcept { return unnamed_ && unnamed_->kind == Unnamed::OnServerOnly; }
  bool parse_unnamed(Bytes whole, Bytes tail, Actions& out);
  void ensure_unnamed(Actions& out);
  bool unnamed_unsettled();
  const ClientStatements::Entry* unnamed_target();
  void put_unnamed_deallocate(const Statement& target, Bytes tail, Actions& out);
  bool on_lone_deallocate(std::string_view name, Actions& out);
  void forget_unnamed() noexcept;
  void note_long_text() noexcept;

  // session_server.cpp: messages of the server
  void server_message(const protocol::Slice& s, Actions& out);
  void begin_reply(const protocol::Slice& s, Actions& out);
  void drop_rows(std::size_t size, Actions& out);
  void whole_reply(char type, Bytes whole, Actions& out);
  void complete(char type, Bytes whole, Actions& out);
  void after_reply(Actions& out);
  static void pass_back(Bytes bytes, Actions& out) { out.pass(Do::ToClient, bytes); }
  void on_ready(Bytes whole, Actions& out);
  void end_of_transaction(Actions& out);
  void on_parameter(Bytes whole, Actions& out);
  bool end_hold(Actions& out);
  void tell_resets(Actions& out);
  void note_set_values();
  void on_tag(std::string_view tag);
  void forget_statements() noexcept;
  void on_notification(Bytes whole, Actions& out);
  // The turn of entries that the server says nothing to.
  void pass_silent_head(Actions& out) {
    if (ledger_.empty()) return;
    const auto& head = ledger_.front();
    if (head.request != Request::CopyEnd && head.reply != Reply::Invent) return;
    drop_stray_copy_ends();
    answer_invented(out);
  }
  void answer_invented(Actions& out);

  // session_copy.cpp: COPY-in
  bool in_copy(char type) const noexcept;
  void eat(char type, Bytes bytes, Actions& out);
  void note_copy_data();
  void on_copy_end(Bytes whole, Actions& out);
  void on_copy_in(Actions& out);
  void end_copy();
  void drop_stray_copy_ends();

  // session_error.cpp: ErrorResponse, and what it makes the server skip
  void on_error(Bytes whole, Actions& out);
  void error_of_extended(const protocol::ErrorView& e, Bytes whole, Actions& out);
  void tell_error(Bytes whole, const Expected& failed, Actions& out);
  void setup_error(Bytes whole);
  bool note_stale_plan(const protocol::ErrorView& e, const Expected& failed);
  void skip_to_sync();
  void undo(Expected& e);
  void lose_order(Actions& out);

  // session_shape.cpp: what a statement looks like to those who have a description
  bool describes_next() noexcept;
  bool check_shape(std::string_view name, const ClientStatements::Entry& entry, Actions& out);
  bool note_change(Statement& s);
  bool check_unnamed(Actions& out);
  bool fail_by_old_description(bool whole, Actions& out);
  void ask_for_shape(std::string_view server_name, Expected description, Actions& out);
  void note_shape(Expected& e, char type, Bytes whole);
  void note_unnamed_shape(const Expected& e, bool rows, std::uint64_t now) noexcept;

  // session_refusal.cpp: answers without a server
  void refuse_input(Bytes& in, Actions& out);
  void refused_cycle(char type, Bytes body, Actions& out);
  void failed_transaction(char type, Bytes body, Actions& out);
  void end_refused_cycle(Actions& out);
  static void leave(Refusal& r, Actions& out);
  void ready_in_refusal(Actions& out);
  void refuse_once(Actions& out);
  protocol::TxVerb verb_of(std::string_view statement);

  SessionId id_;
  protocol::Framer client_;
  const SessionOptions* options_;
  StatementStore* store_;
  StatementScope scope_;
  ServerState* server_ = nullptr;  // lent

  Ledger ledger_;
  State state_ = State::Login;
  Passing passing_ = Passing::None;
  protocol::TxStatus tx_ = protocol::TxStatus::Idle;
  protocol::EncodingClass encoding_ = protocol::EncodingClass::AsciiSafe;

  bool standard_strings_ = true;  // standard_conforming_strings
  bool login_ = false;            // startup parameters are being tried
  bool wrote_ = false;            // bytes of the client have gone to this server
  bool cycle_open_ = false;       // an extended message has passed since the last Sync
  bool skipping_ = false;         // the server skips to the next Sync
  bool copying_ = false;          // the server is in COPY-in for the entry at the head
  bool copy_unclear_ = false;     // messages that COPY-in may or may not have eaten
  bool copy_bound_ = false;       // a COPY statement was bound in this cycle
  bool sync_held_ = false;        // a Sync waits for the first reply of an Execute that may be a COPY
  bool stalled_ = false;          // client_part_ holds a message that needs a reply first
  bool hold_for_ready_ = false;   // nothing more of the client may pass before this cycle is answered
  bool reset_ran_ = false;        // in this cycle a RESET to be followed by startup values has been executed
  bool hold_next_ = false;        // that is so as soon as this cycle has been sent
  bool alone_flushed_ = false;    // the answer to what that is about has been asked for
  bool settings_move_ = false;    // a text that changes settings has not been answered to the end
  bool swallow_ = false;          // the server's message that is passing is not for the client
  bool checking_shape_ = false;   // a Bind waits for a description
  bool setup_failed_ = false;     // a clean-up or a replay answered an error
  bool got_fatal_ = false;        // the server has said why it will close
  bool local_settings_ = false;   // this transaction may run under settings that nothing reports
  bool local_names_ = false;      // names may mean objects that only this transaction sees
  TransactionOutcome outcome_;
  bool committing_ = false;  // a text that ends the transaction has been sent
  bool cancel_sent_ = false;
  bool cancel_asked_ = false;        // counted in cancels_, not carried out yet
  bool keeping_ = false;             // messages of this cycle are kept
  bool running_again_ = false;       // what is passing has been sent before
  bool own_names_ = false;           // the server has the client's statements under the client's names
  bool switching_ = false;           // what is sent now belongs to a switch to these
  bool switched_for_query_ = false;  // a Query waits for the answers to such a switch
  bool letting_go_ = false;          // the server is cleaned before it goes back
  bool fingerprint_known_ = false;
  bool spoiled_ = false;  // the server is about to end the session over what the client has sent
  bool client_gone_ = false;
  bool server_unfit_ = false;
  Outdated outdated_ = Outdated::Unknown;
  std::uint16_t cancels_ = 0;

  std::uint32_t pins_ = 0;               // bits of Pin that hold now
  std::uint32_t suspect_ = 0;            // bits of Pin that this transaction may leave behind
  std::uint32_t told_lost_ = 0;          // bits of Pin whose loss the client has been told
  std::uint32_t resets_ = 0;             // startup settings that this cycle puts back
  std::uint16_t sets_ = 0, unsets_ = 0;  // as in Traits, of what has been sent since a transaction ended
  std::uint32_t cycle_ = 1;

  Settings startup_;    // the client's base: what its RESET returns to
  Settings overrides_;  // what this client has as its own, whatever a server's own values are
  Settings told_;       // the servers' own values as the client was last told
  Settings unasked_;    // those of overrides_ that came without a text that sets something
  Settings fingerprint_;
  std::uint32_t version_ = 1;  // grows when overrides_ changes
  std::uint32_t client_pid_ = 0;

  std::unique_ptr<ClientStatements> statements_;
  std::unique_ptr<UnnamedStatement> unnamed_;  // null: it has never had one

  Buffer client_part_;               // of a message that has to be whole and came in pieces
  std::uint32_t part_body_ = 0;      // the announced size of the body of client_part_
  std::uint32_t part_reserved_ = 0;  // of the store's memory, for client_part_
  std::unique_ptr<TextScan> text_;
  std::unique_ptr<Refusal> refusal_;
  SessionEvents events_;
};

}  // namespace sidepool::pool
