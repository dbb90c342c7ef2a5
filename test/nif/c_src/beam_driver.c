/* A port driver that allocates through the VM. port_control(Port, Command, <<Address:64/native,
 * Size:64/native>>) -> <<Address:64/native>>: 0 alloc, 1 realloc, 2 free, 3 to 5 the same for a
 * binary. */
#include <stdint.h>
#include <string.h>

#include <erl_driver.h>

static ErlDrvData start(ErlDrvPort port, char *command) {
    (void)command;
    set_port_control_flags(port, PORT_CONTROL_FLAG_BINARY);
    return (ErlDrvData)port;
}

static void *run(unsigned command, void *old, uint64_t size) {
    switch (command) {
    case 0:
        return driver_alloc(size);
    case 1:
        return driver_realloc(old, size);
    case 2:
        driver_free(old);
        return NULL;
    case 3:
        return driver_alloc_binary((ErlDrvSizeT)size);
    case 4:
        return driver_realloc_binary(old, (ErlDrvSizeT)size);
    default:
        driver_free_binary(old);
        return NULL;
    }
}

static ErlDrvSSizeT control(ErlDrvData data, unsigned command, char *in, ErlDrvSizeT n,
                            char **out, ErlDrvSizeT room) {
    uint64_t word[2] = {0};
    (void)data;
    memcpy(word, in, n < sizeof word ? n : sizeof word);
    uint64_t result = (uintptr_t)run(command, (void *)(uintptr_t)word[0], word[1]);
    if (room < sizeof result) return -1;
    ErlDrvBinary *reply = driver_alloc_binary(sizeof result);
    memcpy(reply->orig_bytes, &result, sizeof result);
    *out = (char *)reply;
    return sizeof result;
}

static ErlDrvEntry entry = {
    .driver_name = "beam_driver",
    .start = start,
    .control = control,
    .extended_marker = ERL_DRV_EXTENDED_MARKER,
    .major_version = ERL_DRV_EXTENDED_MAJOR_VERSION,
    .minor_version = ERL_DRV_EXTENDED_MINOR_VERSION,
};

DRIVER_INIT(beam_driver) {
    return &entry;
}
