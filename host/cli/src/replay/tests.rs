use std::{io::Write, thread};

use ciborium::Value;
use clap::Parser;
use flate2::{Compression, write::GzEncoder};

use super::*;

#[derive(Debug, Parser)]
struct Command {
    #[command(flatten)]
    args: Args,
}

fn args(file: &Path, more: &[&str]) -> Args {
    let line = ["replay".into(), file.into(), "--bind".into(), "tcp://127.0.0.1:*".into()];
    let line = line.into_iter().chain(more.iter().map(std::ffi::OsString::from));
    Command::try_parse_from(line).unwrap().args
}

fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::with_suffix(".cbors").unwrap();
    file.write_all(bytes).unwrap();
    file
}

/// Three events, each with the name of each stream and a frame of its number.
fn dump(streams: &[&str]) -> Vec<u8> {
    let tag = |tag, value| Value::Tag(tag, Box::new(value));
    let stream = |name: &&str, n: u8| {
        let frames = Value::Array(vec![Value::Bytes(name.as_bytes().to_vec()), Value::Bytes(vec![n; 5])]);
        (Value::Text(name.to_string()), tag(42878, Value::Array(vec![Value::Text("T".into()), frames])))
    };
    let event = |n: u8| {
        let streams = streams.iter().map(|name| stream(name, n)).collect();
        tag(42877, Value::Array(vec![Value::Integer(n.into()), Value::Map(streams)]))
    };
    let mut bytes = Vec::new();
    (0..3).for_each(|n| ciborium::into_writer(&tag(55799, event(n)), &mut bytes).unwrap());
    bytes
}

/// Plays and receives; returns the messages, or the error.
fn replay(args: &Args) -> anyhow::Result<Vec<Vec<Vec<u8>>>> {
    let context = zmq::Context::new();
    let socket = bind(&context, args)?;
    let url = socket.get_last_endpoint()?.expect("an endpoint is text");
    let peer = context.socket(if args.socket == Kind::Push { zmq::PULL } else { zmq::SUB })?;
    peer.set_rcvtimeo(20_000)?;
    peer.connect(&url)?;
    if args.socket == Kind::Pub {
        peer.set_subscribe(b"")?;
    }
    thread::scope(|scope| {
        let player = scope.spawn(move || {
            let played = play(args, &socket, &ProgressBar::hidden());
            // Tells the receiver that this is the end, even after an error.
            socket.send("END", 0).unwrap();
            played
        });
        let mut messages = Vec::new();
        loop {
            let message = peer.recv_multipart(0)?;
            if message == [b"END"] {
                break;
            }
            messages.push(message);
        }
        let played = player.join().unwrap()?;
        assert_eq!(played.messages, messages.len() as u64);
        assert_eq!(played.bytes, messages.iter().flatten().map(Vec::len).sum::<usize>() as u64);
        Ok(messages)
    })
}

#[test]
fn a_message_capture_is_sent_as_it_is_by_push_and_pub_also_compressed() {
    let messages = vec![vec![b"header".to_vec()], vec![b"image".to_vec(), vec![1; 100_000], vec![]]];
    let mut bytes = Vec::new();
    for parts in &messages {
        let parts = parts.iter().cloned().map(Value::Bytes).collect();
        ciborium::into_writer(&Value::Array(parts), &mut bytes).unwrap();
    }
    let mut gz = GzEncoder::new(Vec::new(), Compression::fast());
    gz.write_all(&bytes).unwrap();
    for file in [file(&bytes), file(&gz.finish().unwrap())] {
        for socket in ["push", "pub"] {
            assert_eq!(replay(&args(file.path(), &["--socket", socket])).unwrap(), messages);
        }
    }
    let repeated = replay(&args(file(&bytes).path(), &["--repeat", "3", "--rate", "1000"])).unwrap();
    assert_eq!(repeated, [&messages[..], &messages, &messages].concat());
}

#[test]
fn the_only_stream_of_a_dump_is_played_and_of_several_the_one_that_is_named() {
    let expected = |name: &str| (0..3).map(|n| vec![name.as_bytes().to_vec(), vec![n; 5]]).collect::<Vec<_>>();
    assert_eq!(replay(&args(file(&dump(&["a"])).path(), &[])).unwrap(), expected("a"));
    let two = file(&dump(&["a", "b"]));
    assert_eq!(replay(&args(two.path(), &["--stream", "b"])).unwrap(), expected("b"));
    let error = replay(&args(two.path(), &[])).unwrap_err().to_string();
    assert!(error.ends_with("--stream: a, b"), "{error}");
    let error = replay(&args(two.path(), &["--stream", "c"])).unwrap_err().to_string();
    assert!(error.contains("\"c\"; it has: a, b"), "{error}");
}

#[test]
fn a_damaged_file_plays_up_to_the_damage_and_then_fails() {
    let mut bytes = dump(&["a"]);
    bytes.truncate(bytes.len() - 3);
    let error = replay(&args(file(&bytes).path(), &[])).unwrap_err().to_string();
    assert!(error.contains("2 whole items"), "{error}");
    assert!(replay(&args(file(b"").path(), &["--loop"])).unwrap_err().to_string().contains("nothing to play"));
}

#[test]
fn a_publisher_waits_for_its_first_subscriber_as_long_as_it_is_told() {
    let file = file(&dump(&["a"]));
    let args = args(file.path(), &["--socket", "pub", "--wait", "10ms"]);
    let context = zmq::Context::new();
    let socket = bind(&context, &args).unwrap();
    let error = play(&args, &socket, &ProgressBar::hidden()).unwrap_err().to_string();
    assert!(error.contains("10ms"), "{error}");
}

#[test]
fn wrong_arguments_are_refused() {
    for wrong in [&["--rate", "0"][..], &["--rate", "nan"], &["--repeat", "0"], &["--loop", "--repeat", "2"]] {
        let line = ["replay", "x.cbors"].iter().chain(wrong);
        assert!(Command::try_parse_from(line).is_err(), "{wrong:?}");
    }
}
