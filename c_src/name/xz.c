/* xz: one call of liblzma, into pages of our own, once more with more of them if need be. */
#include "xz.h"

#include <dlfcn.h>
#include <stdint.h>
#include <string.h>

#include "memory.h"

/* As <lzma.h> declares them, without change since liblzma.so.5 came; a test compares. */
typedef struct {
    void *(*alloc)(void *opaque, size_t n, size_t size);
    void (*free)(void *opaque, void *p);
    void *opaque;
} allocator;
typedef int decode_function(uint64_t *memory_limit, uint32_t flags, const allocator *allocator,
                            const uint8_t *in, size_t *in_at, size_t in_bytes, uint8_t *out,
                            size_t *out_at, size_t out_bytes);

enum { OK = 0, OUTPUT_FULL = 10, MEMORY_LIMIT = 128 << 20, FIRST = 1 << 20 };

static void *take(void *arena, size_t n, size_t size) {
    size_t bytes;
    return __builtin_mul_overflow(n, size, &bytes) ? NULL : mt_arena_take(arena, bytes);
}

/* The arena gives everything back at the end. */
static void keep(void *arena, void *p) {
    (void)arena, (void)p;
}

static int decode(decode_function *f, const void *packed, size_t n, void *out, size_t room,
                  size_t *bytes) {
    mt_arena arena = {0};
    allocator a = {take, keep, &arena};
    uint64_t limit = MEMORY_LIMIT;
    size_t in_at = 0;
    *bytes = 0;
    int result = f(&limit, 0, &a, packed, &in_at, n, out, bytes, room);
    mt_arena_empty(&arena);
    return result;
}

void *mt_xz_decode(const void *packed, size_t n, size_t max, size_t *bytes) {
    void *library = dlopen("liblzma.so.5", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    decode_function *f =
        library ? (decode_function *)dlsym(library, "lzma_stream_buffer_decode") : NULL;
    int result = OUTPUT_FULL;
    if (!f) {
        dlerror(); /* not the program's */
        return NULL;
    }
    for (size_t room = FIRST; result == OUTPUT_FULL && room <= max; room *= 4) {
        char *out = mt_memory_map(room);
        if (!out) return NULL;
        result = decode(f, packed, n, out, room, bytes);
        char *exact = result == OK && *bytes > 0 ? mt_memory_map(*bytes) : NULL;
        if (exact) memcpy(exact, out, *bytes);
        mt_memory_unmap(out, room);
        if (result == OK) return exact;
    }
    return NULL;
}
