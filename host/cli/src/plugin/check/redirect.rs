//! Redirects all addresses and ports in settings to this machine: a plugin under test reaches no real detector and
//! binds no real port.

use std::net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket};

use serde_json::{Map, Value};

/// Replaces every address and port in the settings by one of this machine, each with its own free port; returns the ports.
pub(super) fn redirect(settings: &mut Value) -> Vec<u16> {
    match settings {
        Value::String(text) => match (address(text), free_port()) {
            (Some((scheme, path)), Some(port)) => {
                *text = format!("{scheme}{HERE}:{port}{path}");
                vec![port]
            }
            _ => Vec::new(),
        },
        Value::Array(values) => values.iter_mut().flat_map(redirect).collect(),
        Value::Object(values) => {
            let mut ports = numbers(values);
            ports.extend(values.values_mut().flat_map(redirect));
            ports
        }
        _ => Vec::new(),
    }
}

/// Replaces separate ports, `port` or `data_port`, and the `host` or `data_host` beside each.
fn numbers(values: &mut Map<String, Value>) -> Vec<u16> {
    let is_port = |value: &Value| value.as_u64().is_some_and(|port| (1..=65535).contains(&port));
    let keys: Vec<String> = values
        .iter()
        .filter(|(key, value)| (*key == "port" || key.ends_with("_port")) && is_port(value))
        .map(|(key, _)| key.clone())
        .collect();
    let mut ports = Vec::new();
    for key in keys {
        let Some(port) = free_port() else { continue };
        let host = key.replace("port", "host");
        values.insert(key, port.into());
        if let Some(host @ Value::String(_)) = values.get_mut(&host) {
            *host = HERE.into();
        }
        ports.push(port);
    }
    ports
}

/// The text before and after host and port in an address: `SCHEME://` and `/PATH`.
fn address(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_at(text.find("://").map_or(0, |at| at + 3));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (host, port) = authority.rsplit_once(':')?;
    let number: u16 = port.parse().ok()?;
    let literal = host.trim_matches(['[', ']']);
    // Without a scheme, many other texts have a colon and a number.
    let alone = host == "*" || host == "localhost" || literal.parse::<IpAddr>().is_ok() || number >= FIRST_FREE;
    let is_host = !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || "/@\"'".contains(c));
    (is_host && (!scheme.is_empty() || alone && !host.bytes().all(|byte| byte.is_ascii_digit())))
        .then_some((scheme, if path == "/" { "" } else { path }))
}

/// A port that is free for TCP and for UDP.
fn free_port() -> Option<u16> {
    (0..100).find_map(|_| {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr()).ok()?.port();
        UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).ok().map(|_| port)
    })
}

const HERE: &str = "127.0.0.1";
/// Lower ports are reserved for the system.
const FIRST_FREE: u16 = 1024;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_address_leads_here_and_nothing_else_is_changed() {
        let mut settings = json!({
            "upstream_url": "tcp://detector:9999", "more": ["tcp://10.0.0.1:1/", "ipc:///x", "udp://*:7"], "n": 3,
            "bind": "0.0.0.0:5000", "page": "http://h:80/x", "channel": "CH:1", "at": "12:3000", "v6": "[::1]:9",
            "inner": { "port": 5001, "host": "detector", "data_port": 0, "support": 4, "hostess": "x" },
        });
        let ports = redirect(&mut settings);
        assert_eq!(ports.len(), 7, "{settings}");
        let number =
            |text: &Value| text.as_str().unwrap().trim_end_matches("/x").rsplit(':').next().unwrap().to_owned();
        let here = |text: &Value| format!("127.0.0.1:{}", number(text));
        assert_eq!(settings["upstream_url"], format!("tcp://{}", here(&settings["upstream_url"])));
        assert_eq!(settings["more"][0], format!("tcp://{}", here(&settings["more"][0])));
        assert_eq!(settings["more"][2], format!("udp://{}", here(&settings["more"][2])));
        assert_eq!(settings["bind"], here(&settings["bind"]));
        assert_eq!(settings["page"], format!("http://{}/x", here(&settings["page"])));
        assert_eq!(settings["v6"], here(&settings["v6"]));
        assert_eq!((&settings["more"][1], &settings["n"]), (&json!("ipc:///x"), &json!(3)));
        assert_eq!((&settings["channel"], &settings["at"]), (&json!("CH:1"), &json!("12:3000")));
        let inner = &settings["inner"];
        assert_eq!((&inner["host"], &inner["data_port"], &inner["support"]), (&json!(HERE), &json!(0), &json!(4)));
        assert!(inner["port"] != 5001 && inner["hostess"] == "x", "{inner}");
    }
}
