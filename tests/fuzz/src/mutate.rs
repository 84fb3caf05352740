//! Mutates valid input: what libFuzzer does, but without coverage, on any compiler.

use fastrand::Rng;

/// Maximum length of an input.
const LONGEST: usize = 64 << 10;

/// Bytes that parsers look for.
const TOKENS: [&[u8]; 22] = [
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b"\\u",
    b"\\ud800",
    b",",
    b":",
    b"NaN",
    b"-",
    b"1e999",
    b"99999999999999999999",
    b"\n",
    b"\r\n",
    b"\0",
    b"\xff",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\x80\x04",
    b"\x1f\x8b",
    b"htype",
];

/// Changes an input in some places; pieces of `others` may be inserted.
pub fn mutate(input: &mut Vec<u8>, others: &[Vec<u8>], random: &mut Rng) {
    for _ in 0..random.usize(1..=4) {
        let at = random.usize(0..=input.len());
        let end = (at + random.usize(1..=16)).min(input.len());
        match random.u8(0..10) {
            0 if at < input.len() => input[at] ^= 1 << random.u8(0..8),
            1 if at < input.len() => input[at] = random.u8(..),
            2 if at < input.len() => input[at] = input[at].wrapping_add(random.u8(0..9)).wrapping_sub(4),
            3 => drop(input.drain(at..end)),
            4 => input.truncate(at),
            5 => {
                let piece = input[at..end].to_vec();
                let times = if random.u8(..) == 0 { 1000 } else { random.usize(1..4) };
                insert(input, at, &piece.repeat(times));
            }
            6 | 7 => {
                let token = random.choice(TOKENS).unwrap_or_default();
                let times = if random.u8(..) == 0 { 1000 } else { 1 };
                insert(input, at, &token.repeat(times));
            }
            _ => {
                let Some(other) = random.choice(others) else { continue };
                let from = random.usize(0..=other.len());
                let to = (from + random.usize(0..=64)).min(other.len());
                if random.bool() {
                    input.truncate(at);
                }
                insert(input, at, &other[from..to]);
            }
        }
    }
    input.truncate(LONGEST);
}

fn insert(input: &mut Vec<u8>, at: usize, piece: &[u8]) {
    drop(input.splice(at..at, piece.iter().copied()));
}
