// pool/statements.cpp -- see statements.h.
#include "pool/statements.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace sidepool::pool {

namespace {

bool in_word(char c) noexcept {
  const auto u = static_cast<unsigned char>(c);
  return u >= 0x80 || (u >= '0' && u <= '9') || (u >= 'a' && u <= 'z') || (u >= 'A' && u <= 'Z') || u == '_';
}

// 'now'::timestamptz and its kin become a constant when they are parsed. Doubt goes towards them, but now()
// is another thing and frequent.
bool may_name_its_moment(std::string_view tail) noexcept {
  static constexpr std::array<std::string_view, 4> kMoments{"now", "today", "tomorrow", "yesterday"};
  const auto text = tail.substr(0, tail.find('\0'));
  for (std::size_t at = 0, end = 0; at < text.size(); at = end + 1) {
    for (end = at; end < text.size() && in_word(text[end]);) ++end;
    const auto word = text.substr(at, end - at);
    const bool moment = std::any_of(kMoments.begin(), kMoments.end(),
                                    [word](std::string_view m) { return same_name(m, word); });
    if (!moment) continue;
    const auto next = text.find_first_not_of(" \t\r\n", end);
    if (next == std::string_view::npos || text[next] != '(') return true;
  }
  return false;
}

}  // namespace

StatementStore::StatementStore(std::string_view token, WorkerId worker, std::size_t memory)
    : prefix_("sidepool_" + std::string(token) + "_"),
      memory_(memory),
      last_id_(std::uint64_t{static_cast<std::uint16_t>(worker)} << 48) {}

bool StatementStore::reserve(std::size_t bytes) noexcept {
  if (bytes > memory_ || used_ > memory_ - bytes) return false;
  used_ += bytes;
  return true;
}

StatementRef StatementStore::intern(const StatementScope& scope, Bytes tail, const Settings& fingerprint,
                                    const protocol::ScanResult& scan) {
  const auto text = protocol::as_text(tail);
  const auto at = by_text_.find({text, fingerprint.get(), scope});
  const bool known = at != by_text_.end();
  if (known) {
    if (auto s = at->second.lock(); s->scan.effects == scan.effects && s->scan.tx == scan.tx) return s;
  }
  if (!reserve(text.size())) return nullptr;
  const StatementId id{++last_id_};
  auto* made = new Statement{id, name_of(id), std::string(text), fingerprint, scan};
  StatementRef ref(made, [this, scope](Statement* s) { forget(s, scope); });
  by_id_.emplace(made->id, made);
  if (!known && !may_name_its_moment(text)) by_text_.emplace(Key{made->tail, fingerprint.get(), scope}, ref);
  return ref;
}

void StatementStore::forget(Statement* s, const StatementScope& scope) noexcept {
  const auto at = by_text_.find({s->tail, s->fingerprint.get(), scope});
  const bool shared = at != by_text_.end() && at->first.tail.data() == s->tail.data();
  if (shared) by_text_.erase(at);
  by_id_.erase(s->id);
  give_back(s->tail.size());
  delete s;
}

Settings StatementStore::fingerprint_of(const Settings& overrides) {
  if (!overrides) return nullptr;
  auto relevant = std::make_shared<SettingSet>();
  std::string key;
  for (const auto& [name, value] : *overrides) {
    if (harmless_to_parse(name)) continue;
    relevant->set(name, value);
    key.append(name).append(1, '\0').append(value).append(1, '\0');
  }
  if (relevant->empty()) return nullptr;
  auto& kept = fingerprints_[key];
  if (auto known = kept.lock()) return known;
  if (fingerprints_.size() > 1024) {  // sweep what nobody refers to any more
    std::erase_if(fingerprints_, [&key](const auto& f) { return f.first != key && f.second.expired(); });
  }
  Settings made = std::move(relevant);
  fingerprints_[key] = made;
  return made;
}

Settings StatementStore::share(Settings set) {
  if (!set) return set;
  for (const auto& s : shared_) {
    if (s && identical(*s, *set)) return s;
  }
  return shared_[next_shared_++ % shared_.size()] = std::move(set);
}

std::string StatementStore::name_of(StatementId id) const {
  std::array<char, 20> digits;
  const auto [end, ec] =
      std::to_chars(digits.data(), digits.data() + digits.size(), static_cast<std::uint64_t>(id), 36);
  return prefix_ + std::string(digits.data(), end);
}

Statement* StatementStore::find(StatementId id) noexcept {
  const auto at = by_id_.find(id);
  return at == by_id_.end() ? nullptr : at->second;
}

ClientStatements::Entry* ClientStatements::find(std::string_view name) noexcept {
  const auto at = by_name_.find(std::string(name));
  return at == by_name_.end() || !at->second.statement ? nullptr : &at->second;
}

bool ClientStatements::undecided(std::string_view name, std::uint32_t cycle) const noexcept {
  const auto at = by_name_.find(std::string(name));
  return at != by_name_.end() && at->second.pending > 0 && at->second.cycle != cycle;
}

std::unique_ptr<ClientStatements::Change> ClientStatements::add(std::string_view name, StatementRef statement,
                                                                std::uint32_t cycle) {
  auto& e = by_name_[std::string(name)];
  auto change = std::make_unique<Change>(Change{std::string(name), e});
  const auto parsed = statement ? ++statement->generation : 0;
  e = {std::move(statement), parsed, 0, Known::Nothing, e.pending + 1, cycle};
  return change;
}

std::unique_ptr<ClientStatements::Change> ClientStatements::remove(std::string_view name,
                                                                   std::uint32_t cycle) {
  return add(name, nullptr, cycle);
}

void ClientStatements::remove_now(std::string_view name) { by_name_.erase(std::string(name)); }

void ClientStatements::confirm(const Change& c) {
  if (const auto at = by_name_.find(c.name); at != by_name_.end() && at->second.pending > 0)
    --at->second.pending;
  drop_if_done(c.name);
}

void ClientStatements::take_back(Change& c) {
  const auto at = by_name_.find(c.name);
  if (at == by_name_.end()) return;  // a DISCARD ALL between has forgotten everything
  auto& e = at->second;
  c.before.pending = e.pending > 0 ? e.pending - 1 : 0;
  c.before.cycle = e.cycle;
  e = std::move(c.before);
  drop_if_done(c.name);
}

std::string_view ClientStatements::name_of(StatementId id) const noexcept {
  for (const auto& [name, entry] : by_name_) {
    if (entry.statement && entry.statement->id == id) return name;
  }
  return {};
}

void ClientStatements::drop_if_done(const std::string& name) {
  const auto at = by_name_.find(name);
  if (at != by_name_.end() && at->second.pending == 0 && !at->second.statement) by_name_.erase(at);
}

ServerStatements::Has ServerStatements::look_up(StatementId id, Generation oldest) noexcept {
  auto item = order_.end();
  if (!order_.empty() && order_.back().id == id) {  // as for most requests, which come in a row
    --item;
  } else if (const auto at = by_id_.find(id); at != by_id_.end()) {
    item = at->second;
  }
  if (item == order_.end()) return Has::No;
  if (item->generation < oldest) return Has::Stale;
  order_.splice(order_.end(), order_, item);
  return Has::Yes;
}

void ServerStatements::add(StatementId id, Generation generation) {
  remove(id);
  order_.push_back({id, generation});
  by_id_.emplace(id, std::prev(order_.end()));
}

Known ServerStatements::known(StatementId id) const noexcept {
  if (!order_.empty() && order_.back().id == id) return order_.back().known;
  const auto at = by_id_.find(id);
  return at == by_id_.end() ? Known::Nothing : at->second->known;
}

void ServerStatements::set_known(StatementId id, Known what) noexcept {
  if (const auto at = by_id_.find(id); at != by_id_.end()) at->second->known = what;
}

void ServerStatements::remove(StatementId id) noexcept {
  const auto at = by_id_.find(id);
  if (at == by_id_.end()) return;
  order_.erase(at->second);
  by_id_.erase(at);
}

void ServerStatements::outdate(StatementId id) noexcept {
  if (const auto at = by_id_.find(id); at != by_id_.end()) at->second->generation = 0;
}

void ServerStatements::outdate_all() noexcept {
  for (auto& item : order_) item.generation = 0;
}

StatementId ServerStatements::evict(std::size_t limit) noexcept {
  if (order_.size() <= limit) return StatementId::None;
  const auto id = order_.front().id;
  remove(id);
  return id;
}

void ServerStatements::clear() noexcept {
  by_id_.clear();
  order_.clear();
}

}  // namespace sidepool::pool
