//! The sockets of one run: one for each upstream address, read in turn.
//!
//! Runs on the reader thread. Owns the links. All waiting of a ZeroMQ source is here: for handshakes when a run opens,
//! for messages afterwards; never longer than asked, and a stop ends it. Does not inspect messages.

use std::{fmt, mem, os::fd::AsRawFd as _, time::Duration};

use framegate_plugin_api::{Connection, Deadline, HostContext, LogLevel, SourceError, descriptors_left};
use framegate_source_kit::Malformed;
use smallvec::SmallVec;
use zmq::{POLLIN, PollItem};

use super::{
    closing::{self, Closing},
    keys::Keys,
    link::{DESCRIPTORS, Link},
};
use crate::{
    endpoint::{Attach, Endpoint},
    names::{self, Answer},
    settings::{Pattern, ZmqSettings},
    transport::{self, Backlog, Received},
};

/// The connections, at least one.
pub(crate) struct Links {
    links: Vec<Link>,
    /// The link to read next, so that a busy link does not starve the others.
    turn: usize,
    host: HostContext,
    /// To reconnect when libzmq has given a connection up.
    settings: ZmqSettings,
    pattern: Pattern,
    /// `None`: without CURVE. Kept for the run, because reading the file again could block.
    keys: Option<Keys>,
    /// Whether a refused handshake at an address was logged.
    refusal_told: bool,
    /// Whether an unknown name of a detector was logged.
    unknown_told: bool,
    /// Whether a detector's disconnect from a bound socket was logged.
    leaving_told: bool,
    /// Established connections of this run that have ended.
    disconnects: u64,
    /// Number of connections that libzmq has given up, and that were not told yet.
    given_up: u32,
}

impl Links {
    /// Connects or binds, and waits for the handshakes within `connect_wait`. An absent detector is not an error.
    pub(crate) fn open(settings: &ZmqSettings, pattern: Pattern, host: &HostContext) -> Result<Self, SourceError> {
        let urls = settings.upstream_url.as_slice();
        if settings.attach == Attach::Connect {
            urls.iter().filter_map(Endpoint::name).for_each(names::ask);
        }
        let keys = Keys::read(settings)?;
        let links: Result<_, _> = urls.iter().map(|url| Link::make(url, settings, pattern, keys.as_ref())).collect();
        let mut links = Self {
            links: links?,
            turn: 0,
            host: host.clone(),
            settings: settings.clone(),
            pattern,
            keys,
            refusal_told: false,
            unknown_told: false,
            leaving_told: false,
            disconnects: 0,
            given_up: 0,
        };
        links.wait_for_handshakes(settings.connect_wait.0);
        if links.links.iter().any(|link| link.handshake().is_made()) {
            links.settle(transport::settle(settings, pattern));
        }
        links.tell_unknown_name();
        // The first wait for messages tells those whose CURVE handshake fails.
        let fails = |link: &Link| links.keys.is_some() && link.handshake().keeps_failing();
        for link in links.links.iter().filter(|link| !link.handshake().is_made() && !fails(link)) {
            transport::tell_absent(host, settings.attach, link.url(), link.name_answer());
        }
        Ok(links)
    }

    /// Takes one message if any link has one; never waits.
    pub(crate) fn receive(&mut self) -> Result<Received, SourceError> {
        // All that came before over this connection was read.
        if self.given_up > 0 {
            self.given_up -= 1;
            return Ok(Received::Ended(GIVEN_UP));
        }
        for _ in 0..self.links.len() {
            let turn = self.turn;
            self.turn = (turn + 1) % self.links.len();
            match self.links[turn].receive()? {
                Received::Empty => {}
                found => return Ok(found),
            }
        }
        Ok(Received::Empty)
    }

    /// libzmq tells only when it is asked for a message.
    #[expect(clippy::unused_self, reason = "the same as of the native ones")]
    pub(crate) const fn are_drained(&self) -> bool {
        false
    }

    /// How many messages libzmq may hold.
    pub(crate) fn backlog(&self) -> Backlog {
        let messages = self.links.iter().map(Link::read_ahead).fold(0, u32::saturating_add);
        Backlog { messages: messages.into(), bytes: u64::MAX }
    }

    /// Whether messages of several connections mix: there are several addresses, or several detectors are or were
    /// connected to a bound one.
    pub(crate) fn mix(&mut self) -> bool {
        if self.settings.attach == Attach::Bind {
            self.hear();
        }
        self.links.len() > 1 || self.links.iter().any(|link| link.handshake().most() > 1)
    }

    /// Connects links that waited for a name, and reconnects links that libzmq has given up. Only when everything received
    /// over them was read.
    fn mend(&mut self) -> Result<(), SourceError> {
        self.tell_unknown_name();
        for place in 0..self.links.len() {
            let link = &mut self.links[place];
            link.begin()?;
            let (given_up, refused) = (link.handshake_mut().is_given_up(), link.handshake().is_refused());
            let moved = link.looks_elsewhere();
            if self.keys.is_some() && link.handshake().keeps_failing() {
                let url = link.url().clone();
                self.tell_refusal(&url);
            }
            if !given_up && !refused && !moved {
                continue;
            }
            let url = self.links[place].url().clone();
            if refused && (given_up || self.settings.attach == Attach::Bind) {
                self.tell_refusal(&url);
            }
            // If resources are short now, the next call tries again.
            if (given_up || moved) && descriptors_left(DESCRIPTORS).is_ok() && !closing::are_too_many() {
                self.given_up += u32::from(given_up && !refused);
                self.hear();
                let new = Link::make(&url, &self.settings, self.pattern, self.keys.as_ref())?;
                let old = mem::replace(&mut self.links[place], new);
                self.close([old]);
            }
        }
        Ok(())
    }

    /// Closes links. Logs a warning for a link that must close in the background because libzmq still waits for a name
    /// server.
    fn close(&self, links: impl IntoIterator<Item = Link>) {
        let end = |link: Link| (link.url().clone(), link.close());
        // All close at the same time.
        let ending: Vec<(Endpoint, Closing)> = links.into_iter().map(end).collect();
        let deadline = Deadline::after(closing::PATIENCE);
        for (url, closing) in ending {
            if !closing.wait(deadline) {
                let line = format!(
                    "{url:?}: the connection is closed in the background, because the name server does not answer; \
                     check it (resolv.conf), or use the detector's IP address"
                );
                self.host.log(LogLevel::Warn, line);
            }
        }
    }

    /// Established connections that have ended. For a bound socket this is the only trace of a peer: the monitor
    /// reports neither a normal end nor a part that was too long.
    pub(crate) fn disconnects(&self) -> u64 {
        self.disconnects
    }

    /// libzmq does not tell who was refused.
    pub(crate) fn refused(&self) -> u64 {
        0
    }

    /// Whether all detectors are connected. If one is missing, the address is that of the missing one.
    pub(crate) fn connection(&self) -> Connection {
        let missing = self.links.iter().find(|link| !link.handshake().connected().0);
        if let Some(link) = missing {
            let (since, address) = (link.handshake().connected().1, Some(link.url().as_str().to_owned()));
            return Connection::No { since, address };
        }
        let peer = |link: &Link| match self.settings.attach {
            Attach::Connect => Some(link.url().as_str().to_owned()),
            Attach::Bind => link.peer().map(str::to_owned),
        };
        let peers: Vec<String> = self.links.iter().filter_map(peer).collect();
        match self.links.iter().map(|link| link.handshake().connected().1).max() {
            Some(since) => Connection::Yes { since, address: (!peers.is_empty()).then(|| peers.join(", ")) },
            None => Connection::Unknown,
        }
    }

    /// Logs once in a run, even if several names are unknown: the next run logs the others.
    fn tell_unknown_name(&mut self) {
        if self.unknown_told {
            return;
        }
        let unknown = self.links.iter().find_map(|link| match link.name_answer()? {
            Answer::Failed(why) => Some((link.url(), why)),
            _ => None,
        });
        if let Some((url, why)) = unknown {
            transport::tell_unknown(&self.host, url, &why);
            self.unknown_told = true;
        }
    }

    fn tell_refusal(&mut self, url: &Endpoint) {
        if std::mem::replace(&mut self.refusal_told, true) {
            return;
        }
        let kind = match self.pattern {
            Pattern::Pull => "PUSH",
            Pattern::SubscribeAll => "PUB",
        };
        let line = match self.settings.attach {
            _ if self.keys.is_some() => format!(
                "{url:?}: the CURVE handshake fails: there is no ZeroMQ {kind} socket with CURVE, or curve_server_key is not \
                 its public key, or it does not accept the key in curve_secret_key_file; correct them, the key file is read \
                 again when the next scan starts; retrying in the background"
            ),
            Attach::Connect => format!(
                "{url:?} answers, but not as a ZeroMQ {kind} socket; check upstream_url and what the detector binds \
                 there; retrying in the background"
            ),
            Attach::Bind => format!(
                "somebody connects to {url:?}, but not as a ZeroMQ {kind} socket; check what connects there, and pattern; it \
                 stays bound"
            ),
        };
        self.host.log(LogLevel::Warn, line);
    }

    /// Waits until a message may have arrived; false when the deadline has passed or a stop is requested.
    pub(crate) fn wait(&mut self, deadline: Deadline) -> Result<bool, SourceError> {
        self.mend()?;
        if self.given_up > 0 {
            return Ok(true);
        }
        loop {
            let mut items = SmallVec::<[PollItem<'_>; 9]>::new();
            items.push(PollItem::from_fd(self.host.stop_descriptor().as_raw_fd(), POLLIN));
            items.extend(self.links.iter().map(|link| link.socket().as_poll_item(POLLIN)));
            items.extend(self.links.iter().map(|link| link.handshake().events().as_poll_item(POLLIN)));
            poll(&mut items, deadline)?;
            let (stopped, arrived) =
                (items[0].is_readable(), items[1..=self.links.len()].iter().any(PollItem::is_readable));
            drop(items);
            self.hear();
            if stopped || arrived || deadline.passed() {
                return Ok(arrived && !stopped);
            }
        }
    }

    /// Waits until all handshakes are complete, at most for `time`. A stop ends the wait.
    fn wait_for_handshakes(&mut self, time: Duration) {
        let deadline = Deadline::after(time);
        while !self.links.iter().all(|link| link.handshake().is_made()) {
            // `mend` gets the same error again.
            self.links.iter_mut().for_each(|link| drop(link.begin()));
            let waits_for_name = self.links.iter().any(|link| !link.has_begun());
            let mut items = vec![PollItem::from_fd(self.host.stop_descriptor().as_raw_fd(), POLLIN)];
            items.extend(self.links.iter().map(|link| link.handshake().events().as_poll_item(POLLIN)));
            // There is no event for the answer to a name lookup, so poll often.
            let polled = poll(&mut items, if waits_for_name { deadline.min(Deadline::after(LOOK)) } else { deadline });
            let stopped = items[0].is_readable();
            drop(items);
            self.hear();
            if polled.is_err() || stopped || deadline.passed() {
                return;
            }
        }
    }

    fn settle(&self, time: Duration) {
        // A bound socket sends its subscriptions only when its events are read.
        for link in &self.links {
            let _ = link.socket().get_events();
        }
        let deadline = Deadline::after(time);
        let mut items = [PollItem::from_fd(self.host.stop_descriptor().as_raw_fd(), POLLIN)];
        while !deadline.passed() && poll(&mut items, deadline).is_ok() && !items[0].is_readable() {}
    }

    /// libzmq keeps its connections alive by itself.
    pub(crate) fn held_back(&mut self) {
        self.hear();
    }

    /// Looks after connections while data flows: libzmq stores few of its monitors' events, and then blocks.
    pub(crate) fn look(&mut self) -> Result<(), SourceError> {
        self.hear();
        Ok(())
    }

    /// Reads the monitors' events.
    fn hear(&mut self) {
        for link in &mut self.links {
            let ended = link.hear();
            self.disconnects += ended;
            if ended > 0 && self.settings.attach == Attach::Bind && !std::mem::replace(&mut self.leaving_told, true) {
                let (url, max_part) = (link.url(), self.settings.max_part.0);
                self.host.log(
                    LogLevel::Info,
                    format!(
                        "a connection to {url:?} has ended: the detector closed it, or sent a part longer than max_part \
                         ({max_part} bytes); it stays bound"
                    ),
                );
            }
        }
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        let links = mem::take(&mut self.links);
        self.close(links);
    }
}

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.links).finish()
    }
}

/// Polls once; a signal counts as a wake-up without a reason.
fn poll(items: &mut [PollItem<'_>], deadline: Deadline) -> Result<(), SourceError> {
    match zmq::poll(items, deadline.left_ms()) {
        Ok(_) | Err(zmq::Error::EINTR) => Ok(()),
        Err(error) => Err(SourceError::internal(format!("waiting for messages failed: {error}"))),
    }
}

/// libzmq reports that it has given a working connection up, but not why. A part above `max_part` is by far the most
/// likely reason.
const GIVEN_UP: Malformed = Malformed::new(
    "the connection was given up: a part longer than max_part or than memory allows, or what is not ZeroMQ's protocol",
);

/// How soon the answer of a name server is noticed while the start of a scan waits for it.
const LOOK: Duration = Duration::from_millis(1);
