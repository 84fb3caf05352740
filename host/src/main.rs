//! The command `framegate`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    framegate::allocator::keep_large_buffers();
    framegate::main()
}
