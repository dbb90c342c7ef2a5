/* aliases: where memory that is mapped twice can be written. BEAM's JIT maps its code once to
 * execute and once to write (a memfd); with +JMsingle true the one mapping is for both. By the
 * other mapping a word of the code is changed without touching the protection of any page.
 *
 * What is read from /proc/self/maps is the picture of a moment. One thread at a time for each
 * mt_aliases; allocates nothing; not for hooks.
 */
#ifndef MT_HOOK_ALIASES_H
#define MT_HOOK_ALIASES_H

#include <stdbool.h>
#include <stdint.h>

enum { MT_ALIASES = 512 };

typedef struct mt_aliases {
    uint32_t n;
    struct mt_alias {
        uintptr_t lo, hi;
        uint64_t file, offset; /* device and inode; 0: of no file */
        bool writes, executes;
    } map[MT_ALIASES];
} mt_aliases;

/* Reads the mappings that are executable, and those that are shared with one. False if the
 * kernel does not tell. */
bool mt_aliases_read(mt_aliases *aliases);

/* The same for one line of it, whatever it says; for tests. */
void mt_aliases_note(mt_aliases *aliases, const char *line);

/* Whether this address was executable. */
bool mt_aliases_is_code(const mt_aliases *aliases, uintptr_t address);

/* Where the word at this address of executable memory can be written; 0: nowhere. */
uintptr_t mt_aliases_find(const mt_aliases *aliases, uintptr_t address);

#endif
