// allocation_counter.c — counts allocations on their way to glibc.

#include "allocation_counter.h"

#include <errno.h>
#include <malloc.h>
#include <stddef.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif

static _Thread_local uint64_t allocations;

static _Thread_local int64_t live_bytes;

uint64_t thread_allocations(void) { return allocations; }

int64_t thread_live_bytes(void) { return live_bytes; }

#ifdef SANITIZED

bool allocations_are_counted(void) { return false; }

#else

bool allocations_are_counted(void) { return true; }

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

extern void __libc_free(void *);

static void *counted(void *memory) {
  allocations += 1;
  live_bytes += (int64_t)malloc_usable_size(memory);
  return memory;
}

void *malloc(size_t byte_count) { return counted(__libc_malloc(byte_count)); }

void *calloc(size_t count, size_t byte_count) { return counted(__libc_calloc(count, byte_count)); }

void *realloc(void *memory, size_t byte_count) {
  int64_t before = (int64_t)malloc_usable_size(memory);
  void *result = __libc_realloc(memory, byte_count);
  if (result == NULL && byte_count != 0) return NULL;  // the old memory stays
  live_bytes -= before;
  return counted(result);
}

void *aligned_alloc(size_t alignment, size_t byte_count) { return counted(__libc_memalign(alignment, byte_count)); }

int posix_memalign(void **memory, size_t alignment, size_t byte_count) {
  void *result = counted(__libc_memalign(alignment, byte_count));
  if (result == NULL) return ENOMEM;
  *memory = result;
  return 0;
}

void free(void *memory) {
  live_bytes -= (int64_t)malloc_usable_size(memory);
  __libc_free(memory);
}

#endif
