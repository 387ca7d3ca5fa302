// pool/unnamed_statement.h -- the client's unnamed statement. It lives until the next Parse of one or the
// next Query, whatever server the client has then (product.md §5, Prepared statements).
#pragma once
#include <cstdint>
#include <string>

#include "pool/settings.h"
#include "pool/statements.h"
#include "pool/traits.h"
#include "protocol/bytes.h"

namespace sidepool::pool {

struct UnnamedStatement {
  enum class Kind : std::uint8_t {
    None,
    Kept,          // can be parsed again wherever it is missing
    OnServerOnly,  // too long for that: the client keeps its server
  };
  Kind kind = Kind::None;
  bool misled = false;  // `told` is not true any more
  Traits traits;
  std::uint32_t sequence = 0;  // the number of the client's text; grows with each
  protocol::Buffer body;       // of its Parse, behind the (empty) name
  Settings fingerprint;
  std::string deallocates;                     // the client's name that it, a lone DEALLOCATE, is about
  StatementId stands_for = StatementId::None;  // the statement that the text on the server is about then
  Shape told;                                  // as the client was told
};

}  // namespace sidepool::pool
