//! Looks up detectors' names on separate threads: an answer may take half a minute, and no caller waits for it.
//!
//! One thread at a time looks a name up, regardless of how many runs start and end meanwhile; all of them share its
//! answer.

use std::{
    collections::BTreeMap,
    io,
    net::{SocketAddr, ToSocketAddrs},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// The lookup state of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The lookup is running.
    Pending,
    /// It has these addresses, at least one, with port 0.
    Known(Vec<SocketAddr>),
    /// It has no address, or the lookup failed; the reason as text.
    Failed(String),
}

/// Invariant: exactly the pending entries have a running thread.
struct Entry {
    answer: Answer,
    since: Instant,
}

/// Starts a lookup unless one is running; discards the previous answer.
pub(crate) fn ask(name: &str) {
    let mut book = book();
    if book.get(name).is_some_and(|entry| entry.answer == Answer::Pending) {
        return;
    }
    book.insert(name.to_owned(), Entry { answer: Answer::Pending, since: Instant::now() });
    drop(book);
    let asked = name.to_owned();
    let thread = thread::Builder::new().name("name-lookup".into()).spawn(move || {
        let answer = look_up(&asked).unwrap_or_else(|error| Answer::Failed(error.to_string()));
        settle(asked, answer);
    });
    if let Err(error) = thread {
        settle(name.to_owned(), Answer::Failed(format!("no thread to ask for it: {error}")));
    }
}

/// The lookup state; starts a new lookup if the last failed some time ago or is old.
pub(crate) fn answer(name: &str) -> Answer {
    let (answer, age) = match book().get(name) {
        Some(entry) => (entry.answer.clone(), entry.since.elapsed()),
        None => (Answer::Pending, Duration::MAX),
    };
    let good_for = match answer {
        Answer::Pending if age < Duration::MAX => return answer,
        Answer::Pending => Duration::ZERO,
        Answer::Failed(_) => AGAIN_AFTER_FAILURE,
        Answer::Known(_) => AGAIN,
    };
    if age >= good_for {
        ask(name);
    }
    answer
}

fn look_up(name: &str) -> io::Result<Answer> {
    let addresses: Vec<_> = (name, 0).to_socket_addrs()?.collect();
    Ok(if addresses.is_empty() { Answer::Failed("it has no address".into()) } else { Answer::Known(addresses) })
}

fn settle(name: String, answer: Answer) {
    book().insert(name, Entry { answer, since: Instant::now() });
}

fn book() -> MutexGuard<'static, BTreeMap<String, Entry>> {
    // No code under the lock can panic or does a lookup. The names are from the settings, so they are few.
    static BOOK: Mutex<BTreeMap<String, Entry>> = Mutex::new(BTreeMap::new());
    BOOK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How soon an unknown name is looked up again.
const AGAIN_AFTER_FAILURE: Duration = Duration::from_secs(1);

/// How soon the name of a detector that does not answer is looked up again, in case its address has changed.
const AGAIN: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_known_after_a_moment_and_one_that_nobody_knows_fails_with_words() {
        let settled = |name: &str| {
            let began = Instant::now();
            loop {
                match answer(name) {
                    Answer::Pending if began.elapsed() < Duration::from_secs(60) => thread::yield_now(),
                    settled => return settled,
                }
            }
        };
        assert!(matches!(settled("localhost"), Answer::Known(all) if all.iter().all(|one| one.ip().is_loopback())));
        assert!(matches!(settled("no.such.host.invalid"), Answer::Failed(why) if !why.is_empty()));
    }
}
