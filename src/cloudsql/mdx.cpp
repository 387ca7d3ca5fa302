// cloudsql/mdx.cpp -- see the header.
#include "src/cloudsql/mdx.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

namespace sidepool::cloudsql {
namespace {

constexpr std::string_view kSignature = "CSQLMDEX";

// Cursor over a protobuf message (Protocol Buffers, "Encoding").
class Fields {
 public:
  explicit Fields(std::string_view bytes) : bytes_(bytes) {}

  bool empty() const { return bytes_.empty(); }

  std::optional<std::uint64_t> varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && !bytes_.empty(); shift += 7) {
      const auto byte = static_cast<std::uint8_t>(bytes_.front());
      bytes_.remove_prefix(1);
      value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
      if ((byte & 0x80) == 0) return value;
    }
    return std::nullopt;
  }

  std::optional<std::string_view> take(std::uint64_t n) {
    if (n > bytes_.size()) return std::nullopt;
    const auto out = bytes_.substr(0, n);
    bytes_.remove_prefix(n);
    return out;
  }

  // Passes over the value of a field that is not ours.
  bool skip(unsigned wire_type) {
    switch (wire_type) {
      case 0:
        return varint().has_value();
      case 1:
        return take(8).has_value();
      case 2: {
        const auto n = varint();
        return n && take(*n);
      }
      case 5:
        return take(4).has_value();
      default:
        return false;
    }
  }

 private:
  std::string_view bytes_;
};

std::string printable(std::string_view text) {
  std::string out{text.substr(0, 256)};
  std::replace_if(
      out.begin(), out.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return out;
}

}  // namespace

MdxFrame mdx_frame(ClientProtocol how) noexcept {
  MdxFrame frame{};
  std::memcpy(frame.data(), kSignature.data(), kSignature.size());
  frame[11] = 2;     // payload length, big-endian
  frame[12] = 0x10;  // field 2, varint: client_protocol_type
  frame[13] = static_cast<std::uint8_t>(how);
  return frame;
}

MdxReply::State MdxReply::feed(std::span<const std::uint8_t>& in) {
  if (state_ != State::More || in.empty()) return state_;
  if (have_ == 0 && in.front() != static_cast<std::uint8_t>(kSignature.front())) return state_ = State::None;
  if (have_ < head_.size()) start_frame(in);
  if (state_ != State::More || have_ < head_.size()) return state_;
  const auto n = std::min<std::size_t>(left_, in.size());
  payload_.append(reinterpret_cast<const char*>(in.data()), n);
  in = in.subspan(n);
  left_ -= static_cast<std::uint32_t>(n);
  return left_ == 0 ? decode() : state_;
}

void MdxReply::start_frame(std::span<const std::uint8_t>& in) {
  while (have_ < head_.size() && !in.empty()) {
    const std::uint8_t byte = in.front();
    if (have_ < kSignature.size() && byte != static_cast<std::uint8_t>(kSignature[have_])) {
      bad("the server's first bytes are neither PostgreSQL nor a metadata exchange");
      return;
    }
    head_[have_++] = byte;
    in = in.subspan(1);
  }
  if (have_ < head_.size()) return;
  left_ = std::uint32_t{head_[8]} << 24 | std::uint32_t{head_[9]} << 16 | std::uint32_t{head_[10]} << 8 |
          head_[11];
  if (left_ > kMaxMdxReply)
    bad("the server's metadata exchange answer is too long, " + std::to_string(left_) + " bytes");
}

MdxReply::State MdxReply::bad(std::string why) {
  message_ = std::move(why);
  payload_.clear();
  return state_ = State::Bad;
}

MdxReply::State MdxReply::decode() {
  constexpr std::uint64_t kStatusError = 2;
  std::uint64_t status = 0;
  for (Fields fields{payload_}; !fields.empty();) {
    const auto tag = fields.varint();
    if (!tag) return bad("the server's metadata exchange answer is malformed");
    const std::uint64_t number = *tag >> 3;
    const auto wire_type = static_cast<unsigned>(*tag & 7);
    if (number == 1 && wire_type == 0) {
      const auto value = fields.varint();
      if (!value) return bad("the server's metadata exchange answer is malformed");
      status = *value;
    } else if (number == 2 && wire_type == 2) {
      const auto n = fields.varint();
      const auto text = n ? fields.take(*n) : std::nullopt;
      if (!text) return bad("the server's metadata exchange answer is malformed");
      message_ = printable(*text);
    } else if (number == 0 || !fields.skip(wire_type)) {
      return bad("the server's metadata exchange answer is malformed");
    }
  }
  payload_.clear();
  return state_ = status == kStatusError ? State::Refused : State::Ok;
}

}  // namespace sidepool::cloudsql
