//! Follows a frame from the buffer that its source filled to the bytes that the kernel gets.
//!
//! The source writes each frame's own address into the frame. If the kernel got a piece at the address that the worker
//! reads, nothing in between has copied the frame. A linked source uses the same binary interface as a loaded one.

use framegate_plugin_api::{EventSink, HostContext, Source, SourceRun};
use serde_json::Map;

use super::*;
use crate::{output::connection::HANDED, source::factory::linked};

/// Gives one event with a large frame and a small one.
struct Addressed;

struct AddressedRun {
    done: bool,
}

/// An unusual size, so that no other test sends a piece with it.
const LARGE: usize = 1_234_567;
const SMALL: usize = 321;

impl Source for Addressed {
    type Settings = Map<String, Value>;
    type Run = AddressedRun;
    const PROTOCOL: &'static str = "addressed";

    fn create(_: Self::Settings, _: HostContext) -> Result<Self, SourceError> {
        Ok(Self)
    }
    fn open(&mut self) -> Result<AddressedRun, SourceError> {
        Ok(AddressedRun { done: false })
    }
}

impl SourceRun for AddressedRun {
    fn next(&mut self, out: &mut EventSink<'_>, _: Deadline) -> Result<Progress, SourceError> {
        if !std::mem::replace(&mut self.done, true) {
            out.push("T", EventKind::Data, [addressed(LARGE), addressed(SMALL), addressed(SMALL), addressed(LARGE)]);
        }
        Ok(Progress::End)
    }
}

/// A frame that begins with its own address.
fn addressed(len: usize) -> Frame {
    let mut bytes = vec![0; len];
    let address = bytes.as_ptr() as usize;
    bytes[..8].copy_from_slice(&address.to_le_bytes());
    Frame::from_vec(bytes)
}

/// Whether the frame that a worker got was sent from where its source created it, in as many pieces as the kernel took.
fn handed_over_in_place(frame: &[u8]) -> bool {
    let address = usize::from_le_bytes(frame[..8].try_into().unwrap());
    let handed = HANDED.lock().unwrap();
    let last = |(at, length): &(usize, usize)| at + length == address + frame.len() && *length <= frame.len();
    handed.iter().any(|(at, _)| *at == address) && handed.iter().any(last)
}

#[test]
fn large_frames_are_handed_to_every_worker_where_their_source_made_them() {
    let house = house_of(vec![("a".to_owned(), json!({}), linked::<Addressed>())], |_| ());
    let workers = [house.worker("w1"), house.worker("w2")];
    let scan = house.start(&["a"]);
    house.assign(scan, &[(0, &[("a", &["w1", "w2"])])]);
    for worker in &workers {
        let frames = receive(worker).1;
        // Small frames are copied, so that a waiting one does not pin the buffer that it was received in.
        let in_place: Vec<bool> = frames.iter().map(|frame| handed_over_in_place(frame)).collect();
        assert_eq!(in_place, [true, false, false, true]);
    }
    house.stop();
}
