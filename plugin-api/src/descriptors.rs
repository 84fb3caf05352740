//! Whether the process may open more files and sockets.

use std::io;

/// Whether the process can open `count` more descriptors right now; opens and closes them to find out. [any thread]
///
/// For sources whose library ends the process when it runs out of descriptors, as libzmq does when it starts its
/// threads. If you ask right before, only other threads can still take them.
///
/// # Errors
/// The reason: too many open files, in the process (`RLIMIT_NOFILE`) or on the machine.
pub fn descriptors_left(count: usize) -> io::Result<()> {
    // A pipe, because it needs no path; it has two ends.
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
