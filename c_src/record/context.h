/* context: on whose behalf a chunk is allocated: which allocator, which NIF was running, for
 * which Erlang process, on which kind of thread, and what Erlang code had called it.
 *
 * What can be known of that is the business of whoever stands between the emulator and its
 * NIFs; recording only keeps it.
 *
 * A row of sites is keyed by the stack and what belongs to it, as words one after the other:
 *
 *   | native return addresses | Erlang return addresses | context word |
 *
 *   context word:  1 | mapped 7 | erlang 8 | native 8 | allocator 8 | caller 32
 *
 * mapped: the low bits of mt_seen_changes (seen.h), so that code that has come to lie where
 * other code was has rows of its own.
 */
#ifndef MT_RECORD_CONTEXT_H
#define MT_RECORD_CONTEXT_H

#include <stdatomic.h>
#include <stdint.h>

enum { MT_ERLANG_DEPTH_MAX = 16, MT_ERLANG_DEPTH = 8 };

typedef enum mt_allocator {
    MT_ALLOCATOR_MALLOC,   /* the malloc family */
    MT_ALLOCATOR_ENIF,     /* enif_alloc */
    MT_ALLOCATOR_BINARY,   /* enif_alloc_binary: until it is given to the VM */
    MT_ALLOCATOR_RESOURCE, /* enif_alloc_resource: until its destructor has run */
    MT_ALLOCATOR_ENV,      /* enif_alloc_env: the environment itself, not its terms */
    MT_ALLOCATOR_DRIVER,   /* driver_alloc, driver_alloc_binary */
    MT_ALLOCATORS
} mt_allocator;

typedef enum mt_thread_kind {
    MT_THREAD_OTHER, /* none of the emulator's schedulers, or nobody knows */
    MT_THREAD_NORMAL,
    MT_THREAD_DIRTY_CPU,
    MT_THREAD_DIRTY_IO
} mt_thread_kind;

typedef struct mt_context {
    uint64_t pid;    /* of the Erlang process, as a term of the emulator; 0: none */
    uint32_t caller; /* a row of hook/callers; 0: nobody that is known */
    uint32_t erlang_frames;
    mt_thread_kind thread;
    uintptr_t erlang[MT_ERLANG_DEPTH_MAX]; /* return addresses, innermost first */
} mt_context;

/* Tells the calling thread's context, with at most `depth` Erlang frames. Called inside malloc,
 * for chunks that are recorded only; NULL where nobody can tell. Set once, before what it tells
 * is wanted, hence relaxed. */
typedef void mt_context_reader(mt_context *context, uint32_t depth);
extern mt_context_reader *_Atomic mt_context_read __attribute__((visibility("hidden")));

static inline uint64_t mt_context_word(uint32_t caller, mt_allocator allocator, uint32_t native,
                                       uint32_t erlang, uint32_t mapped) {
    return 1ull << 63 | (uint64_t)(mapped & 0x7f) << 56 | (uint64_t)erlang << 48 |
           (uint64_t)native << 40 | (uint64_t)allocator << 32 | caller;
}

static inline uint32_t mt_context_caller(uint64_t word) {
    return (uint32_t)word;
}
static inline mt_allocator mt_context_allocator(uint64_t word) {
    uint32_t a = word >> 32 & 0xff;
    return a < MT_ALLOCATORS ? (mt_allocator)a : MT_ALLOCATOR_MALLOC;
}
static inline uint32_t mt_context_native(uint64_t word) {
    return word >> 40 & 0xff;
}
static inline uint32_t mt_context_erlang(uint64_t word) {
    return word >> 48 & 0xff;
}

#endif
