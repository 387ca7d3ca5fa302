// tests/cloudsql_emulator/startup.cpp -- parsing and building those first bytes.
#include "tests/cloudsql_emulator/startup.h"

#include <algorithm>

namespace sidepool::emulator {
namespace {

constexpr std::uint32_t kCancelCode = 80877102;
constexpr std::uint32_t kSslCode = 80877103;
constexpr std::uint32_t kGssEncCode = 80877104;

bool read_varint(std::string_view& bytes, std::uint64_t& value) {
  value = 0;
  for (int shift = 0; shift < 64 && !bytes.empty(); shift += 7) {
    auto byte = static_cast<unsigned char>(bytes.front());
    bytes.remove_prefix(1);
    value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return true;
  }
  return false;
}

// Field 2 of the protobuf message; false if it is malformed.
bool client_protocol(std::string_view payload, std::string& out) {
  static constexpr const char* kNames[] = {"unspecified", "tcp", "tls", "uds"};
  out = kNames[0];
  while (!payload.empty()) {
    std::uint64_t tag = 0;
    std::uint64_t value = 0;
    if (!read_varint(payload, tag)) return false;
    if (!read_varint(payload, value)) return false;
    if ((tag & 7) == 2) {
      if (value > payload.size()) return false;
      payload.remove_prefix(value);
    } else if ((tag & 7) != 0) {
      return false;
    } else if (tag >> 3 == 2) {
      if (value > 3) return false;
      out = kNames[value];
    }
  }
  return true;
}

}  // namespace

std::uint32_t read_u32(std::string_view bytes) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}

std::string write_u32(std::uint32_t value) {
  std::string out;
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(value >> shift & 0xff);
  return out;
}

Parse parse_mdx(std::string_view bytes, MdxRequest& out) {
  std::size_t compared = std::min(bytes.size(), kMdxSignature.size());
  if (bytes.substr(0, compared) != kMdxSignature.substr(0, compared)) return Parse::Invalid;
  if (bytes.size() < 12) return Parse::NeedMore;
  std::uint32_t length = read_u32(bytes.substr(8));
  if (length > kMaxMdxPayload) return Parse::Invalid;
  if (bytes.size() < 12 + length) return Parse::NeedMore;
  if (!client_protocol(bytes.substr(12, length), out.client_protocol)) return Parse::Invalid;
  out.frame_size = 12 + length;
  return Parse::Complete;
}

std::string mdx_response(int status, std::string_view message) {
  std::string payload = {'\x08', static_cast<char>(status)};
  if (!message.empty()) {
    payload += '\x12';
    payload += static_cast<char>(message.size());
    payload += message;
  }
  return std::string(kMdxSignature) + write_u32(static_cast<std::uint32_t>(payload.size())) + payload;
}

Parse parse_startup(std::string_view bytes, StartupPacket& out) {
  if (bytes.size() < 8) return Parse::NeedMore;
  std::uint32_t length = read_u32(bytes);
  if (length < 8 || length > kMaxStartupPacket) return Parse::Invalid;
  if (bytes.size() < length) return Parse::NeedMore;
  std::uint32_t code = read_u32(bytes.substr(4));
  out.size = length;
  if (code == kSslCode) out.kind = StartupPacket::Kind::SslRequest;
  if (code == kGssEncCode) out.kind = StartupPacket::Kind::GssEncRequest;
  if (code == kCancelCode) out.kind = StartupPacket::Kind::Cancel;
  if (out.kind != StartupPacket::Kind::Startup) return Parse::Complete;
  std::string_view rest = bytes.substr(8, length - 8);
  while (!rest.empty() && rest.front() != '\0') {
    std::size_t name_end = rest.find('\0');
    std::size_t value_end = name_end == std::string_view::npos ? name_end : rest.find('\0', name_end + 1);
    if (value_end == std::string_view::npos) break;
    out.parameters[std::string(rest.substr(0, name_end))] =
        rest.substr(name_end + 1, value_end - name_end - 1);
    rest.remove_prefix(value_end + 1);
  }
  return Parse::Complete;
}

std::string fatal(std::string_view sqlstate, std::string_view message) {
  std::string body;
  auto field = [&](char type, std::string_view value) {
    body += type;
    body += value;
    body += '\0';
  };
  field('S', "FATAL");
  field('V', "FATAL");
  field('C', sqlstate);
  field('M', message);
  body += '\0';
  return "E" + write_u32(static_cast<std::uint32_t>(body.size() + 4)) + body;
}

}  // namespace sidepool::emulator
