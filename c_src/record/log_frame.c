/* log_frame: see the header. */
#include "log_frame.h"

#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "log_buffer.h"
#include "log_clock.h"
#include "seen.h"
#include "shelter.h"

enum {
    COMMAND = 8192,
    START_WORDS = sizeof(mt_log_start) / 8,
    TOLD_WORDS = 4096,
    OBJECT_WORDS = 6 + MT_BUILD_ID_MAX / 8 + MT_SEEN_PATH / 8 + 1,
    GONE_WORDS = 4
};

static struct {
    mt_log_block head;
    uint64_t word[1 + START_WORDS + COMMAND / 8];
} begins;
static struct {
    mt_log_block head;
    uint64_t word[2];
} ends;
static struct {
    mt_log_block head;
    uint64_t word[TOLD_WORDS];
} tells;

static mt_log_start about;
static char command[COMMAND]; /* the program's path, its arguments; each ends in a 0 */
static uint32_t command_bytes;

static _Atomic uint32_t sequence; /* of the next block */

static const mt_log_block *complete(mt_log_block *head, uint32_t words, uint32_t generation,
                                    uint32_t number) {
    uint64_t ns = mt_log_clock_ns(), ticks = mt_log_clock_ticks();
    *head = (mt_log_block){.magic = MT_LOG_MAGIC,
                           .version = MT_LOG_VERSION,
                           .bytes = (uint32_t)sizeof *head + words * 8,
                           .generation = generation,
                           .sequence = number,
                           .begin_ticks = ticks,
                           .end_ticks = ticks,
                           .end_ns = ns,
                           .checksum = mt_log_checksum(head + 1, words * 8)};
    return head;
}

static const mt_log_block *first(uint32_t generation, mt_log_reason reason) {
    uint32_t words = 1 + START_WORDS + (command_bytes + 7) / 8;
    mt_log_def def = {.kind = MT_LOG_DEF_START, .words = words};
    atomic_store(&sequence, 1);
    about.reason = reason;
    about.wall_ns = mt_log_clock_wall_ns();
    about.ns = mt_log_clock_ns();
    about.ticks = mt_log_clock_ticks();
    memcpy(begins.word, &def, sizeof def);
    memcpy(begins.word + 1, &about, sizeof about);
    memcpy(begins.word + 1 + START_WORDS, command, sizeof command);
    return complete(&begins.head, words, generation, 0);
}

static const mt_log_block *last(uint32_t generation, mt_log_ending why) {
    mt_log_def def = {.kind = MT_LOG_DEF_END, .words = 2, .id = why};
    memcpy(ends.word, &def, sizeof def);
    ends.word[1] = atomic_load(&mt_log_state.dropped);
    return complete(&ends.head, 2, generation, atomic_load(&sequence));
}

/* What has been told of an entry, in this generation. One at a time, which may be any. */
enum { NOTHING, IT_IS_THERE, IT_HAS_ENDED };
static uint8_t told[MT_SEEN_ENTRIES];
static uint32_t told_generation;
static _Atomic uint64_t told_all; /* when all there was had been told */
static atomic_flag telling = ATOMIC_FLAG_INIT;

/* An entry that was told of completely, or had ended before this generation, is left out. */
static uint32_t tell_one(uint64_t *to, uint32_t i) {
    const mt_seen *e = mt_seen_entry(i);
    uint64_t until = atomic_load_explicit(&e->until_ns, memory_order_relaxed);
    uint64_t ns = mt_log_clock_ns(), ticks = mt_log_clock_ticks();
    uint32_t n = 0;
    if (told[i] == IT_HAS_ENDED && !until) told[i] = NOTHING;
    if (told[i] == NOTHING && !(until && until < about.ns)) {
        uint64_t w[5 + MT_BUILD_ID_MAX / 8] = {e->lo, e->hi, e->base,
                                               mt_log_clock_then(ticks, ns, e->since_ns),
                                               e->build_id_bytes};
        memcpy(w + 5, e->build_id, e->build_id_bytes);
        n = mt_log_define(to, MT_LOG_DEF_OBJECT, 0, w, 5 + (e->build_id_bytes + 7) / 8, e->path,
                          (uint32_t)strlen(e->path));
        told[i] = IT_IS_THERE;
    }
    if (told[i] == IT_IS_THERE && until) {
        uint64_t w[3] = {e->lo, e->hi, mt_log_clock_then(ticks, ns, until)};
        n += mt_log_define(to + n, MT_LOG_DEF_GONE, 0, w, 3, NULL, 0);
        told[i] = IT_HAS_ENDED;
    }
    return n;
}

static bool tell(uint32_t words, uint32_t generation) {
    complete(&tells.head, words, generation, atomic_load(&sequence));
    bool written = mt_log_file_append(&tells.head) == MT_LOG_WRITTEN;
    if (written) atomic_fetch_add(&sequence, 1);
    else memset(told, NOTHING, sizeof told); /* and all once more, another time */
    return written;
}

static bool tell_all(uint32_t generation, uint32_t n) {
    uint32_t words = 0;
    if (generation != told_generation) memset(told, NOTHING, sizeof told);
    told_generation = generation;
    for (uint32_t i = 0; i < n; i++) {
        words += tell_one(tells.word + words, i);
        if (words <= TOLD_WORDS - OBJECT_WORDS - GONE_WORDS) continue;
        if (!tell(words, generation)) return false;
        words = 0;
    }
    return words == 0 || tell(words, generation);
}

/* Numbers of stacks do not hold any more where something was unloaded. */
static void tell_what_is_new(uint32_t generation, uint32_t n, uint32_t changes, uint64_t all) {
    static uint32_t followed;
    if (atomic_flag_test_and_set_explicit(&telling, memory_order_acquire)) return;
    if (changes != followed) atomic_fetch_add(&mt_log_state.stamp, 1);
    followed = changes;
    if (tell_all(generation, n)) atomic_store_explicit(&told_all, all, memory_order_relaxed);
    atomic_flag_clear_explicit(&telling, memory_order_release);
}

/* A handler that jumped out would leave `telling` behind. */
void mt_log_tell(void) {
    uint32_t generation = mt_log_file_generation(), n = mt_seen_count();
    uint32_t changes = mt_seen_changes();
    uint64_t all = (uint64_t)(generation + 1) << 32 | (n + changes);
    mt_shelter shelter;
    if (atomic_load_explicit(&told_all, memory_order_relaxed) == all) return;
    mt_shelter_enter(&shelter);
    tell_what_is_new(generation, n, changes, all);
    mt_shelter_leave(&shelter);
}

/* What does not fit is left out. */
static void read_command(void) {
    long n = syscall(SYS_readlinkat, AT_FDCWD, "/proc/self/exe", command, COMMAND / 2);
    command_bytes = n > 0 ? (uint32_t)n + 1 : 1;
    long file = syscall(SYS_openat, AT_FDCWD, "/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    if (file < 0) return;
    n = syscall(SYS_read, (int)file, command + command_bytes, COMMAND - command_bytes - 1);
    if (n > 0) command_bytes += (uint32_t)n;
    syscall(SYS_close, (int)file);
}

int mt_log_begin_file(const char *path, const mt_log_options *options, uint32_t depth) {
    read_command();
    about =
        (mt_log_start){.pid = (uint64_t)getpid(),
                       .clock = mt_log_clock_state.is_cpu ? MT_LOG_CLOCK_CPU : MT_LOG_CLOCK_NS,
                       .tick_shift = mt_log_clock_state.shift,
                       .depth = depth,
                       .limit = options->limit};
    mt_log_file_on_limit(last);
    return mt_log_file_open(path, options->limit, options->stops, first);
}
