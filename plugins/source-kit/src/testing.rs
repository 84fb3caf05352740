//! For tests of sources: a host that records what the source reports, and whose stop can be triggered.

pub use framegate_plugin_api::testing::TestHost;
