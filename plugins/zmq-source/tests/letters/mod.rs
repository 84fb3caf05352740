//! The smallest possible protocol, for tests of what all protocols share.

use framegate_plugin_api::Frame;
use framegate_zmq_source::{Malformed, Protocol, Role, Transport, ZmqSettings};

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

/// These settings, over the transport of this test run: libzmq if it is told so, otherwise our own.
#[allow(dead_code, reason = "some tests are about our own only")]
pub(crate) fn over(mut settings: ZmqSettings) -> ZmqSettings {
    if std::env::var("FRAMEGATE_TEST_TRANSPORT").is_ok_and(|transport| transport == "libzmq") {
        settings.transport = Transport::Libzmq;
    }
    settings
}
