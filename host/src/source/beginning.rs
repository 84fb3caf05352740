//! How an instance comes about: at once, or, for a source that only one can hold, when the one before it has gone.
//!
//! Runs on the reader thread. The second kind waits for the order to succeed; then it makes the new source, and if that fails
//! the old one again: somebody feeds the stream in any case. Only if both fail nobody does, and the stream says why.

use std::{
    fmt,
    sync::{Arc, Weak, mpsc},
};

use framegate_plugin_api::{Deadline, Event, Parameter, Progress, SourceError};
use serde_json::Value;

use super::{
    Counts, Factory, Fault, Instance, Ledger, NotCreated,
    orders::Orders,
    reader::{Created, Order},
    token::{Lent, Token},
};

/// What fed the stream before, for a source that may have to wait until it has gone.
pub(crate) struct Before {
    pub(crate) factory: Arc<dyn Factory>,
    pub(crate) settings: Value,
    /// Told what came of waiting, if there was any. [reader thread]
    pub(crate) told: Box<dyn FnOnce(Late) + Send>,
}

/// What came of a source that had to wait.
#[derive(Debug)]
pub(crate) enum Late {
    /// It is made.
    Made(Created),
    /// It is not, and the old one was made again, or not.
    NotMade { problem: NotCreated, again: Result<Created, NotCreated> },
}

/// An instance, and the orders that came before it was there.
pub(super) struct Begun {
    pub(super) instance: Box<dyn Instance>,
    /// What it was lent: gone when the instance has given it back.
    pub(super) lent: Weak<Lent>,
    pub(super) parameters: Vec<Parameter>,
    pub(super) held: Vec<Order>,
}

/// Makes the source of a stream, and tells through `created` whether it is ready: made, or only to be made when the one before it
/// has gone. None: it is not, or nobody wants it any more.
pub(super) fn begin(
    token: &Arc<Token>,
    factory: &dyn Factory,
    settings: &Value,
    before: Option<Before>,
    created: &mpsc::SyncSender<Result<Created, NotCreated>>,
    orders: &Orders<Order>,
) -> Option<Begun> {
    let before = match before.map(|before| Ok((must_wait(factory, &before)?, before))).transpose() {
        Ok(before) => before,
        Err(problem) => return drop_with(created.send(Err(problem))),
    };
    if let Some((true, before)) = before {
        let on_demand = factory.traits().map(|traits| traits.on_demand).unwrap_or_default();
        let about = Created { parameters: Vec::new(), on_demand, ledger: None, waits: true };
        created.send(Ok(about)).ok()?;
        return begin_late(token, factory, settings, before, orders);
    }
    match make(token, factory, settings) {
        Ok((about, instance, lent)) => {
            let parameters = about.parameters.clone();
            created.send(Ok(about)).ok()?;
            Some(Begun { instance, lent, parameters, held: Vec::new() })
        }
        Err(problem) => drop_with(created.send(Err(problem))),
    }
}

/// Whether both sources are of the kind of which only one can be there.
fn must_wait(factory: &dyn Factory, before: &Before) -> Result<bool, NotCreated> {
    let (new, old) = (factory.traits()?, before.factory.traits()?);
    if new.exclusive && old.exclusive && new.on_demand != old.on_demand {
        let why = "one of the old and the new source is asked for each event and the other is not, and as only one of them can \
                   be there, neither could take the other's place again; restart framegate with the new one";
        return Err(Fault::Source(SourceError::internal(why)).into());
    }
    Ok(new.exclusive && old.exclusive)
}

fn begin_late(
    token: &Arc<Token>,
    factory: &dyn Factory,
    settings: &Value,
    before: Before,
    orders: &Orders<Order>,
) -> Option<Begun> {
    let mut held = Vec::new();
    loop {
        match orders.wait_for_one()? {
            Order::Succeed(predecessor) => {
                predecessor.wait_with_a_word(token);
                break;
            }
            order => held.push(order),
        }
    }
    let problem = match make(token, factory, settings) {
        Ok((about, instance, lent)) => {
            let parameters = about.parameters.clone();
            (before.told)(Late::Made(about));
            return Some(Begun { instance, lent, parameters, held });
        }
        Err(problem) => problem,
    };
    match make(token, &*before.factory, &before.settings) {
        Ok((about, instance, lent)) => {
            let parameters = about.parameters.clone();
            (before.told)(Late::NotMade { problem, again: Ok(about) });
            Some(Begun { instance, lent, parameters, held })
        }
        Err(again) => {
            let why = format!("it has no source: the new one: {problem}; the old one again: {again}");
            (before.told)(Late::NotMade { problem, again: Err(again) });
            let instance = Box::new(Nobody(why));
            Some(Begun { instance, lent: Weak::new(), parameters: Vec::new(), held })
        }
    }
}

/// What is told of an instance, the instance, and what it was lent.
type Made = (Created, Box<dyn Instance>, Weak<Lent>);

fn make(token: &Arc<Token>, factory: &dyn Factory, settings: &Value) -> Result<Made, NotCreated> {
    token.begin_call();
    let stream = token.stream.as_str();
    let lent = Arc::new(Lent { token: token.clone(), stray_calls: factory.stray_calls(stream) });
    let kept = Arc::downgrade(&lent);
    let made = factory.create(stream, settings, lent).and_then(|mut instance| {
        let (on_demand, ledger) = (instance.on_demand(), instance.ledger());
        Ok((Created { parameters: instance.parameters()?, on_demand, ledger, waits: false }, instance, kept))
    });
    token.end_call();
    made
}

fn drop_with<T, U>(_: T) -> Option<U> {
    None
}

/// In the place of a source that there is not: each scan says why.
struct Nobody(String);

impl Nobody {
    fn fault<T>(&self) -> Result<T, Fault> {
        Err(Fault::Source(SourceError::internal(self.0.clone())))
    }
}

impl Instance for Nobody {
    fn on_demand(&self) -> bool {
        false
    }
    fn ledger(&self) -> Option<&'static Ledger> {
        None
    }
    fn parameters(&mut self) -> Result<Vec<Parameter>, Fault> {
        Ok(Vec::new())
    }
    fn set_parameter(&mut self, _: &str, _: &[u8]) -> Result<(), Fault> {
        Ok(())
    }
    fn open(&mut self) -> Result<(), Fault> {
        self.fault()
    }
    fn next(&mut self, _: &mut Vec<Event>, _: Deadline) -> Result<Progress, Fault> {
        self.fault()
    }
    fn trigger(&mut self, _: u64, _: &mut Vec<Event>) -> Result<(), Fault> {
        self.fault()
    }
    fn counts(&mut self) -> Counts {
        Counts::default()
    }
    fn close(&mut self) {}
}

impl fmt::Debug for Before {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Before").field("factory", &self.factory).finish_non_exhaustive()
    }
}
