// The init of `--init`, for 64-bit ARM Linux. What it does and why is said in dockerinit_x86_64.S.
// Build: as -o init.o dockerinit_aarch64.S &&
//   ld -Ttext 0x400000 -e _start -o init init.o && objcopy -O binary -j .text init init.bin
        .set    SYS_ioctl, 29
        .set    SYS_write, 64
        .set    SYS_exit_group, 94
        .set    SYS_kill, 129
        .set    SYS_rt_sigprocmask, 135
        .set    SYS_rt_sigtimedwait, 137
        .set    SYS_setpgid, 154
        .set    SYS_prctl, 167
        .set    SYS_getpid, 172
        .set    SYS_clone, 220
        .set    SYS_execve, 221
        .set    SYS_wait4, 260
        .set    SIGCHLD, 17
        .set    TIOCSPGRP, 0x5410
        .set    PR_SET_CHILD_SUBREAPER, 36
        .set    ENOENT, 2
        .set    ENOTDIR, 20

        .text
        .globl  _start
ehdr:   .byte   0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0
        .short  2, 183                  // ET_EXEC, EM_AARCH64
        .long   1
        .quad   _start, 64, 0
        .long   0
        .short  64, 56, 1, 0, 0, 0
        .long   1, 5                    // PT_LOAD, R+X
        .quad   0, ehdr, ehdr, end - ehdr, end - ehdr, 0x10000

_start: ldr     x0, [sp]                // argc
        add     x19, sp, 24             // argv from the command on
        add     x20, sp, 16             // envp
        add     x20, x20, x0, lsl 3
        mov     x8, SYS_prctl
        mov     x0, PR_SET_CHILD_SUBREAPER
        mov     x1, 1
        svc     0
        sub     sp, sp, 16              // [sp]: a signal set; [sp + 8]: a number for the kernel to read or write
        mov     x9, -1
        bl      mask
        mov     x22, 126
        mov     x8, SYS_clone
        mov     x0, SIGCHLD
        mov     x1, 0
        mov     x2, 0
        mov     x3, 0
        mov     x4, 0
        svc     0
        cbz     x0, child
        tbnz    x0, 63, failed
        mov     x21, x0                 // the command's pid

next:   mov     x0, sp
        mov     x1, 0
        mov     x2, 0
        mov     x3, 8
        mov     x8, SYS_rt_sigtimedwait
        svc     0
        cmp     x0, SIGCHLD
        b.eq    reap
        tbnz    x0, 63, next
        mov     x1, x0
        mov     x0, x21
        mov     x8, SYS_kill
        svc     0
        b       next

reap:   mov     x0, -1
        add     x1, sp, 8
        mov     x2, 1                   // WNOHANG
        mov     x3, 0
        mov     x8, SYS_wait4
        svc     0
        cmp     x0, 0
        b.le    next
        cmp     x0, x21
        b.ne    reap
        ldr     w1, [sp, 8]
        ands    w0, w1, 0x7f
        b.eq    normal
        add     w0, w0, 128             // ended by a signal
        b       exit
normal: ubfx    w0, w1, 8, 8
exit:   mov     x8, SYS_exit_group
        svc     0

child:  mov     x0, 0
        mov     x1, 0
        mov     x8, SYS_setpgid
        svc     0
        mov     x8, SYS_getpid
        svc     0
        str     x0, [sp, 8]
        mov     x0, 0
        mov     x1, TIOCSPGRP
        add     x2, sp, 8
        mov     x8, SYS_ioctl
        svc     0
        mov     x9, 0
        bl      mask
        mov     x22, 127
        adr     x23, end                // candidates
try:    ldrb    w9, [x23]
        cbz     w9, failed
        mov     x0, x23
        mov     x1, x19
        mov     x2, x20
        mov     x8, SYS_execve
        svc     0
        cmn     x0, ENOENT
        b.eq    skip
        cmn     x0, ENOTDIR
        b.eq    skip
        mov     x22, 126
skip:   ldrb    w9, [x23], 1
        cbnz    w9, skip
        b       try

failed: mov     x0, 2
        adr     x1, missing
        mov     x2, missing_end - missing
        cmp     x22, 127
        b.eq    say
        adr     x1, broken
        mov     x2, broken_end - broken
say:    mov     x8, SYS_write
        svc     0
        mov     x0, x22
        b       exit

// rt_sigprocmask(SIG_SETMASK, x9)
mask:   str     x9, [sp]
        mov     x0, 2
        mov     x1, sp
        mov     x2, 0
        mov     x3, 8
        mov     x8, SYS_rt_sigprocmask
        svc     0
        ret

missing: .ascii "docker-init: exec failed: executable file not found\n"
missing_end:
broken: .ascii  "docker-init: exec failed: the file cannot be executed\n"
broken_end:
end:
