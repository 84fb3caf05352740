//! The template in Rust, as an author uses it: copied out of the repository, renamed, tested, built and loaded.

use framegate_tests::alone;

use super::{run_commands, streams_through_a_host};

#[test]
fn the_first_steps_of_the_guide_lead_from_an_empty_folder_to_a_plugin_that_streams() {
    let folder = tempfile::tempdir().unwrap();
    // The target folder of the standalone crates, so that dependencies are built once.
    let built = alone::target().join("debug");
    let here = |script: String| script.replace("target/debug/", &format!("{}/", built.display()));
    let said = run_commands("docs/write-a-source/README.md", "Quick start in Rust", folder.path(), here);
    assert!(said.contains("3 passed") && said.contains("framegate-mydetector 0.1.0"), "{said}");
    assert!(said.contains(" passed, 0 failed"), "it keeps the rules: {said}");

    let plugin = built.join("libframegate_mydetector.so");
    let settings = "images = 50\nbytes = 10000\nrate = 1000.0";
    let log = streams_through_a_host(&plugin, settings, 50, |number, image| {
        assert_eq!((image.len(), u64::from(image[0])), (10000, number));
    });
    let line = log.lines().find(|line| line.contains("a run begins images=50")).unwrap_or_else(|| panic!("{log}"));
    assert!(line.contains("INFO") && line.contains("mine"), "the plugin's log is in the host's: {log}");
}
