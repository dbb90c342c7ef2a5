/* log_format: the event log, a file of every allocation and free.
 *
 *   +-------+-------+-------+-- ...        a file is blocks, each appended whole by one write;
 *   | block | block | block |              little-endian, everything in words of 8 bytes
 *   +-------+-------+-------+-- ...
 *
 *   +-------------+----------------------+--------------------+
 *   | header (64) | events ▶             | definitions        |   one thread's, in its order
 *   +-------------+----------------------+--------------------+
 *
 * What an event refers to, a stack, is defined in the same block or an earlier one, where none
 * before was lost. Blocks of one thread
 * stand in their order; events of several threads are put in order by their times.
 *
 * A generation begins where the file is begun anew: at the start of the program (0), when it
 * had reached its limit and was emptied, or when it had been moved away. Definitions hold
 * within their generation; a reader drops blocks of another one than the first block's.
 *
 * Times are ticks of a clock (MT_LOG_CLOCK_*) since some moment; each block's header tells what
 * tick it was written at, and what CLOCK_MONOTONIC said then, so that two blocks give the rate.
 *
 * An event is one word, some have more behind it:
 *
 *   63                 19 18        4 3    0
 *   +--------------------+-----------+------+
 *   | address / 8     45 | delta  15 | op 4 |     delta: ticks >> tick_shift since the event
 *   +--------------------+-----------+------+     before, or the block's begin; see OP_TIME
 *   | size            32 | stack         32 |     of ALLOC, REALLOC
 *   +--------------------+------------------+
 *
 * The size is the lower half of its word, the stack's number the upper one. A free has a size
 * of 0 there.
 *
 * Of a write that takes only a part of a block (a full disk) that part is taken back, unless
 * another thread's block stands behind it already. Then the next block begins anywhere, not at
 * a multiple of 8: a reader looks for the magic, and believes a block by its checksum.
 *
 * When a generation begins, what lies in the threads' buffers still belongs to the one before;
 * it is not written, and counted as dropped. Where a file is emptied a block of a thread that
 * was just writing may come before the one with DEF_START, if that thread is fast three times
 * over.
 *
 * An allocation's time is taken when it returns, a free's when it is called: of two events with
 * one address the earlier came first. A realloc's are both when it is called while the process
 * has one thread.
 *
 * The checksum is over everything behind the header: see mt_log_checksum.
 */
#ifndef MT_RECORD_LOG_FORMAT_H
#define MT_RECORD_LOG_FORMAT_H

#include <stddef.h>
#include <stdint.h>

#define MT_LOG_MAGIC 0x676f6c7274aa6d01ull /* "\1m\252trlog" */

enum { MT_LOG_VERSION = 1, MT_LOG_BLOCK_MAX = 1 << 20 };

typedef struct mt_log_block {
    uint64_t magic;
    uint32_t version;
    uint32_t
        bytes; /* of the block, header included; a multiple of 8, at most MT_LOG_BLOCK_MAX */
    uint32_t event_bytes; /* behind the header; then definitions up to the end */
    uint32_t generation;
    uint32_t thread;   /* a number of our own for the thread, defined by DEF_THREAD; 0: none,
                          a block of definitions, whose sequence counts too */
    uint32_t sequence; /* of this thread's blocks in this generation, from 0: a gap is a loss */
    uint64_t begin_ticks; /* what the first event's delta counts from */
    uint64_t end_ticks;   /* when it was written: not before its last event */
    uint64_t end_ns;      /* the same moment on CLOCK_MONOTONIC */
    uint32_t checksum;
    uint32_t dropped; /* events of this thread that could not be written since its last block */
} mt_log_block;

/* The low four bits of an event. */
typedef enum mt_log_op {
    MT_LOG_PAD = 0,         /* nothing */
    MT_LOG_ALLOC = 1,       /* + size, stack */
    MT_LOG_ALLOC_LARGE = 2, /* + 0, stack; + size in 64 bits: for sizes of 2^32 and more */
    MT_LOG_FREE = 3,        /* + 0, stack (0: not taken) */
    /* realloc: the old chunk before the call (no further word), then one of these of the same
     * thread. Nothing else of that thread comes in between, but for what a signal handler or
     * the allocator itself frees meanwhile; where none comes before the thread's next realloc
     * the chunk was given away: freed, for all that is known. */
    MT_LOG_REALLOC_FROM = 4,
    MT_LOG_REALLOC_TO = 5,       /* + size, stack: it is there now; address 0: it was freed */
    MT_LOG_REALLOC_TO_LARGE = 6, /* + 0, stack; + size */
    MT_LOG_REALLOC_FAILED = 7,   /* the address is the old one's, which stays; + size (that was
                                    asked for, at most 2^32 - 1), stack */
    MT_LOG_TIME = 8 /* not an event: the 60 bits above are added to the clock, in units */
} mt_log_op;

enum { MT_LOG_DELTA_BITS = 15, MT_LOG_ADDRESS_SHIFT = 19 };

/* A definition: this word, then words - 1 more. Texts end in a 0 and are filled up with them.
 */
typedef struct mt_log_def {
    uint32_t kind : 8;
    uint32_t words : 24; /* this one included */
    uint32_t id;
} mt_log_def;

typedef enum mt_log_kind {
    /* id: the stack's, from 1; where several threads define it, all do so alike. What a block's
     * events refer to is defined in it or before it. Return addresses, [0] in the hook
     * itself, whose function says what was called. */
    MT_LOG_DEF_STACK = 1,
    /* A file that is mapped: lo, hi (of its code), base (what is added to the addresses in the
     * file), ticks since when; bytes of the build id (a word), the build id, the path. An
     * address belongs to the last one defined before the moment, unless it is gone by then. */
    MT_LOG_DEF_OBJECT = 2,
    MT_LOG_DEF_GONE = 3, /* lo, hi, ticks: what was mapped there is not any more */
    /* Once a generation, in its first block: see mt_log_start; then the program's path and its
     * arguments, each ending in a 0. */
    MT_LOG_DEF_START = 4,
    MT_LOG_DEF_THREAD = 5, /* id: the number in the block's header. tid, then its name */
    MT_LOG_DEF_END = 6     /* id: mt_log_end. dropped events in all: of the whole process */
} mt_log_kind;

typedef struct mt_log_start {
    uint64_t pid;
    uint64_t wall_ns, ns, ticks; /* CLOCK_REALTIME, CLOCK_MONOTONIC and ticks at one moment */
    uint32_t clock, tick_shift;
    uint32_t depth;  /* frames kept of an allocation's stack, at most */
    uint32_t reason; /* mt_log_reason */
    uint64_t limit;  /* bytes, 0: none */
} mt_log_start;

enum { MT_LOG_CLOCK_NS = 1 /* CLOCK_MONOTONIC */, MT_LOG_CLOCK_CPU = 2 /* the processor's */ };

/* Why a generation begins. */
typedef enum mt_log_reason {
    MT_LOG_FIRST = 0,
    MT_LOG_STARTED_OVER = 1, /* the limit was reached, what was there is gone */
    MT_LOG_REOPENED = 2      /* the file had been moved away or removed */
} mt_log_reason;

/* Why there is nothing behind this. */
typedef enum mt_log_ending {
    MT_LOG_END_EXIT = 0,  /* the program ended */
    MT_LOG_END_LIMIT = 1, /* the limit was reached, and it was to stop there */
    MT_LOG_END_DETACHED = 2
} mt_log_ending;

/* Of n bytes, a multiple of 8. Cheap, for what was cut off or overwritten; not against malice.
 */
static inline uint32_t mt_log_checksum(const void *data, size_t n) {
    const uint64_t *word = data;
    uint64_t a = 0x9e3779b97f4a7c15ull ^ n, b = ~a;
    for (size_t i = 0; i + 1 < n / 8; i += 2) {
        a = (a ^ word[i]) * 0xd6e8feb86659fd93ull;
        b = (b ^ word[i + 1]) * 0xca5a826395121157ull;
    }
    if (n / 8 % 2) a = (a ^ word[n / 8 - 1]) * 0xd6e8feb86659fd93ull;
    a ^= b >> 32 ^ b << 32;
    a = (a ^ a >> 32) * 0xd6e8feb86659fd93ull;
    return (uint32_t)(a >> 32);
}

#endif
