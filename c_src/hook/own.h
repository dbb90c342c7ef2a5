/* own: a hook's own address. Under its exported name it may be that of a stub in a program that
 * takes it and is not position-independent, or of the function behind us where we are loaded
 * as a NIF.
 *
 * MT_OWN(f) in the file that defines f gives it the name own_f; MT_OWN_OF(f) declares that
 * elsewhere.
 */
#ifndef MT_HOOK_OWN_H
#define MT_HOOK_OWN_H

#define MT_OWN_OF(f) extern char own_##f[] __attribute__((visibility("hidden")))

#define MT_OWN(f)                                                                              \
    MT_OWN_OF(f);                                                                              \
    __asm__(".globl own_" #f "\n.hidden own_" #f "\n.set own_" #f ", " #f)

#endif
