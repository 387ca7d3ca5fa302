// src/worker/worker.h -- one thread, one loop: its clients, its idle servers, and what is on its way.
#pragma once
#include <atomic>
#include <cstdint>
#include <deque>
#include <list>
#include <memory>
#include <string>
#include <thread>
#include <unordered_map>
#include <variant>
#include <vector>

#include "pool/actions.h"
#include "pool/statements.h"
#include "src/base/mailbox.h"
#include "src/base/slab.h"
#include "src/io/loop.h"
#include "src/io/outbox.h"
#include "src/upstream/resolver.h"
#include "src/worker/messages.h"
#include "src/worker/route_request.h"
#include "src/worker/upstream.h"

namespace sidepool::worker {

class Client;
class Opener;
class CancelConnection;
class Login;
class Worker;

// Counts and limits of the whole process. Any thread.
struct Shared {
  std::atomic<std::uint32_t> clients{0};   // sockets of clients, logged in or not
  std::atomic<std::uint32_t> sessions{0};  // of them, those that have sent a startup packet
  std::atomic<std::uint64_t> startups{0};  // startup packets so far
  std::atomic<std::uint32_t> pools{0};
  std::atomic<bool> stopping{false};
  upstream::Resolver* resolver = nullptr;
  metrics::Registry* registry = nullptr;
  std::vector<std::unique_ptr<Upstream>> upstreams;
  std::vector<Worker*> workers;
  std::string statement_token;

  // For another pool (max_pools): one that nobody uses is forgotten. False: all are in use.
  bool forget_unused_pool();
};

// An upstream as one worker sees it. A reload replaces the options; sessions keep those they began with,
// because what a session may assume of its servers depends on them.
struct LocalUpstream {
  Upstream* shared = nullptr;
  const conf::Upstream* conf = nullptr;
  std::shared_ptr<const pool::SessionOptions> options;
  std::shared_ptr<TimerNode> poll;  // set for the worker that polls this upstream's broker
  pool::Time poll_at{};
};

class Worker {
 public:
  Worker(std::uint16_t number, Shared& shared, std::shared_ptr<const conf::Config> config,
         std::unique_ptr<io::Loop> loop);
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // Every callback of the loop opens one. What may not happen while something is at work further up the stack
  // (a grant, an end, the destruction of whoever said that it is over) is done when the outermost ends.
  class Turn {
   public:
    explicit Turn(Worker& worker) noexcept : worker_(worker) {
      if (worker.depth_++ == 0) worker.now_.reset();
    }
    ~Turn() {
      if (--worker_.depth_ == 0) worker_.settle();
    }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

   private:
    Worker& worker_;
  };

  void start();  // the thread
  void join();
  // Any thread.
  void post(Message&& m);
  std::uint32_t load() const noexcept { return load_.load(std::memory_order_relaxed); }
  io::Loop& loop() noexcept { return *loop_; }

  // ---- The rest: this worker's thread.

  pool::WorkerId id() const noexcept { return static_cast<pool::WorkerId>(number_); }
  std::uint16_t number() const noexcept { return number_; }
  Shared& shared() noexcept { return shared_; }
  const conf::Config& config() const noexcept { return *config_; }
  LocalUpstream& local(const Upstream& u) noexcept { return upstreams_[u.index]; }
  LocalUpstream& local(std::uint16_t index) noexcept { return upstreams_[index]; }
  pool::StatementStore& statements() noexcept { return statements_; }
  io::ChunkPool& chunks() noexcept { return chunks_; }
  std::span<std::uint8_t> scratch() noexcept { return scratch_; }
  // For bytes that nobody wants; not scratch(), which somebody may be looking at.
  std::span<std::uint8_t> aside() noexcept { return aside_; }
  pool::Actions& actions() noexcept { return actions_; }
  // Read once an event: what one event does to clients and servers happens at one time.
  Time now() noexcept {
    if (depth_ == 0) return steady_now();
    if (!now_) now_ = steady_now();
    return *now_;
  }
  metrics::PoolCounters& counters(PoolEntry& p) { return p.metrics->of(number_); }
  std::optional<StopStep> stopping() const noexcept { return stopping_; }
  // Clients inside a transaction or with a request outstanding; any thread may read it.
  metrics::Level& open_transactions() noexcept { return open_transactions_; }

  Client* find(pool::SessionId session) noexcept;
  // Takes a client off the worker at the end of this event.
  void dispose(Client& client);

  // Servers.
  std::unique_ptr<Server> take_idle(pool::ServerId id);
  void release(std::unique_ptr<Server> server, pool::Condition condition, std::uint64_t state);
  void give(std::unique_ptr<Server> server, pool::SessionId session);
  // What the broker has decided about a server that this worker has.
  void place(std::unique_ptr<Server> server, pool::Release decision);
  // A server that a client had, unfit for anybody. Two steps: Terminate (at a message boundary only), then
  // the peer's EOF or server_close_timeout; only then is the slot free.
  void close(std::unique_ptr<Server> server, bool say_terminate);
  // The same for a server of which the broker knows already.
  void begin_close(std::unique_ptr<Server> server, bool say_terminate);
  // The connection of a login that has ended or was given up: it keeps its slot until the peer has closed.
  void close_login(Upstream& upstream, pool::ServerId slot, io::Stream stream, bool say_terminate);
  void on_close_timeout(Server& server) noexcept;
  void on_idle_or_closing_event(Server& server, int events) noexcept;
  // Whether a server that was idle may be given to a client: its end, or words of it, may lie unread in the
  // socket. A request written to it then would be lost (product.md §6).
  bool fit_after_rest(Server& server);
  // Reads what TLS holds of a server that nobody uses: that wakes no watch. False: it is not fit for use.
  bool quiet(Server& server);
  // Looks at bytes that came from a server that nobody uses. False: it is not fit for use.
  static bool idle_bytes(Server& server, protocol::Bytes in);
  // Sends a CancelRequest for what `server` runs. `session`: is told when it has been delivered.
  void cancel(const Server& server, std::optional<pool::SessionId> session, io::Stream requester);
  void cancel_over(pool::SessionId session, bool server_unfit);
  // A CancelRequest that came in here, to the worker whose client it is about.
  void route_cancel(CancelRequested request);
  // The password that sidepool itself uses for a role; null: none is configured.
  const conf::User* configured_user(std::string_view user, std::string_view upstream) const;
  void bury(std::unique_ptr<Login> login);

  // At the end of this event: what may not happen while the client is at work.
  void refuse_later(pool::SessionId session) { later_.push_back({Later::What::Refuse, session, {}}); }
  void client_failed(pool::SessionId session) { later_.push_back({Later::What::ClientGone, session, {}}); }
  void tell_error(pool::SessionId session, const pool::OpenError& e) {
    later_.push_back({Later::What::UpstreamError, session, e});
  }

  // Carries out what the broker ordered. The orders are the caller's own: carrying them out may give new
  // ones.
  void carry_out(Upstream& upstream, pool::Orders& orders);
  void opener_done(Opener& opener);
  void cancel_done(CancelConnection& c);
  // It was given up, and its connection has not ended.
  bool closes(pool::ServerId server) const noexcept { return closing_.contains(server); }

  // Has the upstream's broker do what has become due.
  void poll(std::uint16_t upstream) noexcept;
  // The number by which the api thread's answer finds it, until forget_route().
  std::uint64_t await_route(RouteRequest& request);
  void forget_route(std::uint64_t number) noexcept { route_requests_.erase(number); }

 private:
  struct Later {
    enum class What : std::uint8_t { Refuse, ClientGone, UpstreamError, CancelFailed, CancelDone } what;
    pool::SessionId session;
    pool::OpenError error;
  };
  struct Granted {
    std::unique_ptr<Server> server;
    pool::SessionId session;
  };
  // An order that reaches into a client. Another one may be at work, whose actions gave rise to it.
  struct ClientOrder {
    Upstream* upstream;
    std::variant<pool::GrantSlot, pool::YieldLogin, pool::LookAgain, pool::Notify> order;
  };

  struct Guess {  // a CancelRequest with a wrong key, whose connection stays open for a while
    io::Stream stream;
    Time until;
  };

  void settle();
  void on_wake() noexcept;
  void on_message(NewClient&& m);
  void on_message(GiveServer&& m);
  void on_message(BrokerOrder&& m);
  void on_message(PollBroker&& m);
  void on_message(CancelRequested&& m);
  void on_message(CancelTurn&& m);
  void on_message(InstanceInfo&& m);
  void on_message(WaiterError&& m);
  void on_message(RetireServers&& m);
  void on_message(ConfigChanged&& m);
  void on_message(Stop&& m);
  void use_config();
  void obey(Upstream& upstream, pool::OpenOne order);
  void obey(Upstream& upstream, pool::Recall order);
  void obey(Upstream& upstream, pool::CloseIdle order);
  void obey(Upstream& upstream, pool::GrantSlot order);
  void obey(Upstream& upstream, pool::YieldLogin order);
  void obey(Upstream& upstream, pool::LookAgain order);
  void obey(Upstream& upstream, pool::Notify order);
  template <typename Order>
  void pass_to_client(Upstream& upstream, pool::SessionId client, Order order);
  void deliver(Upstream& upstream, pool::GrantSlot order);
  void deliver(Upstream& upstream, pool::YieldLogin order);
  void deliver(Upstream& upstream, pool::LookAgain order);
  void deliver(Upstream& upstream, pool::Notify order);
  void arm_poll(std::uint16_t upstream, pool::Time when);
  void park(std::unique_ptr<Server> server);
  bool says_nothing(Server& server);
  void idle_died(std::unique_ptr<Server> server);
  void closed(Server& server);
  void do_later(const Later& l);
  void pass_cancel_turn(Upstream& up);
  bool waits_for_cancel(pool::ServerId server) const noexcept;
  void wrong_key(io::Stream guesser);
  void let_guesses_go() noexcept;
  static void retire_servers(Upstream& upstream, pool::Orders& out);
  void close_idle_servers();
  void check_finished();

  const std::uint16_t number_;
  Shared& shared_;
  std::shared_ptr<const conf::Config> config_;
  std::unique_ptr<io::Loop> loop_;
  Mailbox<Message> mailbox_;
  std::vector<Message> inbox_;
  std::atomic<std::uint32_t> load_{0};
  std::thread thread_;

  pool::StatementStore statements_;
  io::ChunkPool chunks_;
  std::vector<std::uint8_t> scratch_;
  std::vector<std::uint8_t>
      aside_;  // for what nobody wants, while scratch_ holds what somebody is looking at
  pool::Actions actions_;
  std::vector<LocalUpstream> upstreams_;

  Slab<Client> clients_;
  std::vector<Slab<Client>::Key> disposed_;
  using Servers = std::unordered_map<pool::ServerId, std::unique_ptr<Server>>;
  Servers idle_, closing_;
  std::vector<Servers::node_type> spare_;    // of idle_: a server comes and goes without an allocation
  std::vector<Granted> granted_, granting_;  // to be granted; being granted by settle()
  std::vector<Later> later_;
  std::vector<ClientOrder> client_orders_;
  std::vector<pool::ServerId> closed_;
  std::vector<std::unique_ptr<Login>> buried_;
  std::list<std::unique_ptr<Opener>> openers_;
  std::vector<Opener*> openers_done_;
  std::list<std::unique_ptr<CancelConnection>> cancels_;
  std::vector<CancelConnection*> cancels_done_;
  std::unordered_map<std::uint64_t, RouteRequest*> route_requests_;
  std::uint64_t last_request_ = 0;
  std::uint32_t mismatches_ = 0;  // CancelRequests with a wrong key in this second
  Time mismatch_second_{};
  std::deque<Guess> guesses_;
  TimerNode guess_timer_;
  std::optional<StopStep> stopping_;
  metrics::Level open_transactions_;
  std::uint32_t depth_ = 0;  // of Turns
  std::optional<Time> now_;  // of the event
};

}  // namespace sidepool::worker
