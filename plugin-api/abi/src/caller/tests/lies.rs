//! A table that answers garbage; the stream's name selects the kind of garbage.

use super::*;
use crate::{ABI_VERSION, status::StatusForm};

pub(super) static TABLE: PluginTable = PluginTable {
    size: size_of::<PluginTable>() as u32,
    abi_major: ABI_VERSION.0,
    abi_minor: ABI_VERSION.1,
    flags: 0,
    create,
    destroy: nothing,
    open: nothing,
    close: nothing,
    next: Some(next),
    trigger: None,
    held_back: None,
    status: Some(status),
    parameters: None,
    set_parameter: None,
    get_extension: None,
};

unsafe extern "C" fn create(
    host: *const HostTable,
    stream: Text,
    _: Text,
    instance: *mut *mut c_void,
    error: *mut ErrorBuffer,
) -> i32 {
    // SAFETY: the host's table, valid during the call.
    let host = unsafe { &*host };
    // SAFETY: the host's text, valid during the call.
    let lie = unsafe { stream.as_str() }.unwrap();
    // SAFETY: this function owns the context.
    unsafe { (host.release)(host.context) }
    // SAFETY: valid during the call.
    let error = unsafe { &mut *error };
    match lie {
        "no instance" => return 0,
        "outcome" => return 42,
        "error kind" => error.kind = 99,
        "error length" => error.len = usize::MAX,
        "error unwritten" => (error.kind, error.len) = (ErrorKind::Connect.code(), 100),
        _ => {
            // SAFETY: valid for a write.
            unsafe { *instance = Box::into_raw(Box::new(lie.to_owned())).cast() }
            return 0;
        }
    }
    Outcome::Failed.code()
}

unsafe extern "C" fn nothing(_: *mut c_void, _: *mut ErrorBuffer) -> i32 {
    0
}

unsafe extern "C" fn next(instance: *mut c_void, batch: *mut Batch, _: u64, _: *mut ErrorBuffer) -> i32 {
    // SAFETY: created in `create`.
    let lie = unsafe { &*instance.cast::<String>() };
    // SAFETY: valid during the call.
    let batch = unsafe { &mut *batch };
    let mut event = RawEvent { typ: Text::new("LIE"), frames: 1, kind: EventKind::Data.code() };
    let mut frame = Frame::from_owner(Counted(vec![1], DROPS.with(Arc::clone), false)).into_raw();
    batch.progress = Progress::More.code();
    match lie.as_str() {
        "progress" => batch.progress = 9,
        "kind" => event.kind = -1,
        "typ" => event.typ = Text::bytes(&[0xff, 0xfe]),
        "long typ" => event.typ = Text::new(const { str_of::<100>() }),
        "too few frames" => event.frames = 2,
        "too many frames" => event.frames = 0,
        "huge frames" => event.frames = usize::MAX,
        "no data" => frame = RawFrame { data: ptr::null(), ..frame },
        _ => {}
    }
    // SAFETY: the array has room for at least one event.
    unsafe { batch.events.write(event) };
    // SAFETY: as above.
    unsafe { batch.frames.write(frame) };
    (batch.events_len, batch.frames_len) = (1, 1);
    match lie.as_str() {
        "events beyond the room" => batch.events_len = 1 << 40,
        "frames beyond the room" => batch.frames_len = batch.frames_capacity + 1,
        "its own arrays" => (batch.events, batch.frames) = (ptr::dangling_mut(), ptr::dangling_mut()),
        _ => {}
    }
    0
}

const fn str_of<const N: usize>() -> &'static str {
    match std::str::from_utf8(&[b'x'; N]) {
        Ok(text) => text,
        Err(_) => "",
    }
}

unsafe extern "C" fn status(_: *mut c_void, form: *mut StatusForm, _: *mut ErrorBuffer) -> i32 {
    // SAFETY: valid during the call.
    unsafe { (*form).connected = 7 };
    0
}
