//! Random messages in pieces of random sizes, read as a connection reads them: the same come out, or their reasons.

use framegate_zmtp::{LONGEST_HEAD, head};
use proptest::{collection::vec, prelude::*, sample::select};

use super::*;

const VERSIONS: [Version; 4] = [Version::V1, Version::V2, Version::V3_0, Version::V3_1];
const GENEROUS: Limits = Limits { part: 1 << 30, header: 1 << 30, message: 1 << 30, parts: 1 << 20 };

/// A message as it came out: its parts, or why it was skipped; and its length.
#[derive(Debug, PartialEq)]
enum Out {
    Whole(Vec<Vec<u8>>, usize),
    Skipped(String, usize),
}

/// All that came of some bytes.
#[derive(Debug)]
struct Read {
    out: Vec<Out>,
    end: Result<(), Unreadable>,
    answers: Vec<u8>,
    /// Whether a message is not complete.
    amid: bool,
}

/// Reads bytes as `Connection::read` does, in pieces of these sizes, again and again: first the rest of a large part, then
/// what is behind it, of which little is wanted where large parts are expected.
fn read(version: Version, mut bytes: &[u8], pieces: &[usize], limits: &Limits) -> Read {
    let (mut assembly, mut input, pool) = (Assembly::new(version), Input::new(), Pool::new(1 << 20));
    let mut read = Read { out: Vec::new(), end: Ok(()), answers: Vec::new(), amid: false };
    for piece in pieces.iter().cycle() {
        loop {
            match assembly.take(&mut input, limits, &pool, &mut read.answers) {
                Ok(Some(Received::Message(frames, length))) => {
                    assert!(!frames.is_empty(), "a message has a part");
                    read.out.push(Out::Whole(frames.iter().map(|frame| frame.as_slice().to_vec()).collect(), length));
                }
                Ok(Some(Received::Refused(why, length))) => read.out.push(Out::Skipped(why.to_string(), length)),
                Ok(Some(_)) => panic!("neither a message nor a skipped one"),
                Ok(None) => break,
                Err(why) => {
                    read.end = Err(why);
                    return read;
                }
            }
        }
        assert!(assembly.held() <= limits.message, "{} bytes are held", assembly.held());
        assert!(input.bytes().len() <= LONGEST_COMMAND + LONGEST_HEAD, "{} bytes wait", input.bytes().len());
        if bytes.is_empty() {
            read.amid = assembly.has_begun(input.bytes());
            return read;
        }
        let most = if assembly.expects_large() { 2048 } else { usize::MAX };
        let room = assembly.room().unwrap_or_default();
        let behind = input.room(most);
        assert!(!behind.is_empty(), "there is always room");
        let (direct, rest) = bytes.split_at(room.len().min(*piece).min(bytes.len()));
        let (ahead, rest) = rest.split_at(behind.len().min(piece - direct.len()).min(rest.len()));
        room[..direct.len()].copy_from_slice(direct);
        behind[..ahead.len()].copy_from_slice(ahead);
        assembly.advance(direct.len());
        input.added(ahead.len());
        bytes = rest;
    }
    unreachable!("there are pieces")
}

/// Bytes that differ from place to place, so that a shift shows.
fn body(length: usize, seed: usize) -> Vec<u8> {
    let block: Vec<u8> = (0..251).map(|place| (place * 31 + seed) as u8).collect();
    let mut body = block.repeat(length.div_ceil(block.len()));
    body.iter_mut().step_by(block.len()).enumerate().for_each(|(place, byte)| *byte = place as u8);
    body.truncate(length);
    body
}

fn encoded(version: Version, messages: &[Vec<Vec<u8>>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for parts in messages {
        for (place, part) in parts.iter().enumerate() {
            bytes.extend_from_slice(&head(version, part.len(), place + 1 < parts.len()));
            bytes.extend_from_slice(part);
        }
    }
    bytes
}

/// What comes out of these messages within these limits, and whether a part ends the connection.
fn expected(messages: &[Vec<Vec<u8>>], limits: &Limits) -> (Vec<Out>, Option<u64>) {
    let mut out = Vec::new();
    for parts in messages {
        let (mut length, mut why) = (0, None);
        for (place, part) in parts.iter().enumerate() {
            let size = part.len() as u64;
            if size > limits.part {
                return (out, Some(size));
            }
            length += size;
            why = why.or(if place == 0 && parts.len() > 1 && size > limits.header {
                Some("first part too long")
            } else if place >= limits.parts {
                Some("too many parts")
            } else if length > limits.message {
                Some("message too long")
            } else {
                None
            });
        }
        out.push(match why {
            Some(why) => Out::Skipped(why.to_owned(), length as usize),
            None => Out::Whole(parts.clone(), length as usize),
        });
    }
    (out, None)
}

/// Sizes around those where something changes: heads, copies, the input, what is initialised at once.
fn size() -> impl Strategy<Value = usize> {
    let near = |size: usize| (size.saturating_sub(12)..size + 12).boxed();
    let edges = [0, 255, COPY_BELOW, 64 << 10, 128 << 10].map(near);
    prop_oneof![4 => 0..300usize, 6 => proptest::strategy::Union::new(edges), 1 => 190_000..210_000usize]
}

fn messages() -> impl Strategy<Value = Vec<Vec<Vec<u8>>>> {
    let part = (size(), 0..256usize).prop_map(|(size, seed)| body(size, seed));
    vec(vec(part, 1..5), 0..6)
}

/// Not only small ones, which would take long.
fn pieces() -> impl Strategy<Value = Vec<usize>> {
    let piece = prop_oneof![1..20usize, 1..3000usize, 1..200_000usize];
    (vec(piece, 0..6), 3000..10_000usize).prop_map(|(mut pieces, large)| {
        pieces.push(large);
        pieces
    })
}

fn limits() -> impl Strategy<Value = Limits> {
    (0..200_000u64, 0..5000u64, 0..300_000u64, 1..5usize).prop_map(|(part, header, message, parts)| Limits {
        part,
        header,
        message,
        parts,
    })
}

/// A PING, and the PONG for it.
fn ping(context: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut answer = Vec::new();
    pong(context, &mut answer);
    (([&[4, 7 + context.len() as u8], &b"\x04PING\0\0"[..], context]).concat(), answer)
}

proptest! {
    #[test]
    fn what_comes_in_pieces_of_any_size_comes_out_whole(
        version in select(&VERSIONS), messages in messages(), pieces in pieces(), cut in 0..10_000usize,
    ) {
        let bytes = encoded(version, &messages);
        let all = read(version, &bytes, &pieces, &GENEROUS);
        prop_assert!(all.end.is_ok() && !all.amid && all.answers.is_empty());
        let (whole, _) = expected(&messages, &GENEROUS);
        prop_assert!(all.out == whole, "other messages came out");
        // Without its end, the last message does not come out.
        let cut = bytes.len().saturating_sub(1 + cut % bytes.len().max(1));
        let some = read(version, &bytes[..cut], &pieces, &GENEROUS);
        prop_assert!(some.end.is_ok() && some.out.len() < whole.len().max(1) && whole.starts_with(&some.out));
        let used: usize = messages[..some.out.len()].iter().map(|one| encoded(version, std::slice::from_ref(one)).len()).sum();
        prop_assert_eq!(some.amid, cut > used);
    }

    #[test]
    fn limits_hold_and_each_skipped_message_has_its_reason(
        version in select(&VERSIONS), messages in messages(), pieces in pieces(), limits in limits(),
    ) {
        let read = read(version, &encoded(version, &messages), &pieces, &limits);
        let (out, long) = expected(&messages, &limits);
        prop_assert!(read.out == out, "other messages came out");
        prop_assert_eq!(read.end, long.map_or(Ok(()), |length| Err(Unreadable::LongPart(length))));
    }

    #[test]
    fn pings_between_parts_are_answered_and_change_nothing(
        messages in messages(), pieces in pieces(), contexts in vec(vec(any::<u8>(), 0..=16), 0..6), places in vec(0..24usize, 6),
    ) {
        let (mut bytes, mut answers, mut place) = (Vec::new(), Vec::new(), 0);
        for parts in &messages {
            for (number, part) in parts.iter().enumerate() {
                for (context, _) in contexts.iter().zip(&places).filter(|(_, at)| **at == place) {
                    let (ping, pong) = ping(context);
                    bytes.extend(ping);
                    answers.extend(pong);
                }
                bytes.extend_from_slice(&head(Version::V3_1, part.len(), number + 1 < parts.len()));
                bytes.extend_from_slice(part);
                place += 1;
            }
        }
        let read = read(Version::V3_1, &bytes, &pieces, &GENEROUS);
        prop_assert!(read.out == expected(&messages, &GENEROUS).0, "other messages came out");
        prop_assert_eq!((read.end, read.answers), (Ok(()), answers));
    }

    /// Also in the middle of good messages. The pieces do not matter.
    #[test]
    fn nonsense_does_no_harm(
        version in select(&VERSIONS), messages in messages(), kept in 0..20_000usize, junk in vec(any::<u8>(), 0..600),
        pieces in pieces(), limits in limits(),
    ) {
        let good = encoded(version, &messages);
        let bytes = [&good[..kept.min(good.len())], &junk].concat();
        let (one, other) = (read(version, &bytes, &pieces, &limits), read(version, &bytes, &[bytes.len().max(1)], &limits));
        prop_assert!(one.out == other.out && one.answers.len() <= ANSWERS + 23);
        prop_assert_eq!(one.end, other.end);
    }
}

#[test]
fn a_message_that_is_refused_from_outside_holds_nothing_more_and_the_next_is_whole() {
    let (parts, next) = (vec![body(100, 1), body(10_000, 2), body(5, 3)], vec![body(3000, 4)]);
    let bytes = encoded(Version::V3_1, &[parts, next.clone()]);
    for refused_at in [10, 150, 5000, 10_112] {
        let (mut assembly, mut input, pool) = (Assembly::new(Version::V3_1), Input::new(), Pool::new(1 << 20));
        let mut out = Vec::new();
        let mut taken = |assembly: &mut Assembly, input: &mut Input| {
            while let Some(received) = assembly.take(input, &GENEROUS, &pool, &mut Vec::new()).unwrap() {
                out.push(match received {
                    Received::Message(frames, _) => frames[0].as_slice().to_vec(),
                    Received::Refused(why, length) => format!("{why} {length}").into_bytes(),
                    _ => panic!("neither"),
                });
            }
        };
        for (place, byte) in bytes.iter().enumerate() {
            if place == refused_at {
                assembly.refuse(Malformed::new("too much"));
                assert_eq!(assembly.held(), 0);
            }
            match assembly.room() {
                Some(room) => {
                    room[0] = *byte;
                    assembly.advance(1);
                }
                None => {
                    input.room(1)[0] = *byte;
                    input.added(1);
                }
            }
            taken(&mut assembly, &mut input);
            assert!(place < refused_at || place > 10_122 || assembly.held() == 0, "{place}");
        }
        let expected = [b"too much 10105".to_vec(), next[0].clone()];
        assert!(out == expected, "refused at {refused_at}: {}", out.len());
    }
}
