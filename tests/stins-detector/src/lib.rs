//! A simulated STINS detector, for demonstrations and tests: binds PUSH and streams scans.
//!
//! Runs on the caller's thread, owns its context and socket, and knows nothing of framegate: it plays the other side of
//! the network. A crate of its own, so that the plugin does not contain libzmq.
#![forbid(unsafe_code)]

use std::{
    fmt, thread,
    time::{Duration, Instant},
};

/// What to stream.
#[derive(Debug, Clone)]
pub struct Simulation {
    /// Where to bind: `tcp://127.0.0.1:9999`, or `tcp://127.0.0.1:*` for any free port.
    pub bind: String,
    /// Runs to stream, each with header, images and end.
    pub scans: u32,
    /// Images in each run.
    pub frames: u32,
    /// Bytes of each image.
    pub bytes: usize,
    /// Images per second; `None`: as fast as the receiver takes them.
    pub rate: Option<f64>,
    /// Pause between two runs, so that the receiver can start its next scan.
    pub pause: Duration,
}

/// A bound detector.
pub struct Detector {
    simulation: Simulation,
    socket: zmq::Socket,
    /// Counts on over all runs, as real detectors do.
    msg_number: u64,
}

/// The last step of a simulated detector; for progress displays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The header of run `scan` (from 0) was sent.
    Started {
        /// The run, from 0.
        scan: u32,
    },
    /// An image was sent.
    Image {
        /// The run, from 0.
        scan: u32,
        /// The image, from 0.
        frame: u32,
    },
    /// The end of a run was sent.
    Ended {
        /// The run, from 0.
        scan: u32,
    },
}

impl Detector {
    /// Binds the socket; receivers can connect afterwards.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub fn bind(simulation: Simulation) -> zmq::Result<Self> {
        let socket = zmq::Context::new().socket(zmq::PUSH)?;
        // Unsent messages are dropped after this time, or a detector without receiver would never end.
        socket.set_linger(LINGER_MS)?;
        socket.bind(&simulation.bind)?;
        Ok(Self { simulation, socket, msg_number: 0 })
    }

    /// The address for receivers, with the port that libzmq chose.
    ///
    /// # Errors
    /// libzmq does not give the address.
    pub fn endpoint(&self) -> zmq::Result<String> {
        self.socket.get_last_endpoint()?.map_err(|_| zmq::Error::EINVAL)
    }

    /// Streams all runs; calls `progress` for each step and ends the simulation if it returns false.
    ///
    /// # Errors
    /// A message cannot be sent. (Without a receiver it waits, which is not an error.)
    pub fn stream(mut self, mut progress: impl FnMut(Step) -> bool) -> zmq::Result<()> {
        let Simulation { scans, frames, bytes, rate, pause, .. } = self.simulation;
        for scan in 0..scans {
            if scan > 0 {
                thread::sleep(pause);
            }
            let header = format!(
                r#"{{"htype": "header", "filename": "/data/simulated_{scan}.h5", "msg_number": {}}}"#,
                self.number()
            );
            self.socket.send(header.as_str(), 0)?;
            if !progress(Step::Started { scan }) {
                return Ok(());
            }
            let began = Instant::now();
            for frame in 0..frames {
                if let Some(rate) = rate {
                    let due = began + Duration::from_secs_f64(f64::from(frame) / rate.max(0.001));
                    thread::sleep(due.saturating_duration_since(Instant::now()));
                }
                let header = format!(
                    concat!(
                        r#"{{"htype": "image", "frame": {}, "shape": [1, {}], "type": "uint8", "#,
                        r#""compression": "none", "msg_number": {}}}"#
                    ),
                    frame,
                    bytes,
                    self.number()
                );
                self.socket.send(header.as_str(), zmq::SNDMORE)?;
                self.socket.send(image(scan, frame, bytes), 0)?;
                if !progress(Step::Image { scan, frame }) {
                    return Ok(());
                }
            }
            let end = format!(r#"{{"htype": "series_end", "msg_number": {}}}"#, self.number());
            self.socket.send(end.as_str(), 0)?;
            if !progress(Step::Ended { scan }) {
                return Ok(());
            }
        }
        Ok(())
    }

    fn number(&mut self) -> u64 {
        let number = self.msg_number;
        self.msg_number += 1;
        number
    }
}

impl fmt::Debug for Detector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Detector").field("simulation", &self.simulation).finish_non_exhaustive()
    }
}

/// The bytes of an image. They follow from its numbers, so that a receiver can check them.
#[must_use]
pub fn image(scan: u32, frame: u32, bytes: usize) -> Vec<u8> {
    let mut image = vec![(scan.wrapping_mul(31).wrapping_add(frame)) as u8; bytes];
    for (place, byte) in image.iter_mut().zip(frame.to_le_bytes()) {
        *place = byte;
    }
    image
}

/// How long unsent messages are kept when the detector is dropped.
const LINGER_MS: i32 = 10_000;
