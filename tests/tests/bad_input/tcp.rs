//! Position capture over TCP: lines instead of messages.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    thread,
};

use crate::{LITTLE, Room};

#[test]
fn pcap_raw() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    // In a thread, because the program waits for the greeting while it starts.
    let greeting = thread::spawn(move || (greeted(&listener), listener));
    let mut room = Room::new("pcap-raw", &url);
    let (mut panda, listener) = greeting.join().unwrap();

    // Data without a header, an end without data: the wrong order.
    panda.write_all(b" 1 2\nEND 1 Ok\n\n").unwrap();
    room.expects("before the start of a run", 3);
    let mut arms = 0;
    let mut arm = |room: &mut Room, panda: &mut TcpStream, bad: &[u8], also: &[&[u8]]| {
        arms += 1;
        panda.write_all(&[HEADER, b" 1 2\n", bad, b" 3 4\nEND 2 Ok\n"].concat()).unwrap();
        for line in [&[HEADER, b" 1 2\n"], also, &[b" 3 4\n", b"END 2 Ok\n"]].concat() {
            room.gets(&vec![line.to_vec()], &bad[..bad.len().min(40)].escape_ascii().to_string());
        }
    };
    // A line may have any content; only its length matters.
    for line in [&b"\xff\xfe not UTF-8\n"[..], b"\n", b" 1e999 999999999999999999999999\n", b"arm_time: again\n"] {
        arm(&mut room, &mut panda, line, &[line]);
    }
    let long = [vec![b'x'; 100_000], b"\n".to_vec()].concat();
    for _ in 0..2 {
        room.expects("a line longer than max_line", 1);
        arm(&mut room, &mut panda, &long, &[]);
    }

    // A header without end, of a million lines; the rest of its arm is junk.
    room.memory_stays_flat("a header of a million lines", LITTLE, |room| {
        let lines = [b"arm_time: 1\n".as_slice(), &b"field\n".repeat(1_000_000)].concat();
        panda.write_all(&lines).unwrap();
        room.expects("a header longer than max_header", 1);
        // 1 MiB of it was a header: its first line, and as many fields as fit.
        let kept = ((1 << 20) - 12) / 6;
        room.expects("before the start of a run", 1_000_000 - kept - 1);
    });
    arm(&mut room, &mut panda, b"", &[]);

    room.memory_stays_flat("a line of 1 GiB", LITTLE, |room| {
        panda.write_all(&[HEADER, b" 1 2\n"].concat()).unwrap();
        let text = vec![b'x'; 1 << 20];
        (0..1024).for_each(|_| panda.write_all(&text).unwrap());
        panda.write_all(b"\n 3 4\nEND 3 Ok\n").unwrap();
        for line in [HEADER, b" 1 2\n", b" 3 4\n", b"END 3 Ok\n"] {
            room.gets(&vec![line.to_vec()], "a line of 1 GiB");
        }
        room.expects("a line longer than max_line", 1);
    });

    // It ends in the middle of a line.
    panda.write_all(&[HEADER, b" 1 2\n 3."].concat()).unwrap();
    drop(panda);
    for line in [HEADER, b" 1 2\n"] {
        room.gets(&vec![line.to_vec()], "an arm that breaks off");
    }
    room.expects("a line that the connection's end cut", 1);
    room.expects("the connection broke inside an arm", 1);
    let mut panda = greeted(&listener);
    arm(&mut room, &mut panda, b"", &[]);

    // Besides `arms`, there were two other runs.
    let runs = arms + 2;
    room.account("the connection broke inside an arm", runs);
    room.ends();
}

/// The next connection, greeted as a PandABox does.
fn greeted(listener: &TcpListener) -> TcpStream {
    let (mut stream, _) = listener.accept().unwrap();
    stream.read_exact(&mut [0]).unwrap();
    stream.write_all(b"OK\n").unwrap();
    stream
}

const HEADER: &[u8] = b"arm_time: 2023-12-19T07:51:12.754Z\nmissed: 0\nfields:\n PCAP.BITS0 uint32 Value\n\n";
