//! Compares dranspose's own ingester classes with our sources, for the same messages: the type of every event and each
//! byte of its frames must be equal.
//!
//! The messages are the captures of real detectors in dranspose's source distribution, unchanged and with mutations
//! derived from a seed. Our sources get them over a real socket; dranspose's classes run in `tests/peer/reference.py`;
//! Sardana's posts reach both over HTTP. Our sources are linked into the test, and one pass uses the plugins loaded
//! from their files. `differences.rs` has the intended differences, and the plugins' README.md give the reasons.
//!
//! ```text
//!     FRAMEGATE_DIFFERENTIAL=2000 FRAMEGATE_DIFFERENTIAL_SEED=7 cargo test -p framegate-tests --test differential
//! ```
//!
//! runs 2000 mutations of each capture; another seed gives other mutations.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

mod captures;
mod cases;
mod differences;
mod loaded;
mod ours;
mod reference;
mod sardana;

use std::{env, fmt::Write as _, str::FromStr};

use crate::{
    captures::{Capture, Message},
    cases::Case,
    ours::{Detector, Outcome, Reach},
};
use zmq::SocketType;

#[test]
fn every_capture_gives_the_events_that_dranspose_gives() {
    let cases: Vec<_> = captures::all().iter().map(Case::plain).collect();
    let (ours, theirs) = outcomes(&cases);
    for ((case, ours), theirs) in cases.iter().zip(&ours).zip(&theirs) {
        assert!(theirs.died.is_none(), "{}", case.describe(ours, theirs));
        assert!(ours.is_as(theirs), "{}", case.describe(ours, theirs));
        assert!(ours.events.len() >= 3, "{}: a capture has a start, data and an end", case.capture);
    }
}

#[test]
fn plugins_that_are_loaded_from_their_files_give_them_too() {
    let cases: Vec<_> = captures::all().iter().map(Case::plain).collect();
    let theirs = reference::outcomes(&cases);
    for (case, theirs) in cases.iter().zip(&theirs) {
        let ours = loaded::outcome(case, theirs.events.len());
        assert!(ours.is_as(theirs), "{}", case.describe(&ours, theirs));
    }
}

#[test]
fn however_the_messages_come_the_events_are_the_same() {
    let ways = [Reach::OtherPattern, Reach::Bound, Reach::Braces, Reach::OneAhead];
    let captures: Vec<_> = captures::all().iter().map(Capture::shortened).collect();
    let cases = ways.iter().flat_map(|way| captures.iter().map(|capture| Case::plain(capture).reached(*way)));
    let has_braces = |case: &Case| case.messages.iter().all(|message| message.first().starts_with(b"{"));
    let is_one = |case: &Case| match case.protocol.detector {
        Detector::Zmq(socket) => case.reach != Reach::Braces || (socket != SocketType::PUSH && has_braces(case)),
        _ => false,
    };
    let cases: Vec<_> = cases.filter(is_one).collect();
    let (ours, theirs) = outcomes(&cases);
    for ((case, ours), theirs) in cases.iter().zip(&ours).zip(&theirs) {
        assert!(ours.is_as(theirs), "{}", case.describe(ours, theirs));
    }
}

#[test]
fn mutated_captures_give_the_events_that_dranspose_gives() {
    let (count, seed) = (number("FRAMEGATE_DIFFERENTIAL", 40), number("FRAMEGATE_DIFFERENTIAL_SEED", 1));
    println!("FRAMEGATE_DIFFERENTIAL={count} FRAMEGATE_DIFFERENTIAL_SEED={seed}");
    let captures: Vec<_> = captures::all().iter().map(Capture::shortened).collect();
    let cases = cases::mutated(&captures, count, seed);
    let (ours, theirs) = outcomes(&cases);

    // A case that differs must be a known difference: without the messages that dranspose cannot handle, it gives the
    // same events.
    let differing: Vec<_> = (0..cases.len()).filter(|case| !ours[*case].is_as(&theirs[*case])).collect();
    let spared: Vec<_> = differing.iter().map(|case| differences::spare(&cases[*case])).collect();
    let mut wrong = String::new();
    for (case, theirs_spared) in differing.iter().zip(reference::outcomes(&spared)) {
        let (case, ours, theirs) = (&cases[*case], &ours[*case], &theirs[*case]);
        if !differences::agree(case, ours, theirs, &theirs_spared) {
            let _ = writeln!(wrong, "{}", case.describe(ours, theirs));
        }
    }
    println!("{} cases, of which {} differ as the plugins' README.md say", cases.len(), differing.len());
    assert!(wrong.is_empty(), "seed {seed}:\n{wrong}");
}

#[test]
fn each_known_difference_is_one() {
    let cases = differences::examples();
    let (ours, theirs) = outcomes(&cases);
    let spared: Vec<_> = cases.iter().map(differences::spare).collect();
    for (number, theirs_spared) in reference::outcomes(&spared).iter().enumerate() {
        let (case, ours, theirs) = (&cases[number], &ours[number], &theirs[number]);
        assert!(!ours.is_as(theirs), "it does not differ\n{}", case.describe(ours, theirs));
        let agree = differences::agree(case, ours, theirs, theirs_spared);
        assert!(agree, "{}", case.describe(ours, theirs_spared));
    }
}

#[test]
fn a_connection_that_ends_inside_an_arm_gives_no_flood_of_empty_events() {
    let lines = ["arm_time: now\n\n", " 1 2.5\n"].map(|line| Message::new([line]));
    let gone = Message::new::<&str>([]);
    let case = Case::of("a PandABox that is switched off", &ours::PCAP_RAW, lines.into_iter().chain([gone]));
    let (ours, theirs) = outcomes(&[case]);
    let died = theirs[0].died.as_ref().unwrap();
    assert!(died.contains("events without end"), "{died}");
    assert_eq!(ours[0].events[..2], theirs[0].events[..2]);
    // The events of the next connection.
    assert_eq!(ours[0].events[2..].len(), 2);
}

/// The outcomes of both sides for the cases; both run at the same time.
fn outcomes(cases: &[Case]) -> (Vec<Outcome>, Vec<Outcome>) {
    std::thread::scope(|scope| {
        let theirs = scope.spawn(|| reference::outcomes(cases));
        let ours = ours::outcomes(cases);
        (ours, theirs.join().expect("the reference gives outcomes"))
    })
}

fn number<T: FromStr>(variable: &str, otherwise: T) -> T {
    match env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable}={text}: expected a number")),
        Err(_) => otherwise,
    }
}
