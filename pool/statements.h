// pool/statements.h -- prepared statements: the client's names, the shared text, the names on a server.
//
// A client's name leads to a Statement, which the clients of a pool share that have prepared the same text
// with the same types under the same settings (product.md §5). A server knows it as name_of(id).
//
// PostgreSQL looks up the names in a text when it is parsed, so sharing a text must not mean sharing what was
// found at some earlier time: each Parse of a client is carried out and begins a new generation of its
// statement, and a client uses only copies on servers that are no older than its own Parse.
#pragma once
#include <algorithm>
#include <array>
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

// Counts the Parses of a statement by its clients, and the changes of what it returns.
using Generation = std::uint64_t;

// How much of a statement's description somebody has been given. Ordered: the larger includes the smaller.
enum class Known : std::uint8_t {
  Nothing,
  Rows,  // of a portal
  All,   // of the statement: its parameters too
};

// What a description says, in hashes: 0 while no server has given one.
struct Shape {
  std::uint64_t parameters = 0;  // their types
  std::uint64_t rows = 0;        // the columns' names and types
};

struct Statement {
  StatementId id;
  std::string name;      // on servers: name_of(id)
  std::string tail;      // the body of its Parse behind the name: text, zero, types
  Settings fingerprint;  // interned; the settings under which it was parsed, without the harmless ones
  protocol::ScanResult scan;
  Generation generation = 1;  // the newest
  Generation since = 2;       // copies and descriptions from before this one are outdated
  Shape shape{};              // of its copies since then
};
using StatementRef = std::shared_ptr<Statement>;

// Among whom a text is shared: servers of another database or role, or with another base of settings, find
// other objects for it and may read it differently.
struct StatementScope {
  PoolId pool{};
  std::uint64_t startup = 0;  // the set its servers are opened with; 0: the operator's
  friend bool operator==(const StatementScope&, const StatementScope&) = default;
};

// The shared statements of one worker. One thread. Must outlive every reference it gave out.
class StatementStore {
 public:
  // `token` makes our names on a server different from any other process's: random, at most 16 characters.
  // `worker` makes the ids of this store different from those of the other workers, since servers move
  // between them. `memory` bounds the bytes of kept text (product.md §5, statement_memory).
  StatementStore(std::string_view token, WorkerId worker, std::size_t memory);
  StatementStore(const StatementStore&) = delete;
  StatementStore& operator=(const StatementStore&) = delete;

  // The one statement of this tail and fingerprint in this scope; one that is nobody else's if the scanner
  // read the text differently before, or if the text may name the moment at which it is parsed, which another
  // client's Parse must not move. Null: the memory is used up.
  StatementRef intern(const StatementScope& scope, Bytes tail, const Settings& fingerprint,
                      const protocol::ScanResult& scan);
  // The interned set of those settings of `overrides` that matter to parsing; null when there are none.
  Settings fingerprint_of(const Settings& overrides);

  // An equal set that one of the last clients brought, if there is one, else this one: those of one
  // application bring the same, and then its memory is theirs together.
  Settings share(Settings set);

  // Reserves text that a client keeps by itself (its unnamed statement). False: the memory is used up.
  bool reserve(std::size_t bytes) noexcept;
  void give_back(std::size_t bytes) noexcept { used_ -= bytes; }
  void set_memory(std::size_t memory) noexcept { memory_ = memory; }
  std::size_t used() const noexcept { return used_; }
  std::size_t size() const noexcept { return by_id_.size(); }

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
    StatementScope scope;
    bool operator==(const Key&) const = default;
  };
  struct KeyHash {
    std::size_t operator()(const Key& k) const noexcept {
      const auto scope = static_cast<std::uint64_t>(k.scope.pool) * 31 + k.scope.startup;
      return std::hash<std::string_view>{}(k.tail) ^ (std::hash<const void*>{}(k.fingerprint) * 31) ^
             std::hash<std::uint64_t>{}(scope * 0x9E3779B97F4A7C15ULL);
    }
  };
  void forget(Statement* s, const StatementScope& scope) noexcept;

  std::string prefix_;
  std::size_t memory_, used_ = 0;
  std::uint64_t last_id_ = 0;
  std::unordered_map<Key, std::weak_ptr<Statement>, KeyHash> by_text_;
  std::unordered_map<StatementId, Statement*> by_id_;
  std::unordered_map<std::string, std::weak_ptr<const SettingSet>> fingerprints_;
  std::array<Settings, 16> shared_;
  std::size_t next_shared_ = 0;
};

// What one client has prepared. Changes are made when its message passes, since later messages of the same
// pipeline already use them, and taken back if the server turns out to skip or refuse that message.
class ClientStatements {
 public:
  struct Entry {
    StatementRef statement;       // null: closed, the server has not said so yet
    Generation parsed = 0;        // by this client
    Generation described = 0;     // when the client last got a description; 0: never
    Known told = Known::Nothing;  // of what has been so since `described`
    std::uint32_t pending = 0;    // changes of this name that no reply has confirmed
    std::uint32_t cycle = 0;      // the cycle of the last of them

    // REQUIRES of these: statement is not null.
    // The first generation of copies that will do.
    Generation oldest() const noexcept { return std::max(parsed, statement->since); }
    // The client goes by a description that is not true any more.
    bool misled() const noexcept { return described != 0 && described < statement->since; }
    void mislead() noexcept { described = statement->since - 1; }
    void describe(Known what) noexcept {
      told = described < statement->since ? what : std::max(told, what);
      described = statement->generation;
    }
  };
  // What a change replaced, to be kept with the expected reply.
  struct Change {
    std::string name;
    Entry before;
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
  enum class Has : std::uint8_t { No, Yes, Stale };  // Stale: the name is taken by an outdated copy

  // Whether it is there and no older than that. Also marks it as used now.
  Has look_up(StatementId id, Generation oldest) noexcept;
  void add(StatementId id, Generation generation);
  void remove(StatementId id) noexcept;
  // What of this copy's description has been compared with the statement's, or is on its way.
  Known known(StatementId id) const noexcept;
  void set_known(StatementId id, Known what) noexcept;
  // Has to be parsed again before its next use, if it is there.
  void outdate(StatementId id) noexcept;
  void outdate_all() noexcept;
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
    Generation generation;  // 0: outdated for everybody
    Known known = Known::Nothing;
  };
  std::list<Item> order_;
  std::unordered_map<StatementId, std::list<Item>::iterator> by_id_;
};

}  // namespace sidepool::pool
