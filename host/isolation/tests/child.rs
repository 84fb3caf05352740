//! The child's side against hosts that are odd: it ends with an error or goes on, and never hangs or panics.
#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

mod common;

use std::{
    io::{self, IoSlice, Read as _, Write as _},
    os::{fd::AsRawFd as _, unix::net::UnixStream},
    thread,
};

use common::{PATIENCE, served, until};
use framegate_isolation::{
    arena::Arena,
    wire::{BLOCK, Failure, Head, Hello, VERSION, Welcome, json, to_child, to_host},
};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

const BLOCKS: u32 = 4;

fn welcome() -> Welcome {
    Welcome { protocol: VERSION, block: BLOCK as u32, blocks: BLOCKS, most_blocks: BLOCKS }
}

/// A host, and the thread of its child.
struct Odd {
    socket: UnixStream,
    child: thread::JoinHandle<io::Result<()>>,
}

/// Sends these bytes as the first message, with so many descriptors.
fn begin(first: &[u8], descriptors: usize) -> Odd {
    let (socket, its) = UnixStream::pair().unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let arena = Arena::new(BLOCKS, BLOCKS).unwrap();
    let all = arena.descriptors().map(|descriptor| descriptor.as_raw_fd());
    let parts = [ControlMessage::ScmRights(&all[..descriptors])];
    let parts = if descriptors == 0 { &[][..] } else { &parts[..] };
    sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(first)], parts, MsgFlags::empty(), None).unwrap();
    Odd { socket, child: thread::spawn(move || served::serve(its)) }
}

/// A host whose child has said hello.
fn good() -> Odd {
    let first = serde_json::to_vec(&Welcome { blocks: u32::MAX, ..welcome() }).unwrap();
    let mut host = begin(&Head::new(to_child::WELCOME, 0).with(&first), 3);
    let (head, body) = host.hear();
    assert_eq!(head.kind, to_host::HELLO);
    json::<Hello>(&body).unwrap();
    host
}

impl Odd {
    fn hear(&mut self) -> (Head, Vec<u8>) {
        let mut head = [0; Head::LEN];
        self.socket.read_exact(&mut head).unwrap();
        let head = Head::from_bytes(head);
        let mut body = vec![0; head.len as usize];
        self.socket.read_exact(&mut body).unwrap();
        (head, body)
    }

    /// Says something, and nothing more.
    fn ends(mut self, last: &[u8]) -> io::Result<()> {
        let _ = self.socket.write_all(last);
        self.socket.shutdown(std::net::Shutdown::Write).unwrap();
        until("the child ends", || self.child.is_finished());
        self.child.join().unwrap()
    }
}

#[test]
fn a_first_message_that_is_no_welcome_is_refused() {
    let with = |welcome: &Welcome| Head::new(to_child::WELCOME, 0).with(&serde_json::to_vec(welcome).unwrap());
    let right = with(&welcome());
    for (first, descriptors, named) in [
        (right.clone(), 0, "no shared memory"),
        (right.clone(), 2, "no shared memory"),
        (right[..10].to_vec(), 3, "torn"),
        (right[..right.len() - 1].to_vec(), 3, "torn"),
        (vec![0xff; 16], 3, "4294967295 bytes"),
        (Head::new(to_child::WELCOME, 0).with(b"{}"), 3, "protocol"),
        (Head::new(to_child::CREATE, 0).with(&right[Head::LEN..]), 3, "a welcome"),
        (with(&Welcome { protocol: (2, 0), ..welcome() }), 3, "version 1"),
        (with(&Welcome { block: 4096, ..welcome() }), 3, "a welcome"),
        (with(&Welcome { most_blocks: BLOCKS + 1, ..welcome() }), 3, "bytes instead of"),
        (with(&Welcome { most_blocks: u32::MAX, ..welcome() }), 3, "bytes instead of"),
    ] {
        let error = begin(&first, descriptors).ends(&[]).unwrap_err().to_string();
        assert!(error.contains(named), "{named:?} is not in: {error}");
    }
}

#[test]
fn a_child_ends_with_its_host_and_by_bye() {
    good().ends(&[]).unwrap();
    good().ends(&Head::new(to_child::BYE, 0).with(&[])).unwrap();
    // Torn.
    good().ends(&[1, 2, 3]).unwrap();
}

#[test]
fn a_message_that_is_wrong_ends_the_child() {
    let message = |kind: u16, body: &[u8]| Head::new(kind, 0).with(body);
    let create = message(to_child::CREATE, br#"{"name": "a", "settings": {"sizes": [10], "times": 1}, "log": "info"}"#);
    for last in [
        message(to_child::CREATE, b"no json"),
        message(to_child::GROWN, &[1]),
        [&create[..], &message(to_child::SET, &[1])].concat(),
        [&create[..], &message(to_child::SET, &u32::MAX.to_le_bytes())].concat(),
        [&create[..], &message(to_child::SET, &[1, 0, 0, 0, 0xff])].concat(),
        [&create[..], &message(to_child::TRIGGER, &[1])].concat(),
        [&create[..], &message(0x7fff, &[])].concat(),
        vec![0xff; 16],
    ] {
        assert!(good().ends(&last).is_err(), "{last:?}");
    }
}

#[test]
fn what_comes_too_early_is_refused_and_what_is_optional_is_skipped() {
    let mut host = good();
    for kind in [to_child::OPEN, to_child::CLOSE, to_child::SET, to_child::TRIGGER] {
        host.socket.write_all(&Head::new(kind, 0).with(&[])).unwrap();
        let (head, body) = host.hear();
        assert_eq!(head.kind, to_host::FAILED);
        assert_eq!(Failure::from_bytes(&body).unwrap().text, "there is no source");
    }
    host.socket.write_all(&Head::new(to_child::CREATE, 7).with(b"{}")).unwrap();
    assert!(Failure::from_bytes(&host.hear().1).unwrap().text.contains("number 0"));
    let grown = Head::new(to_child::GROWN, 0).with(&u32::MAX.to_le_bytes());
    host.socket.write_all(&[&grown[..], &Head::new(to_child::PING, 0).with(&[])].concat()).unwrap();
    assert_eq!(host.hear().0.kind, to_host::PONG);
    host.ends(&[]).unwrap();
}
