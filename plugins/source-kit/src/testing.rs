//! For the tests of sources: a host that keeps what it is told, and whose stop can be rung.

pub use framegate_plugin_api::testing::TestHost;
