use jiter::JsonValue;
use proptest::prelude::*;

use super::*;

fn value(text: &str) -> Option<Value<'_>> {
    // Leaks the text to keep the helper short; each test makes few.
    let document: &'static str = Box::leak(format!("{{\"x\":{text}}}").into_boxed_str());
    fields(document.as_bytes(), &["x"]).ok()?[0]
}

fn nested(levels: usize, inside: &str) -> String {
    format!("{}{inside}{}", "[".repeat(levels), "]".repeat(levels))
}

#[test]
fn the_last_of_duplicate_keys_counts_also_when_written_with_escapes() {
    let [a] = fields(br#"{"a":1,"\u0061":"two"}"#, &["a"]).unwrap();
    assert!(a.unwrap().is_str("two"));
}

#[test]
fn python_s_numbers_are_accepted_anywhere() {
    for text in ["NaN", "Infinity", "-Infinity", "[NaN,{\"a\":-Infinity}]", "1e999", "-0", "1E+5"] {
        assert!(value(text).is_some(), "{text}");
    }
    for text in ["nan", "-NaN", "+1", "01", "1.", ".5", "1e", "Infinit", "-", "0x1", ""] {
        assert!(value(text).is_none(), "{text}");
    }
}

#[test]
fn integers_of_any_size_are_valid_up_to_4300_digits() {
    assert_eq!(value(&"1".repeat(4300)).unwrap().to_int().unwrap().len(), 4300);
    assert_eq!(value(&"1".repeat(4301)), None);
    assert_eq!(value(&format!("-{}.5", "1".repeat(4301))), None);
}

#[test]
fn nesting_of_200_is_accepted_and_201_is_not() {
    // The outer object counts as one level; an empty container does not count.
    assert!(value(&nested(199, "1")).is_some());
    assert!(value(&nested(200, "")).is_some());
    assert!(value(&nested(200, "1")).is_none());
    assert!(value(&nested(201, "")).is_none());
    assert!(value(&nested(100_000, "")).is_none());
}

#[test]
fn lone_surrogates_and_broken_escapes_are_refused() {
    assert_eq!(value(r#""\ud83d\ude00 \u00e9\n\/""#).unwrap().text().unwrap().decode(), "\u{1F600} é\n/");
    for text in [r#""\ud83d""#, r#""\ude00\ud83d""#, r#""\ud83dx""#, r#""\ud83d\u0041""#, r#""\u12""#, r#""\x""#] {
        assert!(value(text).is_none(), "{text}");
    }
    assert!(fields(b"{\"x\":\"\xff\"}", &["x"]).is_err());
    assert!(fields(b"{\"x\":\"\x01\"}", &["x"]).is_err());
}

#[test]
fn only_one_whole_object_is_a_message() {
    for text in
        ["", " ", "null", "[]", "[{}]", "{} x", "{}\0", "\u{feff}{}", "{", "{\"a\"", "{\"a\":1,}", "{,}", "{1:2}"]
    {
        assert!(fields(text.as_bytes(), &["a"]).is_err(), "{text}");
    }
    assert_eq!(fields(b" \r\n\t{ } \n", &["a"]), Ok([None]));
}

#[test]
fn int_fields_are_as_lax_as_pydantic() {
    for (text, int) in [
        ("5", "5"),
        ("5.0", "5"),
        ("\"5\"", "5"),
        ("\"5.0\"", "5"),
        ("\" 5 \"", "5"),
        ("\"1_000\"", "1000"),
        ("true", "1"),
        ("false", "0"),
        ("-0", "0"),
        ("\"-00\"", "0"),
        ("\"+5\"", "5"),
        ("\"007\"", "7"),
        ("1e3", "1000"),
        ("\"\\u00a05\"", "5"),
        ("9.2e18", "9200000000000000000"),
        ("18446744073709551616", "18446744073709551616"),
    ] {
        assert_eq!(value(text).unwrap().to_int().as_deref(), Some(int), "{text}");
        assert!(value(text).unwrap().is_int());
    }
    for text in [
        "5.5", "null", "[5]", "{}", "NaN", "1e400", "1e20", "\"5.\"", "\"\"", "\"0x1\"", "\"1e3\"", "\"_1\"",
        "\"1__0\"", "\"٥\"",
    ] {
        assert!(!value(text).unwrap().is_int(), "{text}");
    }
}

#[test]
fn floats_and_literals_are_as_lax_as_pydantic() {
    assert_eq!(value("5").unwrap().to_float(), Some(5.0));
    assert_eq!(value("\"1_0.5e1\"").unwrap().to_float(), Some(105.0));
    assert_eq!(value("true").unwrap().to_float(), Some(1.0));
    assert_eq!(value("\"x\"").unwrap().to_float(), None);
    for text in ["1", "1.0", "true"] {
        assert!(value(text).unwrap().is_number(1), "{text}");
    }
    for text in ["\"1\"", "2", "null", "NaN"] {
        assert!(!value(text).unwrap().is_number(1), "{text}");
    }
}

#[test]
fn arrays_and_objects_can_be_looked_into() {
    let list = value("[1, \"2\", [3], {}]").unwrap();
    assert_eq!(list.items().unwrap().len(), 4);
    assert!(!list.is_array_of(Value::is_int));
    assert!(value("[ ]").unwrap().is_array_of(Value::is_int));
    let entries = value("{\"a\": 1, \"b\": null}").unwrap().entries().unwrap();
    assert!(entries[1].0.is("b") && entries[1].1 == Value::Null);
}

/// Whether pydantic parses this text as an object: its way through jiter is another than ours.
fn is_object_to_pydantic(text: &str) -> bool {
    matches!(JsonValue::parse(text.as_bytes(), true), Ok(JsonValue::Object(_)))
}

#[test]
fn levels_of_nesting_are_counted_as_pydantic_counts_them() {
    let mut accepted = 0;
    for levels in 195..205 {
        for inside in ["", "1", "[]", "{}", "[1]", "{\"a\":1}"] {
            let inside_objects = if inside.is_empty() { "1" } else { inside };
            let objects = format!("{}{inside_objects}{}", "{\"a\":".repeat(levels), "}".repeat(levels));
            for nested in [nested(levels, inside), objects] {
                let text = format!("{{\"b\":[[]],\"x\":{nested}}}");
                assert_eq!(fields(text.as_bytes(), &["x"]).is_ok(), is_object_to_pydantic(&text), "{text}");
                accepted += usize::from(is_object_to_pydantic(&text));
            }
        }
    }
    assert!((10..110).contains(&accepted), "both sides of the limit were tried: {accepted}");
}

proptest! {
    #[test]
    fn any_text_is_accepted_if_pydantic_accepts_it(
        text in r#"[ \n]?\{("(a|\\u0061|\\ud800)" ?: ?(-?[0-9]{1,3}(\.[0-9]{0,2})?([eE][+-]?[0-9]{0,2})?|"(\\u[d0][89c]00|\\[n/x"]|[a-c\\é\x01]){0,3}"|\[[0-9, ]{0,4}\]|\{"a":[1,]\}|NaN|-?Infinity|nul{1,2}|true)[, ]?){1,3}\}? ?"#,
    ) {
        prop_assert_eq!(fields(text.as_bytes(), &["a"]).is_ok(), is_object_to_pydantic(&text), "{}", text);
    }
}

#[derive(serde::Deserialize)]
struct Golden {
    written: Vec<(String, String)>,
    floats: Vec<(String, Option<String>)>,
}

/// The result of pydantic 2.14.3 for the values, written by `fixtures/golden.py`.
fn golden() -> Golden {
    serde_json::from_str(include_str!("../../fixtures/golden.json")).unwrap()
}

fn rewritten(document: &str) -> String {
    let mut out = b"{".to_vec();
    for (place, (key, value)) in dictionary(document.as_bytes()).unwrap().into_iter().enumerate() {
        out.extend_from_slice(if place == 0 { b"" } else { b"," });
        write_str(&key, &mut out);
        out.push(b':');
        value.write(&mut out);
    }
    out.push(b'}');
    String::from_utf8(out).unwrap()
}

#[test]
fn every_object_is_written_as_the_reference_writes_it() {
    let golden = golden().written;
    assert!(golden.len() > 500, "the table is there");
    for (document, written) in golden {
        assert_eq!(rewritten(&document), written, "{document}");
        // A nested value takes the other path through the writer.
        let mut out = Vec::new();
        value(&document).unwrap().write(&mut out);
        assert_eq!(String::from_utf8(out).unwrap(), written, "{document}");
    }
}

#[test]
fn float_fields_take_what_the_reference_takes() {
    let golden = golden().floats;
    assert!(golden.len() > 500, "the table is there");
    let mut wrong = Vec::new();
    for (text, written) in golden {
        let ours = value(&text).and_then(Value::to_float).map(|float| {
            let mut out = Vec::new();
            write_float(float, &mut out);
            String::from_utf8(out).unwrap()
        });
        if ours != written {
            wrong.push(format!("{ours:?} instead of {written:?}: {text}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn many_levels_and_many_doubled_keys_are_written_in_one_pass() {
    let deep = nested(199, "1");
    assert_eq!(rewritten(&format!("{{\"x\":{deep}}}")), format!("{{\"x\":{deep}}}"));
    let fields: Vec<String> = (0..100_000).map(|n| format!("\"k{}\":{n}", n % 10)).collect();
    let fields = format!("{{{}}}", fields.join(","));
    let last: Vec<String> = (99_990..100_000).map(|n| format!("\"k{}\":{n}", n % 10)).collect();
    assert_eq!(rewritten(&format!("{{\"x\":{fields}}}")), format!("{{\"x\":{{{}}}}}", last.join(",")));
    assert_eq!(rewritten(&fields), format!("{{{}}}", last.join(",")));
}
