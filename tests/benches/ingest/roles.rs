//! The processes of a run that are this program: the ends, the relays, and a host with a linked source.

use std::{fs, thread};

use anyhow::bail;
use framegate::{Host, settings::Settings};
use framegate_stins::Stins;
use framegate_tests::bench::ends;
use serde::{Deserialize, Serialize};

use crate::{one_thread, raw, relay};

/// Runs the role in the arguments.
pub(crate) fn run(args: &[String]) -> anyhow::Result<()> {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["generate", load] => ends::generate(load),
        ["receive", work] => ends::receive(work),
        ["relay", plan] => {
            let plan: Forwarding = serde_json::from_str(plan)?;
            let upstreams: Vec<_> = plan.upstreams.iter().map(String::as_str).collect();
            relay::run(zmq::PULL, &upstreams, &plan.port.to_string(), plan.workers, plan.broadcast)
        }
        ["one-thread", plan] => one_thread::run(&serde_json::from_str(plan)?),
        ["raw", plan] => raw::run(&serde_json::from_str(plan)?),
        ["host", configuration] => host(configuration),
        _ => bail!("unknown role {args:?}"),
    }
}

/// The configuration of a relay.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Forwarding {
    pub(crate) upstreams: Vec<String>,
    pub(crate) port: u16,
    pub(crate) workers: usize,
    pub(crate) broadcast: bool,
}

/// A program that embeds a host, as the command does, with a linked STINS source.
fn host(configuration: &str) -> anyhow::Result<()> {
    framegate::allocator::keep_large_buffers();
    let settings = Settings::from_toml(&fs::read_to_string(configuration)?)?;
    let _host = Host::builder(settings).source::<Stins>(LINKED).start()?;
    // The benchmark ends this process after the run.
    loop {
        thread::park();
    }
}

/// The name of the linked source in the configuration.
pub(crate) const LINKED: &str = "linked-stins";
