//! A plugin in Rust that was built with another version of abi_stable: its size and version decide, as for one in C.

use framegate_tests::alone;

use super::streams_through_a_host;

#[test]
fn a_plugin_with_another_abi_stable_streams() {
    let plugin = alone::other_abi_stable();
    streams_through_a_host(&plugin, "", 10, |number, frame| assert_eq!(frame, [number as u8; 10]));
}
