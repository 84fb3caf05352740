//! The addresses of one run, read in turn, and all waiting of a source.
//!
//! Never waits longer than asked, and a stop ends each wait.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use framegate_plugin_api::{Connection, Deadline, HostContext, SourceError};
use framegate_source_kit::Malformed;
use framegate_zmtp::Role;
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, poll},
};
use smallvec::SmallVec;

use super::{
    buffers::Pool,
    connection::{Connection as Peer, Terms},
    link::{Ledger, Link, PollSet},
    message::Limits,
};
use crate::{
    endpoint::{Attach, Endpoint},
    names::{self, Answer},
    settings::{Pattern, ZmqSettings},
    transport::{self, Backlog, Received},
};

/// See the module. At least one link.
#[derive(Debug)]
pub(crate) struct Links {
    links: Vec<Link>,
    /// The link to read next, so that a busy link does not starve the others.
    turn: usize,
    ledger: Ledger,
    attach: Attach,
    /// Names that are not known, and were logged.
    unknown_told: BTreeSet<String>,
}

const NO_ROOM: Malformed = Malformed::new("unfinished messages need more than max_message together");

impl Links {
    /// Connects or binds, and waits for the handshakes within `connect_wait`. An absent detector is not an error.
    pub(crate) fn open(settings: &ZmqSettings, pattern: Pattern, host: &HostContext) -> Result<Self, SourceError> {
        let urls = settings.upstream_url.as_slice();
        if settings.attach == Attach::Connect {
            urls.iter().filter_map(Endpoint::name).for_each(names::ask);
        }
        let (role, prefixes) = match pattern {
            Pattern::Pull => (Role::Pull, Vec::new()),
            Pattern::SubscribeAll => (Role::Sub, settings.subscribe.clone()),
        };
        let limits = Limits {
            part: settings.max_part.0,
            header: settings.max_header.0,
            message: settings.max_message.0,
            parts: settings.max_parts,
        };
        let pool = Pool::new(usize::try_from(settings.receive_budget.0).unwrap_or(usize::MAX));
        let links: Result<_, _> = urls.iter().map(|url| Link::make(url, settings.attach)).collect();
        let mut links = Self {
            links: links?,
            turn: 0,
            ledger: Ledger::new(Terms { role, prefixes, limits, pool }, host.clone()),
            attach: settings.attach,
            unknown_told: BTreeSet::new(),
        };
        links.wait_for_handshakes(settings.connect_wait.0)?;
        if links.links.iter().any(|link| link.open() > 0) {
            transport::wait_for_stop(host, Deadline::after(transport::settle(settings, pattern)))?;
        }
        links.tell_unknown_names();
        for link in links.links.iter().filter(|link| link.open() == 0) {
            transport::tell_absent(host, settings.attach, &link.url, link.name_answer());
        }
        Ok(links)
    }

    /// Takes one message if any link has one; never waits.
    pub(crate) fn receive(&mut self) -> Result<Received, SourceError> {
        // All that came before over this connection was taken.
        if let Some(why) = self.ledger.invalid.pop_front() {
            return Ok(Received::Ended(why));
        }
        // After an event that has come alone, there is mostly nothing to read.
        let reads = if self.are_drained() { 0 } else { self.links.len() };
        for _ in 0..reads {
            let turn = self.turn;
            self.turn = (turn + 1) % self.links.len();
            match self.links[turn].receive(&mut self.ledger) {
                Received::Empty => {}
                found => return Ok(found),
            }
        }
        self.limit_memory();
        Ok(self.ledger.invalid.pop_front().map_or(Received::Empty, Received::Ended))
    }

    /// Whether nothing more has come, as far as it is known without a look.
    pub(crate) fn are_drained(&self) -> bool {
        !self.links.iter().any(Link::may_have_more)
    }

    /// What the sockets may hold.
    pub(crate) fn backlog(&mut self) -> Backlog {
        let all = self.links.iter_mut().flat_map(Link::connections);
        Backlog { messages: u64::MAX, bytes: all.map(|connection| connection.unread() as u64).sum() }
    }

    /// Whether messages of several connections mix: there are several addresses, or several detectors are or were
    /// connected to a bound one.
    pub(crate) fn mix(&self) -> bool {
        self.links.len() > 1 || self.links[0].most > 1
    }

    pub(crate) fn disconnects(&self) -> u64 {
        self.ledger.disconnects
    }

    /// Connections that were refused, or ended before they were established.
    pub(crate) fn refused(&self) -> u64 {
        self.ledger.refused
    }

    /// Whether all detectors are connected. If one is missing, the address is that of the missing one.
    pub(crate) fn connection(&self) -> Connection {
        if let Some(link) = self.links.iter().find(|link| link.open() == 0) {
            return Connection::No { since: link.changed, address: Some(link.url.as_str().to_owned()) };
        }
        let peers: Vec<String> = match self.attach {
            Attach::Connect => self.links.iter().map(|link| link.url.as_str().to_owned()).collect(),
            Attach::Bind => self.links.iter().flat_map(Link::peers).collect(),
        };
        match self.links.iter().map(|link| link.changed).max() {
            Some(since) => Connection::Yes { since, address: (!peers.is_empty()).then(|| peers.join(", ")) },
            None => Connection::Unknown,
        }
    }

    /// Looks after connections while data flows: of several, all are served, and new ones accepted.
    pub(crate) fn look(&mut self) -> Result<(), SourceError> {
        if self.attach == Attach::Bind || self.links.len() > 1 {
            self.poll(Duration::ZERO)?;
            // Otherwise only done when everything was received, and one detector may always have more.
            self.limit_memory();
        }
        Ok(())
    }

    /// Goes on with handshakes and new connections, and tells all peers that they are still served.
    pub(crate) fn held_back(&mut self) {
        // Whatever fails here fails in the next wait, too, which reports it.
        let _ = self.poll(Duration::ZERO);
        self.links.iter_mut().flat_map(Link::connections).for_each(Peer::show_life);
    }

    /// Waits until a message may have come; false when the deadline has passed or a stop is requested.
    pub(crate) fn wait(&mut self, deadline: Deadline) -> Result<bool, SourceError> {
        self.tell_unknown_names();
        if self.has_something() {
            return Ok(!deadline.passed() && !self.ledger.host.stop_requested());
        }
        loop {
            let left = deadline.left();
            if left.is_zero() || self.poll(left)? {
                return Ok(false);
            }
            if self.has_something() {
                return Ok(true);
            }
        }
    }

    fn has_something(&self) -> bool {
        self.links.iter().any(Link::is_readable) || !self.ledger.invalid.is_empty()
    }

    /// Polls once, for this time at most, and goes on with everything that is ready or due. Returns whether a stop is
    /// requested.
    fn poll(&mut self, most: Duration) -> Result<bool, SourceError> {
        let now = Instant::now();
        let due = self.links.iter_mut().filter_map(|link| link.tick(now, &mut self.ledger)).min();
        let left = due.map_or(most, |due| due.saturating_duration_since(now).min(most));
        let mut set = PollSet::new();
        set.push(PollFd::new(self.ledger.host.stop_descriptor(), PollFlags::POLLIN));
        self.links.iter().for_each(|link| link.watch(&mut set));
        match poll(&mut set, transport::timeout(left)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(SourceError::internal(format!("waiting for messages failed: {error}"))),
        }
        let found: SmallVec<[PollFlags; 8]> =
            set.iter().map(|polled| polled.revents().unwrap_or(PollFlags::empty())).collect();
        drop(set);
        let mut found = found.into_iter();
        let stopped = found.next().is_some_and(|found| !found.is_empty());
        for link in &mut self.links {
            link.polled(&mut found, &mut self.ledger);
        }
        Ok(stopped)
    }

    /// Waits until all handshakes are complete, at most for `time`. A stop ends the wait.
    fn wait_for_handshakes(&mut self, time: Duration) -> Result<(), SourceError> {
        let deadline = Deadline::after(time);
        loop {
            let stopped = self.poll(deadline.left())?;
            if stopped || deadline.passed() || self.links.iter().all(|link| link.open() > 0) {
                return Ok(());
            }
        }
    }

    /// Unfinished messages of all connections together hold at most `max_message`: those that have the most are skipped.
    fn limit_memory(&mut self) {
        let most = self.ledger.terms.limits.message;
        let held = |link: &Link| link.held().fold(0, u64::saturating_add);
        while self.links.iter().map(held).fold(0, u64::saturating_add) > most
            && let Some(largest) =
                self.links.iter_mut().flat_map(Link::connections).max_by_key(|connection| connection.held())
        {
            largest.refuse(NO_ROOM);
        }
    }

    /// Logs each unknown name once in a run.
    fn tell_unknown_names(&mut self) {
        for link in &self.links {
            let Some(Answer::Failed(why)) = link.name_answer() else { continue };
            let url = &link.url;
            if self.unknown_told.insert(url.as_str().to_owned()) {
                transport::tell_unknown(&self.ledger.host, url, &why);
            }
        }
    }
}
