//! What a PandABox sends on its data port: lines of text, after a greeting.
//!
//! ```text
//! we:     (an empty line)
//! it:     OK
//!         arm_time: 2023-12-19T07:51:12.754Z          header: up to and with the empty line
//!         missed: 0
//!         process: Scaled
//!         format: ASCII
//!         fields:
//!          PCAP.TS_TRIG double Value scale: 8e-09 offset: 0 units: s
//!          INENC1.VAL double Mean scale: 1 offset: 0 units:
//!
//!          0.32175968 592910924.7                     data: a line for each trigger
//!          0.43175968 592910919
//!         END 2 Disarmed                              end
//! ```
//!
//! Pure. A line includes its end (`\n`). The numbers in the data are not parsed. `missed` is the number of samples
//! taken before the connection, `END` is followed by the number of samples sent (PandABox documentation, "Data Header"
//! and "Experiment Completion").

/// What the client sends to get data: the connection's options, all left out.
pub const GREETING: &[u8] = b"\n";

/// The answer to the greeting.
pub const ANSWER: &[u8] = b"OK\n";

/// Whether a line starts a header.
#[must_use]
pub fn arms(line: &[u8]) -> bool {
    line.starts_with(b"arm_time: ")
}

/// Whether a line ends a header: only white space, as Python defines it.
#[must_use]
pub fn is_empty(line: &[u8]) -> bool {
    line.iter().all(|byte| byte.is_ascii_whitespace() || *byte == 0x0B)
}

/// Number of samples lost before the header was sent, if the line has it.
#[must_use]
pub fn missed(header: &[u8]) -> Option<u64> {
    number(header.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"missed:"))?)
}

/// Number of samples sent, if this is the last line of an arm.
#[must_use]
pub fn samples(end: &[u8]) -> Option<u64> {
    number(end.strip_prefix(b"END")?.split(|byte| *byte == b' ').find(|word| !word.is_empty())?)
}

fn number(text: &[u8]) -> Option<u64> {
    str::from_utf8(text).ok()?.trim().parse().ok()
}

/// Whether a line ends the data.
#[must_use]
pub fn ends(line: &[u8]) -> bool {
    line.starts_with(b"END")
}
