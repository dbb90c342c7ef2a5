/* log_frame: see the header. */
#include "log_frame.h"

#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "log_buffer.h"
#include "log_clock.h"

enum { COMMAND = 8192, START_WORDS = sizeof(mt_log_start) / 8 };

static struct {
    mt_log_block head;
    uint64_t word[1 + START_WORDS + COMMAND / 8];
} begins;
static struct {
    mt_log_block head;
    uint64_t word[2];
} ends;

static mt_log_start about;
static char command[COMMAND]; /* the program's path, its arguments; each ends in a 0 */
static uint32_t command_bytes;

static const mt_log_block *complete(mt_log_block *head, uint32_t words, uint32_t generation,
                                    uint32_t sequence) {
    uint64_t ns = mt_log_clock_ns(), ticks = mt_log_clock_ticks();
    *head = (mt_log_block){.magic = MT_LOG_MAGIC,
                           .version = MT_LOG_VERSION,
                           .bytes = (uint32_t)sizeof *head + words * 8,
                           .generation = generation,
                           .sequence = sequence,
                           .begin_ticks = ticks,
                           .end_ticks = ticks,
                           .end_ns = ns,
                           .checksum = mt_log_checksum(head + 1, words * 8)};
    return head;
}

static const mt_log_block *first(uint32_t generation, mt_log_reason reason) {
    uint32_t words = 1 + START_WORDS + (command_bytes + 7) / 8;
    mt_log_def def = {.kind = MT_LOG_DEF_START, .words = words};
    if (reason != MT_LOG_FIRST) mt_log_buffer_forget();
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
    return complete(&ends.head, 2, generation, 1);
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
