/* walk: the stack of the calling thread by its call frame information, from rules that are
 * kept.
 *
 *   place ──hash──▶ | place, identity | rule |     8192 entries of two words for all threads
 *
 * The words of an entry are stored and loaded one by one; the first is kept exclusive-ored with
 * the second, so that halves of two entries do not fit (Hyatt and Mann, "A lock-less
 * transposition table"). A rule for an object that was loaded with the program holds for good.
 * Any other may be unloaded, and another object may come to lie at the same address: for those
 * the entry also holds a hash of the object's place in memory, of the code before the return
 * address, and of how often the program has called dlclose; it is looked up anew if they are
 * not the same.
 *
 * The walk gives up, and keeps the frames that it has, where there is no rule (code of a JIT),
 * where the stack pointer would not grow, and where the stack cannot be read: each page is
 * tested once a thread before it is read for the first time (stack_pages), so that neither a
 * wrong rule nor a stack that is not the thread's own (a fiber, an alternate signal stack) can
 * fault. (A stack whose outer pages are unmapped while the thread goes on upon the inner ones
 * is not noticed; no rule leads there but one that is wrong.)
 *
 * A step of the last walk is taken over where pc and sp (and fp, if its rule needs that) are
 * the same again and so is the return address that it read: it would go the same way, by a rule
 * that holds for good or for the object that still is there. Else it is done anew.
 *
 * Safe anywhere: in a signal handler, in the child of a fork, in a callback of dl_iterate_phdr.
 * No lock, no allocation, and once the thread's stack is known no system call. 1 to 2 ns for a
 * frame of the last walk, 5 ns for one whose rule is kept, 100 ns for any other.
 */
#ifndef MT_RECORD_WALK_H
#define MT_RECORD_WALK_H

#include <stdbool.h>
#include <stdint.h>

/* A function's registers as they will be when it returns: those of its caller. */
typedef struct mt_walk_from {
    uintptr_t pc, sp, fp;
} mt_walk_from;

/* The stack pointer that a function was entered with, but for a return address that the call
 * pushed. clang's __builtin_dwarf_cfa is the frame pointer on arm64. */
#if defined __aarch64__ && defined __clang__
#define MT_WALK_CFA() ((uintptr_t)__builtin_sponentry())
#else
#define MT_WALK_CFA() ((uintptr_t)__builtin_dwarf_cfa())
#endif

/* To be used in the function itself; it gets a frame pointer by it. */
#define MT_WALK_FROM_CALLER                                                                    \
    ((mt_walk_from){(uintptr_t)__builtin_return_address(0), MT_WALK_CFA(),                     \
                    *(uintptr_t *)__builtin_frame_address(0)})

enum { MT_WALK_STEPS = 64 };

/* A function's registers, and how far above its sp the two words lie that its caller's were
 * read from. */
typedef struct mt_walk_step {
    uintptr_t pc, sp, fp;
    uint32_t ra;            /* MT_WALK_NOWHERE: the step cannot be relied on */
    uint32_t saved_fp : 31; /* MT_WALK_NOWHERE: fp stayed as it was */
    uint32_t needs_fp : 1;  /* the words were found by fp */
    uint32_t id;            /* 0: the rule holds for good; else while mt_walk_same_object */
} mt_walk_step;

#define MT_WALK_NOWHERE 0x7fffffffu

/* What is known of a thread's stack: pages that are readable, [lo, hi), and the last walk. Two
 * walks of a thread mostly have their outer frames in common; they are compared, which is
 * faster than to find them anew. A thread's own; zero is nothing known. */
typedef struct mt_walk_stack {
    uintptr_t lo, hi;
    uint32_t last;     /* which of the two walks below; the other is being written */
    uint32_t steps[2]; /* of each, less the last state, which led nowhere */
    uint8_t ended[2];  /* nor ever will: a rule that holds for good says so */
    mt_walk_step walk[2][MT_WALK_STEPS + 1];
} mt_walk_stack;

/* Maps the table of rules (128 KiB) and notes which objects came with the program. 0; -1 where
 * the walk does not exist (another processor, glibc before 2.35) or without memory. Once, from
 * the constructor or an attach, not from a hook. */
int mt_walk_start(void);

bool mt_walk_works(void);

/* An object may have been unloaded: rules for objects that came after the program do not count
 * any more. Any thread; 10 us. */
void mt_walk_forget_unloaded(void);

/* Whether the object that `place` lies in is the one whose identity a step had there; of 0,
 * whether it lies in none. Some 5 ns. */
bool mt_walk_same_object(uintptr_t place, uint32_t id);

/* How often mt_walk_forget_unloaded was called. */
extern _Atomic uint32_t mt_walk_unloads __attribute__((visibility("hidden")));

/* Stores the return addresses from `from.pc` on, at most `max`, and returns how many, at least
 * 1 if max is. */
uint32_t mt_walk_up(uintptr_t pc, uintptr_t sp, uintptr_t fp, mt_walk_stack *known,
                    void **stack, uint32_t max);

/* In registers: three words that were just stored one by one and are loaded as two wait for the
 * stores to be done. */
static inline uint32_t mt_walk(mt_walk_from from, mt_walk_stack *known, void **stack,
                               uint32_t max) {
    return mt_walk_up(from.pc, from.sp, from.fp, known, stack, max);
}

#endif
