//! Generations: each is one loaded copy of a plugin file for one stream, identified by the stream and the content's
//! hash.
//!
//! The list is process-wide, because loaded code stays loaded: a stream that asks for the same content again gets the
//! same generation. Until its code is about to be loaded the list only refers weakly to a generation: if it is refused
//! before, its content is freed with its last user. The lock guards the list only; nothing is loaded or called under
//! it.

use std::{
    path::Path,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use framegate_plugin_abi::{caller::Plugin, frame::Ledger};

use super::{
    identity::SourceIdentity,
    inspect::Inspected,
    load,
    refusal::{Code, Refusal},
    report::GenerationReport,
};

/// One plugin file for one stream.
#[derive(Debug)]
pub(crate) struct Generation {
    stream: String,
    identity: SourceIdentity,
    /// Maximum number of generations in the process.
    most: usize,
    /// Counts the frames that its instances gave and that were released, one ledger for each instance. Frames point to
    /// them on any thread, so they live for ever: 128 bytes for each instance.
    ledgers: Mutex<Vec<&'static Ledger>>,
    state: Mutex<LoadState>,
    /// A call of it did not return: it is not used for another instance.
    written_off: AtomicBool,
    /// See [`GenerationReport::stray_calls`].
    stray_calls: AtomicU64,
    /// Notified when `Loading` ends.
    settled: Condvar,
}

#[derive(Debug)]
enum LoadState {
    /// None of its code has run.
    Inspected(Box<Inspected>),
    /// A thread is loading it; if the thread hangs, this is the last state.
    Loading,
    Loaded(Plugin, Duration),
    Refused(Refusal),
}

/// All generations of the process.
pub(crate) fn reports() -> Vec<GenerationReport> {
    let generations: Vec<_> = list().iter().filter_map(ListEntry::get).collect();
    generations.iter().map(|generation| generation.report()).collect()
}

/// The loader runs out of keys for thread-locals after about 1,000 libraries that use the standard library's threads,
/// and then aborts the process.
const MOST_GENERATIONS: usize = 500;

/// How long a thread waits for another thread that loads the same generation. Loading takes a millisecond or two.
const LOADING: Duration = Duration::from_secs(5);

static GENERATIONS: Mutex<Vec<ListEntry>> = Mutex::new(Vec::new());

/// An entry of the list.
enum ListEntry {
    /// None of its code has run; it is freed with its last user.
    Weak(Weak<Generation>),
    /// Its code is in the process, or about to be: it stays.
    Kept(Arc<Generation>),
}

impl ListEntry {
    fn get(&self) -> Option<Arc<Generation>> {
        match self {
            Self::Weak(generation) => generation.upgrade(),
            Self::Kept(generation) => Some(generation.clone()),
        }
    }
}

fn list() -> MutexGuard<'static, Vec<ListEntry>> {
    GENERATIONS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether another plugin may be loaded.
fn has_room(list: &[ListEntry], most: usize, path: &Path) -> Result<(), Refusal> {
    let (kept, most) =
        (list.iter().filter(|known| matches!(known, ListEntry::Kept(_))).count(), most.min(MOST_GENERATIONS));
    if kept < most {
        return Ok(());
    }
    let found = format!(
        "{} would be plugin number {} of this process, allowed are {most} (max_generations)",
        path.display(),
        kept + 1
    );
    Err(Refusal::new(Code::Generations, found, "restart framegate: what is loaded cannot be unloaded"))
}

impl Generation {
    /// The generation of this content for this stream; does not load it yet.
    pub(crate) fn of(stream: &str, inspected: Inspected, most: usize) -> Result<Arc<Self>, Refusal> {
        let mut list = list();
        list.retain(|known| known.get().is_some());
        for known in list.iter().filter_map(ListEntry::get) {
            if known.stream != stream || known.identity.sha256.as_ref() != Some(&inspected.sha256) {
                continue;
            }
            match &*known.state.lock().unwrap_or_else(PoisonError::into_inner) {
                // The content was refused; loading another copy would be refused too.
                LoadState::Refused(refusal) if known.identity.file.as_ref() == Some(&inspected.path) => {
                    return Err(refusal.clone());
                }
                LoadState::Inspected(_) | LoadState::Loaded(..) if !known.is_written_off() => return Ok(known.clone()),
                _ => {}
            }
        }
        has_room(&list, most, &inspected.path)?;
        let new = Arc::new(Self {
            stream: stream.to_owned(),
            identity: inspected.identity(),
            most,
            ledgers: Mutex::default(),
            written_off: AtomicBool::new(false),
            stray_calls: AtomicU64::new(0),
            state: Mutex::new(LoadState::Inspected(Box::new(inspected))),
            settled: Condvar::new(),
        });
        list.push(ListEntry::Weak(Arc::downgrade(&new)));
        Ok(new)
    }

    /// Its functions; loads it if necessary. [instance thread: code of the plugin may run, and hang]
    pub(crate) fn plugin(self: &Arc<Self>) -> Result<Plugin, Refusal> {
        self.keep()?;
        let inspected = {
            let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            // Two hosts in one process may ask at the same time.
            let loading = |state: &mut LoadState| matches!(state, LoadState::Loading);
            let waited = self.settled.wait_timeout_while(state, LOADING, loading);
            let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
            match &*state {
                LoadState::Loaded(plugin, _) => return Ok(*plugin),
                LoadState::Refused(refusal) => return Err(refusal.clone()),
                LoadState::Loading => {
                    let found = format!("another thread is loading {} and does not finish", self.identity);
                    return Err(Refusal::new(Code::Load, found, "restart framegate"));
                }
                LoadState::Inspected(_) => {}
            }
            match std::mem::replace(&mut *state, LoadState::Loading) {
                LoadState::Inspected(inspected) => inspected,
                _ => unreachable!("looked at three lines up, under the same lock"),
            }
        };
        let began = Instant::now();
        let loaded = load::load(&inspected, self.new_ledger());
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = match &loaded {
            Ok(plugin) => LoadState::Loaded(*plugin, began.elapsed()),
            Err(refusal) => LoadState::Refused(refusal.clone()),
        };
        self.settled.notify_all();
        if loaded.as_ref().is_err_and(|refusal| refusal.code == Code::Load) {
            // None of its code is in the process; what it needs may be present the next time.
            list().retain(|known| !known.get().is_some_and(|known| Arc::ptr_eq(&known, self)));
        }
        loaded
    }

    /// Keeps it from now on, if there is room: its code is about to run.
    fn keep(self: &Arc<Self>) -> Result<(), Refusal> {
        let mut list = list();
        // After the system's loader has refused it, it is no longer in the list.
        let place = list.iter().position(|known| known.get().is_some_and(|known| Arc::ptr_eq(&known, self)));
        if let Some(place) = place.filter(|place| matches!(list[*place], ListEntry::Weak(_))) {
            has_room(&list, self.most, self.identity.file.as_deref().unwrap_or(Path::new("")))?;
            list[place] = ListEntry::Kept(self.clone());
        }
        Ok(())
    }

    /// Whether its code is in the process.
    pub(crate) fn is_loaded(&self) -> bool {
        matches!(*self.state.lock().unwrap_or_else(PoisonError::into_inner), LoadState::Loaded(..))
    }

    /// [any thread]
    pub(crate) fn count_stray_call(&self) {
        self.stray_calls.fetch_add(1, Ordering::Relaxed); // see `report`
    }

    /// A call of it did not return in time: its thread is abandoned, and nobody gets the generation again.
    pub(crate) fn write_off(&self) {
        self.written_off.store(true, Ordering::Relaxed); // affects only later requests, guards nothing
    }

    /// Creates a ledger for the frames of one instance.
    pub(crate) fn new_ledger(&self) -> &'static Ledger {
        let ledger: &'static Ledger = Box::leak(Box::default());
        self.ledgers.lock().unwrap_or_else(PoisonError::into_inner).push(ledger);
        ledger
    }

    fn report(&self) -> GenerationReport {
        let (state, load) = match &*self.state.lock().unwrap_or_else(PoisonError::into_inner) {
            LoadState::Inspected(_) => ("inspected", None),
            LoadState::Loading => ("loading", None),
            LoadState::Loaded(_, took) => ("loaded", Some(*took)),
            LoadState::Refused(_) => ("refused", None),
        };
        let state = if self.is_written_off() { "written off" } else { state };
        let ledgers = self.ledgers.lock().unwrap_or_else(PoisonError::into_inner);
        // In this order: a frame that is given and returned in between must not make the difference negative.
        let frames_returned = ledgers.iter().map(|ledger| ledger.released()).sum();
        let frames_given = ledgers.iter().map(|ledger| ledger.delivered()).sum();
        GenerationReport {
            stream: self.stream.clone(),
            source: self.identity.to_string(),
            sha256: self.identity.sha256.clone().unwrap_or_default(),
            state,
            load_ms: load.map(|took| took.as_secs_f64() * 1e3),
            frames_given,
            frames_returned,
            stray_calls: self.stray_calls.load(Ordering::Relaxed), // statistics for people; guards nothing
        }
    }

    fn is_written_off(&self) -> bool {
        self.written_off.load(Ordering::Relaxed) // see `write_off`
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::{
        inspect::{Trust, inspect},
        locate,
    };

    /// A real plugin: cargo puts the plugins that tests need beside the tests.
    fn inspected() -> Inspected {
        let places = locate::places(&[]);
        let (_, path) = places.iter().flat_map(|place| locate::plugins_in(place)).next().unwrap();
        inspect(&path, Trust { allow_writable: true, ..Trust::default() }).unwrap()
    }

    #[test]
    fn one_that_is_never_loaded_goes_with_whoever_wanted_it_and_takes_nobodys_place() {
        let stream = "goes";
        let states = || reports().iter().filter(|one| one.stream == stream).map(|one| one.state).collect::<Vec<_>>();
        let wanted = Generation::of(stream, inspected(), 1).unwrap();
        let again = Generation::of(stream, inspected(), 1).unwrap();
        assert!(Arc::ptr_eq(&wanted, &again), "who asks at the same time shares it");
        drop(again);
        let other = Generation::of("goes too", inspected(), 1).unwrap();
        assert_eq!(states(), ["inspected"]);
        drop(wanted);
        assert_eq!(states(), [""; 0]);

        other.plugin().unwrap();
        drop(other);
        assert!(reports().iter().any(|one| one.stream == "goes too" && one.state == "loaded"));
        let refusal = Generation::of(stream, inspected(), 1).unwrap_err();
        assert_eq!(refusal.code, Code::Generations);
    }
}
