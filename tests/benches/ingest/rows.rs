//! A row of the table, and the length of its runs. `groups` has the list of rows, `goals` what they must reach.

use framegate_tests::bench::ends::Kind;
use serde::Serialize;

use crate::{deal::Dealing, sides::Side};

/// One row: the messages, the workers, and the sides that forward them.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    /// Bytes of each part of an image; with two parts, the first is the detector's JSON.
    pub(crate) payload: usize,
    pub(crate) parts: usize,
    pub(crate) workers: usize,
    /// Every event goes to every worker.
    pub(crate) broadcast: bool,
    pub(crate) streams: usize,
    /// The streams are divided among this many ingesters in one process.
    pub(crate) ingesters: usize,
    pub(crate) dealing: Dealing,
    /// Images per second; `None`: as fast as possible.
    pub(crate) rate: Option<f64>,
    /// Images; `None`: as many as take a second or two.
    pub(crate) images: Option<u64>,
    /// The last worker is not measured: it stalls with [`Side::Stalled`].
    pub(crate) apart: bool,
    /// Further keys of the ingester in the configuration.
    pub(crate) keys: &'static str,
    /// The others are compared with the first.
    pub(crate) sides: Vec<Side>,
    /// What the ends are made of; `None`: as the command line says.
    pub(crate) ends: Option<Kind>,
}

impl Row {
    /// Relay and framegate, two workers in turn, one stream.
    pub(crate) fn new(name: impl Into<String>, payload: usize) -> Self {
        Self {
            name: name.into(),
            payload,
            parts: 2,
            workers: 2,
            broadcast: false,
            streams: 1,
            ingesters: 1,
            dealing: Dealing::USUAL,
            rate: None,
            images: None,
            apart: false,
            keys: "",
            sides: vec![Side::Relay, Side::Framegate],
            ends: None,
        }
    }

    /// Images of a run.
    pub(crate) fn images(&self, side: Side, smoke: bool) -> u64 {
        let copies = if self.broadcast { self.workers } else { 1 };
        let bytes = (self.payload * self.parts.saturating_sub(1).max(1) * copies * self.streams) as f64;
        let messages = (copies * self.streams * self.parts) as f64;
        // Rough time for an event on a small machine, in seconds, for each forwarder.
        let python = messages * 60e-6 + bytes * 0.9e-9;
        let others = messages * 1.2e-6 + bytes * 0.4e-9;
        let usual = match (side, self.images, self.rate) {
            (Side::Python, ..) => SECONDS / python,
            (_, Some(images), _) => images as f64,
            (.., Some(rate)) => rate * PACED_SECONDS,
            _ => SECONDS / others,
        };
        let images = if smoke { (usual / 50.0).min(1000.0) } else { usual };
        (images as u64).max(20)
    }

    /// Messages to the measured workers: images, and the start and the end, which every worker gets.
    pub(crate) fn messages(&self, side: Side, images: u64) -> u64 {
        let counted = (self.workers - usize::from(self.apart)) as u64;
        // Event 0 is the start, so the first image goes to worker 1.
        let in_turn = || (1..=images).filter(|event| event % (self.workers as u64) < counted).count() as u64;
        let of_images = if self.broadcast { images * counted } else { in_turn() };
        let ends = 2 * counted;
        match side {
            Side::Raw => images + 2,
            // A separate message for every stream.
            Side::Relay | Side::OneThread => self.streams as u64 * (of_images + ends),
            _ => self.ingesters as u64 * (of_images + ends),
        }
    }
}

/// Rough duration of a run.
const SECONDS: f64 = 1.5;
const PACED_SECONDS: f64 = 4.0;
