//! Causes real faults, and ends them.

use std::{
    collections::BTreeMap,
    io::Write as _,
    net::{Ipv4Addr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use super::{
    plan::{Fault, Plan},
    world::{World, connect},
};
use crate::worker::Message;

/// An active fault, and when it ends.
#[derive(Debug)]
pub struct Trouble {
    fault: Fault,
    until: Instant,
    /// Connections of unrelated clients; they end with the fault.
    _strangers: Vec<TcpStream>,
}

impl Trouble {
    /// The remaining time.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// Begins a fault. A fault in Redis itself is over on return, because the controller could not write meanwhile.
    ///
    /// # Errors
    /// It cannot be caused.
    pub fn begin(
        world: &mut World,
        plan: &Plan,
        (fault, lasts): (Fault, Duration),
        arrived: &mut BTreeMap<String, Vec<Message>>,
    ) -> anyhow::Result<Self> {
        let mut strangers = Vec::new();
        let name = |worker: usize| plan.workers[worker].as_str();
        match fault {
            Fault::RedisHeld => world.redis_proxy.hold(),
            Fault::RedisCut => world.redis_proxy.cut(),
            Fault::RedisSlow => world.redis_proxy.delay(Duration::from_millis(200)),
            Fault::RedisPaused => {
                world.redis.pause();
                thread::sleep(lasts);
                world.redis.resume();
            }
            Fault::RedisRestarted | Fault::RedisEmptied => {
                if fault == Fault::RedisRestarted {
                    world.redis.save();
                } else {
                    world.redis.forget();
                }
                world.redis.kill();
                thread::sleep(lasts);
                world.redis.launch();
                world.controller.reconnect(&world.redis);
            }
            Fault::WorkerKilled(worker) | Fault::WorkerHalfOpen(worker) => {
                let station = world.workers.get_mut(name(worker)).expect("it is there");
                if matches!(fault, Fault::WorkerHalfOpen(_)) {
                    station.proxy.hold();
                }
                // Messages that it has read were not lost in transit.
                let got = arrived.entry(name(worker).to_owned()).or_default();
                got.extend(station.worker.end());
                if matches!(fault, Fault::WorkerHalfOpen(_)) {
                    // At once, while the old connection still exists.
                    station.worker = connect(name(worker), &station.proxy);
                }
            }
            Fault::WorkerStalled(worker) => world.workers[name(worker)].worker.read(false),
            Fault::WorkerSilent(worker) => {
                let worker = &world.workers[name(worker)].worker;
                worker.read(false);
                worker.ping(false);
            }
            Fault::WorkerHeld(worker) => world.workers[name(worker)].proxy.hold(),
            Fault::WorkerCut(worker) => world.workers[name(worker)].proxy.cut(),
            Fault::Strangers => strangers = strange(world.port())?,
            Fault::Nonsense => {
                for text in ["{", "null", r#"{"mapping_uuid":"none"}"#] {
                    world.controller.publish(&serde_json::json!(text));
                    world.controller.assign_raw(text);
                }
            }
            Fault::Repeated => world.controller.repeat(),
            Fault::NoDescriptors => {
                let now = world.descriptors()?;
                world.limit_descriptors(&format!("{now}:"))?;
                world.workers[name(0)].proxy.cut();
            }
            Fault::IngesterKilled => {
                world.kill();
                thread::sleep(lasts);
                world.start()?;
            }
            // Done before the scan.
            Fault::IngesterEnded => {}
        }
        Ok(Self { fault, until: Instant::now() + lasts, _strangers: strangers })
    }

    /// Ends the fault.
    ///
    /// # Errors
    /// It does not end.
    pub fn end(self, world: &mut World, plan: &Plan) -> anyhow::Result<()> {
        let name = |worker: usize| plan.workers[worker].as_str();
        match self.fault {
            Fault::RedisHeld => world.redis_proxy.release(),
            Fault::RedisSlow => world.redis_proxy.delay(Duration::ZERO),
            Fault::WorkerKilled(worker) => {
                let station = world.workers.get_mut(name(worker)).expect("it is there");
                station.worker = connect(name(worker), &station.proxy);
            }
            Fault::WorkerHalfOpen(worker) => world.workers[name(worker)].proxy.release(),
            Fault::WorkerStalled(worker) | Fault::WorkerSilent(worker) => {
                let worker = &world.workers[name(worker)].worker;
                worker.read(true);
                worker.ping(true);
            }
            Fault::WorkerHeld(worker) => world.workers[name(worker)].proxy.release(),
            Fault::NoDescriptors => world.limit_descriptors(DESCRIPTORS)?,
            _ => {}
        }
        Ok(())
    }
}

/// Unrelated clients that connect to the workers' port by mistake.
fn strange(port: u16) -> anyhow::Result<Vec<TcpStream>> {
    let mut strangers = Vec::new();
    for number in 0..20_usize {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        let noise: Vec<u8> = (0..100_000).map(|at: usize| (at * number) as u8).collect();
        let says: &[u8] = match number % 3 {
            0 => b"GET / HTTP/1.1\r\n\r\n",
            1 => &noise,
            _ => b"",
        };
        // The connection may be closed before everything is sent.
        let _ = stream.write_all(says);
        strangers.push(stream);
    }
    let socket = zmq::Context::new().socket(zmq::DEALER)?;
    socket.set_identity(b"stranger")?;
    socket.set_linger(1000)?;
    socket.connect(&format!("tcp://127.0.0.1:{port}"))?;
    for ping in [&[0; 16][..], &[0; 15], b"", &[1; 17]] {
        socket.send(ping, 0)?;
    }
    Ok(strangers)
}

/// framegate's descriptor limit after the fault: enough.
const DESCRIPTORS: &str = "1024:";
