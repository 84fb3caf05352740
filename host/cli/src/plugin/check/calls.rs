//! Checks of single calls: they keep their time limit, return on a stop request, and refuse invalid settings.

use std::time::{Duration, Instant};

use framegate_plugin_abi::{caller::Fault, codes::ErrorKind};
use framegate_plugin_api::Progress;
use serde_json::{Value, json};

use super::{
    bench::{Bench, PULL, Trial},
    play, redirect,
    verdict::{Checked, Wrong, fault},
};

pub(super) fn settings(bench: &Bench) -> Checked {
    let mut tried = 0;
    // No host gives such settings: any answer is allowed except a crash, a panic or garbage.
    let nested = "[".repeat(100_000) + &"]".repeat(100_000);
    for text in ["", "{", "null", "[]", "7", "\"text\"", "{\"a\": nul", "\u{0}", nested.as_str()] {
        tried += 1;
        let (made, _) = bench.create_with(text)?;
        match made {
            Ok(instance) => drop(instance),
            Err(Fault::Source(_)) => {}
            Err(problem) => return Err(with_settings(&problem, text)),
        }
    }
    // Typical typing mistakes must be refused, as an error of the settings.
    let mut settings = bench.task.settings.clone();
    redirect::redirect(&mut settings);
    for (changed, what) in mistakes(&settings) {
        tried += 1;
        let text = changed.to_string();
        let (made, _) = bench.create_with(&text)?;
        match made {
            Err(Fault::Source(error)) if error.kind() != ErrorKind::Settings || error.message().is_empty() => {
                let why = format!(
                    "{what} is refused as a fault of {:?}, with the message {:?}",
                    error.kind(),
                    error.message()
                );
                return Err(Wrong::failed(
                    why,
                    "create the error with SourceError::settings, and name the setting in it",
                ));
            }
            Err(Fault::Source(_)) => {}
            Err(problem) => return Err(with_settings(&problem, &text)),
            Ok(instance) => {
                drop(instance);
                let hint = "refuse unknown settings: #[serde(deny_unknown_fields)], and a type for each setting";
                return Err(Wrong::failed(format!("{what} is accepted, so nobody notices the mistake"), hint));
            }
        }
    }
    Ok(format!("{tried} wrong settings, all refused"))
}

/// Settings with one mistake each.
fn mistakes(settings: &Value) -> Vec<(Value, String)> {
    let mut all = Vec::new();
    let mut change = |key: &str, value: Value, what: String| {
        let mut changed = settings.clone();
        changed[key] = value;
        all.push((changed, what));
    };
    change("no_such_setting_of_any_plugin", json!(1), "an unknown setting".to_owned());
    for key in settings.as_object().into_iter().flat_map(serde_json::Map::keys) {
        change(key, json!({ "wrong": [true] }), format!("settings.{key} of a wrong type"));
    }
    all
}

fn with_settings(problem: &Fault, settings: &str) -> Wrong {
    match fault("create", problem) {
        Wrong::Failed { why, hint } => Wrong::failed(format!("with the settings {settings:.60}: {why}"), hint),
        other => other,
    }
}

pub(super) fn deadline(bench: &Bench) -> Checked {
    let mut trial = bench.create()?;
    let (_upstream, _) = play::open_with(&mut trial, bench.task.upstream)?;
    let mut worst = Duration::ZERO;
    for left in [0, 1, 10, 50, 100].map(Duration::from_millis) {
        let mut late = usually_late(&mut trial, left, if bench.task.quick { 3 } else { 9 })?;
        if late > TOLERANCE {
            // On a busy machine all calls may be late for a while.
            late = late.min(usually_late(&mut trial, left, 25)?);
        }
        worst = worst.max(late);
        if late > TOLERANCE {
            let why = format!("next took {late:.0?} longer than the {left:.0?} that it had");
            return Err(Wrong::failed(why, "wait no longer than deadline.left(), and check it between messages"));
        }
    }
    trial.destroy()?;
    Ok(format!("at most {:.0} ms late", worst.as_secs_f64() * 1e3))
}

/// By how much `next` exceeds its time limit: the median of `calls` calls.
fn usually_late(trial: &mut Trial<'_>, left: Duration, calls: usize) -> Result<Duration, Wrong> {
    let mut late = Vec::with_capacity(calls);
    for _ in 0..calls {
        late.push(trial.next(left)?.took.saturating_sub(left));
    }
    late.sort();
    Ok(late[calls / 2])
}

pub(super) fn idle(bench: &Bench) -> Checked {
    let mut trial = bench.create()?;
    let (_upstream, _) = play::open_with(&mut trial, bench.task.upstream)?;
    let mut hasty = 0;
    for _ in 0..CALLS {
        let pulled = trial.next(PULL)?;
        match pulled.progress {
            Progress::End => break,
            _ if pulled.events.is_empty() && pulled.took < PULL / 20 => hasty += 1,
            _ => {}
        }
    }
    trial.destroy()?;
    if hasty > CALLS / 2 {
        let why = format!("{hasty} of {CALLS} calls of next returned at once with nothing");
        return Err(Wrong::failed(
            why,
            "wait for data until the deadline: the host calls again at once, and would spin",
        ));
    }
    Ok("next waits while there is nothing".into())
}

pub(super) fn stop(bench: &Bench) -> Checked {
    let mut worst = Duration::ZERO;
    let hint = "wait for the stop descriptor and your own, and check stop_requested in loops";
    let moments: &[u64] = if bench.task.quick { &[0, 20] } else { &[0, 1, 2, 5, 10, 20, 50, 100, 150] };
    for moment in moments.iter().copied().map(Duration::from_millis) {
        let mut trial = bench.create()?;
        // At any moment, also during open.
        let asked = trial.services.stop_after(moment);
        trial.open()?;
        while !asked.is_finished() {
            trial.next(PULL)?;
        }
        // One more call, as from a host that has not noticed the stop yet.
        trial.next(PULL)?;
        let asked = asked.join().map_err(|_| Wrong::NotChecked("the bench's own thread has died".into()))?;
        trial.services.go_on();
        trial.destroy()?;
        let took = asked.elapsed();
        worst = worst.max(took);
        if took > STOP {
            let why = format!("asked to stop {moment:?} after its open had begun, it took {took:.1?} to end");
            return Err(Wrong::failed(why, hint));
        }
    }
    Ok(format!("ended within {:.0} ms", worst.as_secs_f64() * 1e3))
}

pub(super) fn trigger(bench: &Bench) -> Checked {
    let mut trial = bench.create()?;
    trial.open()?;
    let began = Instant::now();
    let times = bench.times(100);
    for number in 0..u64::from(times) {
        let events = trial.trigger(number)?;
        if events.len() != 1 {
            let why = format!("asked for event {number} it gave {} events", events.len());
            return Err(Wrong::failed(
                why,
                "give exactly one event for each trigger: otherwise events are paired with wrong assignments",
            ));
        }
    }
    let each = began.elapsed() / times;
    trial.destroy()?;
    Ok(format!("{times} events, {:.1} ms each", each.as_secs_f64() * 1e3))
}

/// Delay that the clock and the scheduler of a busy machine may add.
const TOLERANCE: Duration = Duration::from_millis(50);
/// How long a source may take to end.
const STOP: Duration = Duration::from_secs(1);
const CALLS: u32 = 20;
