// cloudsql/wiped_heap.cpp -- see the header.
#include "src/cloudsql/wiped_heap.h"

#include <curl/curl.h>
#include <openssl/crypto.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace sidepool::cloudsql {
namespace {

// In front of every block, because free() is not told its size.
struct alignas(std::max_align_t) Head {
  std::size_t size;
};

Head* head_of(void* block) noexcept { return static_cast<Head*>(block) - 1; }

void* allocate(std::size_t size) noexcept {
  if (size > SIZE_MAX - sizeof(Head)) return nullptr;
  auto* head = static_cast<Head*>(std::malloc(sizeof(Head) + size));
  if (!head) return nullptr;
  head->size = size;
  return head + 1;
}

void release(void* block) noexcept {
  if (!block) return;
  OPENSSL_cleanse(block, head_of(block)->size);
  std::free(head_of(block));
}

// Always into another block: realloc() would leave the old one as it is.
void* resize(void* block, std::size_t size) noexcept {
  void* out = allocate(size);
  if (!out || !block) return out;
  std::memcpy(out, block, std::min(size, head_of(block)->size));
  release(block);
  return out;
}

char* duplicate(const char* text) noexcept {
  const std::size_t size = std::strlen(text) + 1;
  void* out = allocate(size);
  return out ? static_cast<char*>(std::memcpy(out, text, size)) : nullptr;
}

void* allocate_zeroed(std::size_t count, std::size_t size) noexcept {
  if (size != 0 && count > SIZE_MAX / size) return nullptr;
  void* out = allocate(count * size);
  return out ? std::memset(out, 0, count * size) : nullptr;
}

}  // namespace

bool curl_is_ready() noexcept {
  static const CURLcode once =
      curl_global_init_mem(CURL_GLOBAL_DEFAULT, allocate, release, resize, duplicate, allocate_zeroed);
  return once == CURLE_OK;
}

}  // namespace sidepool::cloudsql
