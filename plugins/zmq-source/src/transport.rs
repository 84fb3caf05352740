//! How bytes come: with the protocol of our own, or through libzmq.

use std::time::Duration;

use framegate_plugin_api::{Connection, Deadline, HostContext, LogLevel, SourceError};
use framegate_source_kit::{Frames, Malformed};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

#[cfg(feature = "libzmq")]
use crate::libzmq;
use crate::{
    curve,
    endpoint::{Attach, Endpoint},
    names::Answer,
    native,
    settings::{Pattern, Transport, ZmqSettings},
};

/// Result of [`Links::receive`].
pub(crate) enum Received {
    /// A complete message, at least one part, and its length in bytes.
    Message(Frames, usize),
    /// A complete message that was read and discarded, and its length in bytes.
    Refused(Malformed, usize),
    /// A connection has ended because of a message.
    Ended(Malformed),
    /// Nothing is waiting.
    Empty,
}

/// What may have come and was not taken yet, at most: the run ends at the first of both limits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Backlog {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
}

/// The connections of one run.
#[derive(Debug)]
pub(crate) enum Links {
    Native(native::Links),
    #[cfg(feature = "libzmq")]
    Libzmq(libzmq::Links),
}

/// Calls the same function of either.
macro_rules! either {
    ($links:expr, $each:ident => $call:expr) => {
        match $links {
            Links::Native($each) => $call,
            #[cfg(feature = "libzmq")]
            Links::Libzmq($each) => $call,
        }
    };
}

impl Links {
    /// Connects or binds, and waits for the handshakes within `connect_wait`. An absent detector is not an error.
    pub(crate) fn open(settings: &ZmqSettings, pattern: Pattern, host: &HostContext) -> Result<Self, SourceError> {
        match settings.transport {
            Transport::Native => native::Links::open(settings, pattern, host).map(Self::Native),
            #[cfg(feature = "libzmq")]
            Transport::Libzmq => libzmq::Links::open(settings, pattern, host).map(Self::Libzmq),
            #[cfg(not(feature = "libzmq"))]
            Transport::Libzmq => Err(SourceError::settings(WITHOUT_LIBZMQ)),
        }
    }

    /// Takes one message if any link has one; never waits.
    pub(crate) fn receive(&mut self) -> Result<Received, SourceError> {
        either!(self, links => links.receive())
    }

    /// Whether nothing more has come, as far as it is known without a look.
    pub(crate) fn are_drained(&self) -> bool {
        either!(self, links => links.are_drained())
    }

    pub(crate) fn backlog(&mut self) -> Backlog {
        either!(self, links => links.backlog())
    }

    /// Whether messages of several connections mix.
    pub(crate) fn mix(&mut self) -> bool {
        either!(self, links => links.mix())
    }

    /// Established connections that have ended.
    pub(crate) fn disconnects(&self) -> u64 {
        either!(self, links => links.disconnects())
    }

    /// Connections that were refused, or ended before they were established.
    pub(crate) fn refused(&self) -> u64 {
        either!(self, links => links.refused())
    }

    /// Whether all detectors are connected.
    pub(crate) fn connection(&self) -> Connection {
        either!(self, links => links.connection())
    }

    /// Keeps connections alive while nothing is received.
    pub(crate) fn held_back(&mut self) {
        either!(self, links => links.held_back());
    }

    /// Looks after connections while data flows.
    pub(crate) fn look(&mut self) -> Result<(), SourceError> {
        either!(self, links => links.look())
    }

    /// Waits until a message may have come; false when the deadline has passed or a stop is requested. Call it only when
    /// everything was received.
    pub(crate) fn wait(&mut self, deadline: Deadline) -> Result<bool, SourceError> {
        either!(self, links => links.wait(deadline))
    }
}

/// All that the settings ask for and this file does not have, and all that is wrong with their keys.
pub(crate) fn problems(settings: &ZmqSettings) -> Vec<String> {
    let mut problems = curve::problems(settings);
    match settings.transport {
        Transport::Libzmq if cfg!(not(feature = "libzmq")) => problems.push(WITHOUT_LIBZMQ.to_owned()),
        Transport::Native if curve::is_wanted(settings) => problems.push(CURVE_IS_NOT_NATIVE.to_owned()),
        #[cfg(feature = "libzmq")]
        Transport::Libzmq if curve::is_wanted(settings) && !libzmq::has_curve() => {
            problems.push(WITHOUT_CURVE.to_owned());
        }
        _ => {}
    }
    problems
}

const WITHOUT_LIBZMQ: &str = "transport: this plugin file is built without libzmq; leave the setting out, or build the \
                              file with the feature libzmq (docs/operate/libzmq.md)";

const CURVE_IS_NOT_NATIVE: &str = "transport: the native transport has no CURVE; set transport = \"libzmq\" and use a plugin \
                                   file that is built with the system's libzmq (docs/operate/libzmq.md), or leave out \
                                   curve_server_key and curve_secret_key_file";

#[cfg(feature = "libzmq")]
const WITHOUT_CURVE: &str = "transport: the libzmq in this plugin file has no CURVE; build the file with the system's libzmq \
                             (docs/operate/libzmq.md)";

/// Logs that a detector is absent when a run opens. If its name is unknown, a warning says so.
pub(crate) fn tell_absent(host: &HostContext, attach: Attach, url: &Endpoint, name: Option<Answer>) {
    let line = match (attach, name) {
        (Attach::Connect, Some(Answer::Failed(_))) => return,
        (Attach::Connect, Some(Answer::Pending)) => {
            format!("waiting for the detector at {url:?} (the name server has not answered yet; retrying)")
        }
        (Attach::Connect, _) => format!("waiting for the detector at {url:?} (nothing answers there yet)"),
        (Attach::Bind, _) => format!("waiting for the detector to connect to {url:?}"),
    };
    host.log(LogLevel::Info, line);
}

/// Logs that a detector's name is not known.
pub(crate) fn tell_unknown(host: &HostContext, url: &Endpoint, why: &str) {
    let line = format!(
        "{url:?}: this host name is not known: {why}; check upstream_url and the name server (`getent hosts NAME`). Retrying \
         in the background"
    );
    host.log(LogLevel::Warn, line);
}

/// How long opening a run waits after the handshakes.
pub(crate) fn settle(settings: &ZmqSettings, pattern: Pattern) -> Duration {
    match pattern {
        Pattern::Pull => RECONNECT_SETTLE,
        Pattern::SubscribeAll => settings.subscribe_settle.0,
    }
}

/// Waits until a stop is requested, at most until the deadline.
pub(crate) fn wait_for_stop(host: &HostContext, deadline: Deadline) -> Result<(), SourceError> {
    let mut stop = [PollFd::new(host.stop_descriptor(), PollFlags::POLLIN)];
    loop {
        match poll(&mut stop, timeout(deadline.left())) {
            Err(Errno::EINTR) => {}
            Ok(_) => return Ok(()),
            Err(error) => return Err(SourceError::internal(format!("waiting for a stop failed: {error}"))),
        }
    }
}

/// For `poll`: rounded up, so that a short wait does not spin.
pub(crate) fn timeout(left: Duration) -> PollTimeout {
    i32::try_from(left.as_nanos().div_ceil(1_000_000))
        .ok()
        .and_then(|ms| ms.try_into().ok())
        .unwrap_or(PollTimeout::MAX)
}

/// libzmq's PUSH side checks its connections only every 3 million clock ticks while it sends. Until then it may still
/// send to the previous run's connection, and those messages are lost.
const RECONNECT_SETTLE: Duration = Duration::from_millis(3);
