#include "crc32c.h"

#include <string.h>

#if defined(__x86_64__)

#include <nmmintrin.h>

bool crc32c_hardware_available(void) { return __builtin_cpu_supports("sse4.2"); }

__attribute__((target("sse4.2"))) uint32_t crc32c_hardware_update(uint32_t crc, const void *bytes, size_t count) {
  const unsigned char *at = bytes;
  uint64_t wide = crc;
  for (; count >= 8; at += 8, count -= 8) {
    uint64_t word;
    memcpy(&word, at, 8);
    wide = _mm_crc32_u64(wide, word);
  }
  crc = (uint32_t)wide;
  for (; count > 0; at++, count--) crc = _mm_crc32_u8(crc, *at);
  return crc;
}

#elif defined(__ARM_FEATURE_CRC32)

#include <arm_acle.h>

bool crc32c_hardware_available(void) { return true; }

uint32_t crc32c_hardware_update(uint32_t crc, const void *bytes, size_t count) {
  const unsigned char *at = bytes;
  for (; count >= 8; at += 8, count -= 8) {
    uint64_t word;
    memcpy(&word, at, 8);
    crc = __crc32cd(crc, word);
  }
  for (; count > 0; at++, count--) crc = __crc32cb(crc, *at);
  return crc;
}

#else

bool crc32c_hardware_available(void) { return false; }

uint32_t crc32c_hardware_update(uint32_t crc, const void *bytes, size_t count) {
  (void)bytes;
  (void)count;
  return crc;
}

#endif
