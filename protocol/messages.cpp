// protocol/messages.cpp -- layouts from the PostgreSQL manual, "Message Formats".
#include "protocol/messages.h"

namespace sidepool::protocol {

std::optional<ParseView> ParseView::decode(Bytes body) noexcept {
  Reader r(body);
  ParseView v;
  v.name = r.cstr();
  v.query = r.cstr();
  v.types = r.bytes(std::size_t{r.u16()} * 4);
  if (!r.done()) return std::nullopt;
  return v;
}

std::optional<BindHead> BindHead::decode(Bytes prefix) noexcept {
  Reader r(prefix);
  BindHead v;
  v.portal = r.cstr();
  v.statement = r.cstr();
  if (!r.ok()) return std::nullopt;
  v.size = v.portal.size() + v.statement.size() + 2;
  return v;
}

std::optional<TargetView> TargetView::decode(Bytes body) noexcept {
  Reader r(body);
  TargetView v;
  v.kind = static_cast<char>(r.u8());
  v.name = r.cstr();
  if (!r.done() || (v.kind != 'S' && v.kind != 'P')) return std::nullopt;
  return v;
}

std::optional<ParameterStatusView> ParameterStatusView::decode(Bytes body) noexcept {
  Reader r(body);
  ParameterStatusView v;
  v.name = r.cstr();
  v.value = r.cstr();
  if (!r.done()) return std::nullopt;
  return v;
}

std::optional<BackendKeyDataView> BackendKeyDataView::decode(Bytes body) noexcept {
  Reader r(body);
  BackendKeyDataView v;
  v.pid = r.u32();
  v.key = r.rest();
  if (!r.ok() || v.key.size() < 4 || v.key.size() > kMaxCancelKey) return std::nullopt;
  return v;
}

std::optional<ErrorView> ErrorView::decode(Bytes body) noexcept {
  Reader r(body);
  ErrorView v;
  bool untranslated = false;
  while (const auto field = r.u8()) {
    const auto text = r.cstr();
    switch (field) {
      case 'S':
        if (!untranslated) v.severity = text;
        break;
      case 'V':
        v.severity = text;
        untranslated = true;
        break;
      case 'C':
        v.code = text;
        break;
      case 'M':
        v.message = text;
        break;
      case 'D':
        v.detail = text;
        break;
      case 'H':
        v.hint = text;
        break;
      default:  // the manual: fields of unrecognized type are to be ignored
        break;
    }
  }
  if (!r.done()) return std::nullopt;
  return v;
}

std::optional<std::string_view> decode_command_tag(Bytes body) noexcept {
  Reader r(body);
  const auto tag = r.cstr();
  if (!r.done()) return std::nullopt;
  return tag;
}

std::optional<TxStatus> decode_ready_for_query(Bytes body) noexcept {
  if (body.size() != 1 || (body[0] != 'I' && body[0] != 'T' && body[0] != 'E')) return std::nullopt;
  return static_cast<TxStatus>(body[0]);
}

}  // namespace sidepool::protocol
