//! Handshakes of every version: in pieces of every size, with ourselves, and with peers that are none.
#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::time::Instant;

use framegate_zmtp::{Command, Fault, Handshake, LONGEST_COMMAND, LONGEST_HEAD, Peer, Role, SocketType, Version, head};
use proptest::prelude::*;

const NULL: &[u8] = b"NULL\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

type Outcome = Result<Option<(Peer, Vec<u8>)>, Fault>;

/// What a handshake with these bytes comes to, which arrive in pieces of `size`: the peer and the bytes behind its
/// handshake, and what was sent.
fn shake(role: Role, bytes: &[u8], size: usize) -> (Outcome, Vec<u8>) {
    let (mut out, mut kept) = (Vec::new(), Vec::new());
    let mut handshake = Handshake::begin(role, Instant::now(), &mut out);
    for end in (size..bytes.len() + size).step_by(size) {
        kept.extend_from_slice(&bytes[end - size..end.min(bytes.len())]);
        match handshake.take(&kept, &mut out) {
            Ok((used, Some(peer))) => {
                return (Ok(Some((peer, [&kept[used..], &bytes[end.min(bytes.len())..]].concat()))), out);
            }
            Ok((used, None)) => drop(kept.drain(..used)),
            Err(fault) => return (Err(fault), out),
        }
        assert!(kept.len() <= LONGEST_COMMAND + LONGEST_HEAD, "little has to be kept");
    }
    (Ok(None), out)
}

fn command(name: &str, data: &[u8]) -> Vec<u8> {
    let body = [&[name.len() as u8], name.as_bytes(), data].concat();
    let mut all = head(Version::V3_1, body.len(), false).to_vec();
    all[0] |= 4;
    all.extend(body);
    all
}

fn property(name: &str, value: &[u8]) -> Vec<u8> {
    [&[name.len() as u8], name.as_bytes(), &(value.len() as u32).to_be_bytes(), value].concat()
}

fn ready(kind: &str, identity: &[u8]) -> Vec<u8> {
    command("READY", &[property("Socket-Type", kind.as_bytes()), property("identity", identity)].concat())
}

fn greeting(major: u8, minor: u8, mechanism: &[u8]) -> Vec<u8> {
    [&b"\xff\0\0\0\0\0\0\0\x01\x7f"[..], &[major, minor], mechanism, &[0; 32]].concat()
}

/// A peer of each version that introduces itself as this type.
fn introductions(kind: SocketType, identity: &[u8]) -> [(Version, Vec<u8>); 4] {
    let short = identity.len() as u8;
    let v3 = |minor| [greeting(3, minor, NULL), ready(kind.name(), identity)].concat();
    [
        (Version::V1, [&[short + 1, 0], identity].concat()),
        (Version::V2, [b"\xff\0\0\0\0\0\0\0\x01\x7f\x01", &[kind.number(), 0, short][..], identity].concat()),
        (Version::V3_0, v3(0)),
        (Version::V3_1, v3(1)),
    ]
}

#[test]
fn a_peer_of_every_version_is_understood_in_pieces_of_every_size() {
    for (role, kind) in [
        (Role::Router, SocketType::Dealer),
        (Role::Pull, SocketType::Push),
        (Role::Sub, SocketType::Pub),
        (Role::Req, SocketType::Rep),
    ] {
        for identity in [&b""[..], b"worker 1"] {
            for (version, bytes) in introductions(kind, identity) {
                let socket_type = (version != Version::V1).then_some(kind);
                let peer = Peer { version, socket_type, identity: identity.into() };
                let all = [&bytes[..], b"rest"].concat();
                for size in 1..=all.len() {
                    let (found, _) = shake(role, &all, size);
                    assert_eq!(found, Ok(Some((peer.clone(), b"rest".to_vec()))), "{version:?} in pieces of {size}");
                }
                for end in 0..bytes.len() {
                    assert_eq!(shake(role, &bytes[..end], 1).0, Ok(None), "{version:?}: {end} bytes are not all");
                }
            }
        }
    }
}

#[test]
fn a_version_1_identity_may_be_as_long_as_its_length_needs_eight_bytes() {
    let bytes = [&b"\xff\0\0\0\0\0\0\x01\0\0"[..], &[b'x'; 255], b"\x02\0a"].concat();
    let (peer, rest) = shake(Role::Router, &bytes, 3).0.unwrap().unwrap();
    assert_eq!((peer.version, peer.identity.len(), &rest[..]), (Version::V1, 255, &b"\x02\0a"[..]));
}

#[test]
fn what_is_sent_is_what_the_peers_version_reads() {
    let sent = |bytes: &[u8]| shake(Role::Pull, bytes, 1).1;
    let signature = b"\xff\0\0\0\0\0\0\0\x01\x7f";
    assert_eq!(sent(b""), signature);
    // As a part of version 1.0 these ten bytes are an empty identity, and nothing may follow them.
    assert_eq!(sent(b"\x01\0"), signature);
    assert_eq!(sent(signature), [&signature[..], b"\x03"].concat(), "the version is sent before the peer's has come");
    let [_, (_, v2), _, (_, v3)] = introductions(SocketType::Push, b"");
    assert_eq!(sent(&v2), [&signature[..], b"\x03\x07\0\0"].concat());
    let introduction = command("READY", &property("Socket-Type", b"PULL"));
    assert_eq!(sent(&v3), [greeting(3, 1, NULL), introduction].concat());
}

#[test]
fn who_may_not_talk_to_us_is_told_why() {
    let fault = |bytes: &[u8]| {
        let whole = shake(Role::Pull, bytes, bytes.len()).0;
        assert_eq!(shake(Role::Pull, bytes, 1).0, whole, "in pieces");
        whole.unwrap_err()
    };
    for stranger in [&b"GET / HTTP/1.1\r\n"[..], b"SSH-2.0-x\r\n", b"\x16\x03\x01\x02\0", b"*1\r\n", b"\0\0"] {
        assert_eq!(fault(stranger), Fault::NotZmtp, "{stranger:?}");
    }
    let [(_, _), (_, wrong_v2), _, (_, wrong)] = introductions(SocketType::Pub, b"");
    assert_eq!(fault(&wrong), Fault::WrongType(SocketType::Pub));
    assert_eq!(fault(&wrong_v2), Fault::WrongType(SocketType::Pub));
    assert_eq!(fault(b"\xff\0\0\0\0\0\0\0\x01\x7f\0"), Fault::NotZmtp);
    assert_eq!(fault(b"\xff\0\0\0\0\0\0\0\x01\x7f\x01\x0b"), Fault::NoType);
    let curve = greeting(3, 0, b"CURVE\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    assert_eq!(fault(&curve).to_string(), "wants ZeroMQ's security mechanism CURVE, which is not spoken here");
    assert_eq!(fault(&greeting(3, 0, b"null\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0")), Fault::NotZmtp);
    let after = |more: &[u8]| fault(&[&greeting(3, 1, NULL), more].concat());
    assert_eq!(after(b"\0\x05hello"), Fault::NoIntroduction);
    assert_eq!(after(&command("HELLO", b"")), Fault::NoIntroduction);
    assert_eq!(after(&command("READY", b"")), Fault::NoType);
    assert_eq!(after(&ready("PULSE", b"")), Fault::NoType);
    assert_eq!(after(&ready("PUSH", &[1; 256])), Fault::Identity);
    assert_eq!(after(&command("READY", b"\x0bSocket-Type\0\0\x01\0PUSH")), Fault::Command);
    assert_eq!(after(&command("ERROR", b"\x04busy")).to_string(), "reports an error: busy");
    assert_eq!(after(&[&[6][..], &u64::MAX.to_be_bytes()].concat()), Fault::Head);
    assert_eq!(after(&[&[6][..], &(LONGEST_COMMAND as u64 + 1).to_be_bytes()].concat()), Fault::LongCommand);
}

/// Both ends are ours: what one sends, the other takes, until both know each other.
#[test]
fn two_of_ours_know_each_other() {
    let (mut to_router, mut to_req) = (Vec::new(), Vec::new());
    let mut router = Handshake::begin(Role::Router, Instant::now(), &mut to_req);
    let mut req = Handshake::begin(Role::Req, Instant::now(), &mut to_router);
    let (mut at_router, mut at_req) = (None, None);
    let go_on = |end: &mut Handshake, from: &mut Vec<u8>, to: &mut Vec<u8>, found: &mut Option<SocketType>| {
        if found.is_none() {
            let (used, peer) = end.take(from, to).unwrap();
            from.drain(..used);
            *found = peer.map(|peer| peer.socket_type.unwrap());
        }
    };
    for _ in 0..10 {
        go_on(&mut router, &mut to_router, &mut to_req, &mut at_router);
        go_on(&mut req, &mut to_req, &mut to_router, &mut at_req);
    }
    assert_eq!((at_router, at_req), (Some(SocketType::Req), Some(SocketType::Router)));
    assert_eq!((to_router, to_req), (vec![], vec![]));
}

proptest! {
    #[test]
    fn nonsense_does_no_harm_and_means_the_same_in_pieces(
        which in 0..4usize,
        kept in 0..100usize,
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        size in 1..40usize,
    ) {
        let begun = &introductions(SocketType::Push, b"x")[which].1;
        let all = [&begun[..kept.min(begun.len())], &bytes].concat();
        prop_assert_eq!(shake(Role::Pull, &all, size), shake(Role::Pull, &all, all.len().max(1)));
        let _ = Command::read(&all);
    }
}
