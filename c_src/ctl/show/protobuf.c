/* protobuf: see the header. */
#include "protobuf.h"

void mt_protobuf_varint(mt_bytes *out, uint64_t value) {
    uint8_t bytes[10];
    size_t n = 0;
    for (; value >= 0x80; value >>= 7) bytes[n++] = (uint8_t)(value | 0x80);
    bytes[n++] = (uint8_t)value;
    mt_bytes_add(out, bytes, n);
}

void mt_protobuf_int(mt_bytes *out, uint32_t field, uint64_t value) {
    if (!value) return;
    mt_protobuf_varint(out, field << 3);
    mt_protobuf_varint(out, value);
}

void mt_protobuf_bytes(mt_bytes *out, uint32_t field, const void *data, size_t n) {
    mt_protobuf_varint(out, field << 3 | 2);
    mt_protobuf_varint(out, n);
    mt_bytes_add(out, data, n);
}

void mt_protobuf_message(mt_bytes *out, uint32_t field, mt_bytes *message) {
    out->failed |= message->failed;
    mt_protobuf_bytes(out, field, message->data, message->n);
    message->n = 0;
}
