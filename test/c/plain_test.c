/* Text for terminals; sizes and times. */
#include "unit.h"

#include <string.h>

#include "ctl/plain.h"
#include "ctl/show/shorten.h"
#include "ctl/show/sizes.h"

static void plain_text_stays(void **state) {
    (void)state;
    static const char *const texts[] = {"", "operator new(unsigned long)",
                                        "größe µ 漢字 🙂"};
    char out[64];
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(mt_plain(out, sizeof out, texts[i]), strlen(texts[i]));
        assert_string_equal(out, texts[i]);
    }
}

static void what_a_terminal_acts_upon_is_spelled_out(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"a\033[31mb", "a\\x1b[31mb"},
        {"\n\t\x7f", "\\x0a\\x09\\x7f"},
        {"\xc2\x9b", "\\xc2\\x9b"},                   /* C1 */
        {"\xe2\x80\xae!", "\\xe2\\x80\\xae!"},        /* right to left */
        {"\xc0\xaf", "\\xc0\\xaf"},                   /* overlong */
        {"\xed\xa0\x80", "\\xed\\xa0\\x80"},          /* a surrogate */
        {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"}, /* beyond Unicode */
        {"x\xe6\xbc", "x\\xe6\\xbc"},                 /* cut off */
    };
    char out[64];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mt_plain(out, sizeof out, cases[i][0]);
        assert_string_equal(out, cases[i][1]);
    }
}

static void long_text_loses_its_middle(void **state) {
    (void)state;
    char out[17];
    assert_int_equal(mt_plain(out, sizeof out, "abcdefghijklmnop"), 16);
    assert_string_equal(out, "abcdefghijklmnop");
    mt_plain(out, sizeof out, "abcdefghijklmnopqrstuvwxyz");
    assert_string_equal(out, "abcdef...tuvwxyz");
}

/* Whatever comes in, what comes out fits, and is printable UTF-8. */
static void random_bytes_come_out_fit_to_print(void **state) {
    (void)state;
    uint64_t seed = unit_seed();
    for (int round = 0; round < 20000; round++) {
        char in[200], out[200], again[2000];
        size_t n = unit_random(&seed) % 199, room = 16 + unit_random(&seed) % 150;
        for (size_t i = 0; i < n; i++) {
            in[i] = (char)(unit_random(&seed) % 3 ? unit_random(&seed) : 'a' + i % 26);
            if (!in[i]) in[i] = '\xe2';
        }
        in[n] = 0;
        memset(out, 1, sizeof out);
        size_t length = mt_plain(out, room, in);
        assert_true(length < room);
        assert_int_equal(strlen(out), length);
        mt_plain(again, sizeof again, out); /* what is fit is left as it is */
        assert_string_equal(again, out);
    }
}

static void long_names_lose_what_says_least(void **state) {
    (void)state;
    static const struct {
        size_t room;
        const char *name, *shorter;
    } cases[] = {
        {40, "short<int>(long, long)", "short<int>(long, long)"},
        {40, "std::map<std::string, std::vector<int> >::find(int)", "std::map<...>::find(int)"},
        {30, "a::b<c<d>, e>::f(std::vector<int, long> const&)", "a::b<...>::f(...)"},
        {30, "a::operator<< <c<d>, eeeeeeeeeeeee>(std::ostream&)", "a::operator<< <...>(...)"},
        {30, "(anonymous namespace)::f(unsigned long, int)", "(anonymous namespace)::f(...)"},
        {30, "f<(3>2), &X::operator-> >::g(unsigned long, int)",
         "f<...>::g(unsigned long, int)"},
        {30, "std::function<void (a<b>, c)>::operator()(int, long) const",
         "std::functio...r()(...) const"},
        {24, "x<yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy", "x<yyyyyyy...yyyyyyyyyyy"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char out[128];
        mt_shorten(out, cases[i].room, cases[i].name);
        assert_string_equal(out, cases[i].shorter);
    }
}

static void random_brackets_are_survived(void **state) {
    (void)state;
    uint64_t seed = unit_seed();
    for (int round = 0; round < 20000; round++) {
        static const char letters[] = "<>()-a, operator<<operator()";
        char name[6000], out[100];
        size_t n = unit_random(&seed) % (round % 100 ? 200 : 5999);
        for (size_t i = 0; i < n; i++) name[i] = letters[unit_random(&seed) % 28];
        name[n] = 0;
        mt_shorten(out, sizeof out, name);
        assert_true(strlen(out) < sizeof out);
    }
}

static void sizes_are_powers_of_1000_cut_off(void **state) {
    (void)state;
    static const struct {
        uint64_t bytes;
        const char *text;
    } cases[] = {{0, "0 bytes"},
                 {1, "1 byte"},
                 {999, "999 bytes"},
                 {1000, "1.000 KB"},
                 {2045, "2.045 KB"},
                 {22704, "22.704 KB"},
                 {999999, "999.999 KB"},
                 {134201999, "134.201 MB"},
                 {5000000000, "5.000 GB"},
                 {7001000000000, "7.001 TB"},
                 {UINT64_MAX, "18446744.073 TB"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_string_equal(mt_size_text(cases[i].bytes).text, cases[i].text);
    assert_string_equal(mt_change_text(5, 5).text, "+0 bytes");
    assert_string_equal(mt_change_text(5, 2005).text, "+2.000 KB");
    assert_string_equal(mt_change_text(2005, 5).text, "-2.000 KB");
}

static void times_are_written_as_heaptrace_writes_them(void **state) {
    (void)state;
    assert_string_equal(mt_time_text(0).text, "0 ns");
    assert_string_equal(mt_time_text(6236999).text, "6.236 ms");
    assert_string_equal(mt_time_text(1050).text, "1.050 us");
    assert_string_equal(mt_time_text(12040000000).text, "12.040 secs");
    assert_string_equal(mt_time_text(123000000000).text, "2 mins 3 secs");
    assert_string_equal(mt_time_text(4000000000000).text, "1 hours 6 mins");
}

static void ages_are_read_and_nonsense_is_not(void **state) {
    (void)state;
    static const struct {
        const char *text;
        uint64_t ns;
    } cases[] = {{"500ms", 500000000},   {"10s", 10000000000}, {"5m", 300000000000},
                 {"2h", 7200000000000},  {"0.5s", 500000000},  {"7", 7000000000},
                 {"1d", 86400000000000}, {"3us", 3000},        {"0", 0}};
    static const char *const bad[] = {
        "",       "s",  "-1s",  "5 m", "5x",  "1e3s", ".5s",
        "1.2.3s", "ms", "0x5s", "nan", "inf", "5mm",  "99999999999999999999"};
    uint64_t ns;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_true(mt_time_parse(cases[i].text, &ns));
        assert_int_equal(ns, cases[i].ns);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(mt_time_parse(bad[i], &ns));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_text_stays),
        cmocka_unit_test(what_a_terminal_acts_upon_is_spelled_out),
        cmocka_unit_test(long_text_loses_its_middle),
        cmocka_unit_test(random_bytes_come_out_fit_to_print),
        cmocka_unit_test(long_names_lose_what_says_least),
        cmocka_unit_test(random_brackets_are_survived),
        cmocka_unit_test(sizes_are_powers_of_1000_cut_off),
        cmocka_unit_test(times_are_written_as_heaptrace_writes_them),
        cmocka_unit_test(ages_are_read_and_nonsense_is_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
