//! Socket types, and which of them may talk to which.

/// What our end of a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Talks to many peers, each by its identity.
    Router,
    /// Receives what PUSH sockets send.
    Pull,
    /// Receives what it has subscribed to, from PUB sockets.
    Sub,
    /// Asks, and gets one answer for each question.
    Req,
}

impl Role {
    /// Our own socket type.
    #[must_use]
    pub fn socket_type(self) -> SocketType {
        match self {
            Self::Router => SocketType::Router,
            Self::Pull => SocketType::Pull,
            Self::Sub => SocketType::Sub,
            Self::Req => SocketType::Req,
        }
    }

    /// The types that may talk to it; the first is the usual one.
    #[must_use]
    pub fn peers(self) -> &'static [SocketType] {
        match self {
            Self::Router => &[SocketType::Dealer, SocketType::Req, SocketType::Router],
            Self::Pull => &[SocketType::Push],
            Self::Sub => &[SocketType::Pub, SocketType::Xpub],
            Self::Req => &[SocketType::Rep, SocketType::Router],
        }
    }
}

/// A type of ZeroMQ sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketType {
    /// PAIR.
    Pair,
    /// PUB.
    Pub,
    /// SUB.
    Sub,
    /// REQ.
    Req,
    /// REP.
    Rep,
    /// DEALER.
    Dealer,
    /// ROUTER.
    Router,
    /// PULL.
    Pull,
    /// PUSH.
    Push,
    /// XPUB.
    Xpub,
    /// XSUB.
    Xsub,
}

/// In the order of their numbers in ZMTP 2.0, which are those of libzmq.
const ALL: [(SocketType, &str); 11] = [
    (SocketType::Pair, "PAIR"),
    (SocketType::Pub, "PUB"),
    (SocketType::Sub, "SUB"),
    (SocketType::Req, "REQ"),
    (SocketType::Rep, "REP"),
    (SocketType::Dealer, "DEALER"),
    (SocketType::Router, "ROUTER"),
    (SocketType::Pull, "PULL"),
    (SocketType::Push, "PUSH"),
    (SocketType::Xpub, "XPUB"),
    (SocketType::Xsub, "XSUB"),
];

impl SocketType {
    /// Its name, as in READY of ZMTP 3.
    #[must_use]
    pub fn name(self) -> &'static str {
        ALL[self as usize].1
    }

    /// Its number in the greeting of ZMTP 2.0.
    #[must_use]
    pub fn number(self) -> u8 {
        self as u8
    }

    pub(crate) fn with_name(name: &[u8]) -> Option<Self> {
        ALL.iter().find(|(_, known)| known.as_bytes() == name).map(|(kind, _)| *kind)
    }

    pub(crate) fn with_number(number: u8) -> Option<Self> {
        ALL.get(usize::from(number)).map(|(kind, _)| *kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_those_of_their_types() {
        for (number, (kind, name)) in ALL.iter().enumerate() {
            assert_eq!((kind.name(), usize::from(kind.number())), (*name, number));
            assert_eq!(SocketType::with_name(name.as_bytes()), Some(*kind));
            assert_eq!(SocketType::with_number(kind.number()), Some(*kind));
        }
        assert_eq!((SocketType::with_name(b"pull"), SocketType::with_number(11)), (None, None));
    }
}
