//! The heads of parts and commands: how long what follows is, and what it is.

use smallvec::SmallVec;

use crate::fault::Fault;

/// The version that both ends of a connection speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// ZMTP 1.0: no greeting and no socket types.
    V1,
    /// ZMTP 2.0.
    V2,
    /// ZMTP 3.0: introductions with READY.
    V3_0,
    /// ZMTP 3.1: also PING and PONG, and subscriptions as commands.
    V3_1,
}

/// What a head tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Bytes of the body that follows the head.
    pub length: u64,
    /// Whether another part of the same message follows. Never for commands.
    pub more: bool,
    /// Whether the body is a command instead of a part.
    pub command: bool,
}

/// Maximum size of a head in bytes.
pub const LONGEST_HEAD: usize = 10;

/// Another part of the same message follows.
const MORE: u8 = 1;
/// The length has eight bytes. Not in version 1.0.
const LONG: u8 = 2;
/// Not in versions 1.0 and 2.0.
pub(crate) const COMMAND: u8 = 4;

/// Reads the head at the beginning of these bytes: what it tells, and its own size. `None`: its end has not come yet.
///
/// # Errors
/// It is no head of this version.
#[inline]
pub fn read_head(version: Version, bytes: &[u8]) -> Result<Option<(Head, usize)>, Fault> {
    if version == Version::V1 {
        return read_v1(bytes);
    }
    let Some((&flags, rest)) = bytes.split_first() else { return Ok(None) };
    let known = if version == Version::V2 { MORE | LONG } else { MORE | LONG | COMMAND };
    if flags & !known != 0 || flags & (COMMAND | MORE) == COMMAND | MORE {
        return Err(Fault::Head);
    }
    let (length, size) = if flags & LONG == 0 {
        let Some(length) = rest.first() else { return Ok(None) };
        (u64::from(*length), 2)
    } else {
        let Some(length) = rest.first_chunk() else { return Ok(None) };
        (long(*length)?, 9)
    };
    Ok(Some((Head { length, more: flags & MORE != 0, command: flags & COMMAND != 0 }, size)))
}

/// Version 1.0: the length, which counts the flags too, then the flags.
fn read_v1(bytes: &[u8]) -> Result<Option<(Head, usize)>, Fault> {
    let (length, rest) = match bytes {
        [0xff, rest @ ..] => {
            let Some((length, rest)) = rest.split_first_chunk() else { return Ok(None) };
            (long(*length)?, rest)
        }
        [length, rest @ ..] => (u64::from(*length), rest),
        [] => return Ok(None),
    };
    let Some(&flags) = rest.first() else { return Ok(None) };
    let length = length.checked_sub(1).filter(|_| flags & !MORE == 0).ok_or(Fault::Head)?;
    Ok(Some((Head { length, more: flags & MORE != 0, command: false }, bytes.len() - rest.len() + 1)))
}

/// The first bit of a length is always zero.
fn long(bytes: [u8; 8]) -> Result<u64, Fault> {
    let length = u64::from_be_bytes(bytes);
    if length >> 63 == 0 { Ok(length) } else { Err(Fault::Head) }
}

/// The head of a part.
#[must_use]
pub fn head(version: Version, length: usize, more: bool) -> SmallVec<[u8; LONGEST_HEAD]> {
    let flags = if more { MORE } else { 0 };
    let mut head = SmallVec::new();
    if version == Version::V1 {
        let length = length as u64 + 1;
        match u8::try_from(length) {
            Ok(short) if short < 0xff => head.push(short),
            _ => {
                head.push(0xff);
                head.extend_from_slice(&length.to_be_bytes());
            }
        }
        head.push(flags);
    } else if let Ok(short) = u8::try_from(length) {
        head.extend_from_slice(&[flags, short]);
    } else {
        head.push(flags | LONG);
        head.extend_from_slice(&(length as u64).to_be_bytes());
    }
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Version; 4] = [Version::V1, Version::V2, Version::V3_0, Version::V3_1];

    #[test]
    fn a_written_head_is_read_as_it_was_meant_and_not_before_its_end() {
        for version in ALL {
            for length in [0, 1, 253, 254, 255, 256, 70_000, 1 << 40] {
                for more in [false, true] {
                    let written = head(version, length, more);
                    assert!(written.len() <= LONGEST_HEAD);
                    for end in 0..written.len() {
                        assert_eq!(read_head(version, &written[..end]), Ok(None), "{version:?} {length}");
                    }
                    let expected = Head { length: length as u64, more, command: false };
                    assert_eq!(
                        read_head(version, &written),
                        Ok(Some((expected, written.len()))),
                        "{version:?} {length}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_head_that_no_version_has_is_refused() {
        // Flags that do not exist, a command with more parts, a length with its first bit.
        for bytes in [&b"\x08\0"[..], b"\x80\0", b"\x05\0", b"\x02\x80\0\0\0\0\0\0\0"] {
            assert_eq!(read_head(Version::V3_1, bytes), Err(Fault::Head), "{bytes:?}");
        }
        assert_eq!(read_head(Version::V2, b"\x04\0"), Err(Fault::Head), "commands came with 3.0");
        for bytes in [&b"\0\0"[..], b"\x01\x02", b"\xff\0\0\0\0\0\0\0\0\0", b"\xff\x80\0\0\0\0\0\0\x01\0"] {
            assert_eq!(read_head(Version::V1, bytes), Err(Fault::Head), "{bytes:?}");
        }
    }
}
