//! The resources of this process: threads, descriptors, memory, listening sockets. Read from /proc.

use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    thread,
    time::{Duration, Instant},
};

/// Threads and descriptors at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Holds {
    /// Names of threads, by their number.
    pub(super) threads: BTreeMap<u32, String>,
    /// The targets of descriptors, by their number.
    pub(super) descriptors: BTreeMap<u32, String>,
}

impl Holds {
    pub(super) fn now() -> Self {
        let name = |task: &fs::DirEntry| fs::read_to_string(task.path().join("comm")).ok();
        let target = |fd: &fs::DirEntry| Some(fs::read_link(fd.path()).ok()?.to_string_lossy().into_owned());
        Self {
            threads: numbered("/proc/self/task", |task| name(task).map(|name| name.trim().to_owned())),
            descriptors: numbered("/proc/self/fd", target),
        }
    }

    /// What there is more of than in `before`, in words; waits a little for threads that are about to end.
    pub(super) fn more_than(before: &Self, patience: Duration) -> Option<String> {
        let deadline = Instant::now() + patience;
        loop {
            let now = Self::now();
            let threads: Vec<_> = new(&before.threads, &now.threads);
            let descriptors: Vec<_> = new(&before.descriptors, &now.descriptors);
            let mut words = Vec::new();
            if now.threads.len() > before.threads.len() {
                words.push(format!("{} threads more ({})", now.threads.len() - before.threads.len(), few(&threads)));
            }
            if now.descriptors.len() > before.descriptors.len() {
                let count = now.descriptors.len() - before.descriptors.len();
                words.push(format!("{count} descriptors more ({})", few(&descriptors)));
            }
            if words.is_empty() {
                return None;
            }
            if Instant::now() >= deadline {
                return Some(words.join(" and "));
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Number of bytes of memory in use.
pub(super) fn memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kib.unwrap_or_default() << 10
}

/// The addresses at which this process listens for TCP connections.
pub(super) fn listening() -> Vec<SocketAddr> {
    sockets("tcp", LISTENS)
}

/// The addresses at which this process receives UDP datagrams from any sender.
pub(super) fn receiving() -> Vec<SocketAddr> {
    sockets("udp", UNCONNECTED)
}

/// Local addresses of this process's sockets in a given state.
fn sockets(protocol: &str, state: &str) -> Vec<SocketAddr> {
    let sockets: Vec<String> = Holds::now().descriptors.into_values().collect();
    let mut found = Vec::new();
    for v6 in [false, true] {
        let table = format!("/proc/self/net/{protocol}{}", if v6 { "6" } else { "" });
        let table = fs::read_to_string(table).unwrap_or_default();
        for line in table.lines().skip(1) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let &[_, local, _, its_state, _, _, _, _, _, inode, ..] = &words[..] else { continue };
            if its_state != state {
                continue;
            }
            let port = local.rsplit(':').next().and_then(|port| u16::from_str_radix(port, 16).ok());
            if let Some(port) = port.filter(|_| sockets.contains(&format!("socket:[{inode}]"))) {
                let address: IpAddr =
                    if v6 { std::net::Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() };
                found.push(SocketAddr::new(address, port));
            }
        }
    }
    found
}

/// Socket states (Linux, `include/net/tcp_states.h`): a listening TCP socket, an unconnected UDP socket.
const LISTENS: &str = "0A";
const UNCONNECTED: &str = "07";

fn numbered(dir: &str, what: impl Fn(&fs::DirEntry) -> Option<String>) -> BTreeMap<u32, String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, what(&entry)?))).collect()
}

fn new<'a>(before: &BTreeMap<u32, String>, now: &'a BTreeMap<u32, String>) -> Vec<&'a String> {
    now.iter().filter(|(number, _)| !before.contains_key(number)).map(|(_, name)| name).collect()
}

/// The first few of them.
fn few(names: &[&String]) -> String {
    let mut shown: Vec<&str> = names.iter().take(4).map(|name| name.as_str()).collect();
    if names.len() > shown.len() {
        shown.push("…");
    }
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_a_descriptor_and_a_listening_socket_are_seen() {
        let before = Holds::now();
        // More sockets than other tests have closed since: at least one has a number that did not exist before.
        let sockets = [(); 64].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
        let seen = listening();
        assert!(sockets.iter().all(|socket| seen.contains(&socket.local_addr().unwrap())));
        let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(receiving().contains(&datagrams.local_addr().unwrap()));
        let (end, wait) = std::sync::mpsc::channel::<()>();
        let thread = thread::Builder::new().name("another".into()).spawn(move || wait.recv()).unwrap();
        let more = Holds::more_than(&before, Duration::ZERO).unwrap();
        // Other tests have threads and descriptors too.
        assert!(more.contains("threads more") && more.contains("descriptors more"), "{more}");
        drop(end);
        let _ = thread.join().unwrap();
        assert!(memory() > 100_000);
    }
}
