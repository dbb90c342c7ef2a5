/* real: series whose terms shrink fast enough; no tables. */
#include "real.h"

static const double ln2 = 0.693147180559945309417;

/* x = m * 2^k with m in [0.7, 1.42); ln m = 2 artanh((m - 1) / (m + 1)). */
double mt_real_log(double x) {
    uint64_t bits = mt_real_bits(x);
    int k = (int)(bits >> 52) - 1022; /* m in [0.5, 1) */
    double m = mt_real_of((bits & 0x000fffffffffffffull) | 0x3fe0000000000000ull);
    if (m < 0.70710678) {
        m *= 2;
        k--;
    }
    double s = (m - 1) / (m + 1), s2 = s * s, sum = 0;
    for (int i = 21; i > 0; i -= 2) sum = sum * s2 + 1.0 / i;
    return k * ln2 + 2 * s * sum;
}

/* exp(-x) - 1 by its series, for |x| <= 0.35. */
static double expm1_small(double x) {
    double sum = 0;
    for (int i = 14; i > 0; i--) sum = (sum + 1) * -x / i;
    return sum;
}

double mt_real_share(double x) {
    if (x < 0.35) return -expm1_small(x);
    if (x > 40) return 1;
    int k = (int)(x / ln2 + 0.5);
    double rest = 1 + expm1_small(x - k * ln2);
    return 1 - rest * mt_real_of((uint64_t)(1023 - k) << 52);
}
