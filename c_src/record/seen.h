/* seen: which files' code has been met on stacks, so that addresses can be named later, by
 * another process too, and after the file was unmapped.
 *
 * A journal: entries are appended, and an entry only ever changes in that its until_ns is set,
 * or taken back when the same file has come to the same place again, with no other one in
 * between. Where a stack is new its addresses are looked up; one that no entry covers has the
 * kernel's list of mappings read (/proc/self/maps), and what is new there appended. Code that
 * lies in no file (a JIT's) has an entry without a path, so that it is not looked for again.
 *
 *   address ──page──▶ | covered, as of this count and changes? |   4096 words, for all threads
 *                          │no
 *                          ▼
 *                     an entry covers it? ──no──▶ the list is read, under a try-lock
 *
 * Each reading is compared with all entries: an object has ended when nothing of its file is
 * mapped any more between its head and the end of its code, so that code that was split by an
 * mprotect, or copied to larger pages, is still there. An entry without a path ends only where
 * a file's code has come to lie: a JIT's own changes are no end.
 *
 * What is not kept: code beyond MT_SEEN_ENTRIES (of files it is counted), of those at most a
 * quarter without a path; an object that went unnoticed (unmapped by other means than dlclose)
 * and had another one take its place is known by the next reading. Readings that find no new
 * file may take 1 % of the time in all (one second's worth of them is free): what they would
 * find is not noted.
 *
 * For hooks: no lock that waits (who finds another reading leaves it to him), no allocation
 * through the malloc family, not on the caller's stack; system calls only where there is
 * something new (openat, read, close, process_vm_readv; some 100 us). Meanwhile signals wait,
 * and the thread is not cancelled; errno is kept.
 */
#ifndef MT_RECORD_SEEN_H
#define MT_RECORD_SEEN_H

#include <stdatomic.h>
#include <stdint.h>

#include "build_id.h"

enum { MT_SEEN_ENTRIES = 4096, MT_SEEN_PATH = 448 };

typedef struct mt_seen {
    uint64_t lo, hi;           /* of the executable mapping */
    uint64_t base;             /* what is added to the addresses in the file */
    uint64_t since_ns;         /* CLOCK_MONOTONIC: when it was found */
    _Atomic uint64_t until_ns; /* when it was found to be gone; 0: it is there */
    uint32_t build_id_bytes;
    uint8_t build_id[MT_BUILD_ID_MAX];
    char path[MT_SEEN_PATH]; /* "": in no file; too long a one: "..." and its end */
} mt_seen;

/* How it lies in MT_REGION_SEEN: for readers in another process. */
typedef struct mt_seen_journal {
    _Atomic uint32_t count;    /* acquire: an entry that is counted is complete */
    _Atomic uint32_t changes;  /* see mt_seen_changes */
    _Atomic uint64_t left_out; /* files for which there was no place */
    uint64_t unused[6];
    mt_seen entry[MT_SEEN_ENTRIES];
} mt_seen_journal;

/* Where the tables are mapped: from the constructor or an attach. Notes what is mapped now;
 * does nothing if it has been called before. 0, or -1 without memory: nothing is noted then. */
int mt_seen_start(void);

/* Notes the code of these return addresses. For hooks; 1 to 2 ns an address where nothing is
 * new. */
void mt_seen_note(void *const *stack, uint32_t frames);

/* After a dlclose, not in a hook: what is not mapped any more gets its end. */
void mt_seen_unloaded(void);

/* Entries so far, and one of them; acquire: an entry that is counted is complete. */
uint32_t mt_seen_count(void);
const mt_seen *mt_seen_entry(uint32_t i);

extern mt_seen_journal *_Atomic mt_seen_mine __attribute__((visibility("hidden")));

/* Changes whenever an entry has ended: what was known of an address may not hold any more. */
static inline uint32_t mt_seen_changes(void) {
    mt_seen_journal *j = atomic_load_explicit(&mt_seen_mine, memory_order_acquire);
    return j ? atomic_load_explicit(&j->changes, memory_order_acquire) : 0;
}

#endif
