//! What a source costs in memory. The only test in its process, because others would disturb it.
#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

mod letters;
mod peers;

use std::{fs, io::Write as _};

use framegate_zmq_source::Pattern;

use peers::{Version::V3_1, bound, connect, count, head, introduction, message, part, push, wait_for};

/// Resident memory of this process in bytes.
fn resident() -> u64 {
    let pages: u64 = fs::read_to_string("/proc/self/statm").unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    pages * u64::try_from(nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).unwrap().unwrap()).unwrap()
}

/// Each connection has some buffers; what was only announced costs nothing.
#[test]
fn announced_parts_cost_no_memory_until_they_come() {
    const PEERS: u64 = 50;
    let (mut run, _, address) = bound("", Pattern::Pull);
    let context = zmq::Context::new();
    let detector = push(&context, address);
    detector.send("s", 0).unwrap();
    wait_for(&mut run, "messages", 1);
    let before = resident();
    let mut peers = Vec::new();
    for number in 1..=PEERS {
        let mut stream = connect(address);
        let announced = [message(V3_1, &["h"]), part(V3_1, b"d", true), head(V3_1, 500 << 20, false), vec![0; 10]];
        stream.write_all(&[introduction(V3_1, "PUSH"), announced.concat()].concat()).unwrap();
        peers.push(stream);
        wait_for(&mut run, "messages", 1 + number);
    }
    // All was read when later messages are here.
    for number in 1..=10 {
        detector.send("d", 0).unwrap();
        wait_for(&mut run, "messages", 1 + PEERS + number);
    }
    let grown = resident().saturating_sub(before);
    println!("{grown} bytes for {PEERS} announced parts");
    assert!(grown / PEERS < LIMIT, "{grown} bytes for {PEERS} announced parts");
    drop(peers);
    wait_for(&mut run, "invalid", PEERS);
    let kept = resident().saturating_sub(before);
    assert!(kept < 8 << 20, "{kept} bytes are kept after all have left");
    assert_eq!(count(&run, "disconnects"), PEERS);
}

/// Bytes for each peer.
const LIMIT: u64 = 256 << 10;
