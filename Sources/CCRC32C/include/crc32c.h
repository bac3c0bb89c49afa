// crc32c.h — CRC-32C on the processor's own instruction. Swift has no intrinsic for it.
#ifndef SWARM_CRC32C_H
#define SWARM_CRC32C_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// Makes ready to compute CRC-32C in hardware; false when this processor cannot. To be called once, before any update.
bool crc32c_hardware_prepare(void);

/// Continues `crc` (not inverted) over `count` bytes. Only after `crc32c_hardware_prepare()` was true.
uint32_t crc32c_hardware_update(uint32_t crc, const void *_Nullable bytes, size_t count);

#endif
