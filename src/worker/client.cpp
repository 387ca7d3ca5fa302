// src/worker/client.cpp -- a client's life: login, session, end.
#include "src/worker/client.h"

#include <openssl/crypto.h>

#include "protocol/accept.h"
#include "src/base/log.h"
#include "src/base/random.h"
#include "src/worker/login.h"
#include "src/worker/pass_through.h"

namespace sidepool::worker {

using pool::Do;
using protocol::Bytes;
using protocol::ErrorFields;

namespace {

constexpr ErrorFields kShutDown{"FATAL",
                                "57P01",
                                "terminating connection due to administrator command",
                                "sidepool is shutting down.",
                                {}};

// Unread bytes would turn the close into a reset, which can overtake the last words that the client was sent.
void discard_input(io::Stream& stream, std::span<std::uint8_t> to) {
  for (int i = 0; i < 16 && stream.read(to).status == io::Io::Done; ++i) {
  }
}

}  // namespace

Client::Client(Key key, Worker& worker, io::Stream stream, io::SocketAddress peer,
               std::shared_ptr<const Entrance> entrance)
    : key_(key),
      worker_(worker),
      entrance_(std::move(entrance)),
      peer_(std::move(peer)),
      stream_(std::move(stream)),
      out_(worker.chunks()),
      timer_(&Client::on_timer),
      again_(&Client::on_again) {}

Client::~Client() {
  show(Shown::None);
  if (in_transaction_) worker_.open_transactions().down();
  watch_.stop();
  stream_.close();
  if (!started_up_) return;
  --worker_.shared().sessions;
  const char* what = ended_by_ == EndedBy::Client     ? "client closed the connection"
                     : ended_by_ == EndedBy::Instance ? "instance closed the connection"
                                                      : "sidepool closed the connection";
  log::info("[" + worker_.local(entrance_->upstream).conf->label() + "] " + what);
}

void Client::begin_startup() {
  started_up_ = true;
  auto& shared = worker_.shared();
  ++shared.startups;
  ++shared.sessions;
  log::info("[" + worker_.local(entrance_->upstream).conf->label() + "] Accepted connection from " +
            peer_.text());
}

bool Client::start() {
  if (watch_.start(worker_.loop().uv(), stream_.fd(), this, &Client::on_event) != 0) return false;
  if (!arm(UV_READABLE)) return false;
  login_ = std::make_unique<Login>(*this);
  update_timer();  // also for a client that never says anything
  return true;
}

bool Client::arm(int events) { return gone_ || watch_.arm(events) == 0; }

std::uint32_t Client::pid() const noexcept {
  return CancelKey::kMark | std::uint32_t{worker_.number()} << CancelKey::kSlotBits | key_.slot;
}

bool Client::matches(Bytes secret) const noexcept {
  return (session_ || pass_) && !secret.empty() && secret.size() == cancel_key_.size &&
         CRYPTO_memcmp(secret.data(), cancel_key_.secret.data(), secret.size()) == 0;
}

void Client::on_event(void* self, int events) noexcept {
  auto& c = *static_cast<Client*>(self);
  const Worker::Turn turn(c.worker_);
  c.on_socket(events);
  c.after();
}

void Client::on_socket(int events) {
  if (disposed_) return;
  if ((events & UV_WRITABLE) != 0 && has_output() && !flush_output()) return client_gone();
  if (finishing_ && !has_output()) return client_gone();
  if (finishing_ && (events & (UV_READABLE | UV_DISCONNECT)) != 0) {
    const auto r = stream_.read(worker_.scratch());  // what a client still says is of no interest
    if (r.status == io::Io::Closed || r.status == io::Io::Failed) return client_gone();
    return;
  }
  if (pass_) return pass_->on_client_event(events);
  if ((events & (UV_READABLE | UV_DISCONNECT)) == 0) return;
  if (login_) return login_->on_readable();
  if (session_) read_client();
}

bool Client::flush_output() {
  const auto r = out_.flush(stream_);
  if (r.n > 0) output_since_ = worker_.loop().now();
  return r.status != io::Io::Failed;
}

void Client::begin_session(PoolRef pool, LocalUpstream& up, pool::Settings startup, std::uint32_t protocol,
                           Bytes rest) {
  pool_ = std::move(pool);
  up_ = &up;
  cancel_key_.size = protocol == protocol::kProtocol32 ? 32 : 4;
  fill_random(std::span(cancel_key_.secret).first(cancel_key_.size));
  held_.assign(rest.begin(), rest.end());
  phase_since_ = worker_.loop().now();
  worker_.bury(std::move(login_));  // it is at work further up
  auto reported = pool_->reported();
  std::optional<pool::Settings> known;
  std::uint64_t startup_id = 0;
  startup_ = nullptr;
  if (startup) {
    const auto* version = pool::find(reported, "server_version");
    const bool hex = version && std::atoi(version->c_str()) >= 16;
    const auto* application = startup->find("application_name");
    // As PostgreSQL does with the bytes of a startup message, whatever the client's encoding.
    const auto name = application ? pool::clean_application_name(*application, hex) : std::string{};
    if (application) startup = pool::with(startup, "application_name", name);
    const auto key = StartupSets::key_of(*startup);
    if (key.empty()) {
      known.emplace(nullptr);
    } else if (const auto outcome = pool_->startups.known(key, reported)) {
      known = outcome->overrides;
      startup_id = outcome->startup;
      if (startup_id !=
          0) {  // its servers are opened with the set: nothing but the name is left to this client
        reported = outcome->reported;
        startup = application ? pool::with(nullptr, "application_name", name) : nullptr;
      }
    } else {
      startup_ = startup;
    }
    if (known && application) known = pool::with(*known, "application_name", name);
  }
  options_ = up.options;
  session_.emplace(id(), *options_, worker_.statements(), std::move(reported),
                   pool::StatementScope{pool_->id, startup_id});
  session_->set_client_pid(pid());
  auto& actions = worker_.actions();
  actions.clear();
  session_->begin(std::move(startup), std::move(known), actions);
  run(actions);
  offer_held();
}

// LoginDone: what a client waits for after its login.
void Client::welcome() {
  if (startup_) {
    pool_->startups.accepted(StartupSets::key_of(*startup_), *startup_, session_->overrides());
    startup_ = nullptr;
  }
  const auto values = session_->welcome_values();
  std::vector<protocol::Parameter> parameters;
  parameters.reserve(values.size());
  for (const auto& [name, value] : values) parameters.emplace_back(name, value);
  protocol::Buffer bytes;
  protocol::welcome(bytes, parameters, pid(), cancel_key_.bytes());
  send(bytes);
  log::debug("client logged in", {{"upstream", up_->conf->name},
                                  {"database", pool_->database},
                                  {"user", pool_->user},
                                  {"client", peer_.text()}});
}

void Client::begin_pass_through(std::unique_ptr<PassThrough> pass) {
  worker_.bury(std::move(login_));  // it is at work further up
  pass_ = std::move(pass);
  pass_->start();
}

bool Client::send(Bytes bytes) {
  if (gone_) return false;
  const std::array<io::ConstBytes, 1> one{bytes};
  write(Do::ToClient, one);
  return !gone_;
}

void Client::finish() {
  if (gone_) return;
  finishing_ = true;
  phase_since_ = worker_.loop().now();
  if (!has_output()) client_gone();
}

// The socket is of no more use, or everything has been said.
void Client::client_gone() {
  if (std::exchange(gone_, true)) return;
  watch_.stop();
  again_.cancel();
  if (finishing_) discard_input(stream_, worker_.aside());
  stream_.close();
  out_.clear();
  if (login_) login_->cancel();
  if (pass_) pass_->on_client_gone();
  if (queued() && session_) leave_queue();
  if (session_ && session_->phase() != pool::Phase::Closed) {
    auto& actions = worker_.actions();
    actions.clear();
    session_->on_client_gone(actions);
    run(actions);
  }
  after();
}

void Client::on_look_again() {
  if (login_) login_->on_look_again();
  after();
}

void Client::on_login_slot(pool::ServerId slot) {
  if (login_) {
    login_->on_slot(slot);
  } else if (pass_) {
    pass_->on_slot(slot);
  } else {
    pool::Orders orders;
    auto& up = *worker_.shared().upstreams[entrance_->upstream];
    up.broker.login_ended(slot, true, steady_now(), orders);
    worker_.carry_out(up, orders);
  }
  after();
}

void Client::on_yield_login(pool::ServerId slot) {
  if (login_) login_->on_yield(slot);
  if (pass_) pass_->on_yield(slot);
  after();
}

void Client::on_notify() {
  if (!session_ || session_->phase() != pool::Phase::Waiting || gone_) return;
  ErrorFields why{"NOTICE",
                  "01000",
                  "no server connection is free, the request is waiting in the queue",
                  {},
                  "Raise pool.size, or look for clients that keep transactions open."};
  const auto error = up_->shared->broker.open_error(pool_->id);
  if (error) {
    why.message = "no server connection can be opened, the request is waiting in the queue";
    why.detail = error->message;
    why.hint = error->hint;
  }
  protocol::Buffer bytes;
  protocol::notice_response(bytes, why);
  send(bytes);
  after();
}

// False: too late, a server is on its way.
bool Client::leave_queue() {
  pool::Orders orders;
  const bool taken_back = up_->shared->broker.cancel(ticket_, steady_now(), orders);
  if (taken_back) ticket_ = pool::Ticket::None;
  worker_.carry_out(*up_->shared, orders);
  return taken_back;
}

void Client::on_stop(StopStep step) {
  if (gone_ || finishing_) return;
  if (login_) {
    login_->on_stop();
  } else if (pass_) {
    pass_->on_stop(step);
  } else if (session_) {
    const auto p = session_->phase();
    const bool idle = p == pool::Phase::Idle || p == pool::Phase::Holding;
    if (p != pool::Phase::Closed && (step == StopStep::Cut || idle)) dismiss(kShutDown);
  }
  after();
}

// The client is told to go, and what it has running is stopped.
void Client::dismiss(const ErrorFields& why) {
  ended_by_ = EndedBy::Us;
  if (queued()) leave_queue();
  auto& actions = worker_.actions();
  actions.clear();
  session_->end(why, actions);
  run(actions);
  finish();
}

// The session gets an error for one cycle instead of a server.
void Client::refuse(const ErrorFields& why) {
  auto& actions = worker_.actions();
  actions.clear();
  counters().errors.add(why.code == "57014"   ? "cancelled"
                        : why.code == "53300" ? "query_wait_timeout"
                                              : "upstream");
  session_->on_refused(why, actions);
  run(actions);
  offer_held();
}

// At the end of every event of this client.
void Client::after() {
  if (disposed_) return;
  const bool over = gone_ && (!session_ || session_->phase() == pool::Phase::Closed) && !server_ &&
                    !granted_ && (!pass_ || pass_->over());
  if (over) {
    show(Shown::None);
    disposed_ = true;
    return worker_.dispose(*this);
  }
  if (held_cancel_) pass_on_held_cancel();
  if (session_) {
    const auto p = session_->phase();
    if (worker_.stopping() && !gone_ && !finishing_ &&
        (p == pool::Phase::Idle || p == pool::Phase::Holding)) {
      return on_stop(*worker_.stopping());
    }
    note_phase(p);
  }
  update_watches();
  update_timer();
}

}  // namespace sidepool::worker
