// pool/session_parts.h -- what a session needs only now and then, and allocates only then.
#pragma once
#include <array>
#include <cstring>
#include <string>

#include "pool/session.h"

namespace sidepool::pool {

// Marks a fingerprint that stands for settings which are not known.
inline constexpr std::string_view kPrivate = "sidepool.private";

// PostgreSQL only logs this; its client would be left to guess.
inline constexpr std::string_view kBadLength = "invalid message length";

// What makes them decides what a text means, and only this client's.
inline constexpr std::uint32_t kPrivatePins = kSettingPins | static_cast<std::uint32_t>(Pin::TempObject);

inline constexpr std::size_t kNameBytes = 63;  // NAMEDATALEN - 1: PostgreSQL tells no more apart

// A Query or Parse up to this size is collected, and an unnamed one kept, without asking the store for
// memory: there is one of each in a session.
inline constexpr std::uint32_t kFreeText = 16384;

// A Parse with the body of another one behind its name.
inline void put_parse(Buffer& out, std::string_view name, Bytes tail) {
  out.push_back('P');
  out.resize(out.size() + 4);
  protocol::store_be32(out.data() + out.size() - 4,
                       static_cast<std::uint32_t>(4 + name.size() + 1 + tail.size()));
  protocol::append(out, name);
  out.push_back(0);
  out.insert(out.end(), tail.begin(), tail.end());
}

// The text of a Query or Parse that comes in pieces and is not kept.
struct Session::TextScan {
  TextScan(char message, bool standard_strings, protocol::EncodingClass encoding)
      : type(message), in_name(message == 'P'), scanner(standard_strings, encoding) {}

  // REQUIRES: `piece` is the next part of the body. The scanner itself ends at the text's zero byte.
  void feed(Bytes piece) {
    if (in_name) {
      const void* zero = std::memchr(piece.data(), 0, piece.size());
      const auto n = zero ? static_cast<std::size_t>(static_cast<const std::uint8_t*>(zero) - piece.data())
                          : piece.size();
      if (name.size() < kNameKept) name.append(protocol::as_text(piece.first(n)));
      if (!zero) return;
      in_name = false;
      piece = piece.subspan(n + 1);
    }
    scanner.feed(piece);
  }

  static constexpr std::size_t kNameKept = 128;  // PostgreSQL tells names apart by 63 bytes
  char type;
  bool in_name;
  bool alone = false;  // nothing of the client hangs on the server but this message
  std::string name;
  protocol::SqlScanner scanner;
};

// How a cycle that could not get a server is answered, and the failed transaction that may follow.
struct Session::Refusal {
  Buffer error;                                    // the whole ErrorResponse
  bool extended = false;                           // the cycle ends with a Sync
  bool told = false;                               // the error has been given
  bool skipping = false;                           // up to the next Sync
  protocol::TxVerb verb = protocol::TxVerb::None;  // what the refused texts would have done
  protocol::TxVerb unnamed = protocol::TxVerb::None;
  std::string named;  // the statement parsed last in this cycle
  protocol::TxVerb named_verb = protocol::TxVerb::None;
  bool leaving = false;  // in the failed transaction: COMMIT or ROLLBACK is bound
  bool left = false;     // and executed
};

}  // namespace sidepool::pool
