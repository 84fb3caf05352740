//! Measures how long reading the fields of common headers takes: `cargo run --release -p framegate-source-kit --example
//! classify`

use std::{hint::black_box, time::Instant};

use framegate_source_kit::json::{self, Value};

fn main() {
    let image = r#"{"htype": "image", "frame": 41, "shape": [2, 1475], "type": "float32", "compression": "none", "msg_number": 375}"#;
    let long = format!(
        r#"{{"htype": "image", "frame": 41, "shape": [2], "type": "f", "compression": "none", "x": "{}", "msg_number": 1}}"#,
        "y".repeat(10_000)
    );
    for (name, text) in [("image header", image), ("10 KB header", &long)] {
        const TURNS: u32 = 200_000;
        let began = Instant::now();
        for _ in 0..TURNS {
            let fields = ["msg_number", "htype", "filename", "frame", "shape", "type", "compression"];
            let [number, htype, _, frame, shape, ..] =
                json::fields(black_box(text.as_bytes()), &fields).expect("it is JSON");
            let good = number.is_some_and(Value::is_int)
                && htype.is_some_and(|htype| htype.is_str("image"))
                && frame.is_some_and(Value::is_int)
                && shape.is_some_and(|shape| shape.is_array_of(Value::is_int));
            assert!(black_box(good));
        }
        println!("{name}, {} bytes: {:.0} ns", text.len(), began.elapsed().as_secs_f64() * 1e9 / f64::from(TURNS));
    }
}
