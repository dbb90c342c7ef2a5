/* Call frame information: rules as compilers write them, and tables that lie. */
#include "fixture.h"

#include "record/cfi.h"

static void rules_survive_packing(void **state) {
    (void)state;
    uint64_t seed = unit_seed();
    for (int i = 0; i < 100000; i++) {
        uint64_t r = unit_random(&seed);
        mt_rule rule = {.cfa = 1 + r % 4,
                        .fp = (r >> 8) % 5,
                        .ra = (r >> 16) % 4,
                        .signal = r >> 20 & 1,
                        .a = (int32_t)(unit_random(&seed) % (1 << 23)) - (1 << 22),
                        .b = ((int32_t)(unit_random(&seed) % 65536) - 32768) * 8,
                        .c = ((int32_t)(unit_random(&seed) % 65536) - 32768) * 8};
        mt_rule back = mt_rule_unpack(mt_rule_pack(&rule));
        assert_int_not_equal(mt_rule_pack(&rule), 0);
        assert_int_equal(back.cfa, rule.cfa);
        assert_int_equal(back.fp, rule.fp);
        assert_int_equal(back.ra, rule.ra);
        assert_int_equal(back.signal, rule.signal);
        assert_int_equal(back.a, rule.a);
        assert_int_equal(back.b, rule.b);
        assert_int_equal(back.c, rule.c);
    }
}

static void rules_that_do_not_fit_are_none(void **state) {
    (void)state;
    mt_rule rule = {.cfa = MT_CFA_SP, .a = 1 << 22};
    assert_int_equal(mt_rule_pack(&rule), 0);
    rule = (mt_rule){.cfa = MT_CFA_SP, .c = 4};
    assert_int_equal(mt_rule_pack(&rule), 0);
    rule = (mt_rule){.cfa = MT_CFA_SP, .b = 8 << 15};
    assert_int_equal(mt_rule_pack(&rule), 0);
    rule = (mt_rule){.cfa = MT_CFA_NONE};
    assert_int_equal(mt_rule_pack(&rule), 0);
}

#if defined __x86_64__ || defined __aarch64__
#if defined __x86_64__
enum { FP = 6, SP = 7, RA = 16 };
#else
enum { FP = 29, SP = 31, RA = 30 };
#endif
enum { OFFSET = 0x80, RESTORE = 0xc0, BREG = 0x70 }; /* with a register's number in them */

/* An object of our own making: header, CIE, FDE, one function of 100 bytes at `code`. At its
 * beginning CFA = sp + 8, ra at CFA - 8, on arm64 too. `letter`: one more augmentation, or 0.
 */
static uint8_t object[4096] __attribute__((aligned(16)));
enum { HDR = 0, CIE = 64, FDE = 128, CODE = 2048, PROGRAM = FDE + 17 };

static void put32(int at, uint32_t value) {
    memcpy(object + at, &value, 4);
}

static void make_augmented(const uint8_t *program, size_t n, char letter) {
    uint8_t cie[21] = {0, 0, 0, 0, /* id */ 1, 'z', 'R'};
    const uint8_t rest[] = {0, 1, 0x78, RA, 1, 0x1b, 0x0c, SP, 8, OFFSET + RA, 1};
    int at = 7;
    if (letter) cie[at++] = (uint8_t)letter;
    memcpy(cie + at, rest, sizeof rest);
    memset(object, 0, sizeof object);
    memcpy(object + HDR, (uint8_t[]){1, 0x1b, 0x03, 0x3b}, 4);
    put32(HDR + 4, CIE - (HDR + 4));
    put32(HDR + 8, 1);
    put32(HDR + 12, CODE);
    put32(HDR + 16, FDE);
    put32(CIE, sizeof cie);
    memcpy(object + CIE + 4, cie, sizeof cie);
    put32(FDE, (uint32_t)(13 + n));
    put32(FDE + 4, FDE + 4 - CIE);
    put32(FDE + 8, (uint32_t)(CODE - (FDE + 8)));
    put32(FDE + 12, 100);
    object[FDE + 16] = 0;
    memcpy(object + PROGRAM, program, n);
}

static void make_object(const uint8_t *program, size_t n) {
    make_augmented(program, n, 0);
}

static mt_rule rule_at(int offset) {
    mt_eh_object o = {object, object + sizeof object, object + HDR, NULL};
    return mt_rule_unpack(mt_cfi_rule(&o, (uintptr_t)object + CODE + offset));
}

static void assert_rule(int offset, int cfa, int a, int fp, int b) {
    mt_rule r = rule_at(offset);
    assert_int_equal(r.cfa, cfa);
    assert_int_equal(r.a, a);
    assert_int_equal(r.fp, fp);
    assert_int_equal(r.b, b);
    assert_int_equal(r.ra, MT_RA_CFA);
    assert_int_equal(r.c, -8);
}

static void a_function_with_a_frame_pointer(void **state) {
    (void)state;
    static const uint8_t program[] = {
        0x41,      0x0e, 16, OFFSET + FP, 2,             /* push rbp */
        0x43,      0x0d, FP,                             /* mov rbp, rsp */
        0x40 + 40, 0x0c, SP, 8,           RESTORE + FP}; /* leave; ret */
    make_object(program, sizeof program);
    assert_rule(0, MT_CFA_SP, 8, MT_FP_SAME, 0);
    assert_rule(1, MT_CFA_SP, 16, MT_FP_CFA, -16);
    assert_rule(4, MT_CFA_FP, 16, MT_FP_CFA, -16);
    assert_rule(43, MT_CFA_FP, 16, MT_FP_CFA, -16);
    assert_rule(44, MT_CFA_SP, 8, MT_FP_SAME, 0);
    assert_rule(99, MT_CFA_SP, 8, MT_FP_SAME, 0);
    assert_int_equal(rule_at(100).cfa, MT_CFA_NONE); /* behind the function */
    assert_int_equal(rule_at(-1).cfa, MT_CFA_NONE);
}

static void remembered_states_come_back(void **state) {
    (void)state;
    static const uint8_t program[] = {0x41, 0x0e, 64,   0x45, 0x0a, 0x0e,
                                      8,    0x41, 0x0b, 0x41, 0x13, 0x7f};
    make_object(program, sizeof program);
    assert_rule(1, MT_CFA_SP, 64, MT_FP_SAME, 0);
    assert_rule(6, MT_CFA_SP, 8, MT_FP_SAME, 0);
    assert_rule(7, MT_CFA_SP, 64, MT_FP_SAME, 0);
    assert_rule(8, MT_CFA_SP, 8, MT_FP_SAME, 0); /* def_cfa_offset_sf -1 * -8 */
}

/* gcc's frames with a realigned stack: CFA = *(rbp - 8), rbp at *(rbp + 0). */
static void a_realigned_stack(void **state) {
    (void)state;
    static const uint8_t program[] = {0x0f, 3,  BREG + FP, 0x78,      0x06,
                                      0x10, FP, 2,         BREG + FP, 0x00};
    make_object(program, sizeof program);
    assert_rule(50, MT_CFA_AT_FP, -8, MT_FP_FP, 0);
}

/* gcc on arm64 keeps the frame record below a frame's arrays. */
static void what_lies_far_from_the_cfa_is_counted_from_its_register(void **state) {
    (void)state;
    static const uint8_t program[] = {
        0x41,        0x0e, 0x90, 0x80, 0x40, /* CFA = sp + 1 MiB + 16 */
        0x05,        RA,   0x81, 0x80, 0x08, /* CFA - 1 MiB - 8 */
        OFFSET + FP, 0x82, 0x80, 0x08,       /* CFA - 1 MiB - 16 */
        0x41,        0x0d, FP};              /* CFA = fp + ... */
    make_object(program, sizeof program);
    mt_rule r = rule_at(1);
    assert_int_equal(r.cfa, MT_CFA_SP);
    assert_int_equal(r.a, (1 << 20) + 16);
    assert_int_equal(r.fp, MT_FP_SP);
    assert_int_equal(r.b, 0);
    assert_int_equal(r.ra, MT_RA_SP);
    assert_int_equal(r.c, 8);
    r = rule_at(2);
    assert_int_equal(r.cfa, MT_CFA_FP);
    assert_int_equal(r.fp, MT_FP_FP);
    assert_int_equal(r.b, 0);
    assert_int_equal(r.ra, MT_RA_FP);
    assert_int_equal(r.c, 8);
}

static void the_outermost_frame_ends_the_walk(void **state) {
    (void)state;
    static const uint8_t program[] = {0x07, RA};
    make_object(program, sizeof program);
    assert_int_equal(rule_at(5).ra, MT_RA_END);
}

static void what_needs_another_register_is_no_rule(void **state) {
    (void)state;
    static const uint8_t programs[][4] = {
        {0x0c, 12, 8, 0},   /* CFA = r12 + 8 */
        {0x09, RA, 3, 0},   /* the return address in a register */
        {0x0f, 1, 0x9c, 0}, /* another expression */
        {0x3f, 0, 0, 0}};   /* no such instruction */
    for (size_t i = 0; i < sizeof programs / sizeof *programs; i++) {
        make_object(programs[i], 4);
        assert_int_equal(rule_at(50).cfa, MT_CFA_NONE);
    }
}

/* The frame pointer is lost, not taken for the caller's. */
static void a_frame_pointer_kept_elsewhere_is_lost(void **state) {
    (void)state;
    static const uint8_t program[] = {0x09, FP, 3};
    make_object(program, sizeof program);
    assert_int_equal(rule_at(50).fp, MT_FP_LOST);
}

/* pac-ret, and pac-ret+pc: the places of things are the same, signed or not. */
static void signed_return_addresses_change_no_rule(void **state) {
    (void)state;
    static const uint8_t program[] = {0x41, 0x2d, 0x41, 0x0e, 16,  OFFSET + FP,
                                      2,    0x43, 0x2c, 0x43, 0x2d};
    make_object(program, sizeof program);
    assert_rule(0, MT_CFA_SP, 8, MT_FP_SAME, 0);
    assert_rule(1, MT_CFA_SP, 8, MT_FP_SAME, 0);
    for (int at = 2; at < 10; at += 3) assert_rule(at, MT_CFA_SP, 16, MT_FP_CFA, -16);
}

/* B: signed with the other key; G: the frame's memory is tagged. Neither moves anything. */
static void functions_with_arm64_s_augmentations_have_rules(void **state) {
    (void)state;
    static const uint8_t program[] = {0x41, 0x0e, 32};
    for (const char *letter = "BG"; *letter; letter++) {
        make_augmented(program, sizeof program, *letter);
        assert_rule(5, MT_CFA_SP, 32, MT_FP_SAME, 0);
    }
    make_augmented(program, sizeof program, '?');
    assert_int_equal(rule_at(5).cfa, MT_CFA_NONE);
}

/* On arm64 the kernel's own information of it (Linux before 5.8) leads past the interrupted
 * function, with the wrong stack pointer. */
static void a_signal_frame_is_one_where_its_information_is_enough(void **state) {
    (void)state;
    static const uint8_t program[] = {0x41, 0x0e, 32};
    make_augmented(program, sizeof program, 'S');
#if defined __x86_64__
    assert_rule(5, MT_CFA_SP, 32, MT_FP_SAME, 0);
    assert_true(rule_at(5).signal);
#else
    assert_int_equal(rule_at(5).cfa, MT_CFA_NONE);
#endif
}

/* Run under ASan: nothing beyond the object may be read, and every program must end. */
static void tables_that_lie_are_survived(void **state) {
    (void)state;
    uint64_t seed = unit_seed();
    uint8_t *copy = malloc(sizeof object);
    static const uint8_t program[] = {0x41, 0x0e, 16, OFFSET + FP, 2, 0x43, 0x0d, FP};
    for (int i = 0; i < 200000; i++) {
        make_object(program, sizeof program);
        memcpy(copy, object, sizeof object);
        for (int n = 1 + (int)(unit_random(&seed) % 6); n > 0; n--)
            copy[unit_random(&seed) % 200] = (uint8_t)unit_random(&seed);
        if (i % 4 == 0)
            for (int k = PROGRAM; k < 512; k++) copy[k] = (uint8_t)unit_random(&seed);
        mt_eh_object o = {copy, copy + (i % 3 ? sizeof object : unit_random(&seed) % 300), copy,
                          NULL};
        mt_cfi_rule(&o, (uintptr_t)copy + CODE + unit_random(&seed) % 100);
    }
    free(copy);
}

/* The kernel maps a program with its gaps; node has some: every stack ended at its first
 * function. */
static void a_function_behind_a_gap_in_its_object_has_a_rule(void **state) {
    (void)state;
    if (!mt_eh_exists()) skip();
    fixture_make("cat > $D/gap.c <<'END'\n"
                 "#include \"record/cfi.h\"\n"
                 "__attribute__((section(\".far\"))) int far(int x) { return x; }\n"
                 "int main(void) {\n"
                 "    mt_eh_object o;\n"
                 "    if (!mt_eh_find_object((uintptr_t)far, &o)) return 3;\n"
                 "    if (o.eh_frame_hdr >= o.start && o.eh_frame_hdr < o.end) return 4;\n"
                 "    return mt_cfi_rule(&o, (uintptr_t)far) == 0 ||\n"
                 "           mt_cfi_rule(&o, (uintptr_t)far + 0x800) != 0;\n"
                 "}\n"
                 "END\n"
                 "gcc -D_GNU_SOURCE -O1 -fasynchronous-unwind-tables -I../../c_src "
                 "-Wl,--section-start=.far=0x9000000 -o $D/gap $D/gap.c "
                 "../../c_src/record/cfi.c ../../c_src/record/eh_frame.c");
    assert_int_equal(fixture_sh("exec $D/gap"), 0);
}
#endif

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rules_survive_packing),
        cmocka_unit_test(rules_that_do_not_fit_are_none),
#if defined __x86_64__ || defined __aarch64__
        cmocka_unit_test(a_function_with_a_frame_pointer),
        cmocka_unit_test(remembered_states_come_back),
        cmocka_unit_test(a_realigned_stack),
        cmocka_unit_test(what_lies_far_from_the_cfa_is_counted_from_its_register),
        cmocka_unit_test(the_outermost_frame_ends_the_walk),
        cmocka_unit_test(what_needs_another_register_is_no_rule),
        cmocka_unit_test(a_frame_pointer_kept_elsewhere_is_lost),
        cmocka_unit_test(signed_return_addresses_change_no_rule),
        cmocka_unit_test(functions_with_arm64_s_augmentations_have_rules),
        cmocka_unit_test(a_signal_frame_is_one_where_its_information_is_enough),
        cmocka_unit_test(tables_that_lie_are_survived),
        cmocka_unit_test(a_function_behind_a_gap_in_its_object_has_a_rule),
#endif
    };
    return cmocka_run_group_tests_name("cfi", tests, fixture_start, fixture_end);
}
