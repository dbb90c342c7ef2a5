/* cfi: what an object says about how to leave a function, for one place in its code.
 *
 * Compilers describe for every instruction where the caller's stack pointer, frame pointer and
 * return address are (.eh_frame: DWARF 5, 6.4; LSB 5, 10.6; Itanium C++ ABI for the encodings).
 * Here that description is boiled down to one word, a rule:
 *
 *   CFA  = sp + a | fp + a | *(fp + a) | *(sp + a)        the caller's stack pointer
 *   fp'  = fp | *(CFA + b) | *(fp + b) | *(sp + b)        the caller's frame pointer
 *   pc'  = *(CFA + c) | *(sp + c) | *(fp + c)             the return address
 *
 * That covers what compilers make of C, C++, Rust and Erlang's emulator, and signal frames;
 * what needs another register gives no rule, and the walk ends there. Return addresses may be
 * signed (arm64's pac-ret): whoever applies a rule takes the signature off.
 *
 * A hook may call this, as it may eh_frame. Some 50 to 100 ns a place; `walk` keeps the rules.
 */
#ifndef MT_RECORD_CFI_H
#define MT_RECORD_CFI_H

#include <stdbool.h>
#include <stdint.h>

#include "eh_frame.h"

enum { MT_CFA_NONE, MT_CFA_SP, MT_CFA_FP, MT_CFA_AT_FP, MT_CFA_AT_SP }; /* cfa */
enum { MT_FP_SAME, MT_FP_CFA, MT_FP_FP, MT_FP_SP, MT_FP_LOST };         /* fp */
enum { MT_RA_CFA, MT_RA_SP, MT_RA_END, MT_RA_FP };                      /* ra */

typedef struct mt_rule {
    uint8_t cfa, fp, ra;
    bool signal;     /* the caller was interrupted: its pc is exact, not a return address */
    int32_t a, b, c; /* b and c are multiples of 8 */
} mt_rule;

/* Rules in one word, so that a cache can hold them; 0 is no rule. What does not fit is none. */
uint64_t mt_rule_pack(const mt_rule *rule);

static inline mt_rule mt_rule_unpack(uint64_t w) {
    return (mt_rule){.cfa = w & 7,
                     .fp = w >> 3 & 7,
                     .ra = w >> 6 & 3,
                     .signal = w >> 8 & 1,
                     .a = (int32_t)((uint32_t)(w >> 9 & 0x7fffff) << 9) >> 9,
                     .b = (int16_t)(w >> 32 & 0xffff) * 8,
                     .c = (int16_t)(w >> 48) * 8};
}

/* True where the C library has what this needs, on a processor that it knows. */
bool mt_cfi_exists(void);

/* The rule for this place in the object, packed; 0 if there is none. As mt_eh_frame_find. */
uint64_t mt_cfi_rule(const mt_eh_object *object, uintptr_t place);

#endif
