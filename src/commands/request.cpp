// src/commands/request.cpp -- one HTTP request over libcurl.
#include "src/commands/request.h"

#include <curl/curl.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <memory>

namespace sidepool::commands {

Result<long> request(Method method, const std::string& url, Duration most) {
  const std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> handle(curl_easy_init(), curl_easy_cleanup);
  if (!handle) return fail(Errc::Io, "libcurl cannot be used");
  CURL* curl = handle.get();
  std::array<char, CURL_ERROR_SIZE> why{};
  const auto timeout = std::chrono::duration_cast<std::chrono::milliseconds>(most).count();
  curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl, CURLOPT_PROXY, "");
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http");
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS,
                   static_cast<long>(std::clamp<std::int64_t>(timeout, 1, 1 << 30)));
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, why.data());
  // Whatever the body says, the status is the answer.
  curl_easy_setopt(
      curl, CURLOPT_WRITEFUNCTION,
      +[](char*, std::size_t size, std::size_t count, void*) { return size * count; });
  if (method == Method::Post) {
    curl_easy_setopt(curl, CURLOPT_POST, 1L);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, 0L);
  }
  const CURLcode code = curl_easy_perform(curl);
  if (code != CURLE_OK) return fail(Errc::Io, why[0] != '\0' ? why.data() : curl_easy_strerror(code));
  long status = 0;
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
  return status;
}

}  // namespace sidepool::commands
