//! The names and numbers of the domain, as types; each is checked once, on entry.

use std::{borrow::Borrow, fmt, sync::Arc};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A name that is not allowed, and the reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {name:?} is not allowed: {why}")]
pub struct BadName {
    what: &'static str,
    name: String,
    why: &'static str,
}

macro_rules! name_type {
    ($(#[$doc:meta])* $type:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(Arc<str>);

        impl $type {
            /// Checks the name: not empty, no `:`, no control characters.
            ///
            /// # Errors
            /// [`BadName`] contains the reason.
            pub fn new(name: &str) -> Result<Self, BadName> {
                check($what, name)?;
                Ok(Self(name.into()))
            }
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl TryFrom<String> for $type {
            type Error = BadName;
            fn try_from(name: String) -> Result<Self, BadName> {
                Self::new(&name)
            }
        }
        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0.to_string()
            }
        }
        impl Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name_type!(
    /// The name of a stream: one detector's series of events.
    StreamName,
    "stream name"
);
name_type!(
    /// The name of an ingester: the role in Redis keys.
    IngesterName,
    "ingester name"
);
name_type!(
    /// The name of a worker, which is its ZeroMQ identity.
    WorkerName,
    "worker name"
);

impl WorkerName {
    /// The name in a ROUTER identity: ASCII, otherwise like every name.
    ///
    /// # Errors
    /// [`BadName`] contains the reason why the identity is not a worker's.
    pub fn from_identity(identity: &[u8]) -> Result<Self, BadName> {
        match std::str::from_utf8(identity) {
            Ok(name) if name.is_ascii() => Self::new(name),
            _ => Err(BadName {
                what: "worker name",
                name: String::from_utf8_lossy(identity).into_owned(),
                why: "it is not ASCII",
            }),
        }
    }
}

fn check(what: &'static str, name: &str) -> Result<(), BadName> {
    let why = if name.is_empty() {
        "it is empty"
    } else if name.contains(':') {
        "`:` separates the parts of a Redis key"
    } else if name.chars().any(char::is_control) {
        "it contains a control character"
    } else if name.len() > 255 {
        "it is longer than 255 bytes"
    } else {
        return Ok(());
    };
    Err(BadName { what, name: name.to_owned(), why })
}

/// The number of an event within its scan; set by assignments, starting at 0.
pub type EventNumber = u64;

/// Identifies a scan; on the wire it is the mapping uuid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ScanId(pub Uuid);

impl fmt::Display for ScanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
