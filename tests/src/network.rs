//! Two machines with a switch between them, on one real machine: network namespaces of Linux, joined by cables (veth). A test may
//! pull a cable, make it slow, and let a machine vanish as one that loses power.
//!
//! The test runs on one of them, and so does what it starts. It needs root, and `ip` and `tc` (iproute2). Nothing of it outlives the test: the
//! kernel takes a namespace away when nobody is in it and nobody has it open.

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
/// The other one.
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

/// Runs a test on a machine that has another one beside it. Where the system does not allow that, says so and runs nothing.
///
/// # Panics
/// The test does, or a command that is there fails.
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

/// What a machine lacks for namespaces.
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

    /// A cable between a machine and the port of this name of the switch. The machine has a MAC address of its own, always the same.
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

    /// Does something on the other machine: what is started and connected there stays there.
    ///
    /// # Panics
    /// It does, or there is no other machine.
    pub fn far<T: Send>(&self, what: impl FnOnce() -> T + Send) -> T {
        self.far.as_ref().expect("it is there").run(what)
    }

    /// Pulls the other machine's cable, at the far end of the switch: neither side is told.
    pub fn unplug(&self) {
        self.switch.ip("link set far nomaster");
    }

    /// Puts it in again.
    pub fn plug(&self) {
        self.switch.ip("link set far master switch");
    }

    /// The cable is out for some time, in which `meanwhile` is done.
    pub fn out_for<T>(&self, time: Duration, meanwhile: impl FnOnce() -> T) -> T {
        self.unplug();
        let done = meanwhile();
        // How long it is out is what is tried here.
        thread::sleep(time);
        self.plug();
        done
    }

    /// Lets so much through in either direction: a number with a unit, as tc(8) has it.
    pub fn slow(&self, rate: &str) {
        for port in ["here", "far"] {
            let queue = format!("qdisc add dev {port} root tbf rate {rate} burst 32kbit latency 400ms");
            self.switch.command("tc", &queue);
        }
    }

    /// The other machine loses its power: nobody hears of it, and nothing is left of its connections. What a test holds of it is to be dropped
    /// afterwards.
    pub fn vanish(&mut self) {
        self.switch.ip("link delete far");
        self.far = None;
    }

    /// Another one takes its place, under the same address.
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

/// From now on the calling thread is on that machine, and so is what it starts.
fn enter(namespace: &File) {
    setns(namespace, CloneFlags::CLONE_NEWNET).expect("a namespace of our own can be entered");
}
