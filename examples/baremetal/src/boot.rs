//! From where QEMU enters the program, in 32-bit mode without paging, to `main` in 64-bit mode, with
//! the first GiB mapped to itself.

use core::arch::global_asm;

/// Bytes of the stack: what a kernel's thread has.
pub const STACK: usize = 16 << 10;

global_asm!(
    r#"
    .section .note.pvh, "a", @note
    .balign 4
    .long 4                 # bytes of the name
    .long 8                 # bytes of the address
    .long 18                # XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .quad pvh_start

    .section .text.boot, "ax"
    .code32
    .global pvh_start
pvh_start:
    cli
    cld
    movl %ebx, %edi         # where the start information is
    movl $stack_top, %esp

    # Pages of 2 MiB, the first GiB of addresses.
    movl $pdpt + 3, pml4
    movl $pd + 3, pdpt
    xorl %ecx, %ecx
1:  movl %ecx, %eax
    shll $21, %eax
    orl $0x83, %eax         # present, writable, big
    movl %eax, pd(,%ecx,8)
    incl %ecx
    cmpl $512, %ecx
    jb 1b

    movl %cr4, %eax
    orl $0x20, %eax         # PAE
    movl %eax, %cr4
    movl $pml4, %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx  # EFER
    rdmsr
    orl $0x100, %eax        # long mode
    wrmsr
    movl %cr0, %eax
    orl $0x80000001, %eax   # paging, protection
    movl %eax, %cr0
    lgdt gdt_pointer
    ljmp $8, $long_start

    .code64
long_start:
    movl $16, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    movl %edi, %edi         # the upper half is zero
    call baremetal_main
2:  hlt
    jmp 2b

    .section .rodata.boot, "a"
    .balign 8
gdt:
    .quad 0
    .quad 0x00af9a000000ffff # code, 64 bits
    .quad 0x00cf92000000ffff # data
gdt_pointer:
    .word gdt_pointer - gdt - 1
    .long gdt

    .section .bss.boot, "aw", @nobits
    .balign 4096
pml4: .skip 4096
pdpt: .skip 4096
pd:   .skip 4096
    .global stack_bottom
stack_bottom: .skip {stack}
stack_top:
    "#,
    stack = const STACK,
    options(att_syntax)
);

/// Bytes of a stack at the bottom that were never used.
pub fn stack_unused() -> usize {
    unsafe extern "C" {
        static stack_bottom: [u64; STACK / 8];
    }
    (0..STACK / 8)
        .take_while(|&word| {
            // SAFETY: the stack is there, and only its unused part, which nobody writes, is looked at
            // before this ends.
            unsafe { (&raw const stack_bottom[word]).read_volatile() == 0 }
        })
        .count()
        * 8
}

/// A piece of memory.
#[derive(Clone, Copy)]
pub struct Piece {
    pub start: u64,
    pub bytes: u64,
}

/// What is known of the start information: `hvm_start_info` of version 1.
#[repr(C)]
pub struct StartInfo {
    magic: u32,
    version: u32,
    flags: u32,
    modules: u32,
    module_list: u64,
    command_line: u64,
    rsdp: u64,
    memory_map: u64,
    memory_map_len: u32,
    reserved: u32,
}

#[repr(C)]
struct MapEntry {
    start: u64,
    bytes: u64,
    kind: u32,
    reserved: u32,
}

const MAGIC: u32 = 0x336e_c578;
const RAM: u32 = 1;
/// Mapped by the code above.
const MAPPED: u64 = 1 << 30;

impl StartInfo {
    /// Memory that nobody uses: RAM behind the program, as far as it is mapped.
    pub fn free_memory(&self) -> impl Iterator<Item = Piece> + use<> {
        unsafe extern "C" {
            static image_end: u8;
        }
        assert!(
            self.magic == MAGIC && self.version >= 1,
            "no start information"
        );
        let first = (&raw const image_end).addr() as u64;
        let map = self.memory_map as *const MapEntry;
        (0..self.memory_map_len as usize).filter_map(move |number| {
            // SAFETY: the loader put so many entries there, below what is given away here.
            let entry = unsafe { map.add(number).read() };
            let start = entry.start.max(first).next_multiple_of(4096);
            let end = (entry.start + entry.bytes).min(MAPPED) / 4096 * 4096;
            let bytes = end.checked_sub(start)?;
            (entry.kind == RAM && bytes > 0).then_some(Piece { start, bytes })
        })
    }
}
