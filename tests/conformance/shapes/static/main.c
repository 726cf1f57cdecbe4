/* Without a C library, so that the image holds nothing else. */
static long call(long number, long first, long second, long third) {
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(first), "S"(second), "d"(third)
                     : "rcx", "r11", "memory");
    return result;
}

void _start(void) {
    call(1, 1, (long)(VERSION "\n"), sizeof VERSION);
    call(60, 0, 0, 0);
}
