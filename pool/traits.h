// pool/traits.h -- what the text of a statement means for the client that runs it.
#pragma once
#include <array>
#include <cstdint>
#include <string_view>

#include "pool/settings.h"
#include "protocol/bytes.h"
#include "protocol/sql_scan.h"

namespace sidepool::pool {

// Why a client keeps its server beyond a transaction (product.md §5). One bit each, in this order in metrics.
enum class Pin : std::uint32_t {
  Setting = 1U << 0,               // SET of a parameter that the server does not report
  Role = 1U << 1,                  // SET ROLE
  SessionAuthorization = 1U << 2,  // SET SESSION AUTHORIZATION
  SetConfig = 1U << 3,             // set_config(): the name cannot be seen
  Prepare = 1U << 4,               // SQL PREPARE
  Listen = 1U << 5,
  HoldCursor = 1U << 6,  // DECLARE … WITH HOLD
  Load = 1U << 7,
  TempObject = 1U << 8,
  AdvisoryLock = 1U << 9,
  Sequence = 1U << 10,  // currval(), lastval()
  Dblink = 1U << 11,
  Seed = 1U << 12,         // setseed()
  Replication = 1U << 13,  // temporary slots, replication origins
  Backup = 1U << 14,
  Opaque = 1U << 15,      // DO, CALL
  Unjudged = 1U << 16,    // the scanner could not read the text
  LongText = 1U << 17,    // an unnamed statement too long to be kept
  SearchPath = 1U << 18,  // SET search_path, where the server does not report it
  OwnNames = 1U << 19,    // looks at names of prepared statements: the server has this client's and no others
  // Would run under the database's value of a setting where this session means its startup value. Never kept:
  // such a statement is always refused.
  StartupValue = 1U << 20,
};
inline constexpr std::size_t kPins = 21;
// A word for metrics and logs; `bit` counts from 0.
std::string_view pin_reason(std::size_t bit) noexcept;

// What becomes of a statement that would pin (product.md §5, Modes).
enum class Pinning : std::uint8_t {
  Auto,    // the client keeps its server
  Refuse,  // it is answered with an error and not run
  Off,     // it runs, its state is lost with the transaction and the client is told; kNeverDropped is refused
};

// These vanish when the transaction that made them is rolled back.
inline constexpr std::uint32_t kRolledBackPins =
    static_cast<std::uint32_t>(Pin::Setting) | static_cast<std::uint32_t>(Pin::Role) |
    static_cast<std::uint32_t>(Pin::SessionAuthorization) | static_cast<std::uint32_t>(Pin::SetConfig) |
    static_cast<std::uint32_t>(Pin::Listen) | static_cast<std::uint32_t>(Pin::HoldCursor) |
    static_cast<std::uint32_t>(Pin::TempObject) | static_cast<std::uint32_t>(Pin::SearchPath);
// No command undoes these: the server is closed when the client is done with it.
inline constexpr std::uint32_t kLastingPins =
    static_cast<std::uint32_t>(Pin::Load) | static_cast<std::uint32_t>(Pin::Dblink) |
    static_cast<std::uint32_t>(Pin::Seed) | static_cast<std::uint32_t>(Pin::Replication) |
    static_cast<std::uint32_t>(Pin::Backup) | static_cast<std::uint32_t>(Pin::Opaque) |
    static_cast<std::uint32_t>(Pin::Unjudged);

// These mean that settings have changed in a way that nothing reports.
inline constexpr std::uint32_t kSettingPins =
    static_cast<std::uint32_t>(Pin::Setting) | static_cast<std::uint32_t>(Pin::Role) |
    static_cast<std::uint32_t>(Pin::SessionAuthorization) | static_cast<std::uint32_t>(Pin::SetConfig) |
    static_cast<std::uint32_t>(Pin::Opaque) | static_cast<std::uint32_t>(Pin::Unjudged) |
    static_cast<std::uint32_t>(Pin::SearchPath);

// Whose rights a statement runs with and which objects its names mean is never lost with a transaction: the
// next one would run as somebody else. What may hide such a change counts as one. OwnNames: nothing would be
// lost, but the client's statements would not be where it looks for them.
inline constexpr std::uint32_t kNeverDropped =
    static_cast<std::uint32_t>(Pin::Role) | static_cast<std::uint32_t>(Pin::SessionAuthorization) |
    static_cast<std::uint32_t>(Pin::SearchPath) | static_cast<std::uint32_t>(Pin::SetConfig) |
    static_cast<std::uint32_t>(Pin::OwnNames) | static_cast<std::uint32_t>(Pin::Opaque) |
    static_cast<std::uint32_t>(Pin::Unjudged);

struct Traits {
  std::uint32_t pins = 0;  // bits of Pin, if the statement succeeds
  protocol::TxVerb tx = protocol::TxVerb::None;
  bool local = false;       // changes settings in a way that ParameterStatus may not show
  bool shadows = false;     // until its transaction ends, names may mean objects that nobody else sees
  bool copy = false;        // COPY: the server may turn to COPY-in
  bool commits = false;     // runs a COMMIT, whatever the text ends with
  bool ends_block = false;  // runs, or may run, what a failed transaction block carries out
  bool alone = false;       // how the next message is to be understood depends on whether this one succeeds
  // The client's startup settings that it puts back to the server's own value: bit i for the i-th of the set,
  // the last bit for all from there on.
  std::uint32_t resets = 0;
  std::uint16_t sets = 0;    // bits of reported_bit(): made the client's own
  std::uint16_t unsets = 0;  // and given back to the server's own value
};

// `reported`: the values a server reports; SET of one of these names is seen by ParameterStatus and replayed.
// `startup`: the client's own base, which its RESET has to return to.
Traits judge(const protocol::ScanResult& scan, const Settings& reported, const Settings& startup);

// Those of `pins` for which a statement is refused.
constexpr std::uint32_t refused_pins(std::uint32_t pins, Pinning pinning) noexcept {
  const auto always = pins & static_cast<std::uint32_t>(Pin::StartupValue);
  if (always != 0 || pinning == Pinning::Auto) return always;
  return pinning == Pinning::Refuse ? pins : pins & kNeverDropped;
}
// The whole ErrorResponse that a statement refused for `pins` (not 0) is answered with.
protocol::Buffer refusal(std::uint32_t pins, Pinning pinning);
// The whole NoticeResponse that tells a client what it has lost under Pinning::Off.
void put_loss(protocol::Buffer& out, Pin lost);

}  // namespace sidepool::pool
