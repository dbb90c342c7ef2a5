/* log_file: its clock. Ticks become nanoseconds by two moments of which both are known. */
#include "file.h"

uint64_t mt_logged_file_ns(const mt_logged_file *file, uint64_t ticks) {
    uint64_t dt = file->ticks[1] - file->ticks[0], dn = file->ns[1] - file->ns[0];
    bool known = file->ticks[1] > file->ticks[0] && file->ns[1] > file->ns[0];
    if (ticks <= file->ticks[0]) {
        uint64_t before = file->ticks[0] - ticks;
        if (known) before = (uint64_t)((unsigned __int128)before * dn / dt);
        return before < file->ns[0] ? file->ns[0] - before : 0;
    }
    uint64_t after = ticks - file->ticks[0];
    if (known) {
        unsigned __int128 ns = (unsigned __int128)after * dn / dt;
        after = ns < INT64_MAX ? (uint64_t)ns : INT64_MAX;
    }
    return after < UINT64_MAX - file->ns[0] ? file->ns[0] + after : UINT64_MAX;
}

uint64_t mt_logged_file_wall(const mt_logged_file *file, const mt_logged_stacks *stacks,
                             uint64_t ticks) {
    uint64_t ns = mt_logged_file_ns(file, ticks);
    return stacks->has_start ? ns + (stacks->start.wall_ns - stacks->start.ns)
                             : ns - file->ns[0];
}

uint64_t mt_logged_file_begin(const mt_logged_file *file, const mt_logged_stacks *stacks) {
    if (stacks->has_start) return stacks->start.ticks;
    uint64_t begin = file->part[0].begin_ticks;
    for (uint32_t i = 1; i < file->parts; i++)
        if (file->part[i].begin_ticks < begin) begin = file->part[i].begin_ticks;
    return begin;
}

uint64_t mt_logged_file_end(const mt_logged_file *file) {
    uint64_t end = 0;
    for (uint32_t i = 0; i < file->parts; i++)
        if (file->part[i].end_ticks > end) end = file->part[i].end_ticks;
    return end;
}

bool mt_logged_file_is_damaged(const mt_logged_file *file) {
    return file->damaged || file->strange || file->lost || file->gave_up;
}
