/* log_buffer: see the header. Runs inside malloc and free. */
#include "log_buffer.h"

#include <fcntl.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "log_clock.h"
#include "private.h"
#include "shelter.h"

enum {
    THREAD_WORDS = 5, /* number, name of at most 16 bytes, a 0 */
    NEVER = UINT32_MAX
};

mt_log_shared mt_log_state;

#define state (&mt_log_state)

static _Atomic uint32_t numbers;

mt_log_buffer *mt_log_buffer_get(mt_thread *block) {
    mt_log_buffer *b = block->log;
    if (b) return b;
    if (!(b = mt_private_take(sizeof *b))) return NULL;
    b->taken = NEVER;
    mt_log_buffer_begin(b, (uint32_t)block->tid);
    block->log = b;
    return b;
}

static void begin_anew(mt_log_buffer *b) {
    atomic_store_explicit(&b->events, 0, memory_order_relaxed);
    b->generation = mt_log_file_generation();
    b->begin = b->last = mt_log_clock_units();
    b->due = b->begin + __atomic_load_n(&mt_log_clock_state.second, __ATOMIC_RELAXED);
}

static void empty(mt_log_buffer *b) {
    atomic_store_explicit(&b->defs, 0, memory_order_relaxed);
    begin_anew(b);
}

uint32_t mt_log_buffer_count(const uint64_t *event, uint32_t words) {
    static const uint8_t length[16] = {1, 2, 3, 2, 1, 2, 3, 2, 1, 1, 1, 1, 1, 1, 1, 1};
    uint32_t n = 0;
    for (uint32_t i = 0; i < words; i += length[event[i] & 15])
        n += (event[i] & 15) != MT_LOG_TIME && (event[i] & 15) != MT_LOG_PAD;
    return n;
}

static void count_dropped(mt_log_buffer *b, uint32_t events) {
    uint32_t n = mt_log_buffer_count(b->word, events);
    b->dropped += n;
    atomic_fetch_add_explicit(&state->dropped, n, memory_order_relaxed);
}

/* Other threads use the numbers that were defined here: they are kept for the next block, if
 * there is room for more. */
static void lose(mt_log_buffer *b, uint32_t defs) {
    count_dropped(b, b->events);
    if (defs > MT_LOG_DEF_WORDS / 2) {
        atomic_fetch_add_explicit(&state->stamp, 1, memory_order_relaxed);
        defs = 0;
    }
    memmove(b->word + MT_LOG_EVENT_WORDS, b->word + b->events, defs * sizeof *b->word);
    atomic_store_explicit(&b->defs, defs, memory_order_release);
}

void mt_log_buffer_renew(mt_log_buffer *b) {
    if (b->taken != b->generation) count_dropped(b, b->events);
    else b->dropped = 0;
    empty(b);
}

void mt_log_buffer_begin(mt_log_buffer *b, uint32_t tid) {
    if (b->events || b->defs) mt_log_buffer_flush(b);
    b->tid = tid;
    b->number = atomic_fetch_add_explicit(&numbers, 1, memory_order_relaxed) + 1;
    b->sequence = b->dropped = 0;
    b->told = NEVER;
    b->realloc = 0;
    b->busy_sp = 0;
    begin_anew(b); /* definitions that could not be written stay: others use their numbers */
}

uint32_t mt_log_define(uint64_t *to, mt_log_kind kind, uint32_t id, const uint64_t *words,
                       uint32_t n, const char *text, uint32_t bytes) {
    uint32_t text_words = text ? bytes / 8 + 1 : 0, all = 1 + n + text_words;
    mt_log_def def = {.kind = kind, .words = all, .id = id};
    memcpy(to, &def, sizeof def);
    memcpy(to + 1, words, n * sizeof *words);
    if (text) {
        to[all - 1] = 0;
        memcpy(to + 1 + n, text, bytes);
    }
    return all;
}

static void define(mt_log_buffer *b, mt_log_kind kind, uint32_t id, const uint64_t *words,
                   uint32_t n, const char *text) {
    uint32_t all = mt_log_define(b->word + MT_LOG_EVENT_WORDS + b->defs, kind, id, words, n,
                                 text, text ? (uint32_t)strlen(text) : 0);
    atomic_store_explicit(&b->defs, b->defs + all, memory_order_release);
}

void mt_log_buffer_define(mt_log_buffer *b, uint32_t number, void *const *stack,
                          uint32_t frames) {
    uint64_t words[MT_DEPTH_MAX];
    for (uint32_t i = 0; i < frames; i++) words[i] = (uintptr_t)stack[i];
    if (b->defs + 1 + frames > MT_LOG_DEF_WORDS - THREAD_WORDS) mt_log_buffer_flush(b);
    define(b, MT_LOG_DEF_STACK, number, words, frames, NULL);
}

/* Of another thread as the kernel's files tell it. */
static void read_name(uint32_t tid, char *name, size_t room) {
    char path[40] = "/proc/self/task/", digits[12], *at = path + strlen(path);
    int n = 0;
    for (; tid; tid /= 10) digits[n++] = (char)('0' + tid % 10);
    while (n) *at++ = digits[--n];
    memcpy(at, "/comm", 6);
    long file = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    long got = file < 0 ? 0 : syscall(SYS_read, (int)file, name, room - 1);
    name[got > 0 ? got - 1 : 0] = 0; /* its newline */
    if (file >= 0) syscall(SYS_close, (int)file);
}

static void name_thread(mt_log_buffer *b) {
    uint64_t tid = b->tid;
    char name[17] = {0};
    if (b->tid == (uint32_t)syscall(SYS_gettid)) prctl(PR_GET_NAME, name, 0, 0, 0);
    else read_name(b->tid, name, sizeof name);
    define(b, MT_LOG_DEF_THREAD, b->number, &tid, 1, name);
}

/* Makes the block of what is there, in place: definitions go down to the events. */
static void complete(mt_log_buffer *b) {
    uint32_t events = b->events, defs = b->defs;
    memmove(b->word + events, b->word + MT_LOG_EVENT_WORDS, defs * sizeof *b->word);
    uint64_t ns = mt_log_clock_ns(), ticks = mt_log_clock_ticks();
    mt_log_clock_learn(ticks, ns);
    b->head = (mt_log_block){.magic = MT_LOG_MAGIC,
                             .version = MT_LOG_VERSION,
                             .bytes = (uint32_t)(sizeof b->head + (events + defs) * 8),
                             .event_bytes = events * 8,
                             .generation = b->generation,
                             .thread = b->number,
                             .sequence = b->sequence,
                             .begin_ticks = b->begin << mt_log_clock_state.shift,
                             .end_ticks = ticks,
                             .end_ns = ns,
                             .checksum = mt_log_checksum(b->word, (events + defs) * 8),
                             .dropped = b->dropped};
}

static void write_out(mt_log_buffer *b) {
    uint32_t defs = b->defs;
    if (b->told != b->generation) {
        b->sequence = 0;
        name_thread(b);
    }
    complete(b);
    switch (mt_log_file_append(&b->head)) {
    case MT_LOG_WRITTEN:
        b->told = b->generation;
        b->sequence++;
        b->dropped = 0;
        b->defs = 0;
        atomic_store_explicit(&b->writer.written, b->writer.written + 1, memory_order_release);
        break;
    case MT_LOG_FORMER:
        count_dropped(b, b->events);
        b->defs = 0;
        break;
    default:
        lose(b, defs);
    }
}

/* Asked under `writing`: who ends the log has said so before he took what there was. */
static void flush(mt_log_buffer *b) {
    if (atomic_flag_test_and_set_explicit(&b->writing, memory_order_acquire)) {
        empty(b); /* the log is being ended */
        return;
    }
    if (atomic_load(&state->open)) {
        write_out(b);
        begin_anew(b);
    } else {
        empty(b);
    }
    atomic_flag_clear_explicit(&b->writing, memory_order_release);
}

/* A handler that jumped out would leave `writing` behind. */
void mt_log_buffer_flush(mt_log_buffer *b) {
    mt_shelter shelter;
    mt_shelter_enter(&shelter);
    flush(b);
    mt_shelter_leave(&shelter);
}

/* Definitions after events: what these refer to is there. */
static void copy_complete(mt_log_buffer *copy, const mt_log_buffer *b) {
    copy->events = atomic_load_explicit(&b->events, memory_order_acquire);
    copy->defs = atomic_load_explicit(&b->defs, memory_order_acquire);
    copy->generation = b->generation;
    copy->number = b->number;
    copy->tid = b->tid;
    copy->sequence = b->sequence;
    copy->told = b->told;
    copy->dropped = b->dropped;
    copy->begin = b->begin;
    memcpy(copy->word, b->word, copy->events * sizeof *b->word);
    memcpy(copy->word + MT_LOG_EVENT_WORDS, b->word + MT_LOG_EVENT_WORDS,
           copy->defs * sizeof *b->word);
}

/* A copy, since its thread goes on. */
void mt_log_buffer_take(mt_log_buffer *b) {
    static mt_log_buffer copy; /* one caller: the end */
    static int patience = 100; /* for all */
    struct timespec moment = {0, 1000000};
    while (atomic_flag_test_and_set_explicit(&b->writing, memory_order_acquire)) {
        if (patience-- <= 0) return;
        nanosleep(&moment, NULL);
    }
    copy_complete(&copy, b);
    b->taken = b->generation;
    copy.taken = NEVER;
    if (copy.generation != mt_log_file_generation()) mt_log_buffer_renew(&copy);
    if (copy.events || copy.defs || copy.dropped) write_out(&copy);
    atomic_flag_clear_explicit(&b->writing, memory_order_release);
}
