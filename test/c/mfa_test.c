/* Functions' names, taken apart. */
#include "unit.h"

#include <string.h>

#include "name/mfa.h"

static void names_are_taken_apart(void **state) {
    (void)state;
    static const struct {
        const char *name, *module, *function;
        unsigned arity;
    } known[] = {
        {"lists:foldl/3", "lists", "foldl", 3},
        {"'Elixir.Enum':'map_every?'/3", "Elixir.Enum", "map_every?", 3},
        {"'Elixir.Enum':'-reduce/3-lists^foldl/2-0-'/3", "Elixir.Enum",
         "-reduce/3-lists^foldl/2-0-", 3},
        {"'we\\'ird:mod/x':'x\\ny\\\\z'/0", "we'ird:mod/x", "x\ny\\z", 0},
        {"m:'\\001\177'/255", "m", "\001\177", 255},
        {"m:'::'/2", "m", "::", 2},
        {"m:'/'/2", "m", "/", 2},
        {"m:'\\x{142}\\x{1f600}'/1", "m", "ł😀", 1},
        {"m:żółw/1", "m", "żółw", 1},
        {"Elixir.Foo:bar/1", "Elixir.Foo", "bar", 1}, /* a VM that does not quote */
        {"Elixir.Kernel:::/2", "Elixir.Kernel", "::", 2},
        {"Elixir.Kernel://2", "Elixir.Kernel", "/", 2},
        {"'':''/0", "", "", 0},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        mt_mfa mfa;
        assert_true(mt_mfa_split(known[i].name, &mfa));
        assert_string_equal(mfa.module, known[i].module);
        assert_string_equal(mfa.function, known[i].function);
        assert_int_equal(mfa.arity, known[i].arity);
    }
}

static void what_is_no_function_is_refused(void **state) {
    (void)state;
    static const char *const others[] = {"",
                                         ":",
                                         "/",
                                         "'",
                                         "''",
                                         "'':",
                                         "m:",
                                         "m:f",
                                         "m:f/",
                                         "m:/1",
                                         ":f/1",
                                         "m:f/x",
                                         "m:f/1x",
                                         "m:f/256",
                                         "m:f/99999999999",
                                         "m/1",
                                         "global::call_nif_shared",
                                         "lists::codeHeader",
                                         "'m:f/1",
                                         "m:'f/1",
                                         "m:'f'",
                                         "m:'f'x/1",
                                         "'m'f/1",
                                         "m:'f\\",
                                         "m:'\\x{41/1",
                                         "m:'\\x{}",
                                         "m:'\\x{110000}'/1",
                                         "m:'\\0'/1"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        mt_mfa mfa;
        if (mt_mfa_split(others[i], &mfa)) fail_msg("taken for a function: %s", others[i]);
    }
}

/* Quotes as the VM does. */
static void quote(char *to, const char *atom, size_t n) {
    *to++ = '\'';
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)atom[i];
        if (c == '\'' || c == '\\') *to++ = '\\', *to++ = (char)c;
        else if (c == '\n') *to++ = '\\', *to++ = 'n';
        else if (c < 32) to += sprintf(to, "\\%03o", c);
        else *to++ = (char)c;
    }
    strcpy(to, "'");
}

static void whatever_was_quoted_comes_back(void **state) {
    (void)state;
    uint64_t seed = unit_seed();
    for (int round = 0; round < 5000; round++) {
        char atom[2][256] = {{0}}, quoted[2][1024], name[2100];
        for (int a = 0; a < 2; a++) {
            size_t n = unit_random(&seed) % 255;
            for (size_t i = 0; i < n; i++) {
                static const char hard[] = "':/\\\n \001x{}0";
                uint64_t r = unit_random(&seed);
                atom[a][i] =
                    r % 2 ? hard[(r >> 8) % (sizeof hard - 1)] : (char)(1 + (r >> 8) % 126);
            }
            quote(quoted[a], atom[a], n);
        }
        mt_mfa mfa;
        sprintf(name, "%s:%s/%d", quoted[0], quoted[1], round % 256);
        assert_true(mt_mfa_split(name, &mfa));
        assert_string_equal(mfa.module, atom[0]);
        assert_string_equal(mfa.function, atom[1]);
        assert_int_equal(mfa.arity, round % 256);
    }
}

static void an_atom_that_is_too_long_is_refused(void **state) {
    (void)state;
    static char name[4 * MT_ATOM_BYTES];
    mt_mfa mfa;
    for (int more = 0; more < 2; more++) {
        memset(name, 'a', MT_ATOM_BYTES + more);
        strcpy(name + MT_ATOM_BYTES + more, ":f/1");
        assert_int_equal(mt_mfa_split(name, &mfa), !more);
    }
}

static void any_text_does_no_harm(void **state) {
    (void)state;
    uint64_t seed = unit_seed();
    for (int round = 0; round < 20000; round++) {
        static const char alphabet[] = "'':/\\\\x{}07fnM\377\303";
        size_t n = unit_random(&seed) % 24;
        char *name = malloc(n + 1); /* ASan watches its end */
        for (size_t i = 0; i < n; i++)
            name[i] = alphabet[unit_random(&seed) % (sizeof alphabet - 1)];
        name[n] = '\0';
        mt_mfa mfa;
        if (mt_mfa_split(name, &mfa))
            assert_true(strlen(mfa.module) + strlen(mfa.function) < n + 8 && mfa.arity < 256);
        free(name);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_taken_apart),
        cmocka_unit_test(what_is_no_function_is_refused),
        cmocka_unit_test(whatever_was_quoted_comes_back),
        cmocka_unit_test(an_atom_that_is_too_long_is_refused),
        cmocka_unit_test(any_text_does_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
