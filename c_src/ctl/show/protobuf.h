/* protobuf: the wire format of Protocol Buffers (protobuf.dev/programming-guides/encoding), as
 * much of it as a profile needs: varints and what has a length. Fields that are 0 are left out.
 */
#ifndef MT_CTL_PROTOBUF_H
#define MT_CTL_PROTOBUF_H

#include "ctl/bytes.h"

void mt_protobuf_int(mt_bytes *out, uint32_t field, uint64_t value);

/* A string or a message, which is there even if it is empty. */
void mt_protobuf_bytes(mt_bytes *out, uint32_t field, const void *data, size_t n);

/* The same for a message that has been made, which is emptied for the next one. */
void mt_protobuf_message(mt_bytes *out, uint32_t field, mt_bytes *message);

/* A number alone, for a repeated field that is packed. */
void mt_protobuf_varint(mt_bytes *out, uint64_t value);

#endif
