/* scopes: walks debugging information entries (DIEs), each walk with an end in sight. */
#include "scopes.h"

#include <dwarf.h>
#include <string.h>

#include "memory.h"

enum {
    MAX_RANGES = 1 << 22, /* of one table */
    MAX_UNITS = 1 << 20,
    MAX_DIES = 1 << 24,     /* of one unit */
    MAX_SIBLINGS = 1 << 20, /* within one function */
    MAX_DEPTH = 32,         /* of namespaces and classes */
    MAX_BACK = 4096
};

static bool add(const mt_scopes *s, mt_ranges *to, mt_range range) {
    if (to->n == to->room) {
        uint32_t room = to->room ? 2 * to->room : 64;
        mt_range *larger = room <= MAX_RANGES
                               ? mt_pool_resize(s->pool, to->range, room * sizeof *larger)
                               : NULL;
        if (!larger) return false;
        to->range = larger;
        to->room = room;
    }
    to->range[to->n++] = range;
    return true;
}

/* All ranges of one entry. `what` is copied when the first is found, `bytes` of it. */
static void *add_ranges(const mt_scopes *s, mt_ranges *to, Dwarf_Die *die, const void *what,
                        size_t bytes) {
    Dwarf_Addr base, lo, hi;
    void *kept = NULL;
    for (ptrdiff_t at = 0; (at = s->lib->dwarf_ranges(die, at, &base, &lo, &hi)) > 0;) {
        if (lo >= hi) continue;
        if (!kept && !(kept = mt_pool_take(s->pool, bytes))) break;
        memcpy(kept, what, bytes);
        if (!add(s, to, (mt_range){lo, hi, 0, kept})) break;
    }
    return kept;
}

static int by_address(const void *a, const void *b) {
    const mt_range *x = a, *y = b;
    if (x->lo != y->lo) return x->lo < y->lo ? -1 : 1;
    return x->hi > y->hi ? -1 : x->hi < y->hi;
}

static void sort(mt_ranges *ranges) {
    uint64_t reach = 0;
    mt_memory_sort(ranges->range, ranges->n, sizeof(mt_range), by_address);
    for (uint32_t i = 0; i < ranges->n; i++) {
        if (ranges->range[i].hi > reach) reach = ranges->range[i].hi;
        ranges->range[i].reach = reach;
    }
}

static void *find(const mt_ranges *ranges, uint64_t address) {
    size_t below = mt_memory_search(ranges->range, ranges->n, sizeof *ranges->range, address);
    for (int steps = 0; below-- > 0 && steps < MAX_BACK; steps++) {
        const mt_range *r = &ranges->range[below];
        if (r->reach <= address) break;
        if (address < r->hi) return r->what;
    }
    return NULL;
}

void mt_scopes_read(mt_scopes *s, Dwarf *dwarf) {
    Dwarf_Off at = 0, next;
    size_t head;
    for (int i = 0; i < MAX_UNITS; i++, at = next) {
        if (s->lib->dwarf_nextcu(dwarf, at, &next, &head, NULL, NULL, NULL) != 0) break;
        mt_unit unit = {.asked = false};
        if (next <= at) break;
        if (s->lib->dwarf_offdie(dwarf, at + head, &unit.die))
            add_ranges(s, &s->units, &unit.die, &unit, sizeof unit);
    }
    sort(&s->units);
}

mt_unit *mt_scopes_unit(const mt_scopes *s, uint64_t address) {
    return find(&s->units, address);
}

/* A nested function of GNU C stands in the function around it, perhaps in a block there; some
 * of a lambda's do, too. */
static bool may_hold_functions(int tag) {
    return tag == DW_TAG_namespace || tag == DW_TAG_module || tag == DW_TAG_class_type ||
           tag == DW_TAG_structure_type || tag == DW_TAG_union_type ||
           tag == DW_TAG_interface_type || tag == DW_TAG_enumeration_type ||
           tag == DW_TAG_subprogram || tag == DW_TAG_lexical_block;
}

/* To the next entry after all children of the one on top, or up; -1 at the end. */
static int advance(const mt_libdw *lib, Dwarf_Die *path, int depth) {
    for (; depth >= 0; depth--) {
        Dwarf_Die next;
        if (lib->dwarf_siblingof(&path[depth], &next) == 0) {
            path[depth] = next;
            break;
        }
    }
    return depth;
}

static void read_functions(const mt_scopes *s, mt_unit *unit) {
    Dwarf_Die path[MAX_DEPTH];
    int depth = s->lib->dwarf_child(&unit->die, &path[0]) == 0 ? 0 : -1;
    for (int n = 0; depth >= 0 && n < MAX_DIES; n++) {
        Dwarf_Die *die = &path[depth];
        int tag = s->lib->dwarf_tag(die);
        if (tag == DW_TAG_subprogram) add_ranges(s, &unit->functions, die, die, sizeof *die);
        if (may_hold_functions(tag) && depth + 1 < MAX_DEPTH &&
            s->lib->dwarf_child(die, &path[depth + 1]) == 0)
            depth++;
        else depth = advance(s->lib, path, depth);
    }
    sort(&unit->functions);
}

static bool may_hold_inlines(int tag) {
    return tag == DW_TAG_inlined_subroutine || tag == DW_TAG_lexical_block ||
           tag == DW_TAG_try_block || tag == DW_TAG_catch_block || tag == DW_TAG_with_stmt;
}

/* The child of `die` that holds the address, if its scope is one of those. */
static bool enter(const mt_libdw *lib, Dwarf_Die *die, uint64_t address, int *budget) {
    Dwarf_Die child, next;
    for (bool more = lib->dwarf_child(die, &child) == 0; more && --*budget > 0; child = next) {
        if (may_hold_inlines(lib->dwarf_tag(&child)) && lib->dwarf_haspc(&child, address) > 0) {
            *die = child;
            return true;
        }
        more = lib->dwarf_siblingof(&child, &next) == 0;
    }
    return false;
}

void mt_scopes_inlines(const mt_scopes *s, mt_unit *unit, uint64_t address,
                       mt_inlines *inlines) {
    int budget = MAX_SIBLINGS;
    inlines->n = 0;
    if (!unit->asked) {
        unit->asked = true;
        read_functions(s, unit);
    }
    const Dwarf_Die *function = find(&unit->functions, address);
    if (!function) return;
    Dwarf_Die die = *function;
    while (inlines->n < MT_INLINES && enter(s->lib, &die, address, &budget))
        if (s->lib->dwarf_tag(&die) == DW_TAG_inlined_subroutine)
            inlines->die[inlines->n++] = die;
}
