use std::thread;

use clap::Parser;

use super::*;

#[derive(Debug, Parser)]
struct Command {
    #[command(flatten)]
    args: Args,
}

fn args(line: &[&str]) -> Args {
    Command::try_parse_from([&["listen"], line].concat()).unwrap().args
}

fn message(number: u64, streams: &[(&str, &[&[u8]])]) -> Vec<Vec<u8>> {
    let header =
        |(name, frames): &(&str, &[&[u8]])| (name.to_string(), json!({ "typ": "STINS", "length": frames.len() }));
    let headers = streams.iter().map(header).collect::<serde_json::Map<_, _>>();
    let header = json!({ "event_number": number, "streams": headers, "created_at": "2026-01-01T00:00:00Z" });
    let frames = streams.iter().flat_map(|(_, frames)| frames.iter().map(|frame| frame.to_vec()));
    [header.to_string().into_bytes()].into_iter().chain(frames).collect()
}

#[test]
fn gaps_and_new_scans_are_counted_and_streams_kept_apart() {
    let mut tally = Tally::default();
    for number in [5, 6, 9, 10, 20, 0, 1, 1] {
        tally.take(&message(number, &[("b", &[b"xy", b""]), ("a", &[b"1"])])).unwrap();
    }
    assert_eq!((tally.events, tally.missing, tally.gaps, tally.scans), (8, 11, 2, 3));
    let json = tally.json();
    assert_eq!(json["streams"]["b"], json!({ "typ": "STINS", "events": 8, "frames": 16, "bytes": 16 }));
    assert_eq!(json["streams"]["a"]["bytes"], 8);
    let table = tally.table();
    assert!(table.contains("11 event numbers not received, in 2 gaps (they went to other workers"), "{table}");
    assert!(tally.line().contains("8 events"));
}

#[test]
fn what_is_no_message_is_counted_with_a_reason() {
    let mut tally = Tally::default();
    let mut short = message(1, &[("a", &[b"x"])]);
    short.pop();
    for (parts, why) in [
        (vec![], "no parts"),
        (vec![b"{".to_vec()], "header"),
        (vec![vec![b'['; 100_000]], "header"),
        (vec![br#"{"event_number":-1,"streams":{}}"#.to_vec()], "header"),
        (vec![br#"{"event_number":1,"streams":{"a":{"typ":"T","length":-1}}}"#.to_vec()], "stream \"a\""),
        (short, "names 1 frames, it has 0"),
    ] {
        let error = tally.take(&parts).unwrap_err();
        assert!(error.contains(why), "{error}");
    }
    assert_eq!((tally.events, tally.malformed), (0, 6));
    assert!(tally.table().contains("6 messages that are not event messages"));
}

/// An ingester's side of the wire: waits for the ping, then sends.
fn serve(router: &zmq::Socket, name: &str, messages: &[Vec<Vec<u8>>]) {
    let ping = router.recv_multipart(0).unwrap();
    assert_eq!(ping[0], name.as_bytes());
    let service = Uuid::from_slice(&ping[1]).unwrap();
    assert_eq!(service.get_version_num(), 4);
    for message in messages {
        router.send_multipart([&[ping[0].clone()], &message[..]].concat(), 0).unwrap();
    }
}

#[test]
fn it_pings_as_a_worker_and_ends_after_the_count() {
    let context = zmq::Context::new();
    let router = context.socket(zmq::ROUTER).unwrap();
    router.set_rcvtimeo(20_000).unwrap();
    router.bind("tcp://127.0.0.1:*").unwrap();
    let url = router.get_last_endpoint().unwrap().unwrap();
    let messages: Vec<_> = (0..3).map(|number| message(number, &[("eiger", &[b"{}", &[0; 5000]])])).collect();
    for json in [true, false] {
        let name = format!("shown-{json}");
        let mut args = args(&[&url, "--name", &name, "--count", "3"]);
        args.json = json;
        let (tally, out) = thread::scope(|scope| {
            let listener = scope.spawn(|| {
                let mut out = Vec::new();
                (listen(&args, &|| false, &mut out).unwrap(), String::from_utf8(out).unwrap())
            });
            serve(&router, &name, &messages);
            listener.join().unwrap()
        });
        assert_eq!((tally.events, tally.bytes, tally.missing), (3, 15_006, 0));
        if json {
            let lines: Vec<serde_json::Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            assert_eq!(lines.len(), 4);
            assert_eq!(lines[1]["event_number"], 1);
            assert_eq!(lines[1]["bytes"], 5002);
            assert_eq!(lines[3]["streams"]["eiger"]["events"], 3);
        } else {
            assert!(out.contains("eiger") && out.contains("0 event numbers not received"), "{out}");
        }
    }
}

#[test]
fn it_ends_when_it_is_interrupted_also_without_an_ingester() {
    let out = &mut Vec::new();
    let tally = listen(&args(&["tcp://127.0.0.1:1"]), &|| true, out).unwrap();
    assert_eq!(tally.events, 0);
    assert!(Command::try_parse_from(["listen", "no url"]).is_err());
    assert!(Command::try_parse_from(["listen", "tcp://x:1", "--name", "a:b"]).is_err());
}
