/* gzip: see the header. */
#include "gzip.h"

enum { BLOCK = 65535 };

static uint32_t crc32(const uint8_t *data, size_t n) {
    uint32_t table[256], crc = 0xffffffff;
    for (uint32_t i = 0; i < 256; i++) {
        table[i] = i;
        for (int k = 0; k < 8; k++) table[i] = table[i] >> 1 ^ (table[i] & 1 ? 0xedb88320u : 0);
    }
    for (size_t i = 0; i < n; i++) crc = table[(crc ^ data[i]) & 0xff] ^ crc >> 8;
    return ~crc;
}

static void add_word(mt_bytes *out, uint32_t word) {
    uint8_t bytes[] = {(uint8_t)word, (uint8_t)(word >> 8), (uint8_t)(word >> 16),
                       (uint8_t)(word >> 24)};
    mt_bytes_add(out, bytes, sizeof bytes);
}

void mt_gzip_store(const mt_bytes *plain, mt_bytes *out) {
    /* Deflated, no flags, no time, nothing told of the compressor, any system. */
    static const uint8_t head[] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255};
    mt_bytes_add(out, head, sizeof head);
    size_t done = 0;
    do {
        size_t n = plain->n - done < BLOCK ? plain->n - done : BLOCK;
        uint8_t last = done + n == plain->n;
        mt_bytes_add(out, &last, 1);
        add_word(out, (uint32_t)n | ~(uint32_t)n << 16);
        mt_bytes_add(out, plain->data + done, n);
        done += n;
    } while (done < plain->n);
    add_word(out, crc32(plain->data, plain->n));
    add_word(out, (uint32_t)plain->n);
    out->failed |= plain->failed;
}
