//! The least that any forwarder does: bytes are read as they come, and written to one worker. After the handshakes it
//! looks at nothing, and waits for nothing to be whole.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
};

use anyhow::{Context as _, ensure};
use framegate_tests::bench::ends::zmtp;

use crate::{
    one_thread::{Pages, accept, connect},
    roles::Forwarding,
};

/// Prints `ready` when its worker is connected, and copies bytes until an end goes.
pub(crate) fn run(plan: &Forwarding) -> anyhow::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", plan.port))?;
    let mut worker = accept(&listener)?;
    let mut detector = connect(plan.upstreams.first().context("a detector is needed")?)?;
    println!("ready");
    zmtp::shake_hands(&mut detector, "PULL", "")?;
    let mut pages = Pages::new(BUFFER);
    let buffer = pages.get();
    loop {
        let count = detector.read(buffer)?;
        ensure!(count > 0, "the detector has gone");
        worker.write_all(&buffer[..count])?;
    }
}

/// Measured at 1 MiB: pieces of 64 KiB cost more, larger ones no less.
const BUFFER: usize = 256 << 10;
