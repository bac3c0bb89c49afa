#include "crc32c.h"

#include <string.h>

// One instruction takes 8 bytes and has a latency of three cycles, but the processor can begin one every cycle. So long
// inputs go in three lanes side by side. The lanes' results are joined by "shifting" the earlier one over the length of
// the later: what a CRC becomes after that many zero bytes, which is linear, so four tables of 256 entries give it.

#if defined(__x86_64__)

#include <nmmintrin.h>
#define TARGET __attribute__((target("sse4.2")))
#define CRC_U64(crc, word) _mm_crc32_u64((crc), (word))
#define CRC_U8(crc, byte) _mm_crc32_u8((crc), (byte))
#define HAS_INSTRUCTION __builtin_cpu_supports("sse4.2")

#elif defined(__ARM_FEATURE_CRC32)

#include <arm_acle.h>
#define TARGET
#define CRC_U64(crc, word) __crc32cd((crc), (word))
#define CRC_U8(crc, byte) __crc32cb((crc), (byte))
#define HAS_INSTRUCTION true

#endif

#ifdef TARGET

enum { lane = 336 };  // three of them are most of a packet for a path MTU of 1,200

static uint32_t shift_table[4][256];

TARGET static void make_shift_table(void) {
  for (int position = 0; position < 4; position++) {
    for (uint32_t byte = 0; byte < 256; byte++) {
      uint64_t crc = byte << (8 * position);
      for (int word = 0; word < lane / 8; word++) crc = CRC_U64(crc, 0);
      shift_table[position][byte] = (uint32_t)crc;
    }
  }
}

static uint32_t shift_over_lane(uint32_t crc) {
  return shift_table[0][crc & 0xff] ^ shift_table[1][crc >> 8 & 0xff] ^ shift_table[2][crc >> 16 & 0xff] ^
         shift_table[3][crc >> 24];
}

static inline uint64_t load(const unsigned char *at) {
  uint64_t word;
  memcpy(&word, at, 8);
  return word;
}

bool crc32c_hardware_prepare(void) {
  if (!HAS_INSTRUCTION) return false;
  make_shift_table();
  return true;
}

TARGET uint32_t crc32c_hardware_update(uint32_t crc, const void *bytes, size_t count) {
  const unsigned char *at = bytes;
  for (; count >= 3 * lane; at += 3 * lane, count -= 3 * lane) {
    uint64_t first = crc, second = 0, third = 0;
    for (int offset = 0; offset < lane; offset += 8) {
      first = CRC_U64(first, load(at + offset));
      second = CRC_U64(second, load(at + lane + offset));
      third = CRC_U64(third, load(at + 2 * lane + offset));
    }
    crc = shift_over_lane(shift_over_lane((uint32_t)first) ^ (uint32_t)second) ^ (uint32_t)third;
  }
  uint64_t wide = crc;
  for (; count >= 8; at += 8, count -= 8) wide = CRC_U64(wide, load(at));
  crc = (uint32_t)wide;
  for (; count > 0; at++, count--) crc = CRC_U8(crc, *at);
  return crc;
}

#else

bool crc32c_hardware_prepare(void) { return false; }

uint32_t crc32c_hardware_update(uint32_t crc, const void *bytes, size_t count) {
  (void)bytes;
  (void)count;
  return crc;
}

#endif
