//! Connections: peers that vanish, clocks that are changed, runs over several connections.

use std::{
    fs,
    time::{Duration, Instant},
};

use framegate_tests::{
    clock::Clock,
    detectors::{Attach, Detector, Say},
    host::LIMIT,
    process::wait_for,
};
use serde_json::json;

use crate::{Beamline, NAME};

/// A loopback connection as in Linux's /proc/net/tcp: ports of both ends, its state, and its active timer.
struct Connection {
    local: u16,
    remote: u16,
    state: u8,
    timer: u8,
}

const ESTABLISHED: u8 = 1;
/// The timer of a connection with nothing to send: keep-alive.
const KEEP_ALIVE: u8 = 2;

fn connections() -> Vec<Connection> {
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let read = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let port = |field: &str| u16::from_str_radix(field.split(':').nth(1)?, 16).ok();
        let byte = |field: &str| u8::from_str_radix(field.split(':').next()?, 16).ok();
        let (local, remote) = (port(fields.get(1)?)?, port(fields.get(2)?)?);
        Some(Connection { local, remote, state: byte(fields.get(3)?)?, timer: byte(fields.get(5)?)? })
    };
    table.lines().skip(1).filter_map(read).collect()
}

/// If a detector vanishes without closing (its machine lost power), only TCP's keep-alive notices it.
#[test]
fn each_connection_to_a_detector_is_asked_whether_it_still_is_one() {
    for (attach, mut detectors) in [("connect", Detector::all()), ("bind", Detector::on_zeromq(Attach::Bind))] {
        detectors.retain(|detector| !detector.comes());
        detectors.iter_mut().for_each(Detector::appear);
        let streams: Vec<_> =
            detectors.iter().map(|detector| (detector.name, detector.name, detector.settings())).collect();
        let mut beamline = Beamline::start(&streams, |_| {});
        beamline.begin();
        for detector in &detectors {
            let port: u16 = detector.address().rsplit(':').next().unwrap().parse().unwrap();
            let is_ours = |connection: &Connection| {
                let end = if attach == "connect" { connection.remote } else { connection.local };
                end == port && connection.state == ESTABLISHED
            };
            wait_for(&format!("a timer on the connection of {} ({attach})", detector.name), LIMIT, || {
                connections()
                    .iter()
                    .any(|connection| is_ours(connection) && connection.timer == KEEP_ALIVE)
                    .then_some(())
            });
        }
        beamline.ends();
    }
}

#[test]
fn a_clock_that_is_set_back_holds_up_neither_an_idle_source_nor_the_search_for_a_detector() {
    let files = tempfile::tempdir().unwrap();
    let clock = Clock::new(files.path());
    let mut detectors = Detector::on_zeromq(Attach::Connect);
    let (idle, absent) = detectors.split_at_mut(1);
    let (idle, absent) = (&mut idle[0], &mut absent[0]);
    idle.appear();
    let streams = [("idle", idle.name, idle.settings()), ("absent", absent.name, absent.settings())];
    let mut beamline = Beamline::start(&streams, |command| clock.give(command));
    beamline.begin();
    let said = idle.say(Say::Start(1));
    beamline.gets("idle", &said);
    clock.set(-3600);
    // A call that waits as long as the clock is wrong would be written off in this time.
    let began = Instant::now();
    wait_for("twice what a call may take", LIMIT, || (began.elapsed() > 2 * SOURCE_TIMEOUT).then_some(()));
    let said = idle.say(Say::Data(0));
    beamline.gets("idle", &said);
    absent.appear();
    let said = absent.say(Say::Start(1));
    beamline.gets("absent", &said);
    beamline.ends();
}

#[test]
fn of_a_run_over_two_connections_what_is_behind_the_end_on_the_other_is_not_lost() {
    let mut detectors: Vec<_> = (0..2).map(|_| Detector::on_zeromq(Attach::Connect).swap_remove(0)).collect();
    detectors.iter_mut().for_each(Detector::appear);
    let urls: Vec<_> = detectors.iter().map(|detector| format!("tcp://{}", detector.address())).collect();
    let mut beamline = Beamline::start(&[("two", "stins", json!({ "upstream_url": urls }))], |_| {});
    for scan in 0..2 {
        beamline.begin();
        let start = detectors[0].say(Say::Start(scan));
        beamline.gets("two", &start);
        // The sources take one message from each connection in turn, so the end on one is read long before the last
        // message on the other.
        let end = detectors[0].say(Say::End(scan));
        let images: Vec<_> = (0..200).map(|image| detectors[1].say(Say::Data(image))).collect();
        images.iter().for_each(|image| beamline.gets("two", image));
        beamline.gets("two", &end);
        beamline.controller.finish_and_wait(NAME);
    }
    beamline.ends();
}

#[test]
fn a_pandabox_that_is_started_again_between_two_arms_is_found_again() {
    let mut panda = Detector::all().into_iter().find(|detector| detector.name == "pcap-raw").unwrap();
    panda.appear();
    let mut beamline = Beamline::start(&[("panda", "pcap-raw", panda.settings())], |_| {});
    beamline.begin();
    for arm in 0..3 {
        panda.wait_for_source();
        for what in [Say::Start(arm), Say::Data(0), Say::End(arm)] {
            let said = panda.say(what);
            beamline.gets("panda", &said);
        }
        panda.vanish();
        panda.appear();
    }
    beamline.ends();
}

/// The value that `Beamline` sets.
const SOURCE_TIMEOUT: Duration = Duration::from_secs(3);
