//! The interface of a protocol: how messages become events.
//!
//! Pure: an assembler gets complete messages as frames and knows no socket, so its tests need none.

use framegate_plugin_api::Frame;
use framegate_source_kit::{Flow, Frames, Malformed, Phase};

/// Makes the events of one run from its messages. Each run has a new one, so that no state passes from scan to scan.
///
/// Implement it if messages and events do not correspond one to one (several messages per event, several events per
/// message); otherwise use [`PerMessage`].
pub trait Assembler: 'static {
    /// The protocol's name as workers see it (`STINS`, `contrast`, …).
    const TYP: &'static str;

    /// Takes a message, with all its parts in order, at least one, and passes its events to `flow`. An invalid message
    /// must be passed to [`Flow::skip`]; it never ends the run.
    fn take(&mut self, message: Frames, flow: &mut Flow<'_, '_>);

    /// Yields more events of the message taken before, as long as the batch has room ([`Flow::is_full`]); returns
    /// whether some are left. No other message is taken before all are given.
    ///
    /// Only for protocols with many events in a message: the host can then pause in the middle of a message.
    fn rest(&mut self, flow: &mut Flow<'_, '_>) -> bool {
        let _ = flow;
        false
    }

    /// Bytes of messages that are kept because their event is not complete yet.
    fn bytes_waiting(&self) -> u64 {
        0
    }
}

/// A protocol in which each message is one event and states its kind. Each run has a new instance.
pub trait Protocol: Default + 'static {
    /// The protocol's name as workers see it.
    const TYP: &'static str;

    /// The kind of a message. `parts` has at least one element; its bytes are unchecked data from the detector.
    ///
    /// # Errors
    /// Why it is not a message of this protocol.
    fn role(&mut self, parts: &[Frame]) -> Result<Role, Malformed>;
}

/// The role of a message in its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It starts the run.
    Start,
    /// It is data.
    Data,
    /// It is data numbered by the detector: missing numbers are counted as lost on the way.
    Numbered(i64),
    /// It ends the run.
    End,
    /// It is valid, but gives no event (a heartbeat).
    Nothing,
}

impl Role {
    /// Data, with the detector's number if it fits into an `i64`.
    #[must_use]
    pub fn data(number: Option<i64>) -> Self {
        number.map_or(Self::Data, Self::Numbered)
    }
}

/// The assembler for a [`Protocol`]: each message is one event with the detector's own bytes.
#[derive(Debug, Default)]
pub struct PerMessage<P>(P);

impl<P: Protocol> Assembler for PerMessage<P> {
    const TYP: &'static str = P::TYP;

    fn take(&mut self, message: Frames, flow: &mut Flow<'_, '_>) {
        match self.0.role(&message) {
            Ok(Role::Start) => flow.start(message),
            Ok(Role::Data) => flow.data(message),
            Ok(Role::Numbered(number)) => {
                flow.number(number);
                flow.data(message);
            }
            Ok(Role::End) => flow.end(message),
            Ok(Role::Nothing) => {}
            // Before the start, every other message is junk.
            Err(why) if flow.phase() == Phase::Before => {
                flow.junk(message.first().map_or(&[], Frame::as_slice), why);
            }
            Err(why) => flow.skip(why),
        }
    }
}
