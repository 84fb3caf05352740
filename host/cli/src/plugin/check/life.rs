//! Checks of a source's life: created, opened, closed and destroyed as often as a host likes, with nothing left behind.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use super::{
    bench::{Bench, PULL, Services},
    play,
    process::{self, Holds},
    verdict::{Checked, Wrong, fault},
};

pub(super) fn create(bench: &Bench) -> Checked {
    let trial = bench.create()?;
    let what = if trial.instance.on_demand() { "it is asked for each event" } else { "it gives events by itself" };
    trial.destroy()?;
    Ok(format!("{what}; {}", bench.task.upstream.about()))
}

pub(super) fn run(bench: &Bench) -> Checked {
    let mut trial = bench.create()?;
    let (_upstream, _) = play::open_with(&mut trial, bench.task.upstream)?;
    let events = if trial.instance.on_demand() {
        trial.trigger(0)?.len()
    } else {
        let first = trial.next(PULL)?.events.len();
        first + trial.next(PULL)?.events.len()
    };
    trial.close()?;
    if let Some(line) = trial.services.panics() {
        return Err(Wrong::failed(line, "catch errors in a thread, and return them from the next call"));
    }
    trial.destroy()?;
    Ok(if events == 0 { "no events without a detector".into() } else { format!("{events} events") })
}

pub(super) fn reopen(bench: &Bench) -> Checked {
    let mut trial = bench.create()?;
    let one = |trial: &mut super::bench::Trial<'_>| -> Result<(), Wrong> {
        let (_upstream, _) = play::open_with(trial, bench.task.upstream)?;
        if !trial.instance.on_demand() {
            trial.next(Duration::from_millis(1))?;
        }
        trial.close()
    };
    // Objects that are created once and kept are not a leak.
    (0..3).try_for_each(|_| one(&mut trial))?;
    let before = Holds::now();
    let times = bench.times(100);
    (0..times).try_for_each(|_| one(&mut trial))?;
    match Holds::more_than(&before, SETTLE) {
        Some(more) => Err(Wrong::failed(
            format!("after {times} runs there are {more}"),
            "release in the run's drop (close) everything that open has taken, and wait for its threads there",
        )),
        None => Ok(format!("{times} runs, no thread or descriptor more")),
    }
}

pub(super) fn drop(bench: &Bench) -> Checked {
    let one = || -> Result<Arc<Services>, Wrong> {
        let mut trial = bench.create()?;
        let (_upstream, _) = play::open_with(&mut trial, bench.task.upstream)?;
        if !trial.instance.on_demand() {
            trial.next(Duration::from_millis(10))?;
        }
        trial.destroy()
    };
    one()?;
    let before = Holds::now();
    let times = bench.times(20);
    let mut all = Vec::new();
    for _ in 0..times {
        all.push(one()?);
    }
    let hint = "before drop (destroy) returns, end all threads of the source and release everything";
    // Services that were not released hold a descriptor of ours: report them as such, not as one more descriptor.
    let given_back = |services: &Arc<Services>| {
        let deadline = Instant::now() + SETTLE;
        while Arc::strong_count(services) > 1 && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
        Arc::strong_count(services) == 1
    };
    if !all.iter().all(given_back) {
        let why = "it did not release the host's context (host->release): a thread of it still runs, or it forgot";
        return Err(Wrong::failed(why, hint));
    }
    thread::sleep(AFTERWARDS);
    let stray: u64 = all.iter().map(|services| services.stray()).sum();
    if stray > 0 {
        let why = format!("it called the host {stray} times after it had released the host's context");
        return Err(Wrong::failed(why, hint));
    }
    all.clear();
    match Holds::more_than(&before, SETTLE) {
        Some(more) => Err(Wrong::failed(format!("after {times} sources that were dropped there are {more}"), hint)),
        None => Ok(format!("{times} sources made and dropped, nothing left")),
    }
}

pub(super) fn memory(bench: &Bench) -> Checked {
    let mut trial = bench.create()?;
    let messages = bench.messages();
    let messages = &messages[..messages.len().min(20)];
    let times = bench.times(60);
    let mut events = 0;
    let mut cycle = |trial: &mut super::bench::Trial<'_>| -> Result<(), Wrong> {
        events += play::some(trial, bench.task.upstream, messages, 20, |_| {})?.len();
        trial.close()
    };
    (0..times).try_for_each(|_| cycle(&mut trial))?;
    let before = process::memory();
    (0..times).try_for_each(|_| cycle(&mut trial))?;
    let middle = process::memory();
    (0..times).try_for_each(|_| cycle(&mut trial))?;
    let after = process::memory();
    let grew = |from: u64, to: u64| to.saturating_sub(from);
    if grew(before, middle) > GROWTH && grew(middle, after) > GROWTH {
        let each = (after - before) / u64::from(2 * times);
        let why = format!("each run with its events leaves {} behind", bytesize::ByteSize(each));
        return Err(Wrong::failed(why, "free a frame in its release, and the memory of the run in its drop (close)"));
    }
    Ok(format!("{} runs with {events} events", 3 * times))
}

pub(super) fn parameters(bench: &Bench) -> Checked {
    let mut trial = bench.create()?;
    bench.answers.step("parameters");
    let described = trial.instance.parameters().map_err(|problem| fault("parameters", &problem))?;
    let hint = "describe a JSON list of {name, description, dtype, default}; framegate_plugin_api::Parameter does it";
    let parameters: Vec<framegate::Parameter> = match described.as_deref() {
        None => Vec::new(),
        Some(json) => serde_json::from_str(json).map_err(|problem| {
            Wrong::failed(format!("the description of its parameters is invalid: {problem}"), hint)
        })?,
    };
    for parameter in &parameters {
        parameter.default_of_type().map_err(|why| {
            let hint = "give a default of the type in dtype; framegate_plugin_api::Parameter takes the type from it";
            Wrong::failed(format!("parameter {:?}: {why}", parameter.name), hint)
        })?;
    }
    bench.answers.step("set_parameter");
    for value in [b"".as_slice(), b"\xff\xfe", b"not a value", &[b'9'; 10_000]] {
        for name in parameters.iter().map(|parameter| parameter.name.as_str()).chain(["no_such_parameter"]) {
            use framegate_plugin_abi::caller::Fault;
            match trial.instance.set_parameter(name, value) {
                Ok(()) if name == "no_such_parameter" => {
                    let why = "it takes a value of a parameter that it does not have";
                    return Err(Wrong::failed(
                        why,
                        "refuse names that are not described, with an error that names them",
                    ));
                }
                Ok(()) | Err(Fault::Source(_)) => {}
                Err(problem) => return Err(fault("set_parameter", &problem)),
            }
        }
    }
    trial.destroy()?;
    Ok(if parameters.is_empty() { "it has none".into() } else { format!("{} parameters", parameters.len()) })
}

/// A thread that was told to end needs a moment.
const SETTLE: Duration = Duration::from_millis(500);
/// How long to watch for calls after the end.
const AFTERWARDS: Duration = Duration::from_millis(300);
/// Memory that the allocator may take for itself in a third of the runs.
const GROWTH: u64 = 384 << 10;
