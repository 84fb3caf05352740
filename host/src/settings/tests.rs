//! Tests layers and checks: precedence, refused values, and messages.

use std::{collections::BTreeSet, ffi::OsString, time::Duration};

use proptest::prelude::*;
use serde_json::json;

use super::{
    dranspose::Feed,
    example::example,
    layers::{Environment, Flags, run},
    *,
};

pub(super) fn environment(variables: &[(&str, &str)]) -> Environment {
    Environment::new(variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))))
}

/// The settings of `framegate ingester`; an option with an empty value is not given.
fn drop_in(
    environment: &Environment,
    stream: &str,
    class: &str,
    upstream: &str,
) -> Result<layers::Checked, layers::Wrong> {
    let flags = [("--name", stream), ("--upstream_url", upstream)];
    let given = flags.into_iter().filter(|(_, value)| !value.is_empty());
    let flags = given.map(|(flag, value)| (flag, value.to_owned())).collect();
    layers::drop_in(environment, Feed::Connects, class, &flags)
}

pub(super) fn problems(text: &str) -> Vec<String> {
    texts(Settings::from_toml(text).unwrap_err().problems())
}

pub(super) fn texts(problems: &[SettingProblem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

/// The example with every key in it that is a comment, except those that `leave_out` names.
fn whole_example(leave_out: &[&str]) -> Result<Settings, SettingsError> {
    let line = |line: &str| {
        let key =
            line.strip_prefix('#').filter(|key| key.starts_with(|first: char| first.is_lowercase() || first == '['));
        let key = key.unwrap_or(line);
        // A stream has either a source or a command.
        if key.starts_with("command") || leave_out.iter().any(|name| key.starts_with(name)) {
            String::new()
        } else {
            format!("{key}\n")
        }
    };
    Settings::from_toml(&example().lines().map(line).collect::<String>())
}

#[test]
fn the_example_holds_and_shows_the_defaults() {
    let shown = Settings::from_toml(&example()).unwrap();
    let bare = "[[ingester]]\nname = 'detectors-ingester'\n[[ingester.stream]]\nname = 'camera'\nsource = 'stins'\n\
                settings.upstream_url = 'tcp://localhost:9999'";
    assert_eq!(format!("{shown:?}"), format!("{:?}", Settings::from_toml(bare).unwrap()));
    // Keys without a default show an allowed value.
    let standalone = ["[standalone]", "broadcast", "scans", "min_workers"];
    let examples = ["dump_path", "plugin_dirs", "capture_root", "admin =", "redis_"];
    let whole = whole_example(&[&standalone[..], &examples].concat()).unwrap();
    assert_eq!(format!("{shown:?}"), format!("{whole:?}"));
    let only_tls = ["redis_ca", "redis_certificate", "redis_key"];
    let whole = whole_example(&[&standalone[..], &only_tls, &["redis_password "]].concat()).unwrap();
    assert_eq!(whole.admin, Some("127.0.0.1:9180".parse().unwrap()));
    let Control::Redis(redis) = whole.control else { panic!("it is Redis") };
    assert!(redis.user.is_some() && redis.password.is_some());
    let whole = whole_example(&["redis"]).unwrap();
    let Control::Standalone(standalone) = whole.control else { panic!("it is standalone") };
    assert_eq!(standalone, Standalone { scans: Some(2), ..Standalone::default() });
}

#[test]
fn streams_without_a_problem_are_left_when_others_have_one() {
    let streams = |wrong: &str| {
        format!(
            "[standalone]\n{wrong}\n[[ingester]]\nmemory_limt = 1\n[[ingester.stream]]\nname = 'a'\nsource = 'x'\n[[ingester.stream]]\nname = 'b'\n"
        )
    };
    let rest = |text: &str| run(text, "f", &Environment::default(), &Flags::default()).unwrap_err().rest;
    let left = rest(&streams("")).unwrap();
    let names: Vec<_> = left.ingesters[0].streams.iter().map(|stream| stream.name.as_str()).collect();
    assert_eq!(names, ["a"]);
    let top = |key: &str| rest(&format!("{key}\n{}", streams("")));
    assert!(top("admin = 3").is_some() && top("plugin_dirs = 3").is_none());
}

#[test]
fn a_variable_says_true_or_false_in_words() {
    let file =
        "allow_writable_plugins = true\n[standalone]\n[[ingester]]\n[[ingester.stream]]\nname = 's'\nsource = 'x'\n";
    let seen = |value| run(file, "f", &environment(&[("FRAMEGATE_ALLOW_WRITABLE_PLUGINS", value)]), &Flags::default());
    for (value, allowed) in [("", true), ("false", false), ("0", false), ("TRUE", true), ("1", true)] {
        assert_eq!(seen(value).unwrap().settings.allow_writable_plugins, allowed, "{value}");
    }
    let problem = "variable FRAMEGATE_ALLOW_WRITABLE_PLUGINS: \"maybe\" is not allowed: true or false";
    assert_eq!(texts(&seen("maybe").unwrap_err().problems), [problem]);
}

#[test]
fn the_environment_counts_before_the_file_and_flags_before_the_environment() {
    let file = "log_level = 'ERROR'\nadmin = '127.0.0.1:1'\nredis = 'redis://file'\n[[ingester]]\n[[ingester.stream]]\n\
                name = 's'\nsource = 'x'\n";
    let seen = |variables: &[(&str, &str)], flags: Flags| {
        let checked = run(file, "f.toml", &environment(variables), &flags).unwrap();
        let Control::Redis(redis) = checked.settings.control else { panic!("it is Redis") };
        (checked.log_level, checked.settings.admin.map(|admin| admin.port()), redis.url)
    };
    assert_eq!(seen(&[], Flags::default()), (LogLevel::Error, Some(1), "redis://file".into()));
    let variables = [("log_Level", "debug"), ("framegate_admin", "127.0.0.1:2"), ("redis_url", "redis://env")];
    assert_eq!(seen(&variables, Flags::default()), (LogLevel::Debug, Some(2), "redis://env".into()));
    let given = Flags::from([("--admin", "off".into()), ("--log-level", "WARNING".into())]);
    assert_eq!(seen(&variables, given), (LogLevel::Warning, None, "redis://env".into()));
    let both = [("REDIS_URL", "redis://second"), ("service_redis_dsn", "redis://first"), ("REDIS_DSN", "not read")];
    assert_eq!(seen(&both, Flags::default()).2, "redis://first");
}

#[test]
fn run_has_an_admin_endpoint_of_its_own_accord_and_embedders_and_drop_ins_have_none() {
    let file = "[[ingester]]\n[[ingester.stream]]\nname = 's'\nsource = 'x'\n";
    let checked = run(file, "f", &Environment::default(), &Flags::default()).unwrap();
    assert_eq!(checked.settings.admin, Some("127.0.0.1:9180".parse().unwrap()));
    assert_eq!(Settings::from_toml(file).unwrap().admin, None);
    let class = "ZmqPullSingleIngester";
    assert_eq!(drop_in(&Environment::default(), "s", class, "tcp://h:1").unwrap().settings.admin, None);
    let admin = environment(&[("FRAMEGATE_ADMIN", "0.0.0.0:80")]);
    let checked = drop_in(&admin, "s", class, "tcp://h:1").unwrap();
    assert_eq!(checked.settings.admin, Some("0.0.0.0:80".parse().unwrap()));
}

#[test]
fn a_drop_in_has_the_defaults_of_dranspose() {
    let checked = drop_in(&Environment::default(), "eiger", "ZmqPullSingleIngester", "tcp://h:1").unwrap();
    let [ingester] = &checked.settings.ingesters[..] else { panic!("there is one") };
    assert_eq!((ingester.name.as_str(), ingester.url().as_str()), ("eiger-ingester", "tcp://localhost:10000"));
    assert_eq!((ingester.streams[0].name.as_str(), ingester.streams[0].source.as_str()), ("eiger", "stins"));
    assert_eq!(ingester.streams[0].settings, json!({ "upstream_url": "tcp://h:1" }));
    assert_eq!(checked.log_level, LogLevel::Info);
    let Control::Redis(redis) = checked.settings.control else { panic!("it is Redis") };
    assert_eq!(redis, RedisSettings::new("redis://localhost:6379/0"));
    assert_eq!(redis.build_meta.to_str(), Some("/etc/build_git_meta.json"));
}

#[test]
fn a_drop_in_takes_the_variables_of_dranspose() {
    let variables = [
        ("ingester_streams", r#"["a", "b"]"#),
        ("INGESTER_URL", "tcp://here:5/"),
        ("UPSTREAM_URL", "tcp://there:6"),
        ("Dump_Path", "/tmp/x.cbors"),
        ("BUILD_META_FILE", "/m.json"),
        ("INGESTER_NAME", ""),
    ];
    let settings = drop_in(&environment(&variables), "", "stins", "").unwrap().settings;
    let ingester = &settings.ingesters[0];
    assert_eq!((ingester.name.as_str(), ingester.url().as_str()), ("a_b-ingester", "tcp://here:5"));
    assert_eq!(ingester.dump_path.as_deref().and_then(std::path::Path::to_str), Some("/tmp/x.cbors"));
    assert_eq!(ingester.streams.len(), 2);
    for stream in &ingester.streams {
        assert_eq!(stream.settings, json!({ "upstream_url": "tcp://there:6" }));
    }
    // Flags take precedence; the name of the ingester is not the name of the stream.
    let named = [&variables[..], &[("INGESTER_NAME", "mine")]].concat();
    let settings = drop_in(&environment(&named), "c", "stins", "tcp://flag:7").unwrap().settings;
    let ingester = &settings.ingesters[0];
    assert_eq!((ingester.name.as_str(), ingester.streams.len()), ("mine", 1));
    assert_eq!(ingester.streams[0].settings, json!({ "upstream_url": "tcp://flag:7" }));
}

#[test]
fn the_http_drop_in_gives_the_source_where_to_listen() {
    let http = |class: &str, listen: &[(&'static str, &str)]| {
        let flags = [&[("--name", "s")], listen].concat().into_iter().map(|(flag, value)| (flag, value.to_owned()));
        layers::drop_in(&Environment::default(), Feed::Listens, class, &flags.collect())
    };
    let app = "dranspose.ingesters.http_sardana:app";
    let stream = |checked: layers::Checked| checked.settings.ingesters[0].streams[0].clone();
    let default = stream(http(app, &[]).unwrap());
    assert_eq!((default.source.as_str(), default.settings), ("sardana", json!({ "host": "*", "port": 5000 })));
    let given = stream(http(app, &[("--host", "0.0.0.0"), ("--port", "8")]).unwrap());
    assert_eq!(given.settings, json!({ "host": "0.0.0.0", "port": 8 }));
    let wrong = http("ZmqSubPCAPIngester", &[]).unwrap_err();
    assert!(texts(&wrong.problems)[0].starts_with("option --ingesterapp: ZmqSubPCAPIngester connects"), "{wrong:?}");
}

#[test]
fn everything_wrong_with_a_drop_in_is_told_at_once() {
    let variables = [
        ("INGESTER_STREAMS", "eiger"),
        ("INGESTER_NAME", "a:b"),
        ("INGESTER_URL", "localhost:1"),
        ("REDIS_URL", "redis://user:geheim@host:port"),
        ("LOG_LEVEL", "LOUD"),
        ("FRAMEGATE_ADMIN", "9180"),
    ];
    let told = texts(&drop_in(&environment(&variables), "", "ZmqSubContrstIngester", "").unwrap_err().problems);
    for part in [
        "variable INGESTER_STREAMS: \"eiger\": expected a JSON list",
        "variable INGESTER_NAME: ingester name \"a:b\" is not allowed",
        "variable INGESTER_URL: \"localhost:1\": it has no scheme; write tcp://localhost:1",
        "variable REDIS_URL: ",
        "variable LOG_LEVEL: \"LOUD\"",
        "variable FRAMEGATE_ADMIN: \"9180\"",
        "option --ingesterclass: \"ZmqSubContrstIngester\": no such class; did you mean ZmqSubContrastIngester?",
    ] {
        assert!(told.iter().any(|problem| problem.starts_with(part)), "{part} is not in\n{told:?}");
    }
    assert_eq!(told.len(), 7, "{told:?}");
    assert!(!told.join("").contains("geheim"), "{told:?}");
    let nothing = drop_in(&Environment::default(), "", "TcpPcapIngester", "").unwrap_err().problems;
    let nothing = texts(&nothing).join("\n");
    assert!(nothing.contains("UPSTREAM_URL") && nothing.contains("-n STREAM"), "{nothing}");
}

#[test]
fn names_ports_and_captures_are_there_once() {
    let two = |one: &str, two: &str| {
        problems(&format!(
            "[[ingester]]\n{one}\n[[ingester.stream]]\nname = 'a'\nsource = 'x'\n[[ingester]]\n{two}\n[[ingester.stream]]\n\
             name = 'b'\nsource = 'x'"
        ))
    };
    assert!(two("", "")[0].contains("a second ingester has port 10000; the first: line 1"));
    let own_port = "url = 'tcp://h:1'\n";
    for key in ["name = 'n'", "dump_path = '/d'"] {
        assert!(two(key, &format!("{own_port}{key}"))[0].contains("the first: line 2"), "{key}");
    }
    let capture = two("dump_path = '/d/x'", &format!("{own_port}dump_path = '/d//x'"));
    assert!(capture[0].contains("a second ingester writes to dump_path \"/d/x\"; the first: line 2"), "{capture:?}");
    let twice = "[[ingester]]\nstream = [{ name = 'a', source = 'x' }, { name = 'a', source = 'x' }]";
    assert!(problems(twice)[0].contains("a second stream is named \"a\"; the first: line 2"));
    let admin = "admin = '127.0.0.1:10000'\n[[ingester]]\nstream = [{ name = 'a', source = 'x' }]";
    assert!(problems(admin)[0].contains("port 10000 is that of `admin` (line 1)"));
}

#[test]
fn values_are_told_with_what_is_allowed() {
    let stream = "[[ingester.stream]]\nname = 's'\nsource = 'x'\n";
    for (key, says) in [
        ("memory_limit = '1 GB of'", "is not a size; expected a size such as \"1 GiB\""),
        ("memory_limit = 0", "at least 1 byte"),
        ("memory_limit = -1", "is negative"),
        ("memory_limit = true", "expected a size"),
        ("memory_limit = 99999999999999999999999", "expected a size"),
        ("worker_timeout = '10'", "expected a time with its unit"),
        ("worker_timeout = 10", "not an integer"),
        ("worker_timeout = '0 s'", "1ms to 365 days"),
        ("worker_timeout = '2000 years'", "1ms to 365 days"),
        ("stall_timeout = 'never'", "or \"off\""),
        ("capture_when_full = 'thinn'", "did you mean \"thin\"?"),
        ("url = 'tcp://*:1'", "`*` is not a machine to connect to"),
        ("url = 'tcp://h:0'", "1 to 65535"),
        ("url = 'tcp://h:65536'", "1 to 65535"),
        ("url = 'tcp://u@h:1'", "malformed"),
        ("url = 'tcp://[::1:1'", "malformed"),
        ("url = 'tcp://::1:1'", "an IPv6 address needs brackets: tcp://[::1]:1"),
        ("url = 'h:1'", "it has no scheme; write tcp://h:1"),
        ("url = 'tcp://h:99999'", "1 to 65535"),
        ("url = 'tcp://:1'", "the host is missing"),
        ("url = 'tcp://h:1/x'", "nothing may follow the port"),
        ("bind = 'eth0'", "expected an IP address of this machine"),
        ("workers = []", "no worker would be allowed"),
        ("workers = 'w1'", "expected names of workers"),
        ("name = ''", "it is empty"),
        ("name = \"\\n\"", "control character"),
        ("dump_path = ''", "it is empty"),
        ("memmory_limit = 1", "did you mean `memory_limit`?"),
        ("colour = 'red'", "known in [ingester]: "),
    ] {
        let told = problems(&format!("[[ingester]]\n{key}\n{stream}"));
        assert_eq!(told.len(), 1, "{key}: {told:?}");
        assert!(told[0].starts_with("line 2: ") && told[0].contains(says), "{key}: {}", told[0]);
    }
    for (text, says) in [
        ("", "there is no ingester"),
        ("ingester = 3", "expected a list of tables"),
        ("[ingester]", "write [[ingester]]"),
        ("[[ingester]]", "it has no stream"),
        ("[[ingester]]\nstream = []", "line 2: in [ingester]: it has no stream"),
        ("ingester = [1]", "expected a table, not an integer"),
        ("[[ingester]]\n[[ingester.stream]]\nsource = 'x'", "line 2: in [ingester.stream]: `name` is missing"),
        ("a = ", "line 1, column 5: not TOML"),
    ] {
        assert!(problems(text)[0].contains(says), "{text}: {:?}", problems(text));
    }
}

#[test]
fn a_source_gets_its_settings_and_parameters_as_they_were_written() {
    let text = "[[ingester]]\n[[ingester.stream]]\nname = 's'\nsource = '/x.so'\n[ingester.stream.settings]\n\
                list = [1, 2.5, 'x', true]\ntable.inner = 0xff\nwhen = 2026-01-01\n[ingester.stream.parameters]\n\
                a = 1\nb = 2.0\nc = true\nd = 'text'";
    let settings = Settings::from_toml(text).unwrap();
    let stream = &settings.ingesters[0].streams[0];
    let expected = json!({ "list": [1, 2.5, "x", true], "table": { "inner": 255 }, "when": "2026-01-01" });
    assert_eq!(stream.settings, expected);
    let parameters: Vec<_> = stream.parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(parameters, ["a=1", "b=2.0", "c=True", "d=text"]);
}

#[test]
fn standalone_has_a_stall_timeout_and_redis_has_none() {
    let rest = "[[ingester]]\n[[ingester.stream]]\nname = 's'\nsource = 'x'\n";
    let stall = |text: String| Settings::from_toml(&text).unwrap().ingesters[0].stall_timeout;
    assert_eq!(stall(rest.into()), None);
    assert_eq!(stall(format!("[standalone]\n{rest}")), Some(Duration::from_secs(30)));
    assert_eq!(stall(format!("[standalone]\n{}", rest.replace("]]\n[[", "]]\nstall_timeout = 'off'\n[["))), None);
}

/// Every key in its table, with an allowed value and a value of the wrong type.
const KEYS: [(&str, &str, &str); 23] = [
    ("top", "plugin_dirs", "['/p']"),
    ("top", "allow_writable_plugins", "true"),
    ("top", "probe", "true"),
    ("top", "shutdown_grace", "'3 s'"),
    ("top", "source_timeout", "'3 s'"),
    ("top", "admin", "'off'"),
    ("top", "log_level", "'info'"),
    ("top", "capture_root", "'/c'"),
    ("top", "build_meta", "'/m'"),
    ("top", "redis", "'redis://h:1/2'"),
    ("ingester", "name", "'n'"),
    ("ingester", "url", "'tcp://h:1'"),
    ("ingester", "bind", "'::1'"),
    ("ingester", "workers", "['w*']"),
    ("ingester", "memory_limit", "'1 MiB'"),
    ("ingester", "capture_limit", "1000"),
    ("ingester", "worker_timeout", "'1 min'"),
    ("ingester", "stall_timeout", "'1 min'"),
    ("ingester", "dump_path", "'/d'"),
    ("ingester", "capture_when_full", "'BLOCK'"),
    ("stream", "when_full", "'drop'"),
    ("stream", "isolate", "true"),
    ("stream", "settings", "{ a = 1 }"),
];

/// A file with the chosen keys; returns their lines.
fn file(chosen: &BTreeSet<usize>, value: impl Fn(usize) -> (String, String)) -> (String, Vec<usize>) {
    let mut lines = Vec::new();
    let mut text = String::new();
    for place in ["top", "ingester", "stream"] {
        text.push_str(match place {
            "top" => "",
            "ingester" => "[[ingester]]\n",
            _ => "[[ingester.stream]]\nname = 's'\nsource = 'x'\n",
        });
        for index in chosen.iter().filter(|index| KEYS[**index].0 == place) {
            let (key, value) = value(*index);
            text.push_str(&format!("{key} = {value}\n"));
            lines.push(text.lines().count());
        }
    }
    (text, lines)
}

proptest! {
    #[test]
    fn any_choice_of_keys_holds(chosen in prop::collection::btree_set(0..KEYS.len(), 0..KEYS.len())) {
        let (text, _) = file(&chosen, |index| (KEYS[index].1.into(), KEYS[index].2.into()));
        prop_assert!(Settings::from_toml(&text).is_ok(), "{}\n{:?}", text, Settings::from_toml(&text));
    }

    #[test]
    fn each_wrong_value_is_told_once_with_its_line(chosen in prop::collection::btree_set(0..KEYS.len(), 0..KEYS.len())) {
        // No key accepts a date.
        let (text, lines) = file(&chosen, |index| (KEYS[index].1.into(), "2026-01-01".into()));
        let told = Settings::from_toml(&text).map_or_else(|error| texts(error.problems()), |_| Vec::new());
        let starts: Vec<_> = lines.iter().map(|line| format!("line {line}: ")).collect();
        prop_assert_eq!(told.len(), starts.len(), "{:?}", told);
        for (told, start) in told.iter().zip(starts) {
            prop_assert!(told.starts_with(&start) && told.lines().count() <= 3, "{}", told);
        }
    }

    #[test]
    fn a_key_with_a_slip_is_told_with_the_right_one(
        chosen in prop::collection::btree_set(0..KEYS.len(), 1..4), at in any::<prop::sample::Index>(),
    ) {
        let slip = |key: &str| { let mut key = key.to_owned(); let at = at.index(key.len()); key.insert(at, 'q'); key };
        let (text, lines) = file(&chosen, |index| (slip(KEYS[index].1), KEYS[index].2.into()));
        let error = Settings::from_toml(&text).unwrap_err();
        prop_assert_eq!(error.problems().len(), lines.len(), "{}", error);
        for ((told, line), index) in texts(error.problems()).iter().zip(lines).zip(&chosen) {
            let meant = format!("did you mean `{}`?", KEYS[*index].1);
            prop_assert!(told.starts_with(&format!("line {line}: ")) && told.contains(&meant), "{}", told);
        }
    }

    #[test]
    fn no_text_and_no_variable_breaks_it(text in ".{0,200}", value in ".{0,40}", class in ".{0,20}") {
        let _ = Settings::from_toml(&text);
        let _ = run(&format!("{}\n{text}", example()), "f", &Environment::default(), &Flags::default());
        let names = ["INGESTER_STREAMS", "INGESTER_NAME", "INGESTER_URL", "REDIS_URL", "LOG_LEVEL", "FRAMEGATE_ADMIN"];
        let _ = drop_in(&environment(&names.map(|name| (name, value.as_str()))), "", &class, &value);
    }
}
