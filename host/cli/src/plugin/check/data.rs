//! Checks of a source's output, and of its reaction to input.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    thread,
    time::Duration,
};

use framegate_plugin_abi::caller::Fault;
use framegate_plugin_api::Progress;

use super::{
    bench::{Bench, Event, PULL, Trial, shown},
    capture::Capture,
    feed, junk, play,
    upstream::{Kind, Message},
    verdict::{Checked, Wrong, fault},
};

/// Some events, from the command of `--feed`, the capture, or the source itself. The run stays open. `each` is called with
/// every event at once.
fn some(trial: &mut Trial<'_>, each: impl FnMut(&Event)) -> Result<Vec<Event>, Wrong> {
    let bench = trial.bench;
    match &bench.task.feed {
        Some(command) => feed::some(trial, command, MOST, each),
        None => play::some(trial, bench.task.upstream, bench.messages(), MOST, each),
    }
}

pub(super) fn events(bench: &Bench) -> Checked {
    let mut trial = bench.create()?;
    let upstream = bench.task.upstream;
    let Some(capture) = &bench.capture else {
        let fed = bench.task.feed.is_some();
        if !fed && upstream != Kind::None {
            return Err(Wrong::NotChecked(NEEDS_CAPTURE.into()));
        }
        let events = some(&mut trial, |_| {})?;
        silent_after_the_end(&mut trial)?;
        let of = if fed { " of the command of --feed" } else { "" };
        let seen = events.first().map(|first| format!("{} events{of}; the first: {}", events.len(), shown(first)));
        // Frames that outlive their source have their own check.
        drop(events);
        trial.destroy()?;
        return seen.ok_or_else(|| match fed {
            true => Wrong::failed("no event came while the command of --feed ran", NO_EVENT_OF_FEED),
            false => Wrong::NotChecked("it gave none within a second".into()),
        });
    };
    if bench.task.upstream == Kind::None {
        return Err(Wrong::NotChecked(format!("the capture cannot be played: {}", bench.task.upstream.about())));
    }
    let seen = match alike(&mut trial, capture, 0) {
        // A source that receives on a thread of its own may be late on a machine with much other load.
        Err(Wrong::Failed { .. }) => alike(&mut trial, capture, play::PATIENT),
        seen => seen,
    }?;
    trial.destroy()?;
    Ok(seen)
}

/// Plays the capture twice: both times it must give the expected events.
fn alike(trial: &mut Trial<'_>, capture: &Capture, patience: u32) -> Checked {
    let upstream = trial.bench.task.upstream;
    let first = play::play(trial, upstream, &capture.messages, patience)?;
    let second = play::play(trial, upstream, &capture.messages, patience)?;
    as_expected(capture, &first.events)?;
    let all = |events: &[Event]| events.iter().map(digest).collect::<Vec<_>>();
    if all(&first.events) != all(&second.events) || first.skipped != second.skipped {
        let why = format!(
            "the same capture gave {} events, and {} the second time, or others",
            first.events.len(),
            second.events.len()
        );
        return Err(Wrong::failed(why, "keep the state of a scan in the run, not in the source"));
    }
    Ok(format!(
        "{} messages in {} runs gave {} events, {} were counted as skipped",
        capture.messages.len(),
        first.runs,
        first.events.len(),
        first.skipped
    ))
}

/// Compares with a dump whose frames were the messages: each must be one event, unchanged.
fn as_expected(capture: &Capture, events: &[Event]) -> Result<(), Wrong> {
    if events.is_empty() {
        let why = format!("{} messages gave no event", capture.messages.len());
        return Err(Wrong::failed(
            why,
            "is it a capture of this protocol? the source counts the reasons in its status (`skipped`)",
        ));
    }
    let Some(expected) = &capture.expected else { return Ok(()) };
    let hint = "is it a capture of this protocol? otherwise the source loses or changes events";
    for (index, (typ, parts)) in expected.iter().zip(&capture.messages).enumerate() {
        let Some(event) = events.get(index) else {
            let why = format!("{} events came, the capture has {}", events.len(), expected.len());
            return Err(Wrong::failed(why, hint));
        };
        let same = event.frames.len() == parts.len()
            && event.frames.iter().zip(parts).all(|(frame, part)| frame.as_slice() == part);
        if event.typ != typ || !same {
            let bytes: usize = parts.iter().map(Vec::len).sum();
            let why = format!(
                "event {index} is {}, expected {typ} with {} frames, {bytes} bytes, or its bytes differ",
                shown(event),
                parts.len()
            );
            return Err(Wrong::failed(why, hint));
        }
    }
    if events.len() > expected.len() {
        return Err(Wrong::failed(format!("{} events came, the capture has {}", events.len(), expected.len()), hint));
    }
    Ok(())
}

/// After the end of a run no events may come.
fn silent_after_the_end(trial: &mut Trial<'_>) -> Result<(), Wrong> {
    let mut ended = false;
    for _ in 0..3 {
        let pulled = trial.next(Duration::from_millis(10))?;
        if ended && !pulled.events.is_empty() {
            let why = format!("next gave {} events after it had said that the run was over", pulled.events.len());
            return Err(Wrong::failed(why, "answer END with the last event, or after it, and give none from then on"));
        }
        ended |= pulled.progress == Progress::End;
    }
    Ok(())
}

pub(super) fn frames(bench: &Bench) -> Checked {
    let mut trial = bench.create()?;
    // One event per call: if the source overwrites its buffer for the next event, this shows.
    trial.limits.events = 1;
    let mut before = Vec::new();
    let events = some(&mut trial, |event| before.push(digest(event)))?;
    if events.is_empty() {
        let why = if bench.task.upstream == Kind::None { "it gave no event within a second" } else { NEEDS_CAPTURE };
        return Err(Wrong::NotChecked(why.into()));
    }
    let count: usize = events.iter().map(|event| event.frames.len()).sum();
    let mut owners = HashMap::new();
    for frame in events.iter().flat_map(|event| &event.frames).filter(|frame| frame.owner() != 0) {
        // Parts of one buffer may share an owner that counts them; the very same bytes twice are one frame given twice.
        if !frame.is_empty() && owners.insert((frame.owner(), frame.as_slice().as_ptr() as usize), ()).is_some() {
            let why = "the same buffer was given as two frames, so its release is called twice";
            return Err(Wrong::failed(why, "give each buffer once; its release frees it once"));
        }
    }
    let stays = |events: &[Event], when: &str| match events
        .iter()
        .zip(&before)
        .position(|(event, before)| digest(event) != *before)
    {
        None => Ok(()),
        Some(index) => Err(Wrong::failed(
            format!("the bytes of event {index} have changed {when}, while the host had them"),
            "a frame's bytes belong to the host until release: do not reuse or free its buffer before",
        )),
    };
    stays(&events, "when later ones were made")?;
    // Half of them are dropped while the source is working, on another thread as in a host.
    if !trial.instance.on_demand() {
        trial.next(PULL)?;
    }
    stays(&events, "during a later call")?;
    let mut kept: Vec<Event> = events;
    let early: Vec<Event> = kept.split_off(kept.len() / 2);
    bench.answers.step("release of a frame");
    let _ = thread::spawn(move || drop(early)).join();
    if !trial.instance.on_demand() {
        trial.next(PULL)?;
    }
    trial.destroy()?;
    stays(&kept, "after close and destroy")?;
    bench.answers.step("release of a frame after destroy");
    let _ = thread::spawn(move || drop(kept)).join();
    Ok(format!("{count} frames, each released once, half of them after the source was gone"))
}

pub(super) fn input(bench: &Bench) -> Checked {
    let mut trial = bench.create()?;
    if bench.task.upstream == Kind::None {
        return Err(Wrong::DoesNotApply("it takes no input that could be given here".into()));
    }
    let (mut upstream, mut met) = play::open_with(&mut trial, bench.task.upstream)?;
    let (mut sent, mut errors) = (0_u32, 0_u32);
    for (what, message) in junk::messages(bench.messages(), bench.task.quick) {
        if !met {
            return Err(Wrong::NotChecked("the source did not connect to the detector that was played".into()));
        }
        sent += u32::from(upstream.send(&message));
        for _ in 0..2 {
            bench.answers.step(&format!("next, after {what}"));
            match trial.try_next(PULL / 5) {
                Ok(pulled) if pulled.events.is_empty() => break,
                Ok(_) => {}
                Err(Fault::Source(_)) => errors += 1,
                Err(problem) => return Err(after(&what, fault("next", &problem))),
            }
        }
        // A source may close a connection because of bad input, and a run may end: then a new run continues.
        if errors > 0 && !upstream.is_met() || bench.task.upstream == Kind::Tcp && sent.is_multiple_of(5) {
            upstream.hang_up();
        }
        if !upstream.is_met() || trial.next(Duration::ZERO).is_ok_and(|pulled| pulled.progress == Progress::End) {
            trial.close()?;
            drop(upstream);
            (upstream, met) = play::open_with(&mut trial, bench.task.upstream)?;
        }
    }
    trial.close()?;
    drop(upstream);
    if let Some(capture) = &bench.capture {
        // The next valid message must be served.
        let capture: &[Message] = &capture.messages[..capture.messages.len().min(20)];
        let mut gives = |patience| -> Result<bool, Wrong> {
            Ok(!play::play(&mut trial, bench.task.upstream, capture, patience)?.events.is_empty())
        };
        if !gives(0)? && !gives(play::PATIENT)? {
            let why = "after bad input a good capture gave no event";
            return Err(Wrong::failed(why, "skip and count a bad message; its data must not reach the next run"));
        }
    }
    trial.destroy()?;
    Ok(format!("{sent} bad messages"))
}

fn after(what: &str, wrong: Wrong) -> Wrong {
    match wrong {
        Wrong::Failed { why, .. } => {
            let hint = "skip and count what is malformed, by reason; check every length before it is used";
            Wrong::failed(format!("after {what}: {why}"), hint)
        }
        other => other,
    }
}

fn digest(event: &Event) -> u64 {
    let mut hasher = DefaultHasher::new();
    event.typ.hash(&mut hasher);
    event.frames.iter().for_each(|frame| frame.as_slice().hash(&mut hasher));
    hasher.finish()
}

/// Maximum number of events to check.
const MOST: usize = 200;
const NEEDS_CAPTURE: &str =
    "its events come from a detector: give a capture with --against, or a command that plays the detector with --feed";
const NO_EVENT_OF_FEED: &str =
    "does the command send to {port} of 127.0.0.1, in this source's protocol? try it by hand, with `framegate run`";
