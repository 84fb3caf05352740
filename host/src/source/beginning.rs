//! Creates a source: at once, or, for an exclusive one, after the previous source has ended.
//!
//! Runs on the reader thread. An exclusive source waits for the order `Succeed`, then it is created; if that fails, the old one is created again,
//! so that the stream has a source in any case. Only if both fail it has none; then each scan tries the old one again, or reports the reason.

use std::{
    fmt,
    sync::{Arc, mpsc},
};

use framegate_plugin_api::SourceError;
use serde_json::Value;

use super::{Created, Factory, Fault, NotCreated, order::Order, orders::Orders, renewal::StreamSource, token::Token};

/// The previous source of the stream, for a source that may have to wait until it has ended.
pub(crate) struct Before {
    /// Returns the stream's source at the time of the call: while a source waits, another swap may take effect. [reader thread]
    pub(crate) feed: Box<dyn Fn() -> (Arc<dyn Factory>, Value) + Send>,
    /// Reports the result, if the source had to wait. [reader thread]
    pub(crate) told: Box<dyn FnOnce(Late) + Send>,
}

/// The result for a source that had to wait.
#[derive(Debug)]
pub(crate) enum Late {
    /// It was created.
    Made(Created),
    /// It was not created; whether the old one was created again.
    NotMade { problem: NotCreated, again: Result<Created, NotCreated> },
}

/// A source, and the orders that arrived before it was created.
pub(super) struct Begun {
    pub(super) source: StreamSource,
    pub(super) held: Vec<Order>,
}

/// Creates the source of a stream, and reports through `created` that it is ready: created, or to be created after the
/// previous one has ended. `None`: it failed, or it is no longer wanted.
pub(super) fn begin(
    token: &Arc<Token>,
    factory: Arc<dyn Factory>,
    settings: Value,
    before: Option<Before>,
    created: &mpsc::SyncSender<Result<Created, NotCreated>>,
    orders: &Orders<Order>,
) -> Option<Begun> {
    let stream = token.stream.as_str();
    let wait = before.map(|before| Ok((must_wait(&*factory, stream, &settings, &before)?, before))).transpose();
    let before = match wait {
        Ok(before) => before,
        Err(problem) => return drop_with(created.send(Err(problem))),
    };
    if let Some((true, before)) = before {
        let on_demand = factory.traits(stream, &settings).map(|traits| traits.on_demand).unwrap_or_default();
        let about = Created { parameters: Vec::new(), on_demand, ledger: None, waits: true };
        created.send(Ok(about)).ok()?;
        return begin_late(token, factory, settings, before, orders);
    }
    match StreamSource::make(token, factory, settings) {
        Ok((about, source)) => {
            created.send(Ok(about)).ok()?;
            Some(Begun { source, held: Vec::new() })
        }
        Err(problem) => drop_with(created.send(Err(problem))),
    }
}

/// Whether both sources are exclusive.
fn must_wait(factory: &dyn Factory, stream: &str, settings: &Value, before: &Before) -> Result<bool, NotCreated> {
    let (old, old_settings) = (before.feed)();
    let (new, old) = (factory.traits(stream, settings)?, old.traits(stream, &old_settings)?);
    if new.exclusive && old.exclusive && new.on_demand != old.on_demand {
        let why = "only one of the old and the new source can exist at a time, and only one of them is triggered for \
             each event, so a swap that fails could not be undone; restart framegate with the new one";
        return Err(Fault::Source(SourceError::internal(why)).into());
    }
    Ok(new.exclusive && old.exclusive)
}

fn begin_late(
    token: &Arc<Token>,
    factory: Arc<dyn Factory>,
    settings: Value,
    before: Before,
    orders: &Orders<Order>,
) -> Option<Begun> {
    let mut held = Vec::new();
    loop {
        match orders.wait_for_one()? {
            Order::Succeed(predecessor) => {
                predecessor.wait_with_a_word();
                break;
            }
            order => held.push(order),
        }
    }
    let problem = match StreamSource::make(token, factory, settings) {
        Ok((about, source)) => {
            (before.told)(Late::Made(about));
            return Some(Begun { source, held });
        }
        Err(problem) => problem,
    };
    let (factory, settings) = (before.feed)();
    match StreamSource::make(token, factory.clone(), settings.clone()) {
        Ok((about, source)) => {
            (before.told)(Late::NotMade { problem, again: Ok(about) });
            Some(Begun { source, held })
        }
        Err(again) => {
            let why = format!(
                "the stream has no source. The new one failed: {problem}; the old one cannot be created \
                 again: {again}"
            );
            (before.told)(Late::NotMade { problem, again: Err(again) });
            Some(Begun { source: StreamSource::without(token, factory, settings, why), held })
        }
    }
}

fn drop_with<T, U>(_: T) -> Option<U> {
    None
}

impl fmt::Debug for Before {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Before").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Mutex, PoisonError},
        time::Duration,
    };

    use serde_json::json;

    use super::*;
    use crate::{
        names::StreamName,
        plugin::identity::SourceIdentity,
        source::{Instance, Ledger, Traits, nobody::Nobody, order::Predecessor},
    };
    use framegate_plugin_api::HostServices;

    /// An exclusive source, which can be made to fail at creation.
    #[derive(Debug)]
    struct OnlyOne {
        name: &'static str,
        is_made: bool,
        made: Arc<Mutex<Vec<(&'static str, Value)>>>,
    }

    impl Factory for OnlyOne {
        fn create(
            &self,
            _: &str,
            settings: &Value,
            _: Arc<dyn HostServices>,
            _: Option<&'static Ledger>,
        ) -> Result<Box<dyn Instance>, NotCreated> {
            self.made.lock().unwrap_or_else(PoisonError::into_inner).push((self.name, settings.clone()));
            match self.is_made {
                true => Ok(Box::new(Nobody(String::new()))),
                false => Err(Fault::Source(SourceError::internal("no")).into()),
            }
        }
        fn traits(&self, _: &str, _: &Value) -> Result<Traits, NotCreated> {
            Ok(Traits { exclusive: true, on_demand: false })
        }
        fn identity(&self) -> SourceIdentity {
            SourceIdentity::linked(self.name)
        }
    }

    #[test]
    fn the_source_that_is_made_again_is_the_one_that_fed_the_stream_last() {
        let made = Arc::new(Mutex::new(Vec::new()));
        let source = |name, is_made| Arc::new(OnlyOne { name, is_made, made: made.clone() }) as Arc<dyn Factory>;
        let feed = Arc::new(Mutex::new((source("first", true), json!({}))));
        let asked = feed.clone();
        let (told, what) = mpsc::channel();
        let before = Before {
            feed: Box::new(move || asked.lock().unwrap().clone()),
            told: Box::new(move |late| told.send(late).unwrap()),
        };
        let token = Arc::new(Token::new(StreamName::new("s").unwrap(), "new".to_owned()).unwrap());
        let orders = Orders::new(token.wake.clone());
        let (created, outcome) = mpsc::sync_channel(1);
        let ended = mpsc::channel().1;
        std::thread::scope(|scope| {
            let new = source("new", false);
            let (token, orders) = (&token, &orders);
            let begun =
                scope.spawn(move || begin(token, new, json!({ "new": 1 }), Some(before), &created, orders).is_some());
            assert!(outcome.recv().unwrap().unwrap().waits);
            // A swap that was requested earlier takes effect.
            *feed.lock().unwrap() = (source("second", true), json!({ "second": 2 }));
            orders.give(Order::Succeed(Predecessor { ended, limit: Duration::from_secs(1) }), true);
            assert!(begun.join().unwrap());
        });
        assert!(matches!(what.recv().unwrap(), Late::NotMade { again: Ok(_), .. }));
        assert_eq!(*made.lock().unwrap(), [("new", json!({ "new": 1 })), ("second", json!({ "second": 2 }))]);
    }
}
