//! How bytes come: with the protocol of our own, or through libzmq.

use framegate_plugin_api::{Connection, Deadline, HostContext, SourceError};
use framegate_source_kit::{Frames, Malformed};

#[cfg(feature = "libzmq")]
use crate::libzmq;
use crate::{
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

/// Whether this file has what the settings ask for.
pub(crate) fn check(transport: Transport) -> Result<(), SourceError> {
    match transport {
        Transport::Libzmq if cfg!(not(feature = "libzmq")) => Err(SourceError::settings(WITHOUT_LIBZMQ)),
        _ => Ok(()),
    }
}

const WITHOUT_LIBZMQ: &str = "transport: this plugin file is built without libzmq; leave the setting out, or build the \
                              file with the feature libzmq (docs/operate/libzmq.md)";
