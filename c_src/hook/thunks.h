/* thunks: addresses to give out instead of those of other people's functions.
 *
 *   caller ──▶ thunk i: sixth argument := i, jump ──▶ our function(a, b, c, d, -, i) ──▶ target
 *
 * What is called through a thunk has at most four arguments, each in a register; the thunk puts
 * its own number where a sixth would be (r9, or x5), and touches neither stack nor anything
 * else, so that unwinders see our function called by the caller.
 *
 * A thunk belongs to a target and a row of callers, and is found again for both: a library that
 * is loaded again, or a detach and an attach, take up no more. Thunks last for ever, because
 * the VM may call what it was given at any time. When all of a pool are taken, those are used
 * anew whose target's library is gone: the VM unloads a library when nothing can call it any
 * more, and with it the thunk.
 *
 * Any thread; getting a thunk that is there takes no lock. Where nobody has written a thunk for
 * the processor (x86-64 and arm64 have one) a pool is empty, and always full.
 */
#ifndef MT_HOOK_THUNKS_H
#define MT_HOOK_THUNKS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { MT_THUNK_BYTES = 16 };

typedef struct mt_thunk {
    void *_Atomic target;
    _Atomic uint32_t row;
} mt_thunk;

typedef struct mt_thunks {
    const char *code; /* room * MT_THUNK_BYTES, NULL: none for this processor */
    mt_thunk *thunk;  /* room */
    _Atomic uint16_t
        *index; /* 2 * room: a thunk's number + 1 by hash of target and row, 0: none */
    uint32_t room;
    _Atomic uint32_t used;
    atomic_bool full; /* somebody got none */
} mt_thunks;

#if defined __x86_64__
#define MT_THUNK(function) "endbr64\n movl $mt_thunk_number, %r9d\n jmp " #function "\n"
#elif defined __aarch64__
#define MT_THUNK(function) "hint #34\n mov w5, #mt_thunk_number\n b " #function "\n"
#endif

/* Defines the pool `name` of n thunks, a number that is written out, of at most 32767, that go
 * on to `function`, which must not be static, and finds its thunk in name.thunk[its sixth
 * argument]. */
#if defined MT_THUNK
#define MT_THUNKS_CODE(name, n, function)                                                      \
    __asm__(".pushsection .text." #name "_code, \"ax\", %progbits\n"                           \
            ".p2align 4\n"                                                                     \
            ".hidden " #name "_code\n" #name "_code:\n"                                        \
            ".set mt_thunk_number, 0\n"                                                        \
            ".rept " #n "\n" MT_THUNK(function) ".p2align 4\n"                                 \
                                                ".set mt_thunk_number, mt_thunk_number + 1\n"  \
                                                ".endr\n"                                      \
                                                ".popsection");                                \
    extern const char name##_code[] __attribute__((visibility("hidden")));
#define MT_THUNKS_CODE_OF(name) name##_code
#else
#define MT_THUNKS_CODE(name, n, function)
#define MT_THUNKS_CODE_OF(name) NULL
#endif

#define MT_THUNKS(name, n, function)                                                           \
    MT_THUNKS_CODE(name, n, function)                                                          \
    static mt_thunk name##_thunk[n];                                                           \
    static _Atomic uint16_t name##_index[2 * (n)];                                             \
    static mt_thunks name = {.code = MT_THUNKS_CODE_OF(name),                                  \
                             .thunk = name##_thunk,                                            \
                             .index = name##_index,                                            \
                             .room = n}

/* Our functions that thunks go on to lie together, so that their frames can be told. */
#define MT_THUNKS_FUNCTION                                                                     \
    __attribute__((section("mt_thunks_functions"), visibility("hidden"), noinline, used))

/* True for a return address in one of them: a frame of ours between the caller's and the
 * target's, not to be shown. For hooks too. */
bool mt_thunks_is_frame(uintptr_t address);

/* The thunk for this target, its address; NULL if there is no room. A target that is a thunk of
 * the pool is its own. Not for hooks of the malloc family. */
void *mt_thunks_get(mt_thunks *pool, void *target, uint32_t row);

/* True if the address is that of a thunk of this pool. */
bool mt_thunks_is_thunk(const mt_thunks *pool, const void *address);

#endif
