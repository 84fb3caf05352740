//! The smallest possible protocol, for tests of what all protocols share.

use framegate_plugin_api::Frame;
use framegate_zmq_source::{Malformed, Protocol, Role};

/// One letter is the kind of a message: start, data, end, heartbeat.
#[derive(Debug, Default)]
pub(crate) struct Letters;

impl Protocol for Letters {
    const TYP: &'static str = "letters";
    fn role(&mut self, parts: &[Frame]) -> Result<Role, Malformed> {
        match parts[0].as_slice().first() {
            Some(b's') => Ok(Role::Start),
            Some(b'd') => Ok(Role::Data),
            Some(b'e') => Ok(Role::End),
            Some(b'h') => Ok(Role::Nothing),
            _ => Err(Malformed::new("no letter")),
        }
    }
}
