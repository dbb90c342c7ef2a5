/* scopes: which compilation unit holds an address, which function of that, and what was inlined
 * there (DWARF 5, 2.17 and 3.3.8).
 *
 * .debug_aranges is not used: clang writes none. The units' own ranges are read once, those of
 * a unit's functions when an address in it is first asked for; both are kept sorted, so that a
 * later address is two binary searches and a walk through one function. All of it lives in the
 * pool. To be called within mt_libdw_run.
 */
#ifndef MT_NAME_SCOPES_H
#define MT_NAME_SCOPES_H

#include <stdbool.h>
#include <stdint.h>

#include "libdw.h"
#include "pool.h"

enum { MT_INLINES = 64 };

typedef struct mt_range {
    uint64_t lo, hi; /* lo first: mt_memory_search */
    uint64_t reach;  /* the largest hi up to here: ranges may nest */
    void *what;
} mt_range;

typedef struct mt_ranges {
    mt_range *range; /* sorted by lo, the shorter of two last */
    uint32_t n, room;
} mt_ranges;

typedef struct mt_unit {
    Dwarf_Die die;
    mt_ranges functions; /* of Dwarf_Die */
    bool asked;
} mt_unit;

typedef struct mt_scopes {
    mt_pool *pool;
    const mt_libdw *lib;
    mt_ranges units; /* of mt_unit */
} mt_scopes;

/* The calls that were inlined where an address is, outermost first. */
typedef struct mt_inlines {
    Dwarf_Die die[MT_INLINES];
    uint32_t n;
} mt_inlines;

/* Reads which units there are. What cannot be read is left out. */
void mt_scopes_read(mt_scopes *scopes, Dwarf *dwarf);

/* The unit that holds the address, or NULL. */
mt_unit *mt_scopes_unit(const mt_scopes *scopes, uint64_t address);

/* Finds what was inlined there; none where the address lies in no function. */
void mt_scopes_inlines(const mt_scopes *scopes, mt_unit *unit, uint64_t address,
                       mt_inlines *inlines);

#endif
