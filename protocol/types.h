// protocol/types.h -- codes and limits of the wire protocol (PostgreSQL manual, "Message Formats").
#pragma once
#include <cstddef>
#include <cstdint>

namespace sidepool::protocol {

inline constexpr std::uint32_t kProtocol30 = 196608;
inline constexpr std::uint32_t kProtocol32 = 196610;
inline constexpr std::uint32_t kCancelRequestCode = 80877102;
inline constexpr std::uint32_t kSslRequestCode = 80877103;
inline constexpr std::uint32_t kGssEncRequestCode = 80877104;

// PostgreSQL's MAX_STARTUP_PACKET_LENGTH is 10000; product.md §6 allows 16 KiB before authentication.
inline constexpr std::size_t kMaxStartupPacket = 10000;
inline constexpr std::size_t kMaxBeforeAuth = 16384;
inline constexpr std::size_t kMaxCancelKey = 256;

// The codes of Authentication messages ('R').
inline constexpr std::uint32_t kAuthOk = 0;
inline constexpr std::uint32_t kAuthKerberos5 = 2;
inline constexpr std::uint32_t kAuthCleartext = 3;
inline constexpr std::uint32_t kAuthMd5 = 5;
inline constexpr std::uint32_t kAuthGss = 7;
inline constexpr std::uint32_t kAuthSspi = 9;
inline constexpr std::uint32_t kAuthSasl = 10;
inline constexpr std::uint32_t kAuthSaslContinue = 11;
inline constexpr std::uint32_t kAuthSaslFinal = 12;

// The status byte of ReadyForQuery.
enum class TxStatus : char { Idle = 'I', InTransaction = 'T', Failed = 'E' };

}  // namespace sidepool::protocol
