//! The parts of the end-to-end tests: processes that end with their test, and the real programs to test against.
//!
//! `process` runs any program; `framegate` is the built command, `host` the running command. `worker` receives from it,
//! `detector` sends to it; `detectors` has one detector of each kind, `protocols` their messages. `standalone` combines
//! these. `stage` is a host inside the test, between its own `redis` and a simulated `controller`. `python` is the
//! peer, `proxy` a faulty network, `network` two machines and a cable.

#![forbid(unsafe_code)]

pub mod alone;
pub mod bench;
pub mod captures;
pub mod certificates;
pub mod clock;
pub mod controller;
pub mod detector;
pub mod detectors;
pub mod framegate;
pub mod holder;
pub mod host;
pub mod listener;
pub mod network;
pub mod oracle;
pub mod pair;
pub mod played;
pub mod preload;
pub mod process;
pub mod protocols;
pub mod proxy;
pub mod python;
pub mod redis;
pub mod soak;
pub mod stage;
pub mod standalone;
pub mod worker;

/// The programs in the README compile.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;

/// The programs in the chapters of the docs compile.
#[cfg(doctest)]
#[doc = include_str!("../../docs/write-a-source/README.md")]
#[doc = include_str!("../../docs/write-a-source/lifecycle.md")]
#[doc = include_str!("../../docs/write-a-source/frames.md")]
#[doc = include_str!("../../docs/write-a-source/pairing.md")]
#[doc = include_str!("../../docs/write-a-source/settings.md")]
#[doc = include_str!("../../docs/embed/README.md")]
#[doc = include_str!("../../docs/embed/scans.md")]
#[doc = include_str!("../../docs/embed/running.md")]
pub struct Chapters;
