//! The host's own input: Redis, the workers' port, files. And ZeroMQ's protocol, of workers and detectors.

use std::time::Instant;

use framegate::{fuzz, settings::Settings};
use framegate_zmtp::{Command, Fault, Handshake, LONGEST_COMMAND, LONGEST_HEAD, Peer, Role, read_head};

use crate::packed::unpack;

/// The controller's updates: a reply of Redis, or the text of one entry.
pub(crate) fn updates(bytes: &[u8]) {
    fuzz::updates(bytes);
}

/// A controller's assignments, in the same form.
pub(crate) fn assignments(bytes: &[u8]) {
    fuzz::assignments(bytes);
}

/// All bytes on a connection at the workers' port.
pub(crate) fn connection(bytes: &[u8]) {
    let whole = fuzz::connection(bytes, bytes.len().max(1));
    for size in [1, 7, 64] {
        assert_eq!(fuzz::connection(bytes, size), whole, "how it is cut does not matter");
    }
}

/// What a peer sends: the first byte selects our end. Then all bytes are fed in pieces.
pub(crate) fn zmtp(bytes: &[u8]) {
    let Some((role, bytes)) = bytes.split_first() else { return };
    let role = [Role::Router, Role::Pull, Role::Sub, Role::Req][usize::from(role % 4)];
    let whole = read_zmtp(role, bytes, bytes.len().max(1));
    for size in [1, 7, 64] {
        assert_eq!(read_zmtp(role, bytes, size), whole, "how it is cut does not matter");
    }
}

/// A peer, what comes to it, and the reason if the rest has no meaning.
type Read = (Option<Peer>, Vec<u8>, Option<Fault>);

fn read_zmtp(role: Role, bytes: &[u8], size: usize) -> Read {
    let (mut out, mut kept, mut found) = (Vec::new(), Vec::new(), None);
    let mut handshake = Handshake::begin(role, Instant::now(), &mut out);
    for piece in bytes.chunks(size) {
        kept.extend_from_slice(piece);
        if found.is_none() {
            match handshake.take(&kept, &mut out) {
                Ok((used, peer)) => {
                    kept.drain(..used);
                    found = peer;
                }
                Err(fault) => return (None, out, Some(fault)),
            }
            assert!(found.is_some() || kept.len() <= LONGEST_COMMAND + LONGEST_HEAD, "little has to be kept");
        }
        let Some(peer) = &found else { continue };
        loop {
            let (head, length) = match read_head(peer.version, &kept) {
                Ok(Some(head)) => head,
                Ok(None) => break,
                Err(fault) => return (found, out, Some(fault)),
            };
            assert!(length <= LONGEST_HEAD && !(head.more && head.command), "{head:?}");
            let Some(body) =
                usize::try_from(head.length).ok().and_then(|body| kept.get(length..length.checked_add(body)?))
            else {
                break;
            };
            let used = length + body.len();
            match head.command.then(|| Command::read(body)) {
                Some(Err(fault)) => return (found, out, Some(fault)),
                Some(Ok(Command::Ping(context))) => framegate_zmtp::pong(context, &mut out),
                _ => {}
            }
            kept.drain(..used);
        }
    }
    (found, out, None)
}

/// Pairs of identity and payload.
pub(crate) fn pings(bytes: &[u8]) {
    let pieces = unpack(bytes);
    let pings: Vec<_> = pieces.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
    let (workers, junk) = fuzz::pings(&pings);
    assert!(workers as u64 + junk <= pings.len() as u64, "a ping is a worker's or junk, and not both");
}

pub(crate) fn capture(bytes: &[u8]) {
    fuzz::capture(bytes);
}

pub(crate) fn settings(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Err(wrong) = Settings::from_toml(text) {
        assert!(!wrong.problems().is_empty(), "what is refused has a reason");
    }
}

pub(crate) fn note(bytes: &[u8]) {
    fuzz::note(bytes);
}
