//! Workers on plain TCP, in one thread. Only the heads of small frames are read; the kernel discards the bodies of
//! large ones.

use std::{
    io::Write as _,
    net::TcpStream,
    os::fd::AsRawFd as _,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use nix::{
    errno::Errno,
    sys::{
        epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
        socket::{MsgFlags, recv},
    },
};
use uuid::Uuid;

use super::{PING, Said, Work, name, record::Record, say, zmtp};

/// A worker's connection to one forwarder.
struct Connection {
    stream: TcpStream,
    worker: usize,
    walk: zmtp::Walk,
    /// The worker's ping, in wire format.
    ping: Vec<u8>,
}

/// Reports when all are connected, the progress, and when everything has arrived; then keeps pinging.
pub(crate) fn run(work: &Work) -> anyhow::Result<()> {
    let mut all = connect(work)?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    for (index, one) in all.iter().enumerate() {
        epoll.add(&one.stream, EpollEvent::new(EpollFlags::EPOLLIN, index as u64))?;
    }
    say(&Said::Ready)?;

    let mut record = Record::new(work);
    let mut buffer = vec![0; BUFFER];
    // The kernel never writes to it, so it takes no memory.
    let mut nowhere = vec![0; NOWHERE];
    let mut ready = [EpollEvent::empty(); 64];
    let mut ping_at = Instant::now();
    let mut is_stalled = false;
    loop {
        if Instant::now() >= ping_at {
            ping_at = Instant::now() + PING;
            for one in all.iter_mut().filter(|one| !(is_stalled && one.worker == work.workers - 1)) {
                one.stream.write_all(&one.ping)?;
            }
        }
        let count = epoll.wait(&mut ready, EpollTimeout::from(PAUSE))?;
        for event in &ready[..count] {
            let one = &mut all[usize::try_from(event.data())?];
            let counts = !(work.apart && one.worker == work.workers - 1);
            one.read(&mut buffer, &mut nowhere, &mut |stamp| {
                if counts {
                    record.message(stamp);
                }
            })?;
        }
        record.tell()?;
        if !is_stalled && work.stalls_after.is_some_and(|after| record.messages() >= after) {
            is_stalled = true;
            for one in all.iter().filter(|one| one.worker == work.workers - 1) {
                epoll.delete(&one.stream)?;
            }
        }
    }
}

fn connect(work: &Work) -> anyhow::Result<Vec<Connection>> {
    let mut all = Vec::new();
    for worker in 0..work.workers {
        let ping = zmtp::message(Uuid::new_v4().as_bytes());
        for port in &work.ports {
            let mut stream = connect_to(*port)?;
            stream.set_nodelay(true)?;
            zmtp::shake_hands(&mut stream, "DEALER", &name(worker))?;
            all.push(Connection { stream, worker, walk: zmtp::Walk::new(work.stamped), ping: ping.clone() });
        }
    }
    Ok(all)
}

/// The forwarder may still be starting.
fn connect_to(port: u16) -> anyhow::Result<TcpStream> {
    let began = Instant::now();
    loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(stream) => return Ok(stream),
            Err(_) if began.elapsed() < START => thread::sleep(Duration::from_millis(20)),
            Err(error) => return Err(error).context("no forwarder to connect to"),
        }
    }
}

impl Connection {
    /// Reads what has arrived.
    fn read(
        &mut self,
        buffer: &mut [u8],
        nowhere: &mut [u8],
        message: &mut impl FnMut(Option<u64>),
    ) -> anyhow::Result<()> {
        let unseen = usize::try_from(self.walk.unseen())?;
        let discards = unseen >= buffer.len() / 2;
        let (into, flags) = if discards {
            (&mut nowhere[..unseen.min(NOWHERE)], MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC)
        } else {
            (&mut *buffer, MsgFlags::MSG_DONTWAIT)
        };
        match recv(self.stream.as_raw_fd(), into, flags) {
            Ok(0) => bail!("the forwarder has gone"),
            Ok(count) if discards => self.walk.skip(count, message),
            Ok(count) => {
                ensure!(count <= buffer.len(), "the kernel gives more than there is room for");
                self.walk.feed(&buffer[..count], message);
            }
            Err(Errno::EAGAIN) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

/// Large enough for hundreds of small messages, and small compared with frames whose bodies need not be copied.
const BUFFER: usize = 64 << 10;
/// Maximum bytes to discard per call.
const NOWHERE: usize = 16 << 20;
const PAUSE: u8 = 100;
const START: Duration = Duration::from_secs(30);
