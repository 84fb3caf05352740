//! The source as a host uses it, without a host.

use framegate_on_demand_example::Thermometer;
use framegate_plugin_api::testing::Trial;

#[test]
fn each_trigger_gives_one_reading() {
    let mut trial = Trial::<Thermometer>::create(r#"{ "temperature": 4.2 }"#).unwrap();
    trial.open().unwrap();
    for number in 0..3 {
        let events = trial.trigger(number).unwrap();
        assert_eq!(events.len(), 1);
        assert_eq!((events[0].typ, events[0].frames[0].as_slice()), ("JSON", &br#"{"temperature": 4.2}"#[..]));
    }
}

#[test]
fn wrong_settings_are_named() {
    for settings in [r#"{ "temperature": -1 }"#, r#"{ "temperature": "warm" }"#] {
        let error = Trial::<Thermometer>::create(settings).unwrap_err().to_string();
        assert!(error.starts_with("settings.temperature: "), "{error}");
    }
}
