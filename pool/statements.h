// pool/statements.h -- prepared statements: the client's names, the shared text, the names on a server.
//
// A client's name leads to a Statement, which all clients of a worker share that have prepared the same text
// with the same types under the same settings (product.md §5). A server knows it as name_of(id).
#pragma once
#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "pool/ids.h"
#include "pool/settings.h"
#include "protocol/bytes.h"
#include "protocol/sql_scan.h"

namespace sidepool::pool {

using protocol::Bytes;

enum class StatementId : std::uint64_t { None = 0, Replay = ~0ULL };  // Replay: the one that replays settings

struct Statement {
  StatementId id;
  std::string tail;      // the body of its Parse behind the name: text, zero, types
  Settings fingerprint;  // interned; the settings under which it was parsed, without the harmless ones
  protocol::ScanResult scan;
  // Of the rows' description in this epoch (names, types): 0 while no server has given one.
  std::uint64_t shape = 0;
  std::uint32_t epoch = 1;  // grows when a server says that its plan's result type has changed
};
using StatementRef = std::shared_ptr<Statement>;

// The shared statements of one worker. One thread. Must outlive every reference it gave out.
class StatementStore {
 public:
  // `token` makes our names on a server different from any other process's: random, at most 16 characters.
  // `worker` makes the ids of this store different from those of the other workers, since servers move
  // between them. `memory` bounds the bytes of kept text (product.md §5, statement_memory).
  StatementStore(std::string_view token, WorkerId worker, std::size_t memory);
  StatementStore(const StatementStore&) = delete;
  StatementStore& operator=(const StatementStore&) = delete;

  // The one statement of this tail and fingerprint. Null: the memory is used up.
  StatementRef intern(Bytes tail, const Settings& fingerprint, const protocol::ScanResult& scan);
  // The interned set of those settings of `overrides` that matter to parsing; null when there are none.
  Settings fingerprint_of(const Settings& overrides);

  // Reserves text that a client keeps by itself (its unnamed statement). False: the memory is used up.
  bool reserve(std::size_t bytes) noexcept;
  void give_back(std::size_t bytes) noexcept { used_ -= bytes; }
  void set_memory(std::size_t memory) noexcept { memory_ = memory; }
  std::size_t used() const noexcept { return used_; }
  std::size_t size() const noexcept { return by_text_.size(); }

  // "sidepool_" with the token and the id: no client can guess it, PostgreSQL does not cut it (63 bytes).
  std::string name_of(StatementId id) const;
  // A name on a server that is never prepared there, for requests that have to fail.
  std::string missing_name() const { return prefix_ + "missing"; }
  // The statement that replays settings.
  std::string replay_name() const { return prefix_ + "replay"; }
  bool ours(std::string_view name) const noexcept { return name.starts_with(prefix_); }
  // The statement of one of our names that some client still has, else null.
  Statement* find(StatementId id) noexcept;

 private:
  struct Key {
    std::string_view tail;
    const SettingSet* fingerprint;
    bool operator==(const Key&) const = default;
  };
  struct KeyHash {
    std::size_t operator()(const Key& k) const noexcept {
      return std::hash<std::string_view>{}(k.tail) ^ (std::hash<const void*>{}(k.fingerprint) * 31);
    }
  };
  void forget(Statement* s) noexcept;

  std::string prefix_;
  std::size_t memory_, used_ = 0;
  std::uint64_t last_id_ = 0;
  std::unordered_map<Key, std::weak_ptr<Statement>, KeyHash> by_text_;
  std::unordered_map<std::string, std::weak_ptr<const SettingSet>> fingerprints_;
};

// What one client has prepared. Changes are made when its message passes, since later messages of the same
// pipeline already use them, and taken back if the server turns out to skip or refuse that message.
class ClientStatements {
 public:
  struct Entry {
    StatementRef statement;  // null: closed, the server has not said so yet
    std::uint32_t described_epoch =
        0;                      // the statement's epoch when the client last got a description; 0 never
    std::uint32_t pending = 0;  // changes of this name that no reply has confirmed
    std::uint32_t cycle = 0;    // the cycle of the last of them
  };
  // What a change replaced, to be kept with the expected reply.
  struct Change {
    std::string name;
    StatementRef before;
    std::uint32_t described_before = 0;
  };

  // Null when the client has no such statement. Valid until the next change.
  Entry* find(std::string_view name) noexcept;
  // A change of this name from an earlier cycle is still unconfirmed: what it means now is not known yet.
  bool undecided(std::string_view name, std::uint32_t cycle) const noexcept;

  std::unique_ptr<Change> add(std::string_view name, StatementRef statement, std::uint32_t cycle);
  std::unique_ptr<Change> remove(std::string_view name, std::uint32_t cycle);
  // Of a name without unconfirmed changes; nothing happens when there is no such statement.
  void remove_now(std::string_view name);
  void confirm(const Change& c);
  // REQUIRES: changes are taken back in the reverse of their order.
  void take_back(Change& c);

  // A name of the client's for this statement, empty if it has none (any more).
  std::string_view name_of(StatementId id) const noexcept;

  void clear() noexcept { by_name_.clear(); }
  std::size_t size() const noexcept { return by_name_.size(); }
  const auto& all() const noexcept { return by_name_; }

 private:
  void drop_if_done(const std::string& name);
  std::unordered_map<std::string, Entry> by_name_;
};

// Our statements on one server, the least recently used first. Moves between workers with its server.
class ServerStatements {
 public:
  enum class Has : std::uint8_t { No, Yes, Stale };  // Stale: the name is taken by an outdated plan

  // Also marks it as used now.
  Has look_up(StatementId id, std::uint32_t epoch) noexcept;
  void add(StatementId id, std::uint32_t epoch);
  void remove(StatementId id) noexcept;
  // Has to be parsed again before its next use, if it is there.
  void outdate(StatementId id) noexcept;
  // The one to close when there are more than `limit`; None otherwise. Removes it from the record.
  StatementId evict(std::size_t limit) noexcept;
  void clear() noexcept;
  std::size_t size() const noexcept { return order_.size(); }
  template <class Each>
  void for_each(Each&& each) const {
    for (const auto& item : order_) each(item.id);
  }

 private:
  struct Item {
    StatementId id;
    std::uint32_t epoch;
  };
  std::list<Item> order_;
  std::unordered_map<StatementId, std::list<Item>::iterator> by_id_;
};

}  // namespace sidepool::pool
