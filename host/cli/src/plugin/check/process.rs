//! The resources of this process: threads, descriptors, memory, listening sockets. Read from /proc.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
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
    own_sockets("tcp", |rows| rows.take_while(|row| row.state == LISTENS).collect())
}

/// The addresses at which this process receives UDP datagrams from any sender.
pub(super) fn receiving() -> Vec<SocketAddr> {
    own_sockets("udp", |rows| rows.filter(|row| row.state == UNCONNECTED).collect())
}

/// A line of a table of sockets.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    state: String,
    port: u16,
    inode: String,
}

/// Local addresses of this process's sockets among the chosen ones.
fn own_sockets(protocol: &str, choose: fn(&mut dyn Iterator<Item = Row>) -> Vec<Row>) -> Vec<SocketAddr> {
    let own: Vec<String> = Holds::now().descriptors.into_values().collect();
    let mut found = Vec::new();
    for (suffix, address) in [("", IpAddr::from(Ipv4Addr::LOCALHOST)), ("6", Ipv6Addr::LOCALHOST.into())] {
        let Ok(table) = fs::File::open(format!("/proc/self/net/{protocol}{suffix}")) else { continue };
        let chosen = choose(&mut rows(BufReader::new(table))).into_iter();
        let is_own = |row: &Row| own.contains(&format!("socket:[{}]", row.inode));
        found.extend(chosen.filter(is_own).map(|row| SocketAddr::new(address, row.port)));
    }
    found
}

/// The lines of a table of sockets, below its heading. Linux lists the listening TCP sockets first (`net/ipv4/tcp_ipv4.c`,
/// `tcp_get_idx`): on a machine with many connections, reading the others would take seconds.
fn rows(table: impl BufRead) -> impl Iterator<Item = Row> {
    table.lines().skip(1).map_while(Result::ok).filter_map(|line| {
        let mut words = line.split_whitespace();
        let (local, state) = (words.nth(1)?, words.nth(1)?);
        let port = u16::from_str_radix(local.rsplit(':').next()?, 16).ok()?;
        Some(Row { state: state.to_owned(), port, inode: words.nth(5)?.to_owned() })
    })
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
    use std::io::Read;

    use super::*;

    /// A table that must not be read to its end.
    struct Endless;

    impl Read for Endless {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            panic!("it is read beyond the listening sockets")
        }
    }

    #[test]
    fn connections_are_not_read_to_find_listening_sockets() {
        let text = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
                    0: 0100007F:2B66 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 314 1 x\n   \
                    1: 0100007F:2B67 0100007F:0001 01 00000000:00000000 00:00000000 00000000     0        0 315 1 x\n";
        let table = BufReader::new(text.as_bytes().chain(Endless));
        let seen: Vec<_> = rows(table).take_while(|row| row.state == LISTENS).collect();
        assert_eq!(seen, [Row { state: LISTENS.to_owned(), port: 0x2b66, inode: "314".to_owned() }]);
    }

    #[test]
    fn a_thread_a_descriptor_and_a_listening_socket_are_seen() {
        let before = Holds::now();
        // More sockets than other tests have closed since: at least one has a number that did not exist before.
        let sockets = [(); 64].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
        let seen = listening();
        assert!(sockets.iter().all(|socket| seen.contains(&socket.local_addr().unwrap())));
        let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(receiving().contains(&datagrams.local_addr().unwrap()));
        // As many threads, for the same reason.
        let another = || {
            let (end, wait) = std::sync::mpsc::channel::<()>();
            (end, thread::spawn(move || wait.recv()))
        };
        let threads: Vec<_> = (0..64).map(|_| another()).collect();
        let more = Holds::more_than(&before, Duration::ZERO).unwrap();
        assert!(more.contains("threads more") && more.contains("descriptors more"), "{more}");
        for (end, thread) in threads {
            drop(end);
            let _ = thread.join().unwrap();
        }
        assert!(memory() > 100_000);
    }
}
