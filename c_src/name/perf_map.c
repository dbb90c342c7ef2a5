/* perf_map: see the header. */
#include "perf_map.h"

#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_BYTES = 64 << 20 };

static int digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    c |= 'a' - 'A';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A number and the blank after it; NULL if there is none, or one too large. */
static char *number(char *at, uintptr_t *value) {
    char *first = at;
    if (at[0] == '0' && (at[1] | ' ') == 'x') first = at += 2;
    for (*value = 0; digit(*at) >= 0; at++) {
        if (*value > UINTPTR_MAX >> 4) return NULL;
        *value = *value << 4 | (unsigned)digit(*at);
    }
    return at > first && *at == ' ' ? at + 1 : NULL;
}

/* One line, ending in 0. */
static bool parse_line(char *at, mt_jit_range *range) {
    uintptr_t size;
    if (!(at = number(at, &range->lo)) || !(at = number(at, &size))) return false;
    if (*at == '$') at++;
    range->name = at;
    mt_jit_cut_prologue(at, strlen(at));
    range->hi = range->lo + size;
    return *at && size && range->hi > range->lo;
}

/* In the order of their addresses, without those that later ones replaced. */
static int settle(mt_arena *arena, const mt_jit_range *all, uint32_t n, mt_jit_range **range,
                  uint32_t *left) {
    mt_jit_span *span = mt_arena_take(arena, n * sizeof *span);
    if (!span) return -1;
    for (uint32_t i = 0; i < n; i++)
        span[i] = (mt_jit_span){all[i].lo, all[i].hi, n - 1 - i, i};
    *left = mt_jit_settle(span, n);
    *range = mt_arena_take(arena, *left * sizeof **range);
    if (!*range) return -1;
    for (uint32_t i = 0; i < *left; i++) (*range)[i] = all[span[i].item];
    return 0;
}

/* A last line without its end is still being written. */
int mt_perf_map_parse(mt_arena *arena, char *text, size_t bytes, mt_jit_range **range,
                      uint32_t *n) {
    uint32_t lines = 0, found = 0;
    char *end;
    for (size_t i = 0; i < bytes; i++) lines += text[i] == '\n';
    mt_jit_range *all = mt_arena_take(arena, lines * sizeof *all);
    if (!all) return -1;
    for (char *at = text; (end = memchr(at, '\n', bytes - (size_t)(at - text))); at = end + 1) {
        *end = '\0';
        all[found] = (mt_jit_range){0};
        found += parse_line(at, &all[found]);
    }
    return found ? settle(arena, all, found, range, n) : -1;
}

/* A pipe or a device under this name must neither block us nor be read. */
static int open_own(const char *path, time_t since, size_t *bytes) {
    struct stat st;
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW);
    if (file < 0) return -1;
    if (fstat(file, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() &&
        st.st_size > 0 && st.st_mtime >= since) {
        *bytes = st.st_size < MOST_BYTES ? (size_t)st.st_size : MOST_BYTES;
        return file;
    }
    close(file);
    return -1;
}

int mt_perf_map_read(mt_arena *arena, const char *path, time_t since, mt_jit_range **range,
                     uint32_t *n) {
    size_t bytes, done = 0;
    ssize_t got = 1;
    int file = open_own(path, since, &bytes);
    if (file < 0) return -1;
    char *text = mt_arena_take(arena, bytes + 1);
    while (text && done < bytes && got > 0) {
        got = pread(file, text + done, bytes - done, (off_t)done);
        if (got > 0) done += (size_t)got;
    }
    close(file);
    return text ? mt_perf_map_parse(arena, text, done, range, n) : -1;
}

/* When this process began, in the clock of files, a second early: field 22 of proc(5)'s stat is
 * in ticks since boot. 0 if that cannot be known. */
static time_t began(void) {
    char text[1024];
    struct timespec boot, wall;
    uint64_t ticks = 0;
    int file = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
    ssize_t got = file < 0 ? -1 : read(file, text, sizeof text - 1);
    if (file >= 0) close(file);
    if (got <= 0) return 0;
    text[got] = '\0';
    char *at = strrchr(text, ')'); /* after the name, which may hold anything, stands field 3 */
    for (int field = 2; at && field < 22; field++) at = strchr(at + 1, ' ');
    if (!at) return 0;
    for (at++; *at >= '0' && *at <= '9'; at++) ticks = 10 * ticks + (uint64_t)(*at - '0');
    clock_gettime(CLOCK_BOOTTIME, &boot);
    clock_gettime(CLOCK_REALTIME, &wall);
    return wall.tv_sec - boot.tv_sec + (time_t)(ticks / (uint64_t)sysconf(_SC_CLK_TCK)) - 1;
}

/* getpid is the number in our own namespace, and so is the one that the VM wrote. */
int mt_perf_map_read_own(mt_arena *arena, mt_jit_range **range, uint32_t *n) {
    char path[64] = "/tmp/perf-", digits[16];
    size_t at = strlen(path);
    int k = 0;
    for (unsigned pid = (unsigned)getpid(); pid || !k; pid /= 10)
        digits[k++] = (char)('0' + pid % 10);
    while (k) path[at++] = digits[--k];
    memcpy(path + at, ".map", sizeof ".map");
    return mt_perf_map_read(arena, path, began(), range, n);
}
