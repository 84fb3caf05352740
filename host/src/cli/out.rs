//! Standard output and standard error, for all commands. A reader may stop at any time (`| head`): the command then
//! ends without a message, like git and ripgrep.

use std::{
    fmt::Display,
    io::{self, Write},
};

use anyhow::Context as _;

/// The reader of standard output has stopped.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads standard output any more")]
struct Closed;

/// Standard output for a command that prints continuously. [`is_closed`] recognises the error after the reader has stopped.
#[derive(Debug)]
pub(super) struct Out(io::StdoutLock<'static>);

impl Out {
    pub(super) fn new() -> Self {
        Self(io::stdout().lock())
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(marked)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(marked)
    }
}

/// A broken pipe can also occur elsewhere: to a detector, to Redis.
fn marked(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::BrokenPipe { io::Error::other(Closed) } else { error }
}

/// Whether a command failed only because its reader has stopped.
pub(super) fn is_closed(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.downcast_ref().is_some_and(is_mark))
}

fn is_mark(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Closed>())
}

/// Prints a line, for a command that continues or has its own exit status: it is not an error if the reader has stopped.
///
/// # Errors
/// Standard output cannot be written, for example because its disk is full.
pub(super) fn line(text: impl Display) -> anyhow::Result<()> {
    let mut out = Out::new();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if !is_mark(&error) => Err(error).context("cannot write to standard output"),
        _ => Ok(()),
    }
}

/// Prints a line to standard error.
pub(super) fn note(text: impl Display) {
    // A failure to write cannot be reported anywhere.
    let _ = writeln!(io::stderr(), "{text}");
}
