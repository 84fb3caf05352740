//! Socket addresses as people write them: settings, options and plugins use the same form and the same error messages.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
};

use serde::{Deserialize, Deserializer, de};

/// `tcp://HOST:PORT`. Only the form is checked, without a name server.
///
/// A setting of this type is an address to connect to:
///
/// ```
/// # use framegate_plugin_api::Address;
/// let address: Address = serde_json::from_str(r#""tcp://detector:9999""#).unwrap();
/// assert_eq!((address.host(), address.port()), ("detector", 9999));
/// let error = Address::tcp("tcp://::1:9999").unwrap_err();
/// assert!(error.contains("an IPv6 address needs brackets: tcp://[::1]:9999"));
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Address {
    scheme: &'static str,
    /// Without brackets.
    host: String,
    port: u16,
}

impl Address {
    /// Reads `tcp://HOST:PORT`; the host is a name, an IPv4 address, an IPv6 address in brackets, or `*`.
    ///
    /// # Errors
    /// The problem with the text, and the expected form.
    pub fn tcp(text: &str) -> Result<Self, String> {
        Self::with_scheme("tcp://", text)
    }

    /// Reads `HOST:PORT` after a scheme such as `http://`, the same for all texts; an empty scheme means none.
    ///
    /// # Errors
    /// The problem with the text, and the expected form.
    pub fn with_scheme(scheme: &'static str, text: &str) -> Result<Self, String> {
        let wrong = |what: &str| Err(format!("{text:?}: {what}; expected {scheme}HOST:PORT"));
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return wrong("an address has no spaces");
        }
        let rest = match (text.strip_prefix(scheme), text.split_once("://")) {
            (Some(_), Some((other, _))) if scheme.is_empty() => return wrong(&format!("it begins with {other}://")),
            (Some(rest), _) => rest,
            (None, Some((other, _))) => return wrong(&format!("the scheme is not {scheme}, but {other}://")),
            (None, None) if text.is_empty() => return wrong("it is empty"),
            (None, None) => return wrong(&format!("it has no scheme; write {scheme}{text}")),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let Some((host, port)) = rest.rsplit_once(':') else { return wrong("the port is missing") };
        if host.is_empty() {
            return wrong("the host is missing");
        }
        if let Some((_, path)) = rest.split_once('/') {
            return wrong(&format!("nothing may follow the port: /{path}"));
        }
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            // A zone, such as eth0, names the network of a link-local address.
            Some(v6) if v6.split('%').next().is_some_and(|v6| v6.parse::<Ipv6Addr>().is_ok()) => v6,
            Some(_) => return wrong("the brackets hold no IPv6 address"),
            None if rest.parse::<Ipv6Addr>().is_ok() && host.parse::<Ipv6Addr>().is_err() => {
                return wrong(&format!("an IPv6 address needs brackets, and a port: {scheme}[{rest}]:PORT"));
            }
            None if host.parse::<Ipv6Addr>().is_ok() => {
                return wrong(&format!("an IPv6 address needs brackets: {scheme}[{host}]:{port}"));
            }
            None if host == "*" || host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)) => {
                host
            }
            None => return wrong("the host is malformed"),
        };
        match port.parse::<u16>() {
            Ok(number @ 1..) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
                Ok(Self { scheme, host: host.to_owned(), port: number })
            }
            _ => wrong("the port must be 1 to 65535"),
        }
    }

    /// The host: a name, an address without brackets, or `*`.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, never 0.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether the host is a numeric IPv6 address.
    #[must_use]
    pub fn is_ipv6(&self) -> bool {
        self.host.contains(':')
    }

    /// Whether a socket can connect to it, judged by its form.
    ///
    /// # Errors
    /// The address means all addresses of this machine.
    pub fn to_connect(&self) -> Result<(), String> {
        if self.host == "*" { Err(format!("{self}: `*` is not a machine to connect to; name one")) } else { Ok(()) }
    }

    /// Whether a socket can be bound to it, judged by its form.
    ///
    /// # Errors
    /// The host is a name; the error says what to write instead.
    pub fn to_bind(&self) -> Result<(), String> {
        if self.host == "*" || self.host.parse::<IpAddr>().is_ok() {
            return Ok(());
        }
        let Self { scheme, port, .. } = self;
        Err(format!(
            "{self} cannot be bound: use an IP address of this machine, not a name; {scheme}*:{port} is all of them, \
             {scheme}127.0.0.1:{port} is for this machine alone"
        ))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, host, port } = self;
        if self.is_ipv6() { write!(f, "{scheme}[{host}]:{port}") } else { write!(f, "{scheme}{host}:{port}") }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let address = Self::tcp(&String::deserialize(from)?).map_err(de::Error::custom)?;
        address.to_connect().map(|()| address).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_an_address_is_read() {
        for (text, host, shown) in [
            ("tcp://localhost:9999", "localhost", "tcp://localhost:9999"),
            ("tcp://10.0.0.1:1/", "10.0.0.1", "tcp://10.0.0.1:1"),
            ("tcp://[::1]:65535", "::1", "tcp://[::1]:65535"),
            ("tcp://[fe80::1%eth0]:5", "fe80::1%eth0", "tcp://[fe80::1%eth0]:5"),
            ("tcp://daq_1.x-y:5", "daq_1.x-y", "tcp://daq_1.x-y:5"),
            ("tcp://*:5", "*", "tcp://*:5"),
        ] {
            let address = Address::tcp(text).unwrap();
            assert_eq!((address.host(), address.to_string().as_str()), (host, shown));
        }
        assert!(Address::with_scheme("", "http://h:7").unwrap_err().contains("it begins with http://"));
        assert_eq!(Address::with_scheme("", "h:7").unwrap().to_string(), "h:7");
    }

    #[test]
    fn what_is_none_is_told_with_the_remedy() {
        for (text, says) in [
            ("", "it is empty"),
            ("localhost:9999", "it has no scheme; write tcp://localhost:9999"),
            ("http://h:1", "the scheme is not tcp://, but http://"),
            ("tcp://", "the port is missing"),
            ("tcp://h", "the port is missing"),
            ("tcp://:1", "the host is missing"),
            ("tcp://h:0", "the port must be 1 to 65535"),
            ("tcp://h:99999", "the port must be 1 to 65535"),
            ("tcp://h:+1", "the port must be 1 to 65535"),
            ("tcp://h:x", "the port must be 1 to 65535"),
            ("tcp://h:", "the port must be 1 to 65535"),
            ("tcp://::1:27303", "an IPv6 address needs brackets: tcp://[::1]:27303"),
            ("tcp://fe80::1:2:3:4:5", "an IPv6 address needs brackets"),
            ("tcp://[h]:1", "the brackets hold no IPv6 address"),
            ("tcp://[]:1", "the brackets hold no IPv6 address"),
            ("tcp://[::1:1", "the host is malformed"),
            ("tcp://u@h:1", "the host is malformed"),
            ("tcp://h:1/x", "nothing may follow the port: /x"),
            ("tcp://a b:1", "an address has no spaces"),
            ("tcp://h\0:1", "an address has no spaces"),
        ] {
            let told = Address::tcp(text).unwrap_err();
            assert!(told.contains(says) && told.ends_with("; expected tcp://HOST:PORT"), "{text:?}: {told}");
        }
    }

    #[test]
    fn what_is_bound_is_an_address_of_this_machine_and_what_is_connected_to_is_not_all_of_them() {
        for (text, connects, binds) in [
            ("tcp://*:1", false, true),
            ("tcp://0.0.0.0:1", true, true),
            ("tcp://[::1]:1", true, true),
            ("tcp://localhost:7", true, false),
        ] {
            let address = Address::tcp(text).unwrap();
            assert_eq!((address.to_connect().is_ok(), address.to_bind().is_ok()), (connects, binds), "{text}");
        }
    }
}
