//! A child that speaks the protocol by hand, and does what its host orders by setting parameters.
#![allow(unsafe_code, reason = "one of its roles is to write to address 0")]

use std::{
    fs::File,
    io::{Read as _, Write as _, stdin},
    os::{
        fd::AsFd as _,
        unix::{fs::FileExt as _, net::UnixStream},
    },
    process::{self, Command, Stdio},
};

use framegate_isolation::{
    arena::{self, Memory},
    wire::{self, BLOCK, Head, Hello, LONGEST_TO_CHILD, StatusText, Welcome, WireEvent, WireFrame, to_child, to_host},
};
use framegate_plugin_abi::codes::EventKind;
use nix::{
    fcntl::{FallocateFlags, FcntlArg, OFlag, fallocate, fcntl},
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::content;

struct Puppet {
    socket: UnixStream,
    memory: Memory,
    /// The descriptors of the memory and the board, to spoil them.
    files: [File; 2],
    run: u32,
    /// The first block that no frame is in yet.
    block: u32,
    /// Number of the next frame.
    number: usize,
    has_type: bool,
    /// A kind of messages that is not answered.
    deaf_to: u16,
    /// Bytes in place of PONG.
    pong: Option<Vec<u8>>,
    /// Bytes in place of the next answer to OPEN.
    to_open: Option<Vec<u8>>,
}

/// Does not return. `major`: the version of the protocol that it says it speaks.
pub(super) fn play(major: u16) {
    let socket = UnixStream::from(stdin().as_fd().try_clone_to_owned().unwrap());
    let (first, [memory, board, room]) = arena::receive(&socket).unwrap();
    let files = [&memory, &board].map(|file| File::from(file.try_clone().unwrap()));
    let (_, body, _) = wire::split(&first, first.len()).unwrap().unwrap();
    let welcome: Welcome = wire::json(body).unwrap();
    let memory = Memory::new([memory, board, room], welcome.most_blocks).unwrap();
    let mut puppet = Puppet {
        socket,
        memory,
        files,
        run: 0,
        block: 0,
        number: 0,
        has_type: false,
        deaf_to: 0,
        pong: None,
        to_open: None,
    };
    let hello = Hello {
        protocol: (major, 0),
        name: "puppet".into(),
        version: Some(process::id().to_string()),
        exclusive: false,
        on_demand: true,
    };
    puppet.say(Head::new(to_host::HELLO, 0), &serde_json::to_vec(&hello).unwrap());
    while let Some((head, body)) = puppet.hear() {
        puppet.obey(head, &body);
    }
    process::exit(0);
}

impl Puppet {
    fn hear(&mut self) -> Option<(Head, Vec<u8>)> {
        let mut head = [0; Head::LEN];
        self.socket.read_exact(&mut head).ok()?;
        let head = Head::from_bytes(head);
        assert!(head.len as usize <= LONGEST_TO_CHILD);
        let mut body = vec![0; head.len as usize];
        self.socket.read_exact(&mut body).ok()?;
        Some((head, body))
    }

    fn say(&mut self, head: Head, body: &[u8]) {
        self.raw(&head.with(body));
    }

    fn raw(&mut self, bytes: &[u8]) {
        if self.socket.write_all(bytes).is_err() {
            // The host has ended this.
            process::exit(0);
        }
    }

    fn obey(&mut self, head: Head, body: &[u8]) {
        if head.kind == self.deaf_to {
            return;
        }
        let done = Head { kind: to_host::DONE, ..head };
        match head.kind {
            to_child::CREATE => self.say(done, b"[]"),
            to_child::OPEN => {
                self.run = head.run;
                match self.to_open.take() {
                    Some(bytes) => self.raw(&bytes),
                    None => self.say(done, &[]),
                }
            }
            to_child::CLOSE => self.say(done, &[]),
            to_child::TRIGGER => {
                self.give(&[100]);
                self.say(done, &[]);
            }
            to_child::PING => match self.pong.clone() {
                Some(bytes) => self.raw(&bytes),
                None => self.say(Head { kind: to_host::PONG, ..head }, &[]),
            },
            to_child::ASK => {
                let status = StatusText { counters: vec![("blocks".into(), u64::from(self.block))], ..<_>::default() };
                self.say(Head { kind: to_host::STATUS, ..head }, &serde_json::to_vec(&status).unwrap());
            }
            to_child::BYE => process::exit(0),
            to_child::SET => {
                let (len, rest) = wire::number(body).unwrap();
                let (order, value) = rest.split_at(len as usize);
                self.act(std::str::from_utf8(order).unwrap(), value, done);
            }
            _ => {}
        }
    }

    #[expect(clippy::zombie_processes, reason = "a grandchild outlives this child on purpose")]
    /// Follows an order: those that end the puppet do it before the answer.
    fn act(&mut self, order: &str, value: &[u8], done: Head) {
        match order {
            "exit" => process::exit(i32::from(value[0])),
            "abort" => process::abort(),
            "kill" => kill(Pid::this(), Signal::SIGKILL).unwrap(),
            "stop" => kill(Pid::this(), Signal::SIGSTOP).unwrap(),
            "segv" => {
                // SAFETY: none: the kernel ends this process, which is its purpose.
                unsafe { std::ptr::null_mut::<u32>().write_volatile(1) };
            }
            "linger" => {
                // Closes its socket, and lives on.
                self.socket.shutdown(std::net::Shutdown::Both).unwrap();
                loop {
                    std::thread::park();
                }
            }
            // Bytes instead of the answer.
            "answer" => self.raw(value),
            "deaf" => {
                self.deaf_to = u16::from_le_bytes([value[0], value[1]]);
                self.say(done, &[]);
            }
            "give" => {
                let sizes: Vec<_> =
                    value.chunks(4).map(|size| u32::from_le_bytes(size.try_into().unwrap()) as usize).collect();
                self.say(done, &[]);
                self.give(&sizes);
            }
            "pong" => {
                self.pong = Some(value.to_vec());
                self.say(done, &[]);
            }
            // What wakes it is full, and waits for room itself.
            "clog" => {
                let room = self.memory.room().try_clone_to_owned().unwrap();
                fcntl(&room, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
                let _ = File::from(room).write_all(&(u64::MAX - 1).to_ne_bytes());
                self.say(done, &[]);
            }
            "to open" => {
                self.to_open = Some(value.to_vec());
                self.say(done, &[]);
            }
            "bytes" => {
                self.say(done, &[]);
                self.raw(value);
            }
            "for ever" => loop {
                self.raw(value);
            },
            // The same bytes now and then, while it obeys.
            "meanwhile" => {
                self.say(done, &[]);
                let (mut socket, bytes) = (self.socket.try_clone().unwrap(), value.to_vec());
                std::thread::spawn(move || {
                    while socket.write_all(&bytes).is_ok() {
                        std::thread::park_timeout(std::time::Duration::from_millis(5));
                    }
                });
            }
            "print" => {
                std::io::stderr().write_all(value).unwrap();
                self.say(done, &[]);
            }
            "print for ever" => {
                std::thread::spawn(|| {
                    loop {
                        let _ = std::io::stderr().write_all(b"again and again\n");
                    }
                });
                self.say(done, &[]);
            }
            "grandchild" => {
                let child = Command::new("sleep")
                    .arg("600")
                    .stdin(Stdio::from(self.socket.as_fd().try_clone_to_owned().unwrap()))
                    .spawn()
                    .unwrap();
                eprintln!("grandchild {}", child.id());
                if value == b"and die" {
                    process::abort();
                }
                self.say(done, &[]);
            }
            "scribble" => self.scribble(done),
            "punch" => {
                let [memory, _] = &self.files;
                let hole = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
                fallocate(memory, hole, 0, 16 << 20).unwrap();
                self.say(done, &[]);
            }
            _ => panic!("no order {order}"),
        }
    }

    /// Gives events of one frame with these sizes, in one message. No block is used twice.
    fn give(&mut self, sizes: &[usize]) {
        if !std::mem::replace(&mut self.has_type, true) {
            self.say(Head::new(to_host::TYP, 0), b"\0puppet");
        }
        let (mut events, mut frames, mut body) = (Vec::new(), Vec::new(), Vec::new());
        for size in sizes {
            let place = WireFrame { block: self.block, offset: 0, len: *size as u32 };
            self.memory.write(place, &content(self.number, *size));
            self.number += 1;
            self.block += size.div_ceil(BLOCK).max(1) as u32;
            events.push(WireEvent { kind: EventKind::Data, typ: 0, frames: 1 });
            frames.push(place);
        }
        wire::write_events(&events, &frames, &mut body);
        let head = Head { run: self.run, count: events.len() as u32, ..Head::new(to_host::EVENTS, 0) };
        self.say(head, &body);
    }

    /// Writes nonsense over everything that it shares with its host, while it gives events.
    fn scribble(&mut self, done: Head) {
        let files = self.files.each_ref().map(|file| file.try_clone().unwrap());
        std::thread::spawn(move || {
            let mut random = 0x9e37_79b9_7f4a_7c15_u64;
            loop {
                for file in &files {
                    let len = file.metadata().unwrap().len().min(16 << 20);
                    let mut piece = [0; 4096];
                    for word in piece.chunks_mut(8) {
                        random ^= random << 13;
                        random ^= random >> 7;
                        random ^= random << 17;
                        word.copy_from_slice(&random.to_le_bytes());
                    }
                    let at = random % len;
                    let piece = &piece[..piece.len().min((len - at) as usize)];
                    file.write_all_at(piece, at).unwrap();
                }
            }
        });
        self.say(done, &[]);
        for _ in 0..100 {
            self.give(&[64, 5000, BLOCK]);
            self.block = 0;
        }
        self.say(Head { run: self.run, ..Head::new(to_host::ENDED, 0) }, &[]);
    }
}
