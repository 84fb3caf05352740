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

/// The variable with directories of plugins.
pub const PLUGIN_PATH: &str = "FRAMEGATE_PLUGIN_PATH";

/// The plugin that the settings ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginReference<'a> {
    /// A name (`stins`) or a path.
    pub what: &'a str,
    /// The content's SHA-256 in hexadecimal.
    pub pin: Option<&'a str>,
}

impl<'a> PluginReference<'a> {
    /// Splits a value of `source`: the part before `#sha256:`, and the hash after it.
    #[must_use]
    pub fn parse(source: &'a str) -> Self {
        match source.split_once(PIN) {
            Some((what, pin)) => Self { what, pin: Some(pin) },
            None => Self { what: source, pin: None },
        }
    }

    /// A path contains a slash, or ends like a shared library.
    #[must_use]
    pub fn is_path(&self) -> bool {
        self.what.contains('/') || self.what.ends_with(".so")
    }
}

impl fmt::Display for PluginReference<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)?;
        self.pin.map_or(Ok(()), |pin| write!(f, "{PIN}{pin}"))
    }
}

const PIN: &str = "#sha256:";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_not_part_of_the_name() {
        assert_eq!(PluginReference::parse("stins#sha256:ab12"), PluginReference { what: "stins", pin: Some("ab12") });
        assert_eq!(PluginReference::parse("a/b.so"), PluginReference { what: "a/b.so", pin: None });
        for text in ["stins#sha256:ab12", "a/b.so"] {
            assert_eq!(PluginReference::parse(text).to_string(), text);
        }
    }
}
