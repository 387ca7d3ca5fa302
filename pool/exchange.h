// pool/exchange.h -- what is under way between a server and the session that has it. It lies with the server,
// of which there are few: a client that has none takes no memory for it.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "pool/ledger.h"
#include "pool/settings.h"
#include "pool/statements.h"
#include "protocol/bytes.h"
#include "protocol/frame.h"

namespace sidepool::pool {

struct Exchange {
  // For the next session, of whose predecessor nothing may be left. Memory is kept.
  void begin() noexcept {
    framer = protocol::Framer();
    part.clear(), setup_error.clear();
    last_bound.clear(), last_portal.clear();
    deallocates_bound.clear(), deallocates_portal.clear();
    stands_for_bound = StatementId::None;
    parsed_unclear.clear();
    kept.clear(), again.clear(), put_off.clear();
    kept_messages = 0;
    dropped = 0;
    equal_before = nullptr;
  }

  Ledger::Replies owed;
  protocol::Framer framer;       // of what the server says
  protocol::Buffer part;         // of a message of the server that has to be whole and came in pieces
  protocol::Buffer setup_error;  // the ErrorResponse body of a failed replay

  std::string last_bound, last_portal;  // the client's names of what was bound last
  std::string deallocates_bound,
      deallocates_portal;  // as UnnamedStatement::deallocates, and where it is bound
  StatementId stands_for_bound = StatementId::None;  // and UnnamedStatement::stands_for
  std::vector<StatementId> parsed_unclear;           // under settings of this transaction only

  protocol::Buffer kept, again;  // a cycle whose first statement may be outdated here, to be sent again
  std::uint8_t kept_messages = 0;
  // Of the session's own values those that this transaction has changed from the server's own.
  Settings equal_before;
  std::uint64_t dropped = 0;  // bytes of rows for a client that has left
  protocol::Buffer put_off;   // a Bind, whole: whether it is an error depends on the next message
};

}  // namespace sidepool::pool
