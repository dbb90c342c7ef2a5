/* stack_pages: see the header. Runs inside malloc. */
#include "stack_pages.h"

#include "readable.h"

static uintptr_t page_of(uintptr_t address) {
    return address & ~(uintptr_t)(MT_STACK_PAGE - 1);
}

/* Where the thread is far from what it knew, or above it, that is forgotten: it may be another
 * stack. What lies above the place of a deeper call stays known if the pages between can be
 * read. They are asked about from the place upwards: if a guard page ends that stack there, it
 * is near where fibers begin. */
void mt_stack_pages_enter(mt_walk_stack *known, uintptr_t sp) {
    uintptr_t page = page_of(sp), above = page + MT_STACK_PAGE, lo = known->lo;
    if (__builtin_expect(sp >= lo && sp < known->hi, 1)) return;
    bool near = sp < lo && lo - page <= MT_STACK_PAGES_AT_ONCE * MT_STACK_PAGE;
    while (near && above < lo && mt_readable(above)) above += MT_STACK_PAGE;
    known->lo = page;
    if (!near || above != lo) known->hi = above;
}

/* Whole pages, and all of them: one that cannot be read ends the stack. */
__attribute__((noinline)) void mt_stack_pages_grow(mt_walk_stack *known, uintptr_t sp,
                                                   uintptr_t cfa) {
    if (sp < known->lo || sp > known->hi) return;
    for (int n = 0; known->hi < cfa && n < MT_STACK_PAGES_AT_ONCE; n++) {
        if (!mt_readable(known->hi)) return;
        known->hi += MT_STACK_PAGE;
    }
}

bool mt_stack_pages_join(mt_walk_stack *known, uintptr_t below, uintptr_t address) {
    mt_stack_pages_enter(known, below);
    mt_stack_pages_frame(known, below, address + 1);
    return address < known->hi;
}

__attribute__((noinline)) bool mt_stack_pages_ask(const mt_walk_stack *known,
                                                  uintptr_t address) {
    if (address % sizeof(uintptr_t)) return false;
    bool within = address >= known->lo && address < known->hi;
    return within || mt_readable(page_of(address));
}
