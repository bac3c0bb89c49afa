// crc32c.h — CRC-32C on the processor's own instruction. Swift has no intrinsic for it.
#ifndef SWARM_CRC32C_H
#define SWARM_CRC32C_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// Whether this processor computes CRC-32C in hardware.
bool crc32c_hardware_available(void);

/// Continues `crc` (not inverted) over `count` bytes. Only when `crc32c_hardware_available()`.
uint32_t crc32c_hardware_update(uint32_t crc, const void *_Nullable bytes, size_t count);

#endif
