// tests/cloudsql_emulator/startup.h -- what comes before the relay: the MDX frame and PostgreSQL's startup
// packets.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace sidepool::emulator {

inline constexpr std::string_view kMdxSignature = "CSQLMDEX";
inline constexpr std::uint32_t kMaxMdxPayload = 16384;
inline constexpr std::uint32_t kMaxStartupPacket = 10000;  // PostgreSQL's MAX_STARTUP_PACKET_LENGTH

std::uint32_t read_u32(std::string_view bytes);
std::string write_u32(std::uint32_t value);

enum class Parse { Complete, NeedMore, Invalid };

struct MdxRequest {
  std::string client_protocol;  // unspecified, tcp, tls, uds
  std::size_t frame_size = 0;
};
// NeedMore while `bytes` may still become a frame. Invalid: they begin like one and are none.
Parse parse_mdx(std::string_view bytes, MdxRequest& out);
// Status 1 is OK, 2 is ERROR (cloudsql.md §2).
std::string mdx_response(int status, std::string_view message);

struct StartupPacket {
  enum class Kind { Startup, SslRequest, GssEncRequest, Cancel };
  Kind kind = Kind::Startup;
  std::size_t size = 0;
  std::map<std::string, std::string> parameters;
};
Parse parse_startup(std::string_view bytes, StartupPacket& out);

// FATAL ErrorResponse.
std::string fatal(std::string_view sqlstate, std::string_view message);

}  // namespace sidepool::emulator
