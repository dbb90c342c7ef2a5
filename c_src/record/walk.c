/* walk: see the header. Runs inside malloc. */
#include "walk.h"

#include <link.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "cfi.h"
#include "readable.h"
#include "stack_pages.h"
#include "startup.h"

enum { ENTRIES = 8192, MAX_PERMANENT = 128, NOBODY = UINT32_MAX };

#define PLACE     0x0000ffffffffffffull
#define FRAME_MAX ((uintptr_t)16 << 20) /* no function's frame is larger */

typedef struct {
    _Atomic uint64_t check; /* (place | identity << 48) ^ rule */
    _Atomic uint64_t rule;
} kept;

static kept *_Atomic table;

/* Code that is never unloaded. */
static mt_startup_code permanent[MAX_PERMANENT];
static int permanents;

int mt_walk_start(void) {
    if (!mt_cfi_exists()) return -1;
    if (atomic_load(&table)) return 0;
    void *memory = mmap(NULL, ENTRIES * sizeof(kept), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return -1;
    permanents = mt_startup_list(permanent, MAX_PERMANENT);
    atomic_store(&table, memory);
    return 0;
}

bool mt_walk_works(void) {
    return atomic_load_explicit(&table, memory_order_relaxed) != NULL;
}

static bool is_permanent(uintptr_t place) {
    for (int i = 0; i < permanents; i++)
        if (place >= permanent[i].lo && place < permanent[i].hi) return true;
    return false;
}

_Atomic uint32_t mt_walk_unloads;

/* Rules that are kept are taken away, too: there are many, and some of them would have the
 * identity of what comes next by chance. */
void mt_walk_forget_unloaded(void) {
    kept *entries = atomic_load_explicit(&table, memory_order_acquire);
    atomic_fetch_add_explicit(&mt_walk_unloads, 1, memory_order_relaxed);
    for (int i = 0; entries && i < ENTRIES; i++) {
        uint64_t rule = atomic_load_explicit(&entries[i].rule, memory_order_relaxed);
        uint64_t check = atomic_load_explicit(&entries[i].check, memory_order_relaxed) ^ rule;
        if (check >> 48 == 0) continue;
        atomic_store_explicit(&entries[i].rule, 0, memory_order_relaxed);
        atomic_store_explicit(&entries[i].check, 0, memory_order_relaxed);
    }
}

/* 16 bits, never 0, of where the object lies, of the eight bytes of code up to the place, and
 * of how often something was unloaded. Of a place that had a rule: any other may be a hole in
 * the object, which cannot be read. What is there by now may be no code, which a sanitizer
 * knows. */
static __attribute__((no_sanitize_address)) uint64_t identity(const mt_eh_object *o,
                                                              uintptr_t place) {
    uint64_t code = 0, h;
    if (place - (uintptr_t)o->start >= 8) memcpy(&code, (void *)(place - 7), 8);
    h = code ^ (uintptr_t)o->map;
    h += (uint64_t)atomic_load_explicit(&mt_walk_unloads, memory_order_relaxed) *
         0xbf58476d1ce4e5b9ull;
    h = (h ^ (uintptr_t)o->start) * 0x9e3779b97f4a7c15ull;
    h = (h ^ (uintptr_t)o->end) * 0x9e3779b97f4a7c15ull;
    h = (h ^ (uintptr_t)o->eh_frame_hdr) * 0x9e3779b97f4a7c15ull;
    return h >> 48 | 1;
}

bool mt_walk_same_object(uintptr_t place, uint32_t id) {
    mt_eh_object o;
    if (!mt_eh_find_object(place, &o)) return id == 0;
    return id != 0 && identity(&o, place) == id;
}

/* arm64's signal frames are not described; unwinders know them by the two instructions that a
 * handler returns to (`mov x8, 139; svc 0`). Then sp is at a siginfo_t, and a ucontext_t. The
 * code is read only where it can be: such a place may be no code at all. */
static uint64_t signal_rule(const mt_eh_object *o, uintptr_t pc) {
#if defined __aarch64__
    static const uint32_t code[] = {0xd2801168, 0xd4000001};
    enum { CONTEXT = sizeof(siginfo_t) };
    mt_rule rule = {.cfa = MT_CFA_AT_SP,
                    .fp = MT_FP_SP,
                    .ra = MT_RA_SP,
                    .signal = true,
                    .a = CONTEXT + offsetof(ucontext_t, uc_mcontext.sp),
                    .b = CONTEXT + offsetof(ucontext_t, uc_mcontext.regs[29]),
                    .c = CONTEXT + offsetof(ucontext_t, uc_mcontext.pc)};
    if (pc % 4 || (uintptr_t)o->end - pc < sizeof code) return 0;
    if (!mt_readable(pc) || !mt_readable(pc + 4)) return 0;
    if (memcmp((const void *)pc, code, sizeof code) == 0) return mt_rule_pack(&rule);
#else
    (void)o, (void)pc;
#endif
    return 0;
}

/* Looks the rule up in the object itself and keeps it, none only for what is never unloaded:
 * where an object has no rule there may be no code that could be read. */
static __attribute__((noinline)) uint64_t find(kept *k, uintptr_t place) {
    mt_eh_object o;
    if (!mt_eh_find_object(place, &o)) return 0;
    uint64_t rule = mt_cfi_rule(&o, place);
    if (!rule) rule = signal_rule(&o, place + 1);
    bool for_good = is_permanent(place);
    if (!rule && !for_good) return 0;
    uint64_t id = for_good ? 0 : identity(&o, place);
    atomic_store_explicit(&k->rule, rule, memory_order_relaxed);
    atomic_store_explicit(&k->check, (place | id << 48) ^ rule, memory_order_relaxed);
    return rule;
}

/* Relaxed: an entry carries its own proof, and holds nothing but itself. `id`: 0 where the rule
 * is surely the same the next time, else what it must be the same by; NOBODY where nobody can
 * tell. */
static inline uint64_t rule_at(kept *entries, uintptr_t place, uint32_t *id) {
    *id = NOBODY;
    if (place & ~PLACE) return 0;
    kept *k = &entries[(place * 0x9e3779b97f4a7c15ull) >> 51];
    uint64_t rule = atomic_load_explicit(&k->rule, memory_order_relaxed);
    uint64_t check = atomic_load_explicit(&k->check, memory_order_relaxed) ^ rule;
    if ((check & PLACE) == place) {
        *id = (uint32_t)(check >> 48);
        if (*id == 0 || mt_walk_same_object(place, *id)) return rule;
        *id = NOBODY;
    }
    return find(k, place);
}

/* Other functions' frames are none of a sanitizer's business. */
static inline __attribute__((no_sanitize_address, no_sanitize_thread)) bool
load(const mt_walk_stack *known, uintptr_t address, uintptr_t *value) {
    if (!mt_stack_pages_can_read(known, address)) return false;
    *value = *(const uintptr_t *)address;
    return true;
}

/* arm64 may sign return addresses: hint 7 (xpaclri) takes the signature off, or does nothing.
 */
static uintptr_t plain(uintptr_t pc) {
#if defined __aarch64__
    register uintptr_t x30 __asm__("x30") = pc;
    __asm__("hint #7" : "+r"(x30));
    return x30;
#else
    return pc;
#endif
}

/* How far a word lies above sp, if it lies in the frame. */
static uint32_t above(uintptr_t sp, uintptr_t cfa, uintptr_t address) {
    bool within = address >= sp && address + sizeof(uintptr_t) <= cfa && cfa - sp <= FRAME_MAX;
    return within ? (uint32_t)(address - sp) : MT_WALK_NOWHERE;
}

/* From a function's registers to its caller's; false, and as they were, where the walk ends.
 * Notes in `s` which words it read. */
static inline bool step(mt_rule r, mt_walk_step *s, mt_walk_from *at, mt_walk_stack *known) {
    uintptr_t cfa = 0, fp = at->fp, fp_at = 0, pc;
    bool simple = true;
    switch (r.cfa) {
    case MT_CFA_SP:
        cfa = at->sp + (uintptr_t)(intptr_t)r.a;
        break;
    case MT_CFA_FP:
        cfa = at->fp + (uintptr_t)(intptr_t)r.a;
        break;
    case MT_CFA_AT_FP:
        if (!load(known, at->fp + (uintptr_t)(intptr_t)r.a, &cfa)) return false;
        simple = false;
        break;
    case MT_CFA_AT_SP:
        if (!load(known, at->sp + (uintptr_t)(intptr_t)r.a, &cfa)) return false;
        simple = false;
        break;
    default:
        return false;
    }
    /* A signal may have come on another stack. */
    if (!r.signal) {
        if (cfa < at->sp || cfa - at->sp > FRAME_MAX) return false;
        mt_stack_pages_frame(known, at->sp, cfa);
    }
    uintptr_t ra_at = (r.ra == MT_RA_CFA  ? cfa
                       : r.ra == MT_RA_FP ? at->fp
                                          : at->sp) +
                      (uintptr_t)(intptr_t)r.c;
    if (r.ra == MT_RA_END || !load(known, ra_at, &pc)) return false;
    uintptr_t b = (uintptr_t)(intptr_t)r.b;
    switch (r.fp) {
    case MT_FP_CFA:
        fp_at = cfa + b;
        break;
    case MT_FP_FP:
        fp_at = at->fp + b;
        break;
    case MT_FP_SP:
        fp_at = at->sp + b;
        break;
    case MT_FP_LOST:
        fp = 0; /* whoever needs it then has a CFA below its sp */
        simple = false;
        break;
    default:
        break;
    }
    if (fp_at && !load(known, fp_at, &fp)) return false;
    s->saved_fp = fp_at ? above(at->sp, cfa, fp_at) : MT_WALK_NOWHERE;
    s->needs_fp = r.cfa == MT_CFA_FP || r.fp == MT_FP_FP || r.ra == MT_RA_FP;
    simple = simple && !r.signal && !(fp_at && s->saved_fp == MT_WALK_NOWHERE);
    s->ra = simple ? above(at->sp, cfa, ra_at) : MT_WALK_NOWHERE;
    pc = plain(pc);
    if (pc <= 1) return false; /* the end for now: another time there may be an address */
    *at = (mt_walk_from){pc, cfa, fp};
    return true;
}

static inline __attribute__((no_sanitize_address, no_sanitize_thread)) uintptr_t
word(uintptr_t sp, uint32_t offset) {
    return *(const uintptr_t *)(sp + offset);
}

/* Whether a word at this offset lies in a frame of so many bytes; MT_WALK_NOWHERE in none. */
static inline bool is_within(uint32_t offset, uintptr_t bytes) {
    return offset + sizeof(uintptr_t) <= bytes;
}

/* Takes the step from `s` again, if it would go to the same place. Its words lie between the
 * two states. */
static inline bool again(const mt_walk_step *s, mt_walk_from *at, const mt_walk_stack *known) {
    const mt_walk_step *next = s + 1;
    uintptr_t bytes = next->sp - s->sp, fp = at->fp;
    if (s->sp < known->lo || next->sp > known->hi) return false;
    if (bytes > FRAME_MAX || !is_within(s->ra, bytes)) return false;
    if (s->needs_fp && s->fp != fp) return false;
    if (s->saved_fp != MT_WALK_NOWHERE) {
        if (!is_within(s->saved_fp, bytes)) return false;
        fp = word(s->sp, s->saved_fp);
    }
    if (plain(word(s->sp, s->ra)) != next->pc) return false;
    if (s->id && !mt_walk_same_object(s->pc - 1, s->id)) return false;
    *at = (mt_walk_from){next->pc, next->sp, fp};
    return true;
}

/* From the n-th frame on, of which those before are the last walk's. */
static __attribute__((noinline)) uint32_t walk_on(mt_walk_from at, mt_walk_stack *known,
                                                  void **stack, uint32_t n, uint32_t max) {
    kept *entries = atomic_load_explicit(&table, memory_order_relaxed);
    uint32_t last = known->last & 1, next = !last;
    const mt_walk_step *old = known->walk[last], *end = old + known->steps[last];
    mt_walk_step *new = known->walk[next];
    uintptr_t exact = 0; /* 1 where pc is not a return address */
    bool ended = false;
    for (uint32_t i = 0; i + 1 < n; i++) new[i] = *old++;
    while (n < max) {
        uint32_t id;
        while (old < end && old->sp < at.sp) old++;
        if (old < end && old->sp == at.sp && old->pc == at.pc && !exact)
            for (uintptr_t fp = at.fp; n < max && old < end && again(old, &at, known);
                 fp = at.fp) {
                new[n - 1] = *old++;
                new[n - 1].fp = fp;
                stack[n++] = (void *)at.pc;
            }
        if (n == max) break;
        uint64_t packed = rule_at(entries, at.pc - 1 + exact, &id);
        if (!packed) break;
        mt_rule rule = mt_rule_unpack(packed);
        mt_walk_step *s = &new[n - 1];
        *s = (mt_walk_step){.pc = at.pc, .sp = at.sp, .fp = at.fp, .id = id};
        if (!step(rule, s, &at, known)) {
            ended = rule.ra == MT_RA_END && id == 0 && !exact;
            break;
        }
        if (exact || id == NOBODY) s->ra = MT_WALK_NOWHERE;
        exact = rule.signal;
        stack[n++] = (void *)(at.pc + exact); /* names are looked up one before */
    }
    new[n - 1] = (mt_walk_step){at.pc, at.sp, at.fp, .ra = MT_WALK_NOWHERE};
    known->steps[next] = n - 1;
    known->ended[next] = ended;
    atomic_signal_fence(memory_order_seq_cst); /* half a walk is never the last one */
    known->last = next;
    return n;
}

/* Goes as far as the last walk did the same: frames; 0 where that began elsewhere. Writes
 * nothing but the stack. */
static inline uint32_t repeat(mt_walk_from *at, const mt_walk_stack *known, uint32_t last,
                              void **stack, uint32_t max) {
    const mt_walk_step *s = known->walk[last], *end = s + known->steps[last];
    uint32_t n = 1;
    if (s->sp != at->sp || s->pc != at->pc) return 0;
    for (; s < end && n < max && again(s, at, known); s++) stack[n++] = (void *)at->pc;
    return n;
}

uint32_t mt_walk_up(uintptr_t pc, uintptr_t sp, uintptr_t fp, mt_walk_stack *known,
                    void **stack, uint32_t max) {
    mt_walk_from at = {.pc = plain(pc), .sp = sp, .fp = fp};
    if (max == 0) return 0;
    if (max > MT_WALK_STEPS) max = MT_WALK_STEPS;
    stack[0] = (void *)at.pc;
    mt_stack_pages_enter(known, at.sp);
    uint32_t last = known->last & 1, n = repeat(&at, known, last, stack, max);
    if (n == known->steps[last] + 1 && (n == max || known->ended[last])) return n;
    return walk_on(at, known, stack, n ? n : 1, max);
}
