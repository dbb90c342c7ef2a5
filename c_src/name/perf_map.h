/* perf_map: the text file in which a JIT says to perf(1) what it generated
 * (tools/perf/Documentation/jit-interface.txt of Linux): a line
 *
 *     START SIZE NAME
 *
 * a piece of code, START and SIZE in hexadecimal, in the order of their making. The BEAM writes
 * names as $lists:foldl/3. Nothing is ever taken back: of two that overlap the later one holds.
 * The file lies in /tmp, under a name that others can foresee: it is believed only if it is a
 * regular file of our user that was written in this process's life.
 */
#ifndef MT_NAME_PERF_MAP_H
#define MT_NAME_PERF_MAP_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "jit_ranges.h"
#include "memory.h"

/* Reads the ranges of /tmp/perf-PID.map, PID being this process's, into the arena, sorted and
 * disjoint. 0, or -1 if there is none to believe, nothing in it, or no memory. At most its
 * first 64 MiB are read. Not for hooks; any thread. */
int mt_perf_map_read_own(mt_arena *arena, mt_jit_range **range, uint32_t *n);

/* The parts: a file, if it was not last written before `since` (0: any), and the text of one,
 * n bytes and a 0, which is cut into pieces for the names. */
int mt_perf_map_read(mt_arena *arena, const char *path, time_t since, mt_jit_range **range,
                     uint32_t *n);
int mt_perf_map_parse(mt_arena *arena, char *text, size_t bytes, mt_jit_range **range,
                      uint32_t *n);

#endif
