//! Times and sizes in settings: a text with a unit, or a number.
//!
//! Pure. Values that cannot be intended (a scan start that waits for hours, a limit of 0) are refused when they are
//! read.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

/// A time, written as `"250 ms"`, `"1 s"`, or as a number of milliseconds; at most a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Millis(pub Duration);

/// A number of bytes, written as `"64 MiB"` or as a number; at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bytes(pub u64);

/// The two ways to write a quantity.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a number or a text with a unit")]
enum Quantity {
    Number(u64),
    Text(String),
}

impl<'de> Deserialize<'de> for Millis {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let time = match Quantity::deserialize(from)? {
            Quantity::Number(millis) => Duration::from_millis(millis),
            Quantity::Text(text) => humantime::parse_duration(&text)
                .map_err(|error| de::Error::custom(format!("{text:?}: {error}; expected a time like \"250 ms\"")))?,
        };
        // The start of a scan waits for this long.
        if time > Duration::from_secs(60) {
            return Err(de::Error::custom("at most 60 s are allowed: the start of a scan waits for it"));
        }
        Ok(Self(time))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let bytes = match Quantity::deserialize(from)? {
            Quantity::Number(bytes) => bytes,
            Quantity::Text(text) => {
                text.parse::<bytesize::ByteSize>()
                    .map_err(|error| de::Error::custom(format!("{text:?}: {error}; expected a size like \"64 MiB\"")))?
                    .0
            }
        };
        if bytes == 0 { Err(de::Error::custom("at least 1 byte is needed")) } else { Ok(Self(bytes)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_numbers_or_texts_with_a_unit() {
        for (text, millis) in [("250", 250), ("\"250 ms\"", 250), ("\"1s 5ms\"", 1005), ("0", 0), ("60000", 60_000)] {
            assert_eq!(serde_json::from_str::<Millis>(text).unwrap().0, Duration::from_millis(millis));
        }
        for (text, bytes) in [("1", 1), ("\"64 MiB\"", 64 << 20), ("\"1 kB\"", 1000)] {
            assert_eq!(serde_json::from_str::<Bytes>(text).unwrap().0, bytes);
        }
        for text in ["-1", "\"soon\"", "60001", "\"2 h\"", "null", "[]"] {
            assert!(serde_json::from_str::<Millis>(text).is_err(), "{text}");
        }
        for text in ["-1", "0", "\"much\"", "null", "\"0 B\""] {
            assert!(serde_json::from_str::<Bytes>(text).is_err(), "{text}");
        }
    }
}
