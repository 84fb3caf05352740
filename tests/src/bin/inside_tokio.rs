//! A program with a host inside an async runtime, like most programs with tokio.
//!
//! ```text
//! inside_tokio RUNTIME PORT END
//! ```
//!
//! RUNTIME is `multi`, `current` or `none`; END selects how the host ends: see [`end`]. It prints what it has done.

use std::{env, error::Error, net::TcpListener, time::Duration};

use framegate::{
    Host, SwapSpec,
    names::{IngesterName, StreamName},
    settings::{Control, IngesterSettings, Settings, Standalone, StreamSettings},
};
use framegate_tests::played::Played;
use serde_json::json;
use tokio::runtime::Builder;

type Outcome = Result<(), Box<dyn Error>>;

fn main() -> Outcome {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let [runtime, port, how] = arguments.as_slice() else { return Err("inside_tokio RUNTIME PORT END".into()) };
    let port = port.parse()?;
    match runtime.as_str() {
        "multi" => Builder::new_multi_thread().enable_all().build()?.block_on(end(how, port)),
        "current" => Builder::new_current_thread().enable_all().build()?.block_on(end(how, port)),
        _ => without(end(how, port)),
    }
}

/// Starts a host and ends it in the selected way.
async fn end(how: &str, port: u16) -> Outcome {
    let mut settings = settings(port);
    match how {
        "wrong-settings" => settings.source_timeout = Duration::MAX,
        "wrong-parameters" => {
            let values = [("count", "abc"), ("gain", "much"), ("on", "yes"), ("nosuch", "1"), ("text", "2")];
            settings.ingesters[0].streams[0].parameters =
                values.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        }
        "wrong-source" => settings.ingesters[0].streams[0].source = "no-such-source".to_owned(),
        _ => {}
    }
    let host = Host::builder(settings).source::<Played>("played").start()?;
    println!("started");
    let receipt = host.swap("played", &SwapSpec::new("played"))?;
    println!("swap {} is {:?}", receipt.number, receipt.state);
    match how {
        "shutdown" => host.shutdown(),
        "drop" => drop(host),
        "stop" => host.shutdown_async().await,
        "early-return" => Err("the real error")?,
        "unwind" => panic!("the real panic"),
        _ => return Err(format!("{how}?").into()),
    }
    TcpListener::bind(("0.0.0.0", port))?;
    println!("stopped, and the port is free");
    Ok(())
}

/// Polls a future without any runtime.
fn without(future: impl Future<Output = Outcome>) -> Outcome {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = std::sync::Arc::new(Unpark(std::thread::current())).into();
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut std::task::Context::from_waker(&waker)) {
            std::task::Poll::Ready(outcome) => return outcome,
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}

fn settings(port: u16) -> Settings {
    let name = "played";
    let stream = StreamSettings::new(StreamName::new(name).expect("a good name"), name, json!({}));
    let name = IngesterName::new(name).expect("a good name");
    let ingester = IngesterSettings::new(name, "127.0.0.1", port, vec![stream]);
    Settings::new(Control::Standalone(Standalone::default()), vec![ingester])
}
