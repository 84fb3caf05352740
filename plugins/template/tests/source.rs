//! The source as a host uses it, without a host.

use std::time::Duration;

use framegate_plugin_api::{Progress, testing::Trial};
use framegate_template::Template;

#[test]
fn each_scan_has_its_images_from_the_first_on() {
    let mut trial = Trial::<Template>::create(r#"{ "images": 20, "rate": 1000.0 }"#).unwrap();
    for _ in 0..2 {
        trial.open().unwrap();
        let events = trial.until_end(Duration::from_secs(10)).unwrap();
        assert_eq!(events.len(), 20);
        assert_eq!(events[19].frames[0].as_slice()[..4], [19, 0, 0, 0]);
        trial.close();
    }
}

#[test]
fn next_returns_by_its_deadline_when_there_is_nothing() {
    let mut trial = Trial::<Template>::create(r#"{ "images": 2, "rate": 0.001 }"#).unwrap();
    trial.open().unwrap();
    assert_eq!(trial.events(1, Duration::from_secs(10)).unwrap().len(), 1);
    let (events, progress) = trial.pull().unwrap();
    assert_eq!((events.len(), progress), (0, Progress::Idle));
}

#[test]
fn wrong_settings_are_named() {
    let wrong = |settings: &str| Trial::<Template>::create(settings).unwrap_err().to_string();
    assert!(wrong(r#"{ "images": -1 }"#).starts_with("settings.images: "));
    assert!(wrong(r#"{ "images": 1, "rate": 0 }"#).starts_with("settings.rate: "));
    assert!(wrong(r#"{ "images": 1, "colour": "red" }"#).contains("unknown field `colour`"));
}
