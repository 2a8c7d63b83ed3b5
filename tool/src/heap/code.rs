//! Machine code, as compilers at run time leave it in anonymous memory: x86-64 instructions
//! with the frequencies of compiled code, in functions of their usual shape. Nothing runs it.

use super::rng::Rng;

/// Bytes of one code area.
const LEN: usize = 256 * 1024;

/// A ModRM byte for two registers.
fn registers(rng: &mut Rng) -> u8 {
    // The first registers are used most.
    0xC0 | ((rng.skewed(2).min(7) as u8) << 3) | rng.skewed(3).min(7) as u8
}

fn instruction(rng: &mut Rng, functions: &[u32], code: &mut Vec<u8>) {
    // Struct fields: small multiples of eight.
    let field = (rng.skewed(5).min(15) * 8) as u8;
    match rng.below(20) {
        // mov r64, r64 and arithmetic on registers
        0..=3 => code.extend([
            0x48,
            rng.pick(&[0x89, 0x89, 0x01, 0x29, 0x31, 0x39, 0x85]),
            registers(rng),
        ]),
        // mov r64, [rsp + field] and back
        4..=6 => code.extend([
            0x48,
            rng.pick(&[0x8B, 0x89]),
            0x44 | (rng.skewed(2).min(7) as u8) << 3,
            0x24,
            field,
        ]),
        // mov r64, [reg + field]
        7..=9 => code.extend([0x48, 0x8B, (registers(rng) & 0x3F & !4) | 0x43, field]),
        // lea r64, [rip + offset]
        10 => {
            code.extend([0x48, 0x8D, 0x05 | (rng.below(4) as u8) << 3]);
            code.extend(
                (0x2_0000 + rng.skewed(40_000) as u32 - code.len() as u32 / 2).to_le_bytes(),
            );
        }
        // call a function, the popular ones more often
        11..=12 => {
            let callee = functions[rng
                .skewed(functions.len() as u64 / 3)
                .min(functions.len() as u64 - 1) as usize];
            code.push(0xE8);
            code.extend(callee.wrapping_sub(code.len() as u32 + 4).to_le_bytes());
        }
        // test, conditional short jump
        13..=15 => code.extend([
            0x48,
            0x85,
            registers(rng),
            0x70 | rng.pick(&[4, 5, 4, 5, 2, 7, 12, 15]),
            rng.skewed(24) as u8,
        ]),
        // conditional near jump
        16 => {
            code.extend([0x0F, 0x80 | rng.pick(&[4, 5, 2, 6])]);
            code.extend((rng.skewed(400) as u32).to_le_bytes());
        }
        // mov r32, imm32
        17 => {
            code.push(0xB8 | rng.skewed(2).min(7) as u8);
            code.extend((rng.skewed(300) as u32).to_le_bytes());
        }
        // movabs: an inline cache or a constant object of the run time
        18 if rng.one_in(3) => {
            code.extend([0x49, 0xBB]);
            code.extend((super::arena::BASE as u64 + rng.below(1 << 26) * 8).to_le_bytes());
        }
        _ => code.extend([0x83, 0xC0 | rng.below(64) as u8, rng.skewed(12) as u8]),
    }
}

/// One area of functions.
pub(super) fn functions(rng: &mut Rng) {
    let mut code: Vec<u8> = Vec::with_capacity(LEN + 64);
    let mut starts = vec![0u32];
    while code.len() < LEN {
        starts.push(code.len() as u32);
        // push rbp; mov rbp, rsp; push rbx; sub rsp, frame
        code.extend([
            0x55,
            0x48,
            0x89,
            0xE5,
            0x53,
            0x48,
            0x83,
            0xEC,
            (rng.skewed(5) * 8 + 8) as u8,
        ]);
        for _ in 0..4 + rng.skewed(40) {
            instruction(rng, &starts, &mut code);
        }
        // pop rbx; pop rbp; ret, then int3 up to the next 16 bytes
        code.extend([0x5B, 0x5D, 0xC3]);
        code.resize(code.len().next_multiple_of(16), 0xCC);
    }
    std::mem::forget(code);
}
