//! Hot swap: another source for a stream, from the next scan on.
//!
//! Everything that can fail happens before the old source is touched: the file is found, inspected, loaded and checked, and
//! the source is created, on its own reader thread, while the old one keeps running. The forwarder then gets a source that
//! only has to be opened, and installs it when a scan starts.
//!
//! [`Swaps`] runs on the caller's thread, and only that thread waits; forwarder and control never do. It owns no source: the
//! forwarder owns the new one as soon as it is ready; the old one goes to [`keep`], which waits for its end and its frames.

mod book;
mod keep;
pub(crate) mod receipt;
mod recover;
mod reload;

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tokio::sync::mpsc::UnboundedSender;

pub(crate) use self::keep::keep;
pub use self::reload::Reload;
use self::{
    book::Book,
    receipt::{AskedBy, SwapError, SwapReceipt, SwapSpec},
};
use super::{
    Linked,
    feed::{Exchange, Feed},
    make::{self, Problem},
};
use crate::{
    control::Parameters,
    names::StreamName,
    near::near,
    plugin::identity::SourceIdentity,
    settings::{Settings, StreamSettings},
    source::{
        Factory,
        beginning::Before,
        reader::Reader,
        replacement::{NextSource, Replacement, Told},
    },
    threads,
};

/// See the module.
#[derive(Debug)]
pub(crate) struct Swaps {
    linked: Linked,
    /// How to find sources, and their time limits; and the last configuration of each stream.
    settings: Mutex<Settings>,
    exchanges: Vec<Exchange>,
    /// Messages from readers to [`keep`].
    told: UnboundedSender<Told>,
    /// Locked only for short accesses, never while a source is created.
    book: Arc<Mutex<Book>>,
}

/// A requested swap whose source is not created yet.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) number: u64,
    /// Requested through the admin endpoint: then the file's owner must be trusted in any case.
    pub(crate) from_outside: bool,
    /// See [`AskedBy::Recovery`].
    recovers: bool,
    stream: StreamSettings,
    since: Instant,
}

/// Maximum number of concurrent swaps: each needs two threads, and keeps them if its `create` hangs.
const MAKING: usize = 8;

impl Swaps {
    pub(crate) fn new(
        settings: &Settings,
        linked: Linked,
        exchanges: Vec<Exchange>,
        told: UnboundedSender<Told>,
        feeds: impl Iterator<Item = Feed>,
    ) -> Self {
        let feeds = feeds.map(|feed| (feed.settings.name.clone(), feed)).collect();
        Self {
            linked,
            settings: Mutex::new(settings.clone()),
            exchanges,
            told,
            book: Arc::new(Mutex::new(Book::new(feeds))),
        }
    }

    /// The source of each stream.
    pub(crate) fn sources(&self) -> BTreeMap<StreamName, SourceIdentity> {
        self.book().feeds().map(|(stream, feed)| (stream.clone(), feed.factory.identity())).collect()
    }

    /// The stored receipts, oldest first.
    pub(crate) fn receipts(&self) -> Vec<SwapReceipt> {
        self.book().receipts().cloned().collect()
    }

    /// One receipt.
    pub(crate) fn receipt(&self, number: u64) -> Option<SwapReceipt> {
        self.book().receipts().find(|receipt| receipt.number == number).cloned()
    }

    /// Assigns a swap its number: of two swaps of a stream, the one with the higher number wins.
    pub(crate) fn ask(&self, stream: &str, spec: &SwapSpec, by: AskedBy) -> Result<Asked, SwapError> {
        let mut book = self.book();
        let Some(feed) = book.feed(stream) else {
            let known: Vec<_> = book.feeds().map(|(name, _)| name.as_str()).collect();
            let meant = near(stream, known.iter().copied());
            let meant = meant.map_or(String::new(), |near| format!("; did you mean {near:?}?"));
            let text = format!("there is no stream {stream:?}{meant}\n  streams here: {}", known.join(", "));
            return Err(SwapError::UnknownStream(text));
        };
        let mut wanted = feed.settings.clone();
        wanted.source.clone_from(&spec.source);
        if let Some(settings) = &spec.settings {
            wanted.settings.clone_from(settings);
        }
        wanted.when_full = spec.when_full.unwrap_or(wanted.when_full);
        self.asked(&mut book, wanted, by)
    }

    fn asked(&self, book: &mut Book, stream: StreamSettings, by: AskedBy) -> Result<Asked, SwapError> {
        if book.making() >= MAKING {
            return Err(SwapError::Busy(MAKING));
        }
        let number = book.asked(&stream.name, &stream.source, by).expect("the caller has found its feed");
        let recovers = by == AskedBy::Recovery;
        Ok(Asked { number, from_outside: false, recovers, stream, since: Instant::now() })
    }

    /// Finds, checks and creates the source, and hands it over. Takes at most `source_timeout`.
    pub(crate) fn make(&self, asked: &Asked) -> Result<SwapReceipt, SwapError> {
        let Asked { number, stream, since, .. } = asked;
        match self.try_make(asked) {
            Ok((reader, feed)) => {
                let replacement = Replacement {
                    number: *number,
                    reader,
                    on_demand: feed.created.on_demand,
                    when_full: stream.when_full,
                    recovers: asked.recovers,
                };
                let to = feed.factory.identity();
                let took = since.elapsed().as_secs_f64() * 1e3;
                let receipt = self.book().ready(feed, took);
                let Some(slot) = self.slot(&stream.name) else {
                    self.book().refused(*number, "the host stops", "machine");
                    return Err(SwapError::Stopping);
                };
                tracing::info!(
                    stream = %stream.name, swap = number,
                    "the new source is ready after {took:.1} ms; it takes over when the next scan starts: {to}"
                );
                let receipt = match slot.put(replacement) {
                    Ok(None) => receipt,
                    Ok(Some(earlier)) => {
                        self.superseded(earlier, *number);
                        receipt
                    }
                    Err(later) => self.superseded(*number, later),
                };
                receipt.ok_or(SwapError::Stopping)
            }
            Err(problem) => {
                let text = problem.to_string();
                tracing::error!(stream = %stream.name, swap = number, "refused, and nothing has changed: {text}");
                self.book().refused(*number, &text, problem.with());
                Err(match problem {
                    Problem::Refused(_) | Problem::Machine(_) => SwapError::Refused(text),
                    Problem::Settings(_) => SwapError::Settings(text),
                })
            }
        }
    }

    fn superseded(&self, number: u64, by: u64) -> Option<SwapReceipt> {
        let receipt = self.book().superseded(number, by)?;
        tracing::info!(
            stream = %receipt.stream, swap = number, "swap {by}, which was requested later, overrides this one"
        );
        Some(receipt)
    }

    /// Where the next source of a stream waits; `None` when its ingester has ended.
    fn slot(&self, stream: &StreamName) -> Option<Arc<NextSource>> {
        self.exchanges.iter().find_map(|exchange| exchange.slots.get(stream))?.upgrade()
    }

    /// Records that no thread could be started for a swap.
    pub(crate) fn no_thread(&self, number: u64, problem: &io::Error) {
        let text = format!("no thread for the swap: {problem}\n  {}", threads::REMEDY);
        tracing::error!(swap = number, "refused, and nothing has changed: {text}");
        self.book().refused(number, &text, "machine");
    }

    fn try_make(&self, asked: &Asked) -> Result<(Reader, Feed), Problem> {
        let stream = &asked.stream;
        let settings = self.settings();
        let factory = match asked.recovers {
            true => self.find_again(stream, &settings)?,
            false => make::find(stream, &settings, &self.linked, asked.from_outside)?,
        };
        self.book().found(asked.number, factory.identity(), factory.is_loaded());
        let starting = make::start(stream, &factory, self.before(asked, &factory))?;
        let (reader, created) = starting.wait(&factory, Instant::now() + settings.creation_timeout(), &settings)?;
        for wrong in make::give_parameters(stream, &reader, &created) {
            // The configured parameters are for the configured source; this may be another one.
            tracing::warn!(stream = %stream.name, swap = asked.number, "a configured parameter is not used: {wrong}");
        }
        Ok((reader, Feed { number: asked.number, settings: stream.clone(), factory, created }))
    }

    /// The source before this one. An exclusive source waits until the old one is dropped; if it then cannot be
    /// created, the old one is created again. Code with a hanging call is not used again.
    fn before(&self, asked: &Asked, new: &Arc<dyn Factory>) -> Option<Before> {
        let (number, told) = (asked.number, self.told.clone());
        let (book, stream) = (self.book.clone(), asked.stream.name.clone());
        self.book().feed(stream.as_str())?;
        let new = asked.recovers.then(|| new.clone());
        let feed = Box::new(move || {
            let book = book.lock().unwrap_or_else(PoisonError::into_inner);
            let feed = book.feed(stream.as_str()).expect("a stream that had a feed has one");
            (new.clone().unwrap_or_else(|| feed.factory.clone()), feed.settings.settings.clone())
        });
        let told = Box::new(move |late| {
            // The receiver is gone when the host stops.
            let _ = told.send(Told::Late { number, late });
        });
        Some(Before { feed, told })
    }

    /// Sends control the current parameters of an ingester's sources.
    fn publish_parameters(&self, stream: &StreamName) {
        let Some(exchange) = self.exchanges.iter().find(|one| one.slots.contains_key(stream)) else { return };
        let book = self.book();
        let of_stream = |name: &StreamName| {
            let parameters = book.feed(name.as_str()).map(|feed| feed.created.parameters.clone()).unwrap_or_default();
            parameters.into_iter().map(|parameter| (name.clone(), parameter)).collect::<Vec<_>>()
        };
        let all: Parameters = exchange.slots.keys().flat_map(of_stream).collect();
        exchange.parameters.send_replace(all);
    }

    fn settings(&self) -> Settings {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
