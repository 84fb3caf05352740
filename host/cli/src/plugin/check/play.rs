//! A run with a simulated detector: opened, connected, and fed message by message.
//!
//! Used on the child's main thread. One message is sent, then `next` is called until the source has processed it: so no
//! message is lost when a run ends and the next one is opened.

use std::time::{Duration, Instant};

use framegate_plugin_api::Progress;

use super::{
    bench::{Event, PULL, Trial},
    upstream::{Kind, Message, Upstream},
    verdict::Wrong,
};

/// The result of playing a capture.
#[derive(Debug, Default)]
pub(super) struct Played {
    pub(super) events: Vec<Event>,
    /// Number of messages that were counted as giving no event.
    pub(super) skipped: u64,
    pub(super) runs: u32,
}

/// Opens a run with a running detector, and waits a little until they are connected.
pub(super) fn open_with(trial: &mut Trial<'_>, kind: Kind) -> Result<(Upstream, bool), Wrong> {
    let mut upstream = Upstream::start(kind, &trial.ports)?;
    trial.open()?;
    let met = kind != Kind::None && meet(trial, &mut upstream)?;
    Ok((upstream, met))
}

fn meet(trial: &mut Trial<'_>, upstream: &mut Upstream) -> Result<bool, Wrong> {
    let deadline = Instant::now() + MEET;
    loop {
        if upstream.is_met() {
            return Ok(true);
        }
        if Instant::now() >= deadline {
            return Ok(false);
        }
        if !trial.instance.on_demand() {
            // Some sources connect in the background, between two calls.
            trial.next(Duration::from_millis(10))?;
        }
    }
}

/// Feeds the messages, in as many runs as necessary. `patience`: calls of `next` with no result, for all messages
/// together, beyond the few that each message is waited for.
pub(super) fn play(
    trial: &mut Trial<'_>,
    kind: Kind,
    messages: &[Message],
    mut patience: u32,
) -> Result<Played, Wrong> {
    let mut played = Played { runs: 1, ..Played::default() };
    let (mut upstream, _) = open_with(trial, kind)?;
    let mut skipped_in_run = 0;
    let mut messages = messages.iter().enumerate().peekable();
    while let Some((index, message)) = messages.next() {
        if !upstream.send(message) {
            return Err(Wrong::NotChecked(format!("message {index} of the capture could not be sent to the source")));
        }
        let mut ended = false;
        for call in 1..=MOST_CALLS {
            let pulled = trial.next(PULL / 2)?;
            let nothing = pulled.events.is_empty();
            played.events.extend(pulled.events);
            ended = pulled.progress == Progress::End;
            let skipped = trial.skipped()?;
            let counted = skipped > skipped_in_run;
            skipped_in_run = skipped;
            if ended || counted || !nothing || call >= FEW_CALLS && patience == 0 {
                break;
            }
            patience -= u32::from(call >= FEW_CALLS);
        }
        if ended && messages.peek().is_some() {
            trial.close()?;
            drop(upstream);
            played.skipped += std::mem::take(&mut skipped_in_run);
            played.runs += 1;
            (upstream, _) = open_with(trial, kind)?;
        }
    }
    // The result of several messages may still be on its way.
    played.events.extend(trial.next(PULL)?.events);
    played.skipped += skipped_in_run;
    trial.close()?;
    Ok(played)
}

/// Some events, from any known input; none if no input is known. The run stays open. `each` is called with every event at once.
pub(super) fn some(
    trial: &mut Trial<'_>,
    kind: Kind,
    messages: &[Message],
    most: usize,
    mut each: impl FnMut(&Event),
) -> Result<Vec<Event>, Wrong> {
    let mut events = Vec::new();
    let (mut upstream, _) = open_with(trial, kind)?;
    if trial.instance.on_demand() {
        for number in 0..most as u64 {
            let given = trial.trigger(number)?;
            given.iter().for_each(&mut each);
            events.extend(given);
        }
        return Ok(events);
    }
    let deadline = Instant::now() + ENOUGH;
    let mut messages = messages.iter();
    while events.len() < most && Instant::now() < deadline {
        let sent = messages.next().is_some_and(|message| upstream.send(message));
        let pulled = trial.next(if sent { PULL / 2 } else { PULL / 4 })?;
        pulled.events.iter().for_each(&mut each);
        events.extend(pulled.events);
        if pulled.progress == Progress::End || (kind != Kind::None && !sent) {
            break;
        }
    }
    Ok(events)
}

/// Calls of `next` for a message that gives nothing: without patience, and at most.
const FEW_CALLS: u32 = 3;
const MOST_CALLS: u32 = 20;
/// Patience for a machine with much other load: ten seconds.
pub(super) const PATIENT: u32 = 200;
/// How long a source may take to find a running detector: ZeroMQ retries every 100 ms.
const MEET: Duration = Duration::from_millis(1500);
/// How long events are collected from a slow source.
const ENOUGH: Duration = Duration::from_secs(1);
