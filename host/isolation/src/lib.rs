//! Sources of framegate in processes of their own.
//!
//! A host starts a child for a source ([`Apart::start`]), sends it requests over a socket, and gets events over the same
//! socket, whose frames are in shared memory ([`arena`]). A child is any program that speaks the protocol ([`wire`]);
//! [`child`] is the one that runs a loaded plugin.
//!
//! ```text
//!   host, reader thread                                  child, one thread
//!   Apart ── requests ──────────── socket ───────────> serve ── calls ──> plugin
//!         <── answers, places of frames ── socket ────       <── events ──
//!   frames <─────────────────── shared memory ──────── copies
//!         ── what is taken and released ── board ────>
//! ```
//!
//! The host reads no index, length or flag from shared memory: a child can spoil the content of its own frames, and
//! nothing else.

pub mod arena;
pub mod blocks;
pub mod child;
mod link;
mod output;
mod parent;
mod process;
pub mod wire;

pub use output::in_a_line;
pub use parent::{Apart, Frames, Launch};
pub use process::{Killer, how_it_ended};
