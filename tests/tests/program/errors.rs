//! Errors as values: where, what, and what to do.

use std::net::TcpListener;

use framegate::{Problem, SwapError, SwapSpec, plugin::Code};
use serde_json::json;

use super::{builder, host, settings, stream};

#[test]
fn problems_of_a_start_come_at_once_each_with_its_parts() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut settings = settings(&[&[("a", json!({})), ("b", json!({ "evnts": 1 }))]]);
    settings.ingesters[0].streams[0].source = "/nowhere/libframegate_none.so".to_owned();
    settings.ingesters[0].port = taken.local_addr().unwrap().port();
    let error = builder(settings).start().unwrap_err();
    let [plugin, of_source, port] = error.problems() else { panic!("{error}") };
    assert!(matches!(plugin, Problem::Plugin { .. }) && plugin.code() == Some(Code::Find), "{plugin:?}");
    assert!(plugin.stream() == Some(&stream("a")) && plugin.finding().contains("/nowhere/"), "{plugin:?}");
    assert!(plugin.remedy().is_some_and(|remedy| !remedy.is_empty()), "{plugin:?}");
    assert!(matches!(of_source, Problem::SourceSettings { .. }), "{of_source:?}");
    assert!(of_source.stream() == Some(&stream("b")) && of_source.finding().contains("evnts"), "{of_source:?}");
    assert!(matches!(port, Problem::Ingester { .. }) && port.finding().contains("cannot be bound"), "{port:?}");
    assert!(port.remedy().is_some_and(|remedy| remedy.contains("ss -ltnp")), "{port:?}");
    let told: Vec<_> = error.problems().iter().map(ToString::to_string).collect();
    assert_eq!(error.to_string(), told.join("\n"));
    assert!(told[0].starts_with("stream a: ") && told[0].contains("[FG-ABI-FIND]\n  "), "{}", told[0]);
}

#[test]
fn wrong_settings_of_a_program_are_refused_before_anything_starts() {
    let mut settings = settings(&[&[("a", json!({}))]]);
    settings.ingesters[0].memory_limit = 0;
    settings.max_generations = 0;
    let error = builder(settings).start().unwrap_err();
    let [Problem::Setting(of_host), Problem::Setting(of_ingester)] = error.problems() else { panic!("{error}") };
    assert!(of_host.place.as_deref() == Some("settings") && of_host.finding.starts_with("max_generations"), "{error}");
    assert!(of_ingester.place.is_some() && of_ingester.finding.starts_with("memory_limit"), "{error}");
}

#[test]
fn a_refused_swap_says_why() {
    let host = host(&[("camera", 1)]);
    let SwapError::UnknownStream { stream: given, meant, known } =
        host.swap("camra", &SwapSpec::new("played")).unwrap_err()
    else {
        panic!("another error")
    };
    assert_eq!((given.as_str(), meant.as_deref(), known), ("camra", Some("camera"), vec![stream("camera")]));
    let SwapError::Refused(problem) = host.swap("camera", &SwapSpec::new("/nowhere.so")).unwrap_err() else {
        panic!("another error")
    };
    assert_eq!((problem.code(), problem.stream()), (Some(Code::Find), Some(&stream("camera"))));
}
