/* A library whose constructor waits for a lock of the program. */
void corner_constructor(void);

__attribute__((constructor)) static void begin(void) {
    corner_constructor();
}
