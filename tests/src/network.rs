//! Two machines with a switch between them, simulated on one real machine: network namespaces of Linux, joined by
//! cables (veth). A test may unplug a cable, slow it down, and let a machine vanish as in a power failure.
//!
//! The test and the processes that it starts run on one of them. Needs root, and `ip` and `tc` (iproute2). Nothing
//! remains after the test: the kernel removes a namespace that is no longer used or open.

use std::{
    fs::File,
    net::Ipv4Addr,
    os::fd::AsRawFd as _,
    panic::resume_unwind,
    process::{self, Command},
    thread,
    time::Duration,
};

use nix::sched::{CloneFlags, setns, unshare};

/// The machine on which the test runs.
pub const HERE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
/// The other machine.
pub const FAR: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

/// See the module.
#[derive(Debug)]
pub struct Network {
    here: Machine,
    switch: Machine,
    far: Option<Machine>,
}

/// A network namespace.
#[derive(Debug)]
struct Machine {
    namespace: File,
}

/// Runs a test on a machine with another machine beside it. Where the system does not allow this, reports a skip and
/// runs nothing.
///
/// # Panics
/// The test panics, or a command that exists fails.
pub fn between(test: impl FnOnce(&mut Network) + Send) {
    if let Some(missing) = missing() {
        return framegate_skip::skip(&missing);
    }
    let mut network = Network::new();
    let here = network.here.namespace.try_clone().expect("a descriptor is free");
    thread::scope(|scope| {
        let runs = scope.spawn(|| {
            enter(&here);
            test(&mut network);
        });
        runs.join().unwrap_or_else(|panic| resume_unwind(panic));
    });
}

/// What the system lacks for namespaces.
fn missing() -> Option<String> {
    for (program, argument) in [("ip", "-Version"), ("tc", "-Version")] {
        if Command::new(program).arg(argument).output().is_err() {
            return Some(format!("networks need `{program}` (Debian: apt install iproute2)"));
        }
    }
    let tried = thread::spawn(|| unshare(CloneFlags::CLONE_NEWNET)).join().expect("it does not panic");
    Some(format!("networks need root (CAP_SYS_ADMIN): no network namespace can be made: {}", tried.err()?))
}

impl Network {
    fn new() -> Self {
        let mut network = Self { here: Machine::new(), switch: Machine::new(), far: None };
        network.switch.ip("link add switch type bridge");
        network.switch.ip("link set switch up");
        network.wire("here", HERE, &network.here);
        network.come_back();
        network
    }

    /// Adds a cable between a machine and the switch's port `port`. The machine has a fixed MAC address of its own.
    fn wire(&self, port: &str, address: Ipv4Addr, machine: &Machine) {
        let namespace = format!("/proc/{}/fd/{}", process::id(), machine.namespace.as_raw_fd());
        self.switch.ip(&format!("link add {port} type veth peer name cable netns {namespace}"));
        self.switch.ip(&format!("link set {port} master switch up"));
        let [a, b, c, d] = address.octets();
        machine.ip(&format!("link set cable address 02:00:{a:02x}:{b:02x}:{c:02x}:{d:02x}"));
        machine.ip(&format!("address add {address}/24 dev cable"));
        machine.ip("link set lo up");
        machine.ip("link set cable up");
    }

    /// Runs `what` on the other machine; the processes and connections that it starts stay there.
    ///
    /// # Panics
    /// `what` panics, or there is no other machine.
    pub fn far<T: Send>(&self, what: impl FnOnce() -> T + Send) -> T {
        self.far.as_ref().expect("it is there").run(what)
    }

    /// Unplugs the other machine's cable at the far end of the switch, so that neither side notices.
    pub fn unplug(&self) {
        self.switch.ip("link set far nomaster");
    }

    /// Plugs it in again.
    pub fn plug(&self) {
        self.switch.ip("link set far master switch");
    }

    /// Unplugs the cable for `time`, and runs `meanwhile`.
    pub fn out_for<T>(&self, time: Duration, meanwhile: impl FnOnce() -> T) -> T {
        self.unplug();
        let done = meanwhile();
        // The test is about the length of the outage.
        thread::sleep(time);
        self.plug();
        done
    }

    /// Limits the rate in both directions: a number with a unit, as in tc(8).
    pub fn slow(&self, rate: &str) {
        for port in ["here", "far"] {
            let queue = format!("qdisc add dev {port} root tbf rate {rate} burst 32kbit latency 400ms");
            self.switch.command("tc", &queue);
        }
    }

    /// The other machine loses power: nobody is notified, and its connections are gone. The test must drop its objects
    /// on that machine afterwards.
    pub fn vanish(&mut self) {
        self.switch.ip("link delete far");
        self.far = None;
    }

    /// A new machine with the same address replaces it.
    pub fn come_back(&mut self) {
        let machine = Machine::new();
        self.wire("far", FAR, &machine);
        self.far = Some(machine);
    }
}

impl Machine {
    fn new() -> Self {
        let namespace = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("it was tried before");
            File::open("/proc/thread-self/ns/net").expect("Linux shows namespaces")
        });
        Self { namespace: namespace.join().expect("it does not panic") }
    }

    fn run<T: Send>(&self, what: impl FnOnce() -> T + Send) -> T {
        let on_it = || {
            enter(&self.namespace);
            what()
        };
        thread::scope(|scope| scope.spawn(on_it).join().unwrap_or_else(|panic| resume_unwind(panic)))
    }

    fn ip(&self, arguments: &str) {
        self.command("ip", arguments);
    }

    fn command(&self, program: &str, arguments: &str) {
        let output = self.run(|| Command::new(program).args(arguments.split(' ')).output());
        let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {arguments}: {said}");
    }
}

/// Moves the calling thread to that machine, and with it the processes that it starts.
fn enter(namespace: &File) {
    setns(namespace, CloneFlags::CLONE_NEWNET).expect("a namespace of our own can be entered");
}
