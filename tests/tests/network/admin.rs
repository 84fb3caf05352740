//! The admin endpoint, used from another machine.

use std::{fs, net::SocketAddr};

use framegate_tests::{
    framegate,
    host::Host,
    network::{HERE, Network, between},
    process::free_port,
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A program with an admin endpoint open to the network.
fn start(more: &str) -> (Host, SocketAddr, TempDir) {
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
    let file = folder.path().join("framegate.toml");
    let configuration = format!(
        "admin = \"0.0.0.0:{port}\"\n{more}\n[standalone]\n[[ingester]]\nurl = \"tcp://127.0.0.1:{}\"\n[[ingester.stream]]\n\
         name = \"camera\"\nsource = {:?}\nsettings.upstream_url = \"tcp://127.0.0.1:1\"\n",
        free_port(),
        framegate::plugin("stins")
    );
    fs::write(&file, configuration).unwrap();
    let mut command = framegate::command();
    command.args(["run", "--config"]).arg(file);
    let mut host = Host::with(&mut command, folder.path(), ([127, 0, 0, 1], port).into());
    host.wait_for("the start", |ingester| ingester["state"].is_string());
    (host, (HERE, port).into(), folder)
}

/// Requests a swap from the other machine; returns the status code.
fn swap_from_far(network: &Network, admin: SocketAddr) -> u16 {
    let request = json!({ "stream": "camera", "source": framegate::plugin("stins") });
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    network.far(|| agent.post(format!("http://{admin}/swaps")).send_json(request).unwrap().status().as_u16())
}

fn swaps(host: &Host) -> usize {
    serde_json::from_str::<Value>(&host.get("/swaps").unwrap()).unwrap().as_array().unwrap().len()
}

#[test]
fn a_swap_from_another_machine_is_refused_unless_the_settings_allow_it() {
    between(|network| {
        let (host, admin, _folder) = start("");
        assert_eq!((swap_from_far(network, admin), swaps(&host)), (403, 0));
        let status = network.far(|| ureq::get(format!("http://{admin}/status")).call().unwrap().status().as_u16());
        assert_eq!(status, 200);
        let (host, admin, _folder) = start("admin_swap = \"anywhere\"");
        assert_eq!((swap_from_far(network, admin), swaps(&host)), (202, 1));
    });
}
