//! Generations: one loaded copy of a plugin file each, for one stream, known by the stream and the content's hash.
//!
//! A list for the whole process, because what was loaded stays loaded: a stream that asks for the same content again gets its
//! generation again. The lock guards the list only; nothing is loaded or called under it.

use std::{
    fmt,
    path::Path,
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::Duration,
};

use framegate_plugin_abi::{caller::Plugin, frame::Ledger};
use serde::Serialize;

use super::{
    inspect::Inspected,
    load,
    refusal::{Code, Refusal},
};

/// One plugin file for one stream.
pub(crate) struct Generation {
    stream: String,
    sha256: String,
    /// Where it came from, for people: `stins 0.1.0 (/path/to/libframegate_stins.so)`.
    description: String,
    /// Frames that it gave and that came back. Frames point to it on any thread, so it lives for ever.
    ledger: &'static Ledger,
    state: Mutex<State>,
    /// Rung when `Loading` ends.
    settled: Condvar,
}

enum State {
    /// No code of it has run.
    Inspected(Box<Inspected>),
    /// A thread is loading it; if it never gets through, this is the last state.
    Loading,
    Loaded(Plugin),
    Refused(Refusal),
}

/// What status tells of a generation.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct GenerationReport {
    pub(crate) stream: String,
    /// Name, version and file.
    pub(crate) source: String,
    /// Of the file's content, in hexadecimal.
    pub(crate) sha256: String,
    /// `inspected`, `loading`, `loaded` or `refused`.
    pub(crate) state: &'static str,
    /// Frames that it gave to the host.
    pub(crate) frames_given: u64,
    /// Of them, those that it got back: nobody holds them any more.
    pub(crate) frames_returned: u64,
}

/// All generations of the process.
pub(crate) fn reports() -> Vec<GenerationReport> {
    let generations = GENERATIONS.lock().unwrap_or_else(PoisonError::into_inner).clone();
    generations.iter().map(|generation| generation.report()).collect()
}

/// The loader runs out of keys for thread-locals after about 1,000 libraries that use the standard library's threads, and
/// then ends the process.
const MOST_GENERATIONS: usize = 500;

/// How long one thread waits for another that loads the same generation. Loading takes a millisecond or two.
const LOADING: Duration = Duration::from_secs(5);

static GENERATIONS: Mutex<Vec<Arc<Generation>>> = Mutex::new(Vec::new());

impl Generation {
    /// The generation of this content for this stream; loads nothing yet.
    pub(crate) fn of(stream: &str, inspected: Inspected) -> Result<Arc<Self>, Refusal> {
        let mut generations = GENERATIONS.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |known: &&Arc<Self>| known.stream == stream && known.sha256 == inspected.sha256 && known.is_usable();
        if let Some(known) = generations.iter().find(same) {
            return Ok(known.clone());
        }
        if generations.len() >= MOST_GENERATIONS {
            let found = format!(
                "{} would be plugin number {} of this process, allowed are {MOST_GENERATIONS}",
                inspected.path.display(),
                generations.len() + 1
            );
            return Err(Refusal::new(Code::Generations, found, "restart framegate"));
        }
        let new = Arc::new(Self {
            stream: stream.to_owned(),
            sha256: inspected.sha256.clone(),
            description: describe(&inspected.note.protocol, &inspected.note.version, &inspected.path),
            ledger: Box::leak(Box::default()),
            state: Mutex::new(State::Inspected(Box::new(inspected))),
            settled: Condvar::new(),
        });
        generations.push(new.clone());
        Ok(new)
    }

    /// Its functions; loads it if it is not. [instance thread: code of the plugin may run, and hang]
    pub(crate) fn plugin(&self) -> Result<Plugin, Refusal> {
        let inspected = {
            let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            // Two hosts of one process may ask at the same moment.
            let loading = |state: &mut State| matches!(state, State::Loading);
            let waited = self.settled.wait_timeout_while(state, LOADING, loading);
            let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
            match &*state {
                State::Loaded(plugin) => return Ok(*plugin),
                State::Refused(refusal) => return Err(refusal.clone()),
                State::Loading => {
                    let found =
                        format!("{} is being loaded by another thread, which does not get through", self.description);
                    return Err(Refusal::new(Code::Load, found, "restart framegate"));
                }
                State::Inspected(_) => {}
            }
            match std::mem::replace(&mut *state, State::Loading) {
                State::Inspected(inspected) => inspected,
                _ => unreachable!("looked at three lines up, under the same lock"),
            }
        };
        let loaded = load::load(&inspected, self.ledger);
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = match &loaded {
            Ok(plugin) => State::Loaded(*plugin),
            Err(refusal) => State::Refused(refusal.clone()),
        };
        self.settled.notify_all();
        loaded
    }

    /// Name, version and file.
    pub(crate) fn description(&self) -> &str {
        &self.description
    }

    fn report(&self) -> GenerationReport {
        let state = match &*self.state.lock().unwrap_or_else(PoisonError::into_inner) {
            State::Inspected(_) => "inspected",
            State::Loading => "loading",
            State::Loaded(_) => "loaded",
            State::Refused(_) => "refused",
        };
        // In this order: a frame that is given and comes back in between must not look like one too many.
        let frames_returned = self.ledger.released();
        let frames_given = self.ledger.delivered();
        GenerationReport {
            stream: self.stream.clone(),
            source: self.description.clone(),
            sha256: self.sha256.clone(),
            state,
            frames_given,
            frames_returned,
        }
    }

    fn is_usable(&self) -> bool {
        !matches!(*self.state.lock().unwrap_or_else(PoisonError::into_inner), State::Loading | State::Refused(_))
    }
}

fn describe(protocol: &str, version: &str, path: &Path) -> String {
    format!("{protocol} {version} ({})", path.display())
}

impl fmt::Debug for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generation")
            .field("stream", &self.stream)
            .field("source", &self.description)
            .finish_non_exhaustive()
    }
}
