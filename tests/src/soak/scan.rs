//! Plays one scan and its faults as planned, and passes the results to the oracle.

use std::{
    fs,
    net::TcpStream,
    os::unix::fs::symlink,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow, bail, ensure};
use serde_json::{Value, json};

use super::{
    detectors::Detector,
    plan::{Capture, Fault, Plan},
    trouble::Trouble,
    world::{INGESTER, World},
};
use crate::{
    alone::bad_plugin,
    framegate,
    oracle::{Account, Outcome},
};

/// Plays a scan.
///
/// # Errors
/// An error: lost, duplicated or mixed-up messages, or a scan that does not end.
pub fn play(world: &mut World, plan: &Plan) -> anyhow::Result<Outcome> {
    let outcome = play_it(world, plan)?;
    for stream in plan.streams.iter().filter(|stream| stream.panics) {
        let settings = world.addresses.settings(stream.source).to_string();
        world.swap(stream.source, &framegate::plugin(stream.source), &settings)?;
    }
    Ok(outcome)
}

fn play_it(world: &mut World, plan: &Plan) -> anyhow::Result<Outcome> {
    if plan.faults.iter().any(|(_, fault, _)| *fault == Fault::IngesterEnded) {
        world.end()?;
        world.start()?;
    }
    world.have_workers(&plan.workers);
    let mut account = Account::default();
    let mut detectors = Vec::new();
    for stream in &plan.streams {
        let port = world.addresses.port(stream.source);
        let detector = Detector::new(stream, plan.number, port, !plan.kills_the_ingester())?;
        let handed_over = detector.events[..stream.handed_over()].to_vec();
        account.events.insert(stream.source.to_owned(), handed_over);
        if stream.panics {
            account.failed.insert(stream.source.to_owned());
            account.events.insert(stream.source.to_owned(), vec![vec![BEFORE_THE_PANIC.to_vec()]]);
            world.swap(stream.source, &bad_plugin("panics_in_next"), "{}")?;
        } else {
            detectors.push(detector);
        }
    }
    for worker in &plan.workers {
        account.lost_connections.insert(worker.clone(), plan.lost_connections(worker));
    }

    // Redis faults before the first list begin before the scan; the others need the scan.
    let mut troubles = Vec::new();
    let mut faults = plan.faults.iter().filter(|(_, fault, _)| *fault != Fault::IngesterEnded).peekable();
    let in_redis = |fault: &Fault| matches!(fault, Fault::RedisHeld | Fault::RedisCut | Fault::RedisSlow);
    while let Some((_, fault, lasts)) = faults.next_if(|(after, fault, _)| *after == 0 && in_redis(fault)) {
        troubles.push(Trouble::begin(world, plan, (*fault, *lasts), &mut account.arrived)?);
    }
    let capture = begin_capture(world, plan)?;
    let streams: Vec<_> = plan.streams.iter().map(|stream| stream.source).collect();
    world.controller.publish(&world.controller.update(&streams, false));
    let deadline = Instant::now() + LIMIT;
    while !is_ready(world)? {
        ensure!(Instant::now() < deadline, "it does not begin");
        end_troubles(&mut troubles, world, plan, false)?;
        thread::sleep(LOOK);
    }

    // They belong to the previous scan.
    world.kept.clear();
    let mut running = Vec::new();
    let mut told = 0;
    let mut was_killed = false;
    for list in 0..=plan.lists.len() {
        if list == plan.detectors_after && !was_killed {
            let start = |detector: Detector| thread::spawn(move || detector.run());
            running.extend(detectors.drain(..).map(start));
        }
        while let Some((_, fault, lasts)) = faults.next_if(|(after, ..)| *after <= list) {
            if *fault == Fault::RedisEmptied {
                // Assignments that are not yet read would be lost; a real controller would not continue after that.
                wait(world, "the assignments to be read", |status| assigned(status) >= named(plan, told))?;
            }
            was_killed |= *fault == Fault::IngesterKilled;
            troubles.push(Trouble::begin(world, plan, (*fault, *lasts), &mut account.arrived)?);
        }
        end_troubles(&mut troubles, world, plan, false)?;
        let Some(until) = plan.lists.get(list) else { break };
        if !(was_killed && told > 0) {
            tell(world, plan, told..*until);
            if plan.faults.iter().any(|(_, fault, _)| *fault == Fault::Repeated) {
                tell(world, plan, told..*until);
            }
            told = *until;
        }
    }
    end_troubles(&mut troubles, world, plan, true)?;
    let owned = |streams: &std::collections::BTreeMap<&str, Vec<String>>| {
        streams.iter().map(|(stream, workers)| ((*stream).to_owned(), workers.clone())).collect()
    };
    account.assignments = plan.assignments[..told].iter().map(owned).collect();

    if was_killed {
        world.controller.repeat();
        world.controller.wait_ready(INGESTER);
        world.controller.finish_and_wait(INGESTER);
        collect(world, &mut account, false)?;
        end_capture(capture)?;
        // The detectors have sent to the ingester that was killed.
        drop(running);
        return account.check_order().map_err(|wrong| anyhow!(wrong.join("\n")));
    }
    collect(world, &mut account, true)?;
    for detector in running {
        world.kept.extend(join(detector)?);
    }
    world.controller.finish_and_wait(INGESTER);
    let mapping = json!(world.controller.mapping);
    let status = wait(world, "the end in status", |status| status["finished"] == mapping)?;
    check_capture(&status, plan, account.whole_events())?;
    end_capture(capture)?;
    account.check(&status).map_err(|wrong| anyhow!("{}\n{status:#}", wrong.join("\n")))
}

/// Whether the ingester publishes the mapping. Redis may be slow or unavailable.
fn is_ready(world: &mut World) -> anyhow::Result<bool> {
    world.host()?;
    let mapping = json!(world.controller.mapping);
    Ok(world.controller.state(INGESTER).is_some_and(|state| state["mapping_uuid"] == mapping))
}

fn tell(world: &mut World, plan: &Plan, events: std::ops::Range<usize>) {
    let event = |number: usize| json!({"event_number": number, "assignments": plan.assignments[number]});
    world.controller.assign_raw(json!(events.map(event).collect::<Vec<_>>()).to_string());
}

/// Number of events with a stream among the first `told`.
fn named(plan: &Plan, told: usize) -> u64 {
    plan.assignments[..told].iter().filter(|assignment| !assignment.is_empty()).count() as u64
}

/// Number of events assigned, according to the ingester.
fn assigned(status: &Value) -> u64 {
    let count = |what: &str| status[what].as_u64().unwrap_or(0);
    count("processed_events") + count("assignments_waiting")
}

/// Ends faults whose time is over; waits for it if `wait`.
fn end_troubles(troubles: &mut Vec<Trouble>, world: &mut World, plan: &Plan, wait: bool) -> anyhow::Result<()> {
    let mut lasting = Vec::new();
    for trouble in troubles.drain(..) {
        match trouble.left() {
            left if wait || left.is_zero() => {
                thread::sleep(left);
                trouble.end(world, plan)?;
            }
            _ => lasting.push(trouble),
        }
    }
    *troubles = lasting;
    Ok(())
}

fn wait(world: &mut World, what: &str, wanted: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
    let deadline = Instant::now() + LIMIT;
    let mut last = None;
    loop {
        if let Some(status) = world.status()? {
            if wanted(&status) {
                return Ok(status);
            }
            last = Some(status);
        }
        ensure!(Instant::now() < deadline, "waited in vain for {what}: {:#}", last.unwrap_or_default());
        thread::sleep(LOOK);
    }
}

/// Reads messages until all possible ones have arrived.
fn collect(world: &mut World, account: &mut Account, all: bool) -> anyhow::Result<()> {
    if all {
        let whole = account.whole_events();
        let is_done = |status: &Value| {
            let none = |what: &str| status["workers"].as_array().into_iter().flatten().all(|one| one[what] == 0);
            status["processed_events"].as_u64() >= Some(whole) && none("waiting")
        };
        wait(world, "everything to be sent", is_done)?;
    }
    let expected: Vec<_> = account.expected().into_iter().map(|(name, all)| (name.to_owned(), all.len())).collect();
    for (name, station) in &world.workers {
        let expected = expected.iter().find(|(known, _)| known == name).map_or(0, |(_, count)| *count);
        let is_whole = all && account.lost_connections.get(name) == Some(&0);
        let got = account.arrived.entry(name.clone()).or_default();
        // A worker whose connection ended may have lost messages: it is done when no more arrive.
        while let Some(message) = match is_whole && got.len() < expected {
            true => station.worker.within(LIMIT),
            false => station.worker.within(if is_whole { Duration::ZERO } else { SILENCE }),
        } {
            got.push(message);
        }
    }
    Ok(())
}

fn join(detector: JoinHandle<anyhow::Result<Option<TcpStream>>>) -> anyhow::Result<Option<TcpStream>> {
    match detector.join() {
        Ok(result) => result.context("a detector"),
        Err(_) => bail!("a detector has panicked"),
    }
}

/// Creates a new mapping and sets the capture's path; returns the path.
fn begin_capture(world: &mut World, plan: &Plan) -> anyhow::Result<std::path::PathBuf> {
    let mapping = world.controller.new_mapping();
    let prefix = world.folder.path().join("capture-");
    let path = std::path::PathBuf::from(format!("{}{INGESTER}-{mapping}.cbors", prefix.display()));
    if plan.capture == Capture::FullDisk {
        symlink("/dev/full", &path)?;
    }
    let value = if plan.capture == Capture::Off { String::new() } else { prefix.display().to_string() };
    world.controller.store_parameter("dump_prefix", value.as_bytes());
    Ok(path)
}

fn check_capture(status: &Value, plan: &Plan, events: u64) -> anyhow::Result<()> {
    let capture = &status["capture"];
    let count = |what: &str| capture[what].as_u64().unwrap_or(0);
    let is_right = match plan.capture {
        Capture::Off => true,
        // Without a descriptor there is no file.
        _ if plan.faults.iter().any(|(_, fault, _)| *fault == Fault::NoDescriptors) => true,
        Capture::Disk => count("written") == events && count("not_written") == 0 && capture["fault"].is_null(),
        Capture::FullDisk => {
            count("written") + count("not_written") == events && (events == 0 || !capture["fault"].is_null())
        }
    };
    ensure!(is_right, "{events} events, and the capture says {capture}");
    Ok(())
}

fn end_capture(path: std::path::PathBuf) -> anyhow::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// The event that the plugin `panics_in_next` yields before it panics.
const BEFORE_THE_PANIC: &[u8] = &[7; 10];
/// Limit for every step that faults can delay.
const LIMIT: Duration = Duration::from_secs(30);
/// After this time without a message, there are no more.
const SILENCE: Duration = Duration::from_millis(300);
const LOOK: Duration = Duration::from_millis(5);
