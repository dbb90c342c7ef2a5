/* jit_symfile: what BEAM's JIT writes about one module for debuggers (erts/emulator/beam/jit,
 * OTP 25 to 29; OTP 24 wrote something else, which is refused here):
 *
 *     0 u32 1: a module (0: about the emulator, 32 bytes)
 *     8 u64 base   16 u32 ranges   20 u32 code size   24 u16 n   26 n bytes: module's name
 *    32+n  ranges times:
 *          0 u32 begin   4 u32 end   8 u32 lines   12 u16 n   14 n bytes: name
 *       16+n  lines times:
 *             0 u32 offset   4 u32 line   8 u16 n   10 n bytes: file   (12+n in all)
 *
 * in the machine's own byte order, unaligned; names end in a 0 that n counts; begin, end and
 * offset count from base. Sizes add up to the file's to the byte, and are refused otherwise, so
 * that other bytes are hardly taken for it.
 */
#ifndef MT_NAME_JIT_SYMFILE_H
#define MT_NAME_JIT_SYMFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "jit_ranges.h"

enum { MT_JIT_SYMFILE_LEAST = 32, MT_JIT_SYMFILE_MOST = 64 << 20 };

typedef struct mt_jit_symfile {
    char *bytes; /* a copy of the VM's that nobody else writes; not owned */
    size_t size;
    uintptr_t base;
    uint32_t code_size, ranges;
} mt_jit_symfile;

/* Checks n bytes from end to end; false if they are not about a module, or damaged. */
bool mt_jit_symfile_open(mt_jit_symfile *file, char *bytes, size_t n);

/* Writes at most file->ranges ranges, sorted and disjoint, and returns how many. A function and
 * the piece before it ("lists:foldl/3-CodeInfoPrologue") become one range of the function's
 * name, for which that suffix is cut off in file->bytes. */
uint32_t mt_jit_symfile_ranges(const mt_jit_symfile *file, mt_jit_range *range);

/* Source file and line of an instruction in the range; false if they are not known. */
bool mt_jit_symfile_line(const mt_jit_range *range, uintptr_t address, const char **file,
                         uint32_t *line);

#endif
