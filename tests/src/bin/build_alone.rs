//! Builds the crates outside the workspace that tests load, so that no test waits for a compiler. `tests/run` calls it.

fn main() {
    framegate_tests::alone::build_all();
}
