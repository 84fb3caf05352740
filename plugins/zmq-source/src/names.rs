//! Asks for the addresses of detectors' names, on threads of its own: an answer may take half a minute, and nobody waits for it.
//!
//! libzmq asks for a name on the thread that does all else for a connection. While a name server is silent, such a connection can be neither used
//! nor closed. So a link connects only to a name that somebody has answered for in this run. A name is asked for by one thread at a time, however many
//! runs come and go meanwhile; what it gets is for all.

use std::{
    collections::BTreeMap,
    io,
    net::ToSocketAddrs,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// What is known of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is being asked for.
    Pending,
    /// It has addresses.
    Known {
        /// None of IPv4.
        only_ipv6: bool,
    },
    /// It has none, or nobody could say; in words.
    Failed(String),
}

/// Invariant: a thread is under way for exactly those that are pending.
struct Entry {
    answer: Answer,
    since: Instant,
}

/// Asks for a name unless that is under way; what was known before is forgotten.
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

/// What is known; asks again for what failed a while ago, or is old.
pub(crate) fn answer(name: &str) -> Answer {
    let (answer, age) = match book().get(name) {
        Some(entry) => (entry.answer.clone(), entry.since.elapsed()),
        None => (Answer::Pending, Duration::MAX),
    };
    let good_for = match answer {
        Answer::Pending if age < Duration::MAX => return answer,
        Answer::Pending => Duration::ZERO,
        Answer::Failed(_) => AGAIN_AFTER_FAILURE,
        Answer::Known { .. } => AGAIN,
    };
    if age >= good_for {
        ask(name);
    }
    answer
}

fn look_up(name: &str) -> io::Result<Answer> {
    let mut addresses = (name, 0).to_socket_addrs()?.peekable();
    if addresses.peek().is_none() {
        return Ok(Answer::Failed("it has no address".into()));
    }
    Ok(Answer::Known { only_ipv6: addresses.all(|address| address.is_ipv6()) })
}

fn settle(name: String, answer: Answer) {
    book().insert(name, Entry { answer, since: Instant::now() });
}

fn book() -> MutexGuard<'static, BTreeMap<String, Entry>> {
    // Nothing that can panic runs under it, and never a look-up. Names are those of the settings, so they are few.
    static BOOK: Mutex<BTreeMap<String, Entry>> = Mutex::new(BTreeMap::new());
    BOOK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How soon a name that nobody knew is asked for again.
const AGAIN_AFTER_FAILURE: Duration = Duration::from_secs(1);

/// How soon a detector that does not answer at its name is looked for under other addresses.
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
        assert_eq!(settled("localhost"), Answer::Known { only_ipv6: false });
        assert!(matches!(settled("no.such.host.invalid"), Answer::Failed(why) if !why.is_empty()));
    }
}
