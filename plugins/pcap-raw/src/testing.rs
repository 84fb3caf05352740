//! For tests of the protocol: plays a server without a socket.

use framegate_plugin_api::{Event, EventSink};
use framegate_source_kit::{RunState, Runs, testing::TestHost};

use crate::{
    lines::Lines,
    run::{Arms, TYP},
};

/// Events and counts of connections that each send a text and then break, with a limit of 100 bytes for lines and 200
/// for headers.
#[must_use]
pub fn play<T: AsRef<[u8]>>(connections: &[T]) -> (Vec<Event>, Vec<(&'static str, u64)>) {
    let (_, host) = TestHost::new();
    let (mut lines, mut arms, mut state) = (Lines::new(100), Arms::new(200), RunState::new(TYP, &Runs::default()));
    let mut events = Vec::new();
    let mut push = |event| events.push(event);
    let mut out = EventSink::new(&mut push, usize::MAX, usize::MAX);
    for text in connections {
        for bytes in text.as_ref().chunks(7) {
            lines.push(bytes);
            while let Some(line) = lines.next() {
                arms.take(line, &mut state.flow(&mut out, &host));
            }
        }
        arms.lost(lines.finish(), &mut state.flow(&mut out, &host));
    }
    let skipped = state.skipped().to_vec();
    (events, skipped)
}
