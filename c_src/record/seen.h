/* seen: which files' code has been met on stacks, so that addresses can be named later, by
 * another process too, and after the file was unmapped.
 *
 * A journal: entries are appended, and an entry only ever changes in that its until_ns is set.
 * Where a stack is new its addresses are looked up; one that no entry covers has the kernel's
 * list of mappings read (/proc/self/maps), and what is new there appended. Code that lies in no
 * file (a JIT's) has an entry without a path, so that it is not looked for again.
 *
 * For hooks: no lock that waits (who finds another reading leaves it to him), no allocation
 * through the malloc family; system calls only where there is something new.
 */
#ifndef MT_RECORD_SEEN_H
#define MT_RECORD_SEEN_H

#include <stdatomic.h>
#include <stdint.h>

enum { MT_SEEN_ENTRIES = 4096, MT_SEEN_PATH = 448, MT_SEEN_BUILD_ID = 32 };

typedef struct mt_seen {
    uint64_t lo, hi;           /* of the executable mapping */
    uint64_t base;             /* what is added to the addresses in the file */
    uint64_t since_ns;         /* CLOCK_MONOTONIC: when it was found */
    _Atomic uint64_t until_ns; /* when it was found to be gone; 0: it is there */
    uint32_t build_id_bytes;
    uint8_t build_id[MT_SEEN_BUILD_ID];
    char path[MT_SEEN_PATH]; /* "": in no file */
} mt_seen;

/* Where the tables are mapped. 0, or -1 without memory: nothing is noted then. */
int mt_seen_start(void);

/* Notes the code of these addresses. For hooks; some ns an address where nothing is new. */
void mt_seen_note(void *const *stack, uint32_t frames);

/* After a dlclose, not in a hook: what is not mapped any more gets its end. */
void mt_seen_unloaded(void);

/* Entries so far, and one of them; acquire: an entry that is counted is complete. */
uint32_t mt_seen_count(void);
const mt_seen *mt_seen_entry(uint32_t i);

/* Changes whenever an entry has ended: what was known of an address may not hold any more. */
uint32_t mt_seen_changes(void);

#endif
