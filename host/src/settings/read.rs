//! Parses values of each kind: text, count, size, time, address; each error says what is expected.
//!
//! Pure functions: only the form is checked. No message repeats a value that may contain a password.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use bytesize::ByteSize;
use framegate_plugin_api::Address;

use super::{
    AllowedWorkers,
    given::{Given, Origin, Value},
};
use crate::near::near;

/// A text that is not empty.
pub(super) fn text(given: &Given) -> Result<String, String> {
    match &given.value {
        Value::Text(text) if text.is_empty() => Err("it is empty".into()),
        Value::Text(text) => Ok(text.clone()),
        _ => Err(format!("expected a text in quotes, not {}", given.kind())),
    }
}

pub(super) fn truth(given: &Given) -> Result<bool, String> {
    match (&given.value, &given.origin) {
        (Value::Bool(truth), _) => Ok(*truth),
        // Variables are always texts.
        (Value::Text(text), Origin::Variable(_)) => match text.to_lowercase().as_str() {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err(format!("{text:?} is not allowed: true or false")),
        },
        _ => Err(format!("expected true or false, not {}", given.kind())),
    }
}

/// A whole number, 1 or more.
pub(super) fn count(given: &Given) -> Result<u64, String> {
    match given.value {
        Value::Integer(number) => match u64::try_from(number) {
            Ok(number) => not_none(number),
            Err(_) => Err(too_few(number)),
        },
        _ => Err(format!("expected a whole number, not {}", given.kind())),
    }
}

/// Checks that the number is 1 or more.
pub(super) fn not_none(number: u64) -> Result<u64, String> {
    if number == 0 { Err(too_few(number)) } else { Ok(number) }
}

fn too_few(number: impl fmt::Display) -> String {
    format!("{number} is not allowed: at least 1")
}

/// A whole number for this machine, 1 or more.
pub(super) fn number(given: &Given) -> Result<usize, String> {
    count(given).and_then(|number| usize::try_from(number).map_err(|_| "too many".into()))
}

/// The same as `read`, for a value that may be absent.
pub(super) fn some<T>(
    read: impl FnOnce(&Given) -> Result<T, String>,
) -> impl FnOnce(&Given) -> Result<Option<T>, String> {
    |given| read(given).map(Some)
}

pub(super) fn generations_given(given: &Given) -> Result<usize, String> {
    generations(count(given)?)
}

/// Checks the limit of the system's loader.
pub(super) fn generations(number: u64) -> Result<usize, String> {
    match number {
        1..=500 => Ok(number as usize),
        _ => Err(format!("{number} is not allowed: 1 to 500, the limit of the system's loader")),
    }
}

/// A number of bytes, 1 or more.
pub(super) fn size(given: &Given) -> Result<u64, String> {
    let expected = "expected a size such as \"1 GiB\", \"256 MiB\", or a number of bytes";
    let bytes = match &given.value {
        Value::Integer(number) => u64::try_from(*number).map_err(|_| format!("{number} is negative; {expected}"))?,
        Value::Text(text) => text.parse::<ByteSize>().map_err(|_| format!("{text:?} is not a size; {expected}"))?.0,
        _ => return Err(format!("{expected}, not {}", given.kind())),
    };
    not_empty(bytes)
}

/// Checks that the size is 1 byte or more.
pub(super) fn not_empty(bytes: u64) -> Result<u64, String> {
    if bytes == 0 { Err("at least 1 byte is needed".into()) } else { Ok(bytes) }
}

/// A time within limits.
pub(super) fn time(least: Duration, most: Duration) -> impl FnOnce(&Given) -> Result<Duration, String> {
    move |given| {
        let expected = "expected a time with its unit, such as \"10 s\" or \"500 ms\"";
        let Value::Text(text) = &given.value else { return Err(format!("{expected}, not {}", given.kind())) };
        let time = humantime::parse_duration(text).map_err(|_| format!("{text:?} is not a time; {expected}"))?;
        within(time, text, least, most)
    }
}

/// Checks a time against limits; `text` is its original form.
pub(super) fn within(time: Duration, text: &str, least: Duration, most: Duration) -> Result<Duration, String> {
    if (least..=most).contains(&time) {
        return Ok(time);
    }
    let shown = |time: Duration| match time.as_secs() {
        days if days >= 86400 => format!("{} days", days / 86400),
        _ => humantime::format_duration(time).to_string(),
    };
    Err(format!("{text:?} is not allowed: {} to {}", shown(least), shown(most)))
}

/// One of a few words; case-insensitive.
pub(super) fn one_of<T: Copy>(words: &[(&'static str, T)]) -> impl FnOnce(&Given) -> Result<T, String> {
    move |given| {
        let list = words.iter().map(|(word, _)| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
        let Value::Text(text) = &given.value else {
            return Err(format!("expected one of {list}, not {}", given.kind()));
        };
        if let Some((_, value)) = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)) {
            return Ok(*value);
        }
        let near = near(text, words.iter().map(|(word, _)| *word));
        let meant = near.map_or(String::new(), |near| format!("; did you mean \"{near}\"?"));
        Err(format!("{text:?} is not allowed: one of {list}{meant}"))
    }
}

pub(super) fn path(given: &Given) -> Result<PathBuf, String> {
    text(given).map(PathBuf::from)
}

/// An absolute path of a folder.
pub(super) fn folder(given: &Given) -> Result<PathBuf, String> {
    absolute(path(given)?)
}

pub(super) fn absolute(path: PathBuf) -> Result<PathBuf, String> {
    if path.is_absolute() { Ok(path) } else { Err(format!("{path:?}: expected an absolute path")) }
}

/// The sentence about a second capture at this path. It is the same for `/a//b` and `/a/b`, which are one path.
pub(super) fn second_capture(path: &Path) -> String {
    let path: PathBuf = path.components().collect();
    format!("a second ingester writes to dump_path {path:?}")
}

pub(super) fn paths(given: &Given) -> Result<Vec<PathBuf>, String> {
    let Value::List(list) = &given.value else {
        return Err(format!("expected a list of folders, [\"…\"], not {}", given.kind()));
    };
    list.iter().map(path).collect()
}

/// `tcp://host:port` as dranspose publishes it: workers connect to it, and any other form stops them.
pub(super) fn address(given: &Given) -> Result<(String, u16), String> {
    address_of(&text(given)?)
}

/// The same for a text.
pub(super) fn address_of(url: &str) -> Result<(String, u16), String> {
    let address = Address::tcp(url).map_err(|wrong| format!("{wrong}, to which workers connect"))?;
    address.to_connect().map_err(|wrong| {
        format!(
            "{wrong}: workers connect to this address. To choose where framegate listens, set `bind` or FRAMEGATE_BIND"
        )
    })?;
    let host = if address.is_ipv6() { format!("[{}]", address.host()) } else { address.host().to_owned() };
    Ok((host, address.port()))
}

/// A local address; whether it belongs to this machine is known when it is bound.
pub(super) fn bind(given: &Given) -> Result<Option<IpAddr>, String> {
    let address = text(given)?;
    if address == "*" {
        return Ok(None);
    }
    let expected = "expected an IP address of this machine, such as \"127.0.0.1\" or \"::1\", or \"*\" for all of them";
    address.parse().map(Some).map_err(|_| format!("{address:?}: {expected}"))
}

/// Names of workers; in a variable they are separated by commas.
pub(super) fn workers(given: &Given) -> Result<AllowedWorkers, String> {
    let allowed = match (&given.value, &given.origin) {
        (Value::Text(names), Origin::Variable(_)) => AllowedWorkers::named(names.split(',')),
        (Value::List(list), _) => AllowedWorkers::named(list.iter().map(text).collect::<Result<Vec<_>, _>>()?),
        _ => Err(format!("not {}", given.kind())),
    };
    allowed.map_err(|why| format!("{why}; expected names of workers, such as [\"daq-*\", \"w1\"]"))
}

pub(super) fn admin(given: &Given) -> Result<Option<SocketAddr>, String> {
    let address = text(given)?;
    if OFF.contains(&address.to_lowercase().as_str()) {
        return Ok(None);
    }
    if let Ok(address) = address.parse() {
        return Ok(Some(address));
    }
    let form = Address::with_scheme("", &address);
    let address = form.map_err(|wrong| format!("{wrong}, such as 127.0.0.1:9180, or \"off\""))?;
    // Any host other than `*` is a name.
    address.to_bind().map(|()| Some((Ipv4Addr::UNSPECIFIED, address.port()).into()))
}

pub(super) fn time_or_off(given: &Given) -> Result<Option<Duration>, String> {
    match &given.value {
        Value::Text(text) if OFF.contains(&text.to_lowercase().as_str()) => Ok(None),
        _ => time(MILLISECOND, YEAR)(given).map(Some).map_err(|why| format!("{why}, or \"off\"")),
    }
}

const OFF: [&str; 2] = ["off", "none"];

/// Limits of times: not zero by mistake, and not so long that adding it to the clock fails.
pub(super) const MILLISECOND: Duration = Duration::from_millis(1);
pub(super) const HOUR: Duration = Duration::from_secs(3600);
pub(super) const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
