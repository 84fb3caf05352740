//! Feeds the target in `FRAMEGATE_FUZZ_TARGET`. One program for all targets, so that it is built once.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

static FEED: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let name = std::env::var("FRAMEGATE_FUZZ_TARGET").expect("FRAMEGATE_FUZZ_TARGET names a target");
    framegate_fuzz::target(&name).expect("a target of that name").feed
});

fuzz_target!(|input: &[u8]| FEED(input));
