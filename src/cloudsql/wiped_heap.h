// cloudsql/wiped_heap.h -- memory for libcurl, whose buffers hold tokens and passwords on their way: wiped
// when it is freed.
#pragma once

namespace sidepool::cloudsql {

// Initialises libcurl with it; false if that fails. To be called before anything else of libcurl is, because
// memory has to go back where it came from; again it costs nothing. Any thread.
bool curl_is_ready() noexcept;

}  // namespace sidepool::cloudsql
