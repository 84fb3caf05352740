//! Why a connection has to end.

use std::fmt;

use smallvec::SmallVec;

use crate::kind::SocketType;

/// Why the rest of a peer's bytes has no meaning, so that the connection has to end. As text it goes on with "the peer …".
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Its first bytes are not those of a ZeroMQ socket.
    NotZmtp,
    /// It wants a security mechanism.
    Mechanism(Words),
    /// It is a socket that may not talk to ours.
    WrongType(SocketType),
    /// It does not tell its socket type, or one that does not exist.
    NoType,
    /// Its identity has more than 255 bytes.
    Identity,
    /// It begins with something else than its introduction.
    NoIntroduction,
    /// It has not introduced itself in time.
    Late,
    /// A part's head has flags that its version does not have, or a length that no part can have.
    Head,
    /// A command has no name, or lacks what belongs to it.
    Command,
    /// A command is longer than [`LONGEST_COMMAND`](crate::LONGEST_COMMAND).
    LongCommand,
    /// It says so itself.
    Error(Words),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotZmtp => f.write_str("does not speak ZeroMQ's protocol"),
            Self::Mechanism(name) => write!(f, "wants ZeroMQ's security mechanism {name}, which is not spoken here"),
            Self::WrongType(kind) => write!(f, "is a {} socket", kind.name()),
            Self::NoType => f.write_str("does not tell a known type of its socket"),
            Self::Identity => f.write_str("has an identity of more than 255 bytes"),
            Self::NoIntroduction => f.write_str("does not begin with its introduction"),
            Self::Late => f.write_str("has not introduced itself in time"),
            Self::Head => f.write_str("sent the head of a part that ZeroMQ's protocol does not have"),
            Self::Command => f.write_str("sent a command without meaning"),
            Self::LongCommand => f.write_str("sent a command that is too long"),
            Self::Error(words) => write!(f, "reports an error: {words}"),
        }
    }
}

impl std::error::Error for Fault {}

/// Words of a peer, at most 60 bytes of them; shown without what would disturb a terminal or a log.
#[derive(Clone, PartialEq, Eq)]
pub struct Words(SmallVec<[u8; 32]>);

impl Words {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self(SmallVec::from_slice(&bytes[..bytes.len().min(60)]))
    }
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}
