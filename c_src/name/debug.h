/* debug: source file and line of an address, and the functions that were inlined there, from
 * DWARF 2 to 5 in the object or in its separate debug file (debug_file.h), read by libdw
 * (libdw.h).
 *
 * Files are read whole into memory of their own: one that is replaced or truncated meanwhile
 * does no harm, and closing gives everything back. A file is believed only if it belongs to
 * the object that is mapped. Nothing is ever asked of the network.
 */
#ifndef MT_NAME_DEBUG_H
#define MT_NAME_DEBUG_H

#include <stdbool.h>
#include <stdint.h>

#include "elf_file.h"
#include "memory.h"

/* Can there be lines at all? If not, *why_not (may be NULL) is a sentence with the remedy. The
 * first call loads libdw. Any thread, not a hook. */
bool mt_debug_available(const char **why_not);

/* The debug information of one object, open. One thread at a time; several threads may each
 * have their own. */
typedef struct mt_debug mt_debug;

/* Opens what there is for the object at `path`, which must be `expected` (NULL: any); a file
 * that is gone or another may still have a debug file, by build id. `search_path`: folders to
 * look in beside /usr/lib/debug, between colons, or NULL. NULL if there is none, it is damaged
 * or takes more than 1 GiB, or libdw is not installed. Takes some 10 ms,
 * more where sections are compressed, and memory for all of them, unpacked; as much again when
 * all units have been asked about. */
mt_debug *mt_debug_open(const char *path, const mt_elf_identity *expected,
                        const char *search_path);

typedef struct mt_line {
    const char *function; /* as the linker spells it; NULL: unknown */
    const char *file;     /* absolute where the compiler said from where; NULL: unknown */
    uint32_t line;        /* 0: unknown, or code that stands for no line */
    bool inlined;         /* into the function of the next element */
} mt_line;

/* What an address is in the source, at most `max` of it: the place itself, then for each
 * inlined function the place of its call. The last, not inlined, has no function: its symbol
 * names it better. Returns how many, 0 if nothing is known; where there are more than `max`,
 * the outer ones are left out.
 *
 * `address` is as in the object's file; for a return address, the one before it. Strings go to
 * `strings`. The first address of a unit reads the unit: milliseconds for a large one; later
 * ones take a few us. Uses up to 200 KiB of stack. */
uint32_t mt_debug_lines(mt_debug *debug, uint64_t address, mt_line *out, uint32_t max,
                        mt_arena *strings);

/* NULL is fine. */
void mt_debug_close(mt_debug *debug);

#endif
