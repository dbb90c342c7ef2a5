/* recent: see the header. Runs inside malloc. */
#include "recent.h"

#include <stddef.h>

#include "private.h"
#include "unwind.h"

/* The register, or a word of the stack, that a frame pointer was last restored from. */
typedef struct {
    uint32_t at;
    uintptr_t word;
    bool is_register, is_noted;
} source;

static bool note(mt_recent_walk *w, uint32_t at, uintptr_t word) {
    if (w->words == MT_RECENT_WORDS) return false;
    w->at[w->words] = at;
    w->word[w->words++] = word;
    if (at + sizeof word > w->extent) w->extent = (uint32_t)(at + sizeof word);
    return true;
}

static bool note_place(mt_recent_walk *w, uintptr_t place, uint32_t id) {
    if (w->places == MT_RECENT_PLACES) return false;
    w->place[w->places] = place;
    w->id[w->places++] = id;
    return true;
}

/* fp counts from here on: so does what it came from. */
static bool needs(mt_recent_walk *w, source *fp) {
    if (fp->is_noted) return true;
    fp->is_noted = true;
    if (!fp->is_register) return note(w, fp->at, fp->word);
    return w->needs_fp = true;
}

static __attribute__((no_sanitize_address, no_sanitize_thread)) uintptr_t
word_at(uintptr_t address) {
    return *(const uintptr_t *)address;
}

static bool follow(mt_recent_walk *w, const mt_walk_step *step, uint32_t steps) {
    source fp = {.is_register = true};
    for (uint32_t i = 0; i < steps; i++, step++) {
        uintptr_t above = step->sp - w->sp;
        if (step->sp < w->sp || above > UINT32_MAX / 2 || step->ra == MT_WALK_NOWHERE)
            return false;
        if (step->id && !note_place(w, step->pc - 1, step->id)) return false;
        if (step->needs_fp && !needs(w, &fp)) return false;
        if (!note(w, (uint32_t)above + step->ra, word_at(step->sp + step->ra))) return false;
        if (step->saved_fp != MT_WALK_NOWHERE)
            fp = (source){.at = (uint32_t)above + step->saved_fp,
                          .word = word_at(step->sp + step->saved_fp)};
    }
    return true;
}

/* One that is wrong is given up: the walk that is taken instead may be none that can be kept.
 */
bool mt_recent_same_objects(mt_recent_walk *w) {
    uint32_t unloads = atomic_load_explicit(&mt_walk_unloads, memory_order_relaxed), i = 0;
    while (i < w->places && mt_walk_same_object(w->place[i], w->id[i])) i++;
    if (i < w->places) w->pc = 0;
    else w->unloads = unloads;
    return i == w->places;
}

/* pc last: of half a walk nobody takes any, not even a handler that came in between. */
const mt_recent_walk *mt_recent_keep(mt_thread *block, void *hook, uintptr_t pc, uintptr_t sp,
                                     uintptr_t fp, uint32_t max, mt_recent_note note) {
    const mt_walk_stack *known = &block->known;
    uint32_t last = known->last & 1, steps = known->steps[last];
    const mt_walk_step *walk = known->walk[last];
    if (mt_unwind_kind() != MT_UNWINDER_WALK || walk[0].sp != sp) return NULL;
    bool whole = known->ended[last] || steps + 2 == max;
    if (!whole && !mt_walk_same_object(walk[steps].pc - 1, 0)) return NULL;
    if (!block->recent && !(block->recent = mt_private_take(sizeof(mt_recent)))) return NULL;
    mt_recent_walk *w = mt_recent_place(block->recent, pc, sp);
    w->pc = 0;
    atomic_signal_fence(memory_order_seq_cst);
    w->sp = sp;
    w->fp = fp;
    w->hook = (uintptr_t)hook;
    w->max = max;
    w->frames = steps + 2;
    w->words = w->places = w->extent = w->times = 0;
    w->unloads = atomic_load_explicit(&mt_walk_unloads, memory_order_relaxed);
    w->needs_fp = false;
    w->note = note;
    if (!follow(w, walk, steps)) return NULL;
    if (!whole && !note_place(w, walk[steps].pc - 1, 0)) return NULL;
    atomic_signal_fence(memory_order_seq_cst);
    w->pc = pc;
    return w;
}
