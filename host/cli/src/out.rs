//! Standard output and standard error, for all commands. A reader may stop at any time (`| head`): the command then
//! ends without a message, like git and ripgrep.

use std::{
    fmt::Display,
    io::{self, Write},
};

use anyhow::Context as _;

/// Whether a command failed only because its reader has stopped.
///
/// Every `BrokenPipe` in the error counts as the end of standard output. Code of a command that writes to another pipe,
/// or to a socket, must therefore turn its errors into text, as [`Endpoint`](super::endpoint::Endpoint) does. Otherwise
/// a real failure ends silently, with exit status 0.
pub(super) fn is_closed(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.downcast_ref().is_some_and(is_broken))
}

fn is_broken(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

/// Prints a line, for a command that continues or has its own exit status: it is not an error if the reader has stopped.
///
/// # Errors
/// Standard output cannot be written, for example because its disk is full.
pub(super) fn line(text: impl Display) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if !is_broken(&error) => Err(error).context("cannot write to standard output"),
        _ => Ok(()),
    }
}

/// Prints a line to standard error.
pub(super) fn note(text: impl Display) {
    // A failure to write cannot be reported anywhere.
    let _ = writeln!(io::stderr(), "{text}");
}
