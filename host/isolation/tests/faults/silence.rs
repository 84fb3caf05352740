//! Children that do not answer, or say that they cannot.

use std::time::{Duration, Instant};

use framegate_isolation::wire::{Head, to_child, to_host};
use framegate_plugin_abi::caller::Fault;

use super::good::sizes;
use crate::common::{Host, PATIENCE, SHORT, puppet, until};

/// A call that must fail within the limit and what killing takes.
fn hangs(host: &mut Host, named: &str, call: impl FnOnce(&mut Host) -> Result<(), Fault>) {
    let before = Instant::now();
    let fault = call(host).unwrap_err();
    let took = before.elapsed();
    assert!(matches!(fault, Fault::Lost(_)), "{fault:?}");
    let fault = fault.to_string();
    // A scan that closes a run also has to open the next one.
    let limit = if named == "close" { SHORT / 2 } else { SHORT };
    assert!(fault.contains(&format!("did not answer {named} for {limit:?}, and was killed")), "{fault}");
    // Some seconds more: the machine may be busy.
    assert!(took >= limit && took < limit + Duration::from_secs(5), "{took:?}");
    assert!(!host.process.exists(), "it is killed and reaped");
}

fn deaf(kind: u16) -> Host {
    let mut host = puppet(SHORT);
    host.apart.set_parameter("deaf", &kind.to_le_bytes()).unwrap();
    host
}

#[test]
fn a_stopped_child_is_killed() {
    let mut host = puppet(SHORT);
    hangs(&mut host, "set_parameter", |host| host.apart.set_parameter("stop", &[]));
    host.ends(0);
}

#[test]
fn each_request_that_is_not_answered_ends_the_child() {
    let mut host = deaf(to_child::CLOSE);
    hangs(&mut host, "close", |host| host.apart.close());
    host.ends(0);

    let mut host = deaf(to_child::OPEN);
    host.apart.close().unwrap();
    hangs(&mut host, "open", |host| host.apart.open());
    host.ends(0);

    let mut host = deaf(to_child::ASK);
    // A status is asked for between two calls of `next`.
    hangs(&mut host, "next", |host| host.apart.status().map(drop));
    host.ends(0);

    let mut host = deaf(to_child::TRIGGER);
    hangs(&mut host, "trigger", |host| host.apart.trigger(1, |_, _, _| ()));
    host.ends(0);
}

#[test]
fn a_child_that_ignores_close_or_bye_is_killed_by_the_drop() {
    for kind in [to_child::CLOSE, to_child::BYE] {
        let host = deaf(kind);
        let before = Instant::now();
        host.ends(0);
        assert!(before.elapsed() >= SHORT / 2, "it was given its time");
    }
}

#[test]
fn a_child_that_does_not_answer_a_ping_is_killed_and_its_frames_stay() {
    let mut host = deaf(to_child::PING);
    host.apart.set_parameter("give", &sizes(&[5000])).unwrap();
    let events = host.events(1).unwrap();
    let before = Instant::now();
    let fault = loop {
        if let Err(fault) = host.next(&mut Vec::new()) {
            break fault.to_string();
        }
        assert!(before.elapsed() < PATIENCE, "it is not killed");
    };
    assert!(fault.contains(&format!("did not answer next for {SHORT:?}, and was killed")), "{fault}");
    let ledger = host.ends(1);
    drop(events);
    assert_eq!(ledger.released(), 1);
}

#[test]
fn any_message_counts_as_an_answer_to_a_ping() {
    let mut host = puppet(SHORT);
    host.apart.set_parameter("pong", &Head::new(0x9000, 0).with(&[])).unwrap();
    let before = Instant::now();
    // It is asked after a second of silence.
    while before.elapsed() < Duration::from_secs(1) + 3 * SHORT {
        host.next(&mut Vec::new()).unwrap();
    }
    host.ends(0);
}

#[test]
fn a_child_that_pretends_to_wait_for_room_is_killed_like_any_other() {
    // Whether it gives wrong numbers or the right ones: nothing is taken and everything is released.
    for (taken, released) in [(u64::MAX, u32::MAX), (0, 0)] {
        let wait = [&taken.to_le_bytes()[..], &released.to_le_bytes()].concat();
        for (kind, call) in [(to_child::CLOSE, "close"), (to_child::TRIGGER, "trigger")] {
            let mut host = deaf(kind);
            host.apart.set_parameter("meanwhile", &Head::new(to_host::WAIT, 0).with(&wait)).unwrap();
            hangs(&mut host, call, |host| match kind {
                to_child::CLOSE => host.apart.close(),
                _ => host.apart.trigger(1, |_, _, _| ()),
            });
            host.ends(0);
        }
    }
}

#[test]
fn a_child_that_truly_waits_for_room_in_a_trigger_has_its_time() {
    let mut host = deaf(to_child::TRIGGER);
    host.apart.set_parameter("give", &sizes(&[5000])).unwrap();
    let events = host.events(1).unwrap();
    // 5000 bytes were taken and nothing is released, as long as the event is held.
    let wait = [&5000_u64.to_le_bytes()[..], &0_u32.to_le_bytes()].concat();
    host.apart.set_parameter("meanwhile", &Head::new(to_host::WAIT, 0).with(&wait)).unwrap();
    let before = Instant::now();
    let releases = std::thread::spawn(move || {
        std::thread::park_timeout(3 * SHORT);
        drop(events);
    });
    let fault = host.apart.trigger(1, |_, _, _| ()).unwrap_err().to_string();
    assert!(fault.contains("did not answer trigger"), "{fault}");
    assert!(before.elapsed() > 3 * SHORT + SHORT / 2, "its time begins when there is room: {:?}", before.elapsed());
    releases.join().unwrap();
    host.ends(0);
}

#[test]
fn a_child_that_clogs_what_wakes_it_blocks_nobody() {
    let mut host = puppet(PATIENCE);
    host.apart.set_parameter("give", &sizes(&[5000])).unwrap();
    let events = host.events(1).unwrap();
    host.apart.set_parameter("clog", &[]).unwrap();
    let wait = [&5000_u64.to_le_bytes()[..], &0_u32.to_le_bytes()].concat();
    host.apart.set_parameter("bytes", &Head::new(to_host::WAIT, 0).with(&wait)).unwrap();
    host.next(&mut Vec::new()).unwrap();
    let releases = std::thread::spawn(move || drop(events));
    until("the frame is released", || releases.is_finished());
    host.ends(0);
}

#[test]
fn a_child_that_does_not_read_is_killed_when_its_socket_is_full() {
    let mut host = puppet(SHORT);
    hangs(&mut host, "set_parameter", |host| host.apart.set_parameter("stop", &vec![0; 4 << 20]));
    host.ends(0);
    // It asks for memory and does not read the answers.
    let mut host = puppet(SHORT);
    let more = Head::new(to_host::MORE, 0).with(&u32::MAX.to_le_bytes());
    let fault = host.fails("for ever", &more.repeat(1000)).1;
    assert!(fault.contains("did not answer") && fault.contains("was killed"), "{fault}");
    host.ends(0);
}
