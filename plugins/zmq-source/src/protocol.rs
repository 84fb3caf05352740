//! How messages become events: what a protocol has to say.
//!
//! Pure: an assembler gets whole messages as frames and knows no socket, so that its tests need none.

use framegate_plugin_api::{Frame, Frames};
use framegate_source_kit::{Flow, Malformed, Phase};

/// Makes the events of one run from its messages. Made anew for each run, so that nothing passes from scan to scan.
///
/// Implement it where messages and events do not correspond one to one (several messages for an event, several events
/// in a message); otherwise [`PerMessage`] does it.
pub trait Assembler: 'static {
    /// The protocol's name as workers see it (`STINS`, `contrast`, …).
    const TYP: &'static str;

    /// Takes a message, all its parts in order, at least one; gives what it makes of it to `flow`. A message that does
    /// not validate is given to [`Flow::skip`]; it never ends the run.
    fn take(&mut self, message: Frames, flow: &mut Flow<'_, '_>);

    /// Gives more events of the message that was taken before, as long as the batch has room ([`Flow::is_full`]); answers
    /// whether some are left. No other message is taken before they are given.
    ///
    /// Only for protocols with many events in a message: the host can then hold back in the middle of one.
    fn rest(&mut self, flow: &mut Flow<'_, '_>) -> bool {
        let _ = flow;
        false
    }

    /// Bytes of messages that are kept because their event has still to come.
    fn bytes_waiting(&self) -> u64 {
        0
    }
}

/// A protocol in which each message is one event and says itself what it is. Made anew for each run.
pub trait Protocol: Default + 'static {
    /// The protocol's name as workers see it.
    const TYP: &'static str;

    /// What a message is. `parts` has at least one element; its bytes are the detector's, checked for nothing.
    ///
    /// # Errors
    /// Why it is no message of this protocol.
    fn role(&mut self, parts: &[Frame]) -> Result<Role, Malformed>;
}

/// What a message is in its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It starts the run.
    Start,
    /// It is data.
    Data,
    /// It is data to which the detector gave a number: numbers that are left out are counted as lost on the way.
    Numbered(i64),
    /// It ends the run.
    End,
    /// It is valid, and never an event (a heartbeat).
    Nothing,
}

impl Role {
    /// Data, with the detector's number if it is one that can be compared.
    #[must_use]
    pub fn data(number: Option<i64>) -> Self {
        number.map_or(Self::Data, Self::Numbered)
    }
}

/// The assembler for a [`Protocol`]: one message, one event, the detector's own bytes.
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
            // Before the start everything else is junk, whatever it looks like.
            Err(why) if flow.phase() == Phase::Before => {
                flow.junk(message.first().map_or(&[], Frame::as_slice), why);
            }
            Err(why) => flow.skip(why),
        }
    }
}
