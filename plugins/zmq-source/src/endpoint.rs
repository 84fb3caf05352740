//! Addresses of detectors, checked when they are read.
//!
//! Pure: no name lookups, no connections.

use std::{fmt, net::IpAddr};

use framegate_plugin_api::Address;
use serde::{Deserialize, Deserializer, de};

/// Which side connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attach {
    /// The detector binds the address, the source connects to it.
    #[default]
    Connect,
    /// The source binds the address, which belongs to this machine, and one or several detectors connect.
    Bind,
}

/// A checked ZeroMQ address.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint(String);

impl Endpoint {
    /// Checks the form of an address; no name lookup, no connection.
    ///
    /// # Errors
    /// What is wrong with it, and an example of a correct address.
    pub fn parse(url: &str) -> Result<Self, String> {
        let Some(path) = url.strip_prefix("ipc://") else {
            let address = Address::tcp(url).map_err(|wrong| format!("{wrong} or ipc://PATH"))?;
            return Ok(Self(address.to_string()));
        };
        let wrong = |what: &str| Err(format!("{url:?}: {what}; expected tcp://HOST:PORT or ipc://PATH"));
        match path.len() {
            _ if url.chars().any(|c| c.is_whitespace() || c.is_control()) => wrong("an address has no spaces"),
            0 => wrong("the path is missing"),
            // `sun_path` has 108 bytes on Linux.
            1..=107 => Ok(Self(url.into())),
            _ => wrong("the path is longer than 107 bytes"),
        }
    }

    /// The address in libzmq's form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a socket can connect to it or bind it, judging by its form.
    ///
    /// # Errors
    /// Why not, and what would be correct.
    pub fn fits(&self, attach: Attach) -> Result<(), String> {
        // A path is valid for both.
        let Ok(address) = Address::tcp(&self.0) else { return Ok(()) };
        match attach {
            Attach::Connect => address
                .to_connect()
                .map_err(|why| format!("{why}, or set attach = \"bind\" if the detector connects to this one")),
            Attach::Bind => address.to_bind(),
        }
    }

    /// Whether the host is a literal IPv6 address.
    #[must_use]
    pub fn is_ipv6(&self) -> bool {
        self.0.starts_with("tcp://[")
    }

    /// The path of a Unix socket.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        self.0.strip_prefix("ipc://")
    }

    /// The host, if it is a name that must be looked up.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        let (host, _) = self.0.strip_prefix("tcp://")?.rsplit_once(':')?;
        (host != "*" && !host.starts_with('[') && host.parse::<IpAddr>().is_err()).then_some(host)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(from)?).map_err(de::Error::custom)
    }
}

/// One address or several.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoints(Vec<Endpoint>);

impl Endpoints {
    /// The addresses: at least one, without duplicates.
    #[must_use]
    pub fn as_slice(&self) -> &[Endpoint] {
        &self.0
    }
}

impl From<Endpoint> for Endpoints {
    fn from(endpoint: Endpoint) -> Self {
        Self(vec![endpoint])
    }
}

impl fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().enumerate().try_for_each(|(place, url)| write!(f, "{}{url:?}", if place > 0 { ", " } else { "" }))
    }
}

impl<'de> Deserialize<'de> for Endpoints {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected an address, or a list of addresses")]
        enum Written {
            One(String),
            Several(Vec<String>),
        }
        let written = match Written::deserialize(from)? {
            Written::One(url) => vec![url],
            Written::Several(urls) => urls,
        };
        let mut endpoints = Vec::new();
        for url in written {
            let endpoint = Endpoint::parse(&url).map_err(de::Error::custom)?;
            if endpoints.contains(&endpoint) {
                return Err(de::Error::custom(format!("{endpoint:?} is listed twice: its messages would come twice")));
            }
            endpoints.push(endpoint);
        }
        if endpoints.is_empty() { Err(de::Error::custom("the list has no address")) } else { Ok(Self(endpoints)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked_by_their_form() {
        for (url, taken) in [
            ("tcp://localhost:9999", "tcp://localhost:9999"),
            ("tcp://10.0.0.1:1/", "tcp://10.0.0.1:1"),
            ("tcp://[::1]:65535", "tcp://[::1]:65535"),
            ("tcp://*:9999", "tcp://*:9999"),
            ("ipc:///run/detector.sock", "ipc:///run/detector.sock"),
        ] {
            assert_eq!(Endpoint::parse(url).unwrap().as_str(), taken);
        }
        let long = format!("ipc://{}", "x".repeat(108));
        for url in [
            "",
            "localhost:9999",
            "tcp://",
            "tcp://localhost",
            "tcp://:1",
            "tcp://h:0",
            "tcp://h:65536",
            "tcp://h:+1",
            "tcp://h:x",
            "tcp://::1:5",
            "tcp://a b:1",
            "http://h:1",
            "inproc://x",
            "ipc://",
            "tcp://u@h:1",
            "tcp://h\0:1",
            &long,
        ] {
            assert!(Endpoint::parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_host_is_a_name_if_it_is_no_address() {
        for (url, name) in [
            ("tcp://detector.lan:1", Some("detector.lan")),
            ("tcp://localhost:1", Some("localhost")),
            ("tcp://127.0.0.1:1", None),
            ("tcp://[fe80::1]:1", None),
            ("tcp://*:1", None),
            ("ipc:///run/x", None),
        ] {
            assert_eq!(Endpoint::parse(url).unwrap().name(), name);
        }
    }

    #[test]
    fn what_is_bound_is_an_address_of_this_machine_and_what_is_connected_to_is_not_all_of_them() {
        let fits = |url: &str, attach| Endpoint::parse(url).unwrap().fits(attach);
        for (url, connect, bind) in [
            ("tcp://*:1", Some("attach = \"bind\""), None),
            ("tcp://0.0.0.0:1", None, None),
            ("tcp://[::1]:1", None, None),
            ("ipc:///run/x", None, None),
            ("tcp://localhost:7", None, Some("tcp://127.0.0.1:7")),
            ("tcp://[fe80::1%zone]:1", None, Some("tcp://*:1")),
        ] {
            for (attach, problem) in [(Attach::Connect, connect), (Attach::Bind, bind)] {
                let answer = fits(url, attach).err();
                assert_eq!(answer.is_some(), problem.is_some(), "{url}: {answer:?}");
                assert!(answer.unwrap_or_default().contains(problem.unwrap_or("")), "{url}");
            }
        }
    }

    #[test]
    fn a_list_has_each_address_once_and_at_least_one() {
        let read = |text: &str| serde_json::from_str::<Endpoints>(text);
        assert_eq!(format!("{:?}", read(r#"["tcp://a:1", "tcp://b:1"]"#).unwrap()), "tcp://a:1, tcp://b:1");
        assert_eq!(read(r#""tcp://a:1""#).unwrap(), Endpoint::parse("tcp://a:1").unwrap().into());
        for (text, says) in [
            ("[]", "no address"),
            (r#"["tcp://a:1", "tcp://a:1/"]"#, "is listed twice"),
            (r#"["tcp://a:1", "tcp://a"]"#, "the port is missing"),
            ("1", "a list of addresses"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
