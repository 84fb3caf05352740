//! Whether the process may open more files and sockets.

use std::io;

/// Whether the process can open `count` more descriptors in this moment; it opens them and closes them again. [any thread]
///
/// For sources whose library ends the process when it finds none, as libzmq does where it starts its threads. Who asks right
/// before has only other threads to fear.
///
/// # Errors
/// Why not: too many open files, in the process (`RLIMIT_NOFILE`) or on the machine.
pub fn descriptors_left(count: usize) -> io::Result<()> {
    // A pipe, because it needs no path. Its ends are two.
    let (end, _other) = io::pipe()?;
    let more: io::Result<Vec<_>> = (2..count).map(|_| end.try_clone()).collect();
    more.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "Miri has no limit of descriptors")]
    fn a_few_are_left_and_not_all_there_are() {
        descriptors_left(0).unwrap();
        descriptors_left(30).unwrap();
        let refused = descriptors_left(100_000_000).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(24), "EMFILE, not {refused}");
    }
}
