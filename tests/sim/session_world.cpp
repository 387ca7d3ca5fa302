// tests/sim/session_world.cpp -- see session_world.h.
#include "tests/sim/session_world.h"

namespace sidepool::test {

namespace {
constexpr int kClients = 4;
constexpr std::size_t kServers = 3;
std::string marker(int number) { return "m" + std::to_string(number) + "x"; }
std::string as_string(const Buffer& b) { return {b.begin(), b.end()}; }
}  // namespace

SessionWorld::SessionWorld(std::uint64_t seed) : random_(seed) {
  options_.max_server_statements = 2;
  options_.isolation = pick(4) == 0 ? pool::Isolation::Tracked : pool::Isolation::Reset;
  if (pick(8) == 0) options_.mode = pool::Mode::Session;
  if (pick(3) == 0) options_.pinning = pick(2) == 0 ? pool::Pinning::Refuse : pool::Pinning::Off;
  faults_ = pick(2) == 0 ? 0 : 20;
  store_ = std::make_unique<pool::StatementStore>("0123456789abcdef", pool::WorkerId{0}, 1U << 20);
  for (int i = 0; i < kClients; ++i) add_client();
}

void SessionWorld::add_client() {
  Client c;
  c.number = ++made_;
  FakePostgres::Values startup;
  if (pick(3) == 0) startup["TimeZone"] = "Zone" + std::to_string(pick(3));
  if (pick(4) == 0) startup["search_path"] = "path" + marker(c.number);
  if (startup.count("TimeZone") == 0 && pick(3) == 0) startup["application_name"] = "app" + marker(c.number);
  c.rig = std::make_unique<SessionRig>(
      pool::SessionId{pool::WorkerId{0}, static_cast<std::uint32_t>(c.number), 1}, options_, *store_);
  c.oracle = std::make_unique<FakePostgres>(1, startup);
  if (options_.mode != pool::Mode::Session) model_pinning(*c.oracle);
  c.rig->begin(startup);
  clients_.push_back(std::move(c));
}

// What the pool refuses and what it loses, on a server that would do so itself.
void SessionWorld::model_pinning(FakePostgres& oracle) const {
  if (options_.pinning == pool::Pinning::Auto) return;
  oracle.refuses = [pinning = options_.pinning](const std::string& text) -> std::optional<Buffer> {
    protocol::SqlScanner scanner(true, protocol::EncodingClass::AsciiSafe);
    scanner.feed(protocol::as_bytes(text));
    const auto traits = pool::judge(scanner.finish(), settings_of(FakePostgres::defaults()), nullptr);
    const auto pins = pool::refused_pins(traits.pins, pinning);
    if (pins == 0) return std::nullopt;
    return pool::refusal(pins, pinning);
  };
  if (options_.pinning != pool::Pinning::Off) return;
  oracle.at_idle = [told_temp = false, told_listen = false](FakePostgres& pg, Buffer& out) mutable {
    if (pg.listens() && !std::exchange(told_listen, true)) pool::put_loss(out, pool::Pin::Listen);
    if (pg.has_temp() && !std::exchange(told_temp, true)) pool::put_loss(out, pool::Pin::TempObject);
    pg.lose_objects();
  };
}

void SessionWorld::fail(const Client* c, const std::string& what) {
  if (!failure_.empty()) return;
  failure_ = what;
  if (c) failure_ += "\n  client " + std::to_string(c->number) + " sent:" + c->story;
}

std::string SessionWorld::run(int steps) {
  for (int i = 0; i < steps && failure_.empty(); ++i) {
    step();
    for (auto& c : clients_) check(c);
    if (i % 60 == 59) quiesce();
  }
  quiesce();
  ending_ = true;
  for (auto& c : clients_) {
    if (!c.left) c.rig->leave(), c.left = true;
  }
  quiesce();
  for (auto& c : clients_) {
    if (!c.rig->closed) fail(&c, "a client that has left is not closed");
  }
  for (auto& s : servers_) {
    if (s.lent) fail(nullptr, "a server is lent to nobody");
  }
  clients_.clear();
  if (store_->used() != 0 || store_->size() != 0) fail(nullptr, "statements are left");
  return failure_;
}

void SessionWorld::step() {
  if (pick(1000) < faults_) return fault();
  auto& c = clients_[static_cast<std::size_t>(pick(static_cast<int>(clients_.size())))];
  switch (pick(6)) {
    case 0:
    case 1:
      return send_some(c);
    case 2:
      return grant_one();
    case 3:
      if (c.rig->cancels > 0) return c.rig->cancel_done(pick(4) == 0);
      if (c.rig->server && pick(20) == 0) c.rig->cancel_begun();
      return;
    default:
      return c.rig->deliver(pick(3) == 0 ? 1 + static_cast<std::size_t>(pick(9)) : SIZE_MAX);
  }
}

void SessionWorld::send_some(Client& c) {
  if (c.left || c.rig->closed || !c.rig->welcome) return;
  if (c.script.empty()) generate(c);
  if (c.script.empty()) return;
  auto n = c.script.size();
  if (pick(3) == 0) n = 1 + static_cast<std::size_t>(pick(static_cast<int>(n)));
  const Buffer now(c.script.begin(), c.script.begin() + static_cast<std::ptrdiff_t>(n));
  c.script.erase(c.script.begin(), c.script.begin() + static_cast<std::ptrdiff_t>(n));
  c.oracle->feed(now);
  c.wanted += as_string(c.oracle->take_output());
  c.rig->send(now);
}

void SessionWorld::grant_one() {
  for (auto& c : clients_) {
    if (!c.rig->waiting) continue;
    std::vector<FakeServer*> free;
    std::size_t open = 0;
    for (auto& s : servers_) {
      if (s.closed) continue;
      ++open;
      if (!s.lent) free.push_back(&s);
    }
    if (!free.empty()) {
      c.rig->grant(*free[static_cast<std::size_t>(pick(static_cast<int>(free.size())))]);
    } else if (open < kServers + (failure_.empty() ? 0 : 1)) {
      c.rig->grant(servers_.emplace_back(static_cast<std::uint32_t>(100 + servers_.size())));
    }
    return;
  }
}

void SessionWorld::fault() {
  auto& c = clients_[static_cast<std::size_t>(pick(static_cast<int>(clients_.size())))];
  switch (pick(3)) {
    case 0:
      if (c.left || c.rig->closed) return;
      c.left = c.diverged = true;
      c.rig->leave();
      return add_client();
    case 1:
      if (!c.rig->server) return;
      c.diverged = true;
      return c.rig->server_dies();
    default:
      if (!c.rig->waiting) return;
      c.diverged = true;
      return c.rig->refuse({"ERROR", "53300", "no server", {}, {}});
  }
}

// Everything that is on its way arrives; clients that hold servers are made to let go.
void SessionWorld::quiesce() {
  for (int round = 0; round < 400 && failure_.empty(); ++round) {
    bool more = false;
    for (auto& c : clients_) {
      while (c.rig->cancels > 0) c.rig->cancel_done(false), more = true;
      if (c.rig->server && !c.rig->server->unread.empty()) c.rig->deliver(), more = true;
      if (!c.script.empty() && !c.left && !c.rig->closed) send_some(c), more = true;
      check(c);
    }
    const bool waits = std::any_of(clients_.begin(), clients_.end(), [](auto& c) { return c.rig->waiting; });
    if (waits) grant_one();
    if (!more && !waits) break;
    if (more) continue;
    for (auto& c : clients_) {  // those that hold servers while others wait leave
      if (!c.rig->server || c.left || !quiet(c)) continue;
      c.left = c.diverged = true;
      c.rig->leave();
      add_client();
      break;
    }
  }
  for (auto& c : clients_) {
    if (!c.left && !c.diverged && !quiet(c)) fail(&c, "no answer to everything: " + c.wanted);
  }
  std::erase_if(clients_, [](const Client& c) { return c.left && c.rig->closed; });
  while (failure_.empty() && !ending_ && clients_.size() < kClients) add_client();
}

bool SessionWorld::quiet(Client& c) {
  check(c);
  return c.rig->welcome && c.wanted.empty() && c.seen.empty() && c.rig->held.empty();
}

void SessionWorld::check(Client& c) {
  if (!c.rig->broken.empty()) fail(&c, c.rig->broken);
  const auto got = as_string(c.rig->take());
  for (std::size_t at = got.find('m'); at != std::string::npos; at = got.find('m', at + 1)) {
    std::size_t end = at + 1;
    while (end < got.size() && got[end] >= '0' && got[end] <= '9') ++end;
    if (end == at + 1 || end >= got.size() || got[end] != 'x') continue;
    if (got.substr(at, end - at + 1) != marker(c.number)) fail(&c, "reads what belongs to another: " + got);
  }
  if (c.diverged) return c.wanted.clear();
  c.seen += got;
  // The pool may answer a Bind by its names, before its last byte has come: seen may be ahead.
  const auto n = std::min(c.seen.size(), c.wanted.size());
  if (c.wanted.compare(0, n, c.seen, 0, n) != 0) {
    const auto words = [](const std::string& s) { return words_of(protocol::as_bytes(s)); };
    return fail(&c, "other bytes than a direct connection:\n  got    " + words(c.seen) + "\n  wanted " +
                        words(c.wanted));
  }
  c.wanted.erase(0, n);
  c.seen.erase(0, n);
  if (c.rig->closed && !c.left && !c.diverged) fail(&c, "closed for no reason");
}

}  // namespace sidepool::test
