/* cfi: a small interpreter for call frame information. */
#include "cfi.h"

#include <stddef.h>

/* SIGNALS: whether what is said of signal frames is enough. Linux before 5.8 on arm64 says only
 * where the interrupted function's caller is, later ones nothing (see walk). */
#if defined __x86_64__
enum { REG_FP = 6, REG_SP = 7, REG_RA = 16, SIGNALS = 1 };
#elif defined __aarch64__
enum { REG_FP = 29, REG_SP = 31, REG_RA = 30, SIGNALS = 0 };
#else
enum { REG_FP = -1, REG_SP = -2, REG_RA = -3, SIGNALS = 0 };
#endif

enum { MAX_REMEMBERED = 8 };

bool mt_cfi_exists(void) {
    return REG_FP > 0 && mt_eh_exists();
}

/* Where a rule for a register stands while the interpreter runs. */
enum { SAME, AT_CFA, AT_FP, AT_SP, UNDEFINED, UNKNOWN };

typedef struct {
    uint8_t kind;
    int64_t offset;
} saved;

typedef struct {
    uint8_t cfa; /* MT_CFA_* */
    int64_t offset;
    saved fp, ra;
} row;

static saved *register_of(row *r, uint64_t number) {
    if (number == (uint64_t)REG_FP) return &r->fp;
    if (number == (uint64_t)REG_RA) return &r->ra;
    return NULL;
}

static void set(row *r, uint64_t number, uint8_t kind, int64_t offset) {
    saved *s = register_of(r, number);
    if (s) *s = (saved){kind, offset};
}

static void set_cfa(row *r, uint64_t number, int64_t offset) {
    r->cfa = number == (uint64_t)REG_SP   ? MT_CFA_SP
             : number == (uint64_t)REG_FP ? MT_CFA_FP
                                          : MT_CFA_NONE;
    r->offset = offset;
}

/* Expressions (DWARF 5, 2.5) that compilers use here: the address reg + offset, and for a CFA
 * what stands there. Anything else is unknown. */
enum { OP_DEREF = 0x06, OP_BREG0 = 0x70 };

static bool base_and_offset(mt_cursor *e, uint64_t *number, int64_t *offset) {
    uint64_t op = mt_cursor_take(e, 1);
    if (op < OP_BREG0 || op > OP_BREG0 + 31) return false;
    *number = op - OP_BREG0;
    *offset = mt_cursor_sleb(e);
    return !e->bad;
}

static mt_cursor expression(mt_cursor *c) {
    uint64_t n = mt_cursor_uleb(c);
    const uint8_t *at = c->at;
    mt_cursor_skip(c, n);
    return c->bad ? (mt_cursor){at, at, true} : (mt_cursor){at, c->at, false};
}

static void cfa_expression(row *r, mt_cursor e) {
    uint64_t number;
    int64_t offset;
    r->cfa = MT_CFA_NONE;
    if (!base_and_offset(&e, &number, &offset)) return;
    if (mt_cursor_take(&e, 1) != OP_DEREF || e.bad || e.at != e.end) return;
    if (number == (uint64_t)REG_FP) r->cfa = MT_CFA_AT_FP;
    if (number == (uint64_t)REG_SP) r->cfa = MT_CFA_AT_SP;
    r->offset = offset;
}

static void register_expression(row *r, uint64_t which, mt_cursor e) {
    uint64_t number = 0;
    int64_t offset = 0;
    uint8_t kind = UNKNOWN;
    if (base_and_offset(&e, &number, &offset) && e.at == e.end)
        kind = number == (uint64_t)REG_FP   ? AT_FP
               : number == (uint64_t)REG_SP ? AT_SP
                                            : UNKNOWN;
    set(r, which, kind, offset);
}

typedef struct {
    mt_cursor c;
    const mt_cie *about;
    const row *initial; /* what `restore` goes back to */
    row now, remembered[MAX_REMEMBERED];
    int depth;
    uintptr_t location;
    uint64_t advance; /* of the last instruction, in code units */
} machine;

/* Offsets are factored; what overflows here does not fit into a rule either. */
static int64_t scaled(uint64_t factor, int64_t align) {
    return (int64_t)(factor * (uint64_t)align);
}

static void restore(machine *m, uint64_t number) {
    if (number == (uint64_t)REG_FP) m->now.fp = m->initial->fp;
    if (number == (uint64_t)REG_RA) m->now.ra = m->initial->ra;
}

/* Instructions that set the CFA; false if it is another. Numbers: DWARF 5, 7.24. */
static bool run_cfa(machine *m, uint8_t op) {
    mt_cursor *c = &m->c;
    int64_t align = m->about->data_align;
    uint64_t number;
    switch (op) {
    case 0x0c: /* def_cfa */
        number = mt_cursor_uleb(c);
        set_cfa(&m->now, number, (int64_t)mt_cursor_uleb(c));
        return true;
    case 0x12: /* def_cfa_sf */
        number = mt_cursor_uleb(c);
        set_cfa(&m->now, number, scaled((uint64_t)mt_cursor_sleb(c), align));
        return true;
    case 0x0d:
        set_cfa(&m->now, mt_cursor_uleb(c), m->now.offset);
        return true;
    case 0x0e:
        m->now.offset = (int64_t)mt_cursor_uleb(c);
        return true;
    case 0x13:
        m->now.offset = scaled((uint64_t)mt_cursor_sleb(c), align);
        return true;
    case 0x0f:
        cfa_expression(&m->now, expression(c));
        return true;
    default:
        return false;
    }
}

/* Instructions that set the rule of a register; false if it is another. */
static bool run_register(machine *m, uint8_t op) {
    mt_cursor *c = &m->c;
    if ((op < 0x05 || op > 0x09) && op != 0x10 && op != 0x11 && (op < 0x14 || op > 0x16))
        return false;
    uint64_t number = mt_cursor_uleb(c);
    int64_t align = m->about->data_align;
    switch (op) {
    case 0x05:
        set(&m->now, number, AT_CFA, scaled(mt_cursor_uleb(c), align));
        break;
    case 0x06:
        restore(m, number);
        break;
    case 0x07:
        set(&m->now, number, UNDEFINED, 0);
        break;
    case 0x08:
        set(&m->now, number, SAME, 0);
        break;
    case 0x10:
        register_expression(&m->now, number, expression(c));
        break;
    case 0x11:
        set(&m->now, number, AT_CFA, scaled((uint64_t)mt_cursor_sleb(c), align));
        break;
    case 0x16:
        expression(c);
        set(&m->now, number, UNKNOWN, 0);
        break;
    default:
        mt_cursor_uleb(c);
        set(&m->now, number, UNKNOWN, 0);
        break; /* in a register; val_offset */
    }
    return true;
}

static bool run_other(machine *m, uint8_t op) {
    mt_cursor *c = &m->c;
    switch (op) {
    case 0x00:
        return true;
    case 0x01: /* set_loc */
        m->location = mt_cursor_encoded(c, m->about->encoding);
        return true;
    case 0x02:
        m->advance = mt_cursor_take(c, 1);
        return true;
    case 0x03:
        m->advance = mt_cursor_take(c, 2);
        return true;
    case 0x04:
        m->advance = mt_cursor_take(c, 4);
        return true;
    case 0x0a: /* remember_state */
        if (m->depth == MAX_REMEMBERED) return false;
        m->remembered[m->depth++] = m->now;
        return true;
    case 0x0b: /* restore_state */
        if (m->depth == 0) return false;
        m->now = m->remembered[--m->depth];
        return true;
    case 0x2c:
    case 0x2d: /* arm64: the return address is signed from here on (with the pc, too), or not */
        return true;
    case 0x2e:
        mt_cursor_uleb(c);
        return true; /* GNU_args_size */
    default:
        return false;
    }
}

/* Runs a program from `initial` until the instruction that is for a place beyond `pc`. */
static bool run(mt_cursor program, const mt_cie *about, uintptr_t begin, uintptr_t pc,
                const row *initial, row *result) {
    machine m = {.c = program, .about = about, .initial = initial, .location = begin};
    m.now = *initial;
    while (m.c.at < m.c.end) {
        uint8_t op = (uint8_t)mt_cursor_take(&m.c, 1);
        m.advance = 0;
        switch (op & 0xc0) {
        case 0x40:
            m.advance = op & 0x3f;
            break;
        case 0x80:
            set(&m.now, op & 0x3f, AT_CFA, scaled(mt_cursor_uleb(&m.c), about->data_align));
            break;
        case 0xc0:
            restore(&m, op & 0x3f);
            break;
        default:
            if (!run_cfa(&m, op) && !run_register(&m, op) && !run_other(&m, op)) return false;
        }
        if (m.c.bad) return false;
        row before = m.now;
        m.location += m.advance * about->code_align;
        if (m.location > pc) {
            *result = before;
            return true;
        }
    }
    *result = m.now;
    return true;
}

/* What lies too far from the CFA, as the frame record does below a large frame on arm64, is
 * near the register that the CFA is counted from. */
static saved nearer(const row *r, saved s) {
    bool far = s.offset < INT16_MIN * 8 || s.offset > INT16_MAX * 8;
    if (s.kind != AT_CFA || !far) return s;
    if (r->cfa == MT_CFA_SP) return (saved){AT_SP, s.offset + r->offset};
    if (r->cfa == MT_CFA_FP) return (saved){AT_FP, s.offset + r->offset};
    return s;
}

static uint64_t pack_row(row *r, bool signal) {
    mt_rule rule = {.cfa = r->cfa, .signal = signal, .a = (int32_t)r->offset};
    if (r->offset != rule.a) return 0;
    r->fp = nearer(r, r->fp);
    r->ra = nearer(r, r->ra);
    switch (r->fp.kind) {
    case SAME:
        rule.fp = MT_FP_SAME;
        break;
    case AT_CFA:
        rule.fp = MT_FP_CFA;
        break;
    case AT_FP:
        rule.fp = MT_FP_FP;
        break;
    case AT_SP:
        rule.fp = MT_FP_SP;
        break;
    default:
        rule.fp = MT_FP_LOST;
        break;
    }
    switch (r->ra.kind) {
    case AT_CFA:
        rule.ra = MT_RA_CFA;
        break;
    case AT_SP:
        rule.ra = MT_RA_SP;
        break;
    case AT_FP:
        rule.ra = MT_RA_FP;
        break;
    case UNDEFINED:
        rule.ra = MT_RA_END;
        break; /* the outermost frame */
    default:
        return 0;
    }
    int64_t b = r->fp.kind == SAME || r->fp.kind > AT_SP ? 0 : r->fp.offset;
    int64_t c = r->ra.kind == UNDEFINED ? 0 : r->ra.offset;
    rule.b = (int32_t)b;
    rule.c = (int32_t)c;
    if (rule.b != b || rule.c != c) return 0;
    if (rule.ra == MT_RA_END) rule.cfa = MT_CFA_SP, rule.a = 0;
    return mt_rule_pack(&rule);
}

uint64_t mt_cfi_rule(const mt_eh_object *o, uintptr_t pc) {
    mt_fde fde;
    row initial = {0}, now;
    if (!mt_eh_frame_find(o, pc, &fde)) return 0;
    if (fde.about.return_register != (uint64_t)REG_RA) return 0;
    if (fde.about.signal && !SIGNALS) return 0;
    if (!run(fde.about.program, &fde.about, 0, UINTPTR_MAX, &initial, &initial)) return 0;
    if (!run(fde.program, &fde.about, fde.begin, pc, &initial, &now)) return 0;
    return pack_row(&now, fde.about.signal);
}

/* cfa 3 bits | fp 3 | ra 2 | signal 1 | a 23 | b/8 16 | c/8 16 */
uint64_t mt_rule_pack(const mt_rule *r) {
    if (r->cfa == MT_CFA_NONE || r->b % 8 || r->c % 8) return 0;
    if (r->a < -(1 << 22) || r->a >= 1 << 22) return 0;
    if (r->b < INT16_MIN * 8 || r->b > INT16_MAX * 8) return 0;
    if (r->c < INT16_MIN * 8 || r->c > INT16_MAX * 8) return 0;
    return (uint64_t)r->cfa | (uint64_t)r->fp << 3 | (uint64_t)r->ra << 6 |
           (uint64_t)r->signal << 8 | ((uint64_t)r->a & 0x7fffff) << 9 |
           (uint64_t)(uint16_t)(r->b / 8) << 32 | (uint64_t)(uint16_t)(r->c / 8) << 48;
}
