# The init of `--init`, for x86-64 Linux: first process of a container; starts the command, reaps every orphan,
# forwards every signal, and ends with the command's status. No library, no data but what follows the code.
# See dockerinit.py, which appends the command's candidates and corrects the sizes.
# Build: as --64 -o init.o dockerinit_x86_64.S &&
#   ld -m elf_x86_64 -Ttext 0x400000 -e _start -o init init.o && objcopy -O binary -j .text init init.bin
        .set    SYS_rt_sigprocmask, 14
        .set    SYS_ioctl, 16
        .set    SYS_write, 1
        .set    SYS_getpid, 39
        .set    SYS_clone, 56
        .set    SYS_execve, 59
        .set    SYS_wait4, 61
        .set    SYS_kill, 62
        .set    SYS_setpgid, 109
        .set    SYS_rt_sigtimedwait, 128
        .set    SYS_prctl, 157
        .set    SYS_exit_group, 231
        .set    SIGCHLD, 17
        .set    TIOCSPGRP, 0x5410
        .set    PR_SET_CHILD_SUBREAPER, 36
        .set    ENOENT, 2
        .set    ENOTDIR, 20

        .text
        .globl  _start
# ELF header and one program header: everything is one segment, readable and executable.
ehdr:   .byte   0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0
        .short  2, 62                   # ET_EXEC, EM_X86_64
        .long   1
        .quad   _start, 64, 0           # entry, program headers, no section headers
        .long   0
        .short  64, 56, 1, 0, 0, 0
        .long   1, 5                    # PT_LOAD, R+X
        .quad   0, ehdr, ehdr, end - ehdr, end - ehdr, 0x1000

_start: mov     (%rsp), %rax            # argc
        lea     24(%rsp), %r12          # argv from the command on: argv[2]
        lea     16(%rsp,%rax,8), %r13   # envp
        # Orphans come to us also where we are not pid 1 (--pid=host).
        mov     $SYS_prctl, %eax
        mov     $PR_SET_CHILD_SUBREAPER, %edi
        mov     $1, %esi
        syscall
        # Signals wait until we ask for them; so does the terminal's SIGTTOU.
        pushq   $-1
        call    mask
        mov     $126, %r15d
        mov     $SYS_clone, %eax
        mov     $SIGCHLD, %edi
        xor     %esi, %esi
        xor     %edx, %edx
        xor     %r10d, %r10d
        xor     %r8d, %r8d
        syscall
        test    %rax, %rax
        jz      child
        js      failed
        mov     %rax, %r14              # the command's pid

next:   mov     %rsp, %rdi              # all signals: the -1 pushed above
        xor     %esi, %esi
        xor     %edx, %edx
        mov     $8, %r10d
        mov     $SYS_rt_sigtimedwait, %eax
        syscall
        cmp     $SIGCHLD, %eax
        je      reap
        test    %eax, %eax
        js      next
        mov     %eax, %esi
        mov     %r14, %rdi
        mov     $SYS_kill, %eax
        syscall
        jmp     next

reap:   push    $0
        mov     $-1, %rdi
        mov     %rsp, %rsi
        mov     $1, %edx                # WNOHANG
        xor     %r10d, %r10d
        mov     $SYS_wait4, %eax
        syscall
        pop     %rdi                    # status
        test    %rax, %rax
        jle     next
        cmp     %r14, %rax
        jne     reap
        mov     %edi, %eax
        and     $0x7f, %eax
        jz      normal
        lea     128(%rax), %edi         # ended by a signal
        jmp     exit
normal: shr     $8, %edi
        and     $0xff, %edi
exit:   mov     $SYS_exit_group, %eax
        syscall

child:  # A process group of its own, in front of the terminal if there is one.
        xor     %edi, %edi
        xor     %esi, %esi
        mov     $SYS_setpgid, %eax
        syscall
        mov     $SYS_getpid, %eax
        syscall
        push    %rax
        xor     %edi, %edi
        mov     $TIOCSPGRP, %esi
        mov     %rsp, %rdx
        mov     $SYS_ioctl, %eax
        syscall
        pop     %rax
        pushq   $0
        call    mask
        mov     $127, %r15d             # exit status: not found, until one is found that cannot be run
        lea     end(%rip), %rbx         # candidates, each ended by a zero byte, the list by an empty one
try:    cmpb    $0, (%rbx)
        je      failed
        mov     %rbx, %rdi
        mov     %r12, %rsi
        mov     %r13, %rdx
        mov     $SYS_execve, %eax
        syscall
        cmp     $-ENOENT, %eax
        je      skip
        cmp     $-ENOTDIR, %eax
        je      skip
        mov     $126, %r15d
skip:   cmpb    $0, (%rbx)
        lea     1(%rbx), %rbx
        jne     skip
        jmp     try

failed: mov     $2, %edi
        lea     missing(%rip), %rsi
        mov     $missing_end - missing, %edx
        cmp     $127, %r15d
        je      say
        lea     broken(%rip), %rsi
        mov     $broken_end - broken, %edx
say:    mov     $SYS_write, %eax
        syscall
        mov     %r15d, %edi
        jmp     exit

# rt_sigprocmask(SIG_SETMASK, the 8 bytes that were pushed before the call)
mask:   mov     $2, %edi
        lea     8(%rsp), %rsi
        xor     %edx, %edx
        mov     $8, %r10d
        mov     $SYS_rt_sigprocmask, %eax
        syscall
        ret

missing: .ascii "docker-init: exec failed: executable file not found\n"
missing_end:
broken: .ascii  "docker-init: exec failed: the file cannot be executed\n"
broken_end:
end:
