//! One address of a run: dials it, or listens at it, and owns its connections.

use std::{collections::VecDeque, io, time::Instant};

use framegate_plugin_api::{HostContext, LogLevel, SourceError};
use framegate_source_kit::Malformed;
use nix::poll::{PollFd, PollFlags};
use smallvec::SmallVec;

use super::{
    connection::{Connection, End, Terms},
    dialer::Dialer,
    listener::{Accepted, Listener},
};
use crate::{
    endpoint::{Attach, Endpoint},
    names::Answer,
    transport::Received,
};

/// See the module. When it is dropped, its connections are closed at once.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) url: Endpoint,
    way: Way,
    connections: Vec<Connection>,
    /// The connection to read next, so that a busy one does not starve the others.
    turn: usize,
    /// How many connections have been established at a time, at most.
    pub(crate) most: usize,
    /// When the first was established, or the last one ended.
    pub(crate) changed: Instant,
}

#[derive(Debug)]
enum Way {
    Dial(Dialer),
    Listen(Listener),
}

/// What the links of a run tell, and what they have in common.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) terms: Terms,
    pub(crate) host: HostContext,
    /// Established connections that have ended.
    pub(crate) disconnects: u64,
    /// Connections that were refused, or ended before they were established.
    pub(crate) refused: u64,
    /// Messages that were invalid so that their connection had to end, and were not taken yet.
    pub(crate) invalid: VecDeque<Malformed>,
    /// Whether a refused peer was logged.
    refusal_told: bool,
    /// Whether it was logged that no attempt to connect can begin.
    trouble_told: bool,
    /// Number of connections that were closed early.
    early_ends: u8,
    /// Number of ends that were logged.
    ends_told: u8,
}

pub(crate) type PollSet<'a> = SmallVec<[PollFd<'a>; 8]>;

/// Maximum number of connections to a bound address.
const MOST_CONNECTIONS: usize = 256;
/// Connections to accept at once, so that a flood does not keep the others from being read.
const ACCEPTS_AT_ONCE: usize = 64;
/// Ends of connections that are logged in a run.
const ENDS_TOLD: u8 = 8;
/// Connections that may be closed before an introduction until that is logged.
const EARLY_ENDS: u8 = 3;

impl Ledger {
    pub(crate) fn new(terms: Terms, host: HostContext) -> Self {
        let invalid = VecDeque::new();
        Self {
            terms,
            host,
            disconnects: 0,
            refused: 0,
            invalid,
            refusal_told: false,
            trouble_told: false,
            early_ends: 0,
            ends_told: 0,
        }
    }
}

impl Link {
    /// Dials from now on, or listens.
    pub(crate) fn make(url: &Endpoint, attach: Attach) -> Result<Self, SourceError> {
        let now = Instant::now();
        let way = match attach {
            Attach::Connect => Way::Dial(Dialer::new(url, now).map_err(|error| {
                SourceError::connect(format!("{url:?}: cannot connect: {error}; check upstream_url"))
            })?),
            Attach::Bind => Way::Listen(Listener::bind(url)?),
        };
        Ok(Self { url: url.clone(), way, connections: Vec::new(), turn: 0, most: 0, changed: now })
    }

    /// Number of established connections.
    pub(crate) fn open(&self) -> usize {
        self.connections.iter().filter(|connection| connection.is_open()).count()
    }

    /// The lookup state of the name that it waits for.
    pub(crate) fn name_answer(&self) -> Option<Answer> {
        if let Way::Dial(dialer) = &self.way { dialer.name_answer() } else { None }
    }

    /// Peers that are connected, each address once.
    pub(crate) fn peers(&self) -> Vec<String> {
        let open = self.connections.iter().filter(|connection| connection.is_open());
        let mut peers: Vec<_> = open.filter_map(|connection| Some(connection.peer?.ip().to_string())).collect();
        peers.sort_unstable();
        peers.dedup();
        peers
    }

    /// Bytes of unfinished messages, for each connection.
    pub(crate) fn held(&self) -> impl Iterator<Item = u64> {
        self.connections.iter().map(Connection::held)
    }

    pub(crate) fn connections(&mut self) -> &mut [Connection] {
        &mut self.connections
    }

    /// Whether a connection may have more to read.
    pub(crate) fn is_readable(&self) -> bool {
        self.connections.iter().any(Connection::is_readable)
    }

    /// Whether a connection may have more to take.
    pub(crate) fn may_have_more(&self) -> bool {
        self.connections.iter().any(Connection::may_have_more)
    }

    /// Takes one message if one has come; never waits.
    pub(crate) fn receive(&mut self, ledger: &mut Ledger) -> Received {
        let mut left = self.connections.len();
        while left > 0 && !self.connections.is_empty() {
            left -= 1;
            let place = self.turn % self.connections.len();
            self.turn = place + 1;
            match self.connections[place].receive(&ledger.terms) {
                Ok(Received::Empty) => {}
                Ok(found) => return found,
                Err(end) => {
                    self.end(place, &end, ledger);
                    self.turn = place;
                }
            }
        }
        Received::Empty
    }

    /// Adds what to poll.
    pub(crate) fn watch<'a>(&'a self, set: &mut PollSet<'a>) {
        let way = match &self.way {
            Way::Dial(dialer) => dialer.connecting().map(|socket| PollFd::new(socket, PollFlags::POLLOUT)),
            Way::Listen(listener) => listener.waiting().map(|socket| PollFd::new(socket, PollFlags::POLLIN)),
        };
        set.extend(way);
        set.extend(self.connections.iter().map(|connection| {
            use std::os::fd::AsFd as _;
            PollFd::new(connection.as_fd(), connection.interest())
        }));
    }

    /// What a poll has found, in the order of [`Link::watch`].
    pub(crate) fn polled(&mut self, found: &mut impl Iterator<Item = PollFlags>, ledger: &mut Ledger) {
        let is_way_watched = match &self.way {
            Way::Dial(dialer) => dialer.connecting().is_some(),
            Way::Listen(listener) => listener.waiting().is_some(),
        };
        let is_way_ready = is_way_watched && found.next().is_some_and(|found| !found.is_empty());
        let found: SmallVec<[PollFlags; 8]> = found.take(self.connections.len()).collect();
        // From the last to the first, because those that end are removed.
        for (place, found) in found.into_iter().enumerate().rev() {
            self.advance(place, found, ledger);
        }
        if is_way_ready {
            let now = Instant::now();
            match &mut self.way {
                Way::Dial(dialer) => {
                    if let Some((socket, peer)) = dialer.polled(now) {
                        self.add(Connection::new(socket, peer, ledger.terms.role), ledger);
                    }
                }
                Way::Listen(_) => self.accept(now, ledger),
            }
        }
    }

    /// Continues a connection with the result of a poll.
    fn advance(&mut self, place: usize, found: PollFlags, ledger: &mut Ledger) {
        match self.connections[place].polled(found, &ledger.terms) {
            Ok(false) => {}
            Ok(true) => {
                let open = self.open();
                self.most = self.most.max(open);
                if open == 1 {
                    self.changed = Instant::now();
                }
            }
            Err(end) => self.end(place, &end, ledger),
        }
    }

    fn add(&mut self, connection: Connection, ledger: &mut Ledger) {
        self.connections.push(connection);
        // Its first bytes go out at once.
        self.advance(self.connections.len() - 1, PollFlags::empty(), ledger);
    }

    fn accept(&mut self, now: Instant, ledger: &mut Ledger) {
        for _ in 0..ACCEPTS_AT_ONCE {
            let Way::Listen(listener) = &mut self.way else { return };
            match listener.accept(now) {
                Accepted::Nobody => return,
                Accepted::Connection(socket, peer) => {
                    if self.connections.len() >= MOST_CONNECTIONS {
                        self.make_room(ledger);
                    }
                    if self.connections.len() < MOST_CONNECTIONS {
                        self.add(Connection::new(socket, peer, ledger.terms.role), ledger);
                    } else {
                        ledger.refused += 1;
                        self.tell_refusal(&format!("{MOST_CONNECTIONS} detectors are connected already"), ledger);
                    }
                }
                Accepted::Refused(problem) => {
                    ledger.refused += 1;
                    let (url, remedy) = (&self.url, remedy(&problem));
                    let line = format!("a connection to {url:?} cannot be accepted: {problem}{remedy}; retrying");
                    tell_once(&mut ledger.refusal_told, &ledger.host, LogLevel::Warn, line);
                    return;
                }
            }
        }
    }

    /// Ends the connection that has been silent for the longest time: one in its handshake, or else one that has never sent a
    /// message.
    fn make_room(&mut self, ledger: &mut Ledger) {
        let silent = self.connections.iter().enumerate().filter(|(_, connection)| !connection.has_sent);
        if let Some((place, _)) = silent.min_by_key(|(_, connection)| (connection.is_open(), connection.heard)) {
            self.end(place, &End::Crowded, ledger);
        }
    }

    /// Does what is due. Returns when it has to be called again.
    pub(crate) fn tick(&mut self, now: Instant, ledger: &mut Ledger) -> Option<Instant> {
        for place in (0..self.connections.len()).rev() {
            if self.connections[place].deadline().is_some_and(|deadline| deadline <= now) {
                self.end(place, &End::Fault(framegate_zmtp::Fault::Late), ledger);
            }
        }
        let handshake = self.connections.iter().filter_map(Connection::deadline).min();
        let way = match &mut self.way {
            Way::Dial(dialer) => {
                let due = dialer.tick(now);
                if let Some(problem) = dialer.take_trouble() {
                    let line = format!("{:?}: cannot connect: {problem}{}; retrying", self.url, remedy(&problem));
                    tell_once(&mut ledger.trouble_told, &ledger.host, LogLevel::Warn, line);
                }
                due
            }
            Way::Listen(listener) => listener.tick(now),
        };
        [handshake, way].into_iter().flatten().min()
    }

    /// Removes a connection, counts its end and logs it.
    fn end(&mut self, place: usize, end: &End, ledger: &mut Ledger) {
        let connection = self.connections.remove(place);
        let (now, was_open) = (Instant::now(), connection.is_open());
        if let Way::Dial(dialer) = &mut self.way {
            dialer.ended(!was_open || !matches!(end, End::Closed | End::Broken(_)), now);
        }
        if !was_open {
            ledger.refused += 1;
            return self.tell_stranger(end, &connection, ledger);
        }
        ledger.disconnects += 1;
        ledger.invalid.extend(end.malformed(connection.is_amid()));
        if self.open() == 0 {
            self.changed = now;
        }
        let what_now = match &self.way {
            Way::Dial(_) => "connecting again",
            Way::Listen(_) => "it stays bound",
        };
        let (url, who) = (&self.url, from(&connection));
        let line = match end {
            End::LongPart(length) => {
                let most = ledger.terms.limits.part;
                format!(
                    "a connection to {url:?} has ended: the detector{who} announced a part of {length} bytes, longer than \
                     max_part ({most} bytes); {what_now}"
                )
            }
            end => format!("a connection to {url:?} has ended: the detector{who} {end}; {what_now}"),
        };
        let level = if matches!(end, End::Closed) { LogLevel::Info } else { LogLevel::Warn };
        match ledger.ends_told {
            ENDS_TOLD => {}
            told => {
                ledger.ends_told += 1;
                let more = if told + 1 == ENDS_TOLD { "; further ends are counted and not logged" } else { "" };
                ledger.host.log(level, format!("{line}{more}"));
            }
        }
    }

    /// Tells who is no such detector, once in a run.
    fn tell_stranger(&self, end: &End, connection: &Connection, ledger: &mut Ledger) {
        // A detector that starts or stops closes connections, too.
        ledger.early_ends += u8::from(matches!(end, End::Closed | End::Broken(_)) && ledger.early_ends < EARLY_ENDS);
        if matches!(end, End::Closed | End::Broken(_)) && ledger.early_ends < EARLY_ENDS {
            return;
        }
        let why = match end {
            End::Closed => "it closes the connection before it has introduced itself".to_owned(),
            end => format!("it {end}"),
        };
        let kind = ledger.terms.role.peers()[0].name();
        let url = &self.url;
        let line = match &self.way {
            Way::Dial(_) => format!(
                "{url:?} answers, but not as a ZeroMQ {kind} socket: {why}; check upstream_url and what the detector binds \
                 there; retrying in the background"
            ),
            Way::Listen(_) => format!(
                "somebody{} connects to {url:?}, but not as a ZeroMQ {kind} socket: {why}; check what connects there, and \
                 pattern; it stays bound",
                from(connection)
            ),
        };
        tell_once(&mut ledger.refusal_told, &ledger.host, LogLevel::Warn, line);
    }

    fn tell_refusal(&self, why: &str, ledger: &mut Ledger) {
        let line = format!("a connection to {:?} is refused: {why}; further ones are counted and not logged", self.url);
        tell_once(&mut ledger.refusal_told, &ledger.host, LogLevel::Warn, line);
    }
}

fn remedy(problem: &io::Error) -> &'static str {
    match problem.raw_os_error() {
        Some(nix::libc::EMFILE | nix::libc::ENFILE) => {
            "; raise RLIMIT_NOFILE (LimitNOFILE= of a service, ulimit -n of a shell), or see who has so many connections"
        }
        _ => "",
    }
}

fn tell_once(told: &mut bool, host: &HostContext, level: LogLevel, line: String) {
    if !std::mem::replace(told, true) {
        host.log(level, line);
    }
}

fn from(connection: &Connection) -> String {
    connection.peer.map(|peer| format!(" at {peer}")).unwrap_or_default()
}
