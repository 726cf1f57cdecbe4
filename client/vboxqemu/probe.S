# The guest of the acceleration probe (accel.py): a boot sector that does what a kernel does in its first moments:
# real mode -> protected mode -> long mode with paging -> IDT -> three timer interrupts while halted -> isa-debug-exit.
# An accelerator that cannot do one of these hangs or faults, and the probe times out.
# Build: as --64 -o probe.o probe.S && ld -m elf_x86_64 -Ttext 0x7c00 --oformat binary -e _start -o probe.bin probe.o
        .code16
        .globl _start
_start: cli
        xor     %ax, %ax
        mov     %ax, %ds
        mov     %ax, %es
        mov     %ax, %ss
        mov     $0x7c00, %sp
        # Page tables at 0x1000 (PML4), 0x2000 (PDPT), 0x3000 (PD): the first 2 MiB, one large page.
        mov     $0x1000, %edi
        xor     %eax, %eax
        mov     $0xc00, %ecx
        cld
        rep stosl
        movl    $0x2003, 0x1000
        movl    $0x3003, 0x2000
        movl    $0x0083, 0x3000
        lgdt    gdtr
        mov     %cr0, %eax
        or      $1, %al
        mov     %eax, %cr0
        ljmp    $0x08, $prot

        .code32
prot:   mov     $0x10, %ax
        mov     %ax, %ds
        mov     %ax, %es
        mov     %ax, %ss
        mov     %cr4, %eax
        or      $0x20, %al              # PAE
        mov     %eax, %cr4
        mov     $0x1000, %eax
        mov     %eax, %cr3
        mov     $0xc0000080, %ecx       # EFER.LME
        rdmsr
        or      $0x100, %eax
        wrmsr
        mov     %cr0, %eax
        or      $0x80000000, %eax       # paging: long mode is active from here
        mov     %eax, %cr0
        ljmp    $0x18, $long

        # 64-bit code, spelled in 32-bit mnemonics or bytes where they differ.
        .code64
long:   mov     $0x7c00, %esp
        # One IDT gate, vector 0x20, at 0x5000 + 0x20 * 16.
        mov     $0x5200, %edi
        mov     $tick, %eax
        mov     %ax, (%rdi)
        movw    $0x18, 2(%rdi)
        movw    $0x8e00, 4(%rdi)
        movw    $0, 6(%rdi)
        movq    $0, 8(%rdi)
        lidt    idtr
        # 8259: vectors from 0x20, only IRQ 0 unmasked. 8254: counter 0 at about 1 kHz.
        mov     $0x11, %al
        out     %al, $0x20
        mov     $0x20, %al
        out     %al, $0x21
        mov     $0x04, %al
        out     %al, $0x21
        mov     $0x01, %al
        out     %al, $0x21
        mov     $0xfe, %al
        out     %al, $0x21
        mov     $0x34, %al
        out     %al, $0x43
        mov     $0xa9, %al
        out     %al, $0x40
        mov     $0x04, %al
        out     %al, $0x40
        xor     %ebx, %ebx
        sti
wait:   hlt
        cmp     $3, %bl
        jb      wait
        cli
        xor     %eax, %eax
        cpuid
        mov     $0x2a, %al              # exit status 0x2a * 2 + 1 = 85
        out     %al, $0xf4
stop:   hlt
        jmp     stop

tick:   inc     %ebx
        mov     $0x20, %al
        out     %al, $0x20
        iretq

        .align  8
gdt:    .quad   0
        .quad   0x00cf9a000000ffff      # 0x08 32-bit code
        .quad   0x00cf92000000ffff      # 0x10 data
        .quad   0x00af9a000000ffff      # 0x18 64-bit code
gdtr:   .word   gdtr - gdt - 1
        .long   gdt
idtr:   .word   0x21 * 16 - 1
        .quad   0x5000
        .org    510
        .word   0xaa55
