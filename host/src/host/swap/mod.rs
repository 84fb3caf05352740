//! Hot swap: another source for a stream, from the next scan on.
//!
//! Everything that can fail happens before the old source is touched: the file is found, inspected, loaded and checked, and
//! the source is created, on its own reader thread, while the old one keeps running. The forwarder then gets a source that
//! only has to be opened, and installs it when a scan starts.
//!
//! [`Swaps`] runs on the caller's thread, and only that thread waits; forwarder and control never do. It owns no source: the
//! forwarder owns the new one as soon as it is ready, and the new one the old one until that has ended; then it goes to
//! [`keep`], which waits for its end and its frames.

mod book;
mod keep;
pub(crate) mod receipt;
mod recover;
mod reload;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::Builder,
    time::Instant,
};

pub(crate) use self::keep::keep;
pub use self::reload::Reload;
use self::{
    book::Book,
    receipt::{AskedBy, ProblemSubject, SwapError, SwapReceipt, SwapSpec},
};
use super::{
    Linked,
    make::{self, Exchange, ReadySource},
    problem::Problem,
};
use crate::{
    control::Parameters,
    events::{News, RingAtEnd},
    names::StreamName,
    near::near,
    plugin::identity::SourceIdentity,
    settings::{COMMAND, Settings, StreamSettings},
    source::{
        Feed,
        factory::Factory,
        parameter::Parameter,
        reader::Reader,
        replacement::{NextSource, Replacement},
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
    news: News,
    /// Locked only for short accesses, never while a source is created.
    book: Mutex<Book>,
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
    /// `sources`: the first source of each stream, with its parameters.
    pub(crate) fn new(
        settings: &Settings,
        linked: Linked,
        exchanges: Vec<Exchange>,
        sources: Vec<(Feed, Vec<Parameter>)>,
        news: News,
    ) -> Self {
        Self { linked, settings: Mutex::new(settings.clone()), exchanges, news, book: Mutex::new(Book::new(sources)) }
    }

    /// The source of each stream.
    pub(crate) fn sources(&self) -> BTreeMap<StreamName, SourceIdentity> {
        self.factories().into_iter().map(|(stream, factory)| (stream, factory.identity())).collect()
    }

    /// The code of each stream's source.
    pub(crate) fn factories(&self) -> BTreeMap<StreamName, Arc<Factory>> {
        let book = self.book();
        book.current().iter().map(|(stream, current)| (stream.clone(), current.feed.factory.clone())).collect()
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
            let known: Vec<_> = book.current().keys().map(StreamName::as_str).collect();
            let meant = near(stream, known.iter().copied()).map(str::to_owned);
            let known = book.current().keys().cloned().collect();
            return Err(SwapError::UnknownStream { stream: stream.to_owned(), meant, known });
        };
        let mut wanted = feed.settings.clone();
        wanted.source.clone_from(&spec.source);
        // Who may swap may name a plugin file, which is checked; programs are named by the configuration alone.
        let configured = reload::find(&self.settings(), stream).map(|stream| stream.command.clone());
        wanted.command = configured.filter(|_| spec.source == COMMAND).unwrap_or_default();
        if let Some(settings) = &spec.settings {
            wanted.settings.clone_from(settings);
        }
        wanted.when_full = spec.when_full.unwrap_or(wanted.when_full);
        self.asked(&mut book, wanted, by)
    }

    fn asked(&self, book: &mut Book, stream: StreamSettings, by: AskedBy) -> Result<Asked, SwapError> {
        if book.making() >= MAKING {
            return Err(SwapError::Busy { making: MAKING });
        }
        let number = book.asked(&stream.name, &stream.source, by).expect("the caller has found its feed");
        let recovers = by == AskedBy::Recovery;
        Ok(Asked { number, from_outside: false, recovers, stream, since: Instant::now() })
    }

    /// Finds, checks and creates the source, and hands it over. Takes at most `source_timeout`.
    pub(crate) fn make(&self, asked: &Asked) -> Result<SwapReceipt, SwapError> {
        let _ring = RingAtEnd(self.news.clone());
        match self.try_make(asked) {
            Ok(ready) => self.hand_over(asked, ready.reader),
            Err(problem) => {
                let text = problem.text();
                tracing::error!(
                    stream = %asked.stream.name, swap = asked.number, "refused, and nothing has changed: {text}"
                );
                self.book().refused(asked.number, &text, ProblemSubject::of(&problem));
                Err(SwapError::Refused(problem))
            }
        }
    }

    fn hand_over(&self, asked: &Asked, reader: Reader) -> Result<SwapReceipt, SwapError> {
        let Asked { number, recovers, ref stream, since, .. } = *asked;
        let Some(next) = self.next_source(&stream.name) else {
            self.book().refused(number, "the host stops", ProblemSubject::Machine);
            return Err(SwapError::Stopping);
        };
        let (to, took) = (reader.shared.source(), since.elapsed().as_secs_f64() * 1e3);
        let ready = self.book().ready(number, took);
        let earlier = next.put(Replacement { number, reader, recovers });
        tracing::info!(
            stream = %stream.name, swap = number,
            "the new source is ready after {took:.1} ms; it takes over when the next scan starts: {to}"
        );
        let receipt = match earlier {
            Ok(earlier) => {
                earlier.map(|earlier| self.superseded(earlier, number));
                ready
            }
            Err(later) => self.superseded(number, later),
        };
        receipt.ok_or(SwapError::Stopping)
    }

    fn superseded(&self, number: u64, by: u64) -> Option<SwapReceipt> {
        let receipt = self.book().superseded(number, by)?;
        tracing::info!(
            stream = %receipt.stream, swap = number, "swap {by}, which was requested later, overrides this one"
        );
        Some(receipt)
    }

    /// Where the next source of a stream waits; `None` when its ingester has ended.
    fn next_source(&self, stream: &StreamName) -> Option<Arc<NextSource>> {
        self.exchanges.iter().find_map(|exchange| exchange.slots.get(stream))?.upgrade()
    }

    /// Does the same as [`Swaps::make`] on its own thread; the outcome is in the log and in the receipt.
    pub(crate) fn make_on_thread(self: &Arc<Self>, asked: Asked) {
        let (swaps, number) = (self.clone(), asked.number);
        if let Err(problem) = Builder::new().name("swap".into()).spawn(move || drop(swaps.make(&asked))) {
            let text = format!("no thread for the swap: {problem}\n  {}", threads::REMEDY);
            tracing::error!(swap = number, "refused, and nothing has changed: {text}");
            self.book().refused(number, &text, ProblemSubject::Machine);
        }
    }

    fn try_make(&self, asked: &Asked) -> Result<ReadySource, Problem> {
        let stream = &asked.stream;
        let settings = self.settings();
        let factory = match asked.recovers {
            true => self.find_again(stream, &settings),
            false => make::find(stream, &settings, &self.linked, asked.from_outside),
        }
        .map_err(|refusal| Problem::refused(&stream.name, refusal))?;
        self.book().found(asked.number, factory.identity(), factory.is_loaded());
        let running = self.book().feed(stream.name.as_str()).cloned();
        let waiting = self.next_source(&stream.name).and_then(|next| next.feed());
        let before = running.into_iter().chain(waiting).collect();
        let starting = make::start(Feed { settings: stream.clone(), factory }, before)?;
        let ready = make::wait(starting, Instant::now() + settings.creation_timeout(), &settings)?;
        for wrong in ready.wrong_parameters(stream) {
            // The configured parameters are for the configured source; this may be another one.
            tracing::warn!(stream = %stream.name, swap = asked.number, "a configured parameter is not used: {wrong}");
        }
        Ok(ready)
    }

    /// Sends control the current parameters of an ingester's sources.
    fn publish_parameters(&self, stream: &StreamName) {
        let Some(exchange) = self.exchanges.iter().find(|one| one.slots.contains_key(stream)) else { return };
        let book = self.book();
        let current = exchange.slots.keys().filter_map(|name| book.current().get_key_value(name));
        let all: Parameters = current
            .flat_map(|(name, current)| current.parameters.iter().map(|parameter| (name.clone(), parameter.clone())))
            .collect();
        exchange.parameters.send_replace(all);
    }

    fn settings(&self) -> Settings {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
