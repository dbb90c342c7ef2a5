/* Names of other people's files on their way out: JSON, CSV, a terminal. */
#include "unit.h"

#include <string.h>

#include "ctl/log/out.h"

static const char *through(void (*write)(mt_out *, const char *), const char *name) {
    static char made[512];
    mt_out out;
    mt_out_open(&out, -1);
    write(&out, name);
    mt_out_put(&out, "", 1);
    strcpy(made, out.bytes);
    mt_out_close(&out);
    return made;
}

#define U "\xef\xbf\xbd"

static void json_escapes_what_is_no_text(void **state) {
    (void)state;
    assert_string_equal(through(mt_out_json, "a\"b\\c\n\x1b[31m\x7f"),
                        "a\\\"b\\\\c\\u000a\\u001b[31m\\u007f");
    assert_string_equal(through(mt_out_json, "gr\xc3\xbc\xc3\x9f\x65 \xf0\x9f\x98\x80"),
                        "gr\xc3\xbc\xc3\x9f\x65 \xf0\x9f\x98\x80");
}

static void bytes_that_are_no_utf8_are_replaced(void **state) {
    (void)state;
    const char *const wrong[] = {
        "\xff", "\xc0\x80", "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80",
        "\xc3", "\x80",     "\xf0\x9f\x98",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char expected[32] = "x";
        for (size_t n = 0; n < strlen(wrong[i]); n++) strcat(expected, U);
        char name[16] = "x";
        strcat(name, wrong[i]);
        assert_string_equal(through(mt_out_json, name), expected);
        assert_string_equal(through(mt_out_plain, name), expected);
    }
}

static void a_terminal_gets_no_controls(void **state) {
    (void)state;
    assert_string_equal(through(mt_out_plain, "a\x1b]0;x\x07\n\xc2\x9b"
                                              "b\xe2\x80\xae"
                                              "c"),
                        "a" U "]0;x" U U U "b" U "c");
}

static void quotes_are_doubled_in_a_field(void **state) {
    (void)state;
    assert_string_equal(through(mt_out_quoted, "a\"b;\n\"\""), "\"a\"\"b;\n\"\"\"\"\"");
    assert_string_equal(through(mt_out_quoted, ""), "\"\"");
}

static void numbers_are_written_whole(void **state) {
    (void)state;
    mt_out out;
    mt_out_open(&out, -1);
    mt_out_number(&out, 0);
    mt_out_str(&out, " ");
    mt_out_number(&out, UINT64_MAX);
    mt_out_str(&out, " ");
    mt_out_hex(&out, 0);
    mt_out_str(&out, " ");
    mt_out_hex(&out, UINT64_MAX);
    mt_out_put(&out, "", 1);
    assert_string_equal(out.bytes, "0 18446744073709551615 0x0 0xffffffffffffffff");
    mt_out_close(&out);
}

static void what_is_long_grows(void **state) {
    (void)state;
    mt_out out;
    char part[1000];
    memset(part, 'x', sizeof part);
    mt_out_open(&out, -1);
    for (int i = 0; i < 1000; i++) mt_out_put(&out, part, sizeof part);
    assert_int_equal(out.used, 1000000);
    mt_out_close(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_escapes_what_is_no_text),
        cmocka_unit_test(bytes_that_are_no_utf8_are_replaced),
        cmocka_unit_test(a_terminal_gets_no_controls),
        cmocka_unit_test(quotes_are_doubled_in_a_field),
        cmocka_unit_test(numbers_are_written_whole),
        cmocka_unit_test(what_is_long_grows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
