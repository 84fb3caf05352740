use std::{
    io::{Read as _, Write as _},
    net::{TcpListener as Listener, TcpStream as Client},
};

use axum::{Extension, routing::get};
use tokio::runtime::Runtime;

use super::*;

/// A server on some ports, which answers with the client's address.
fn start<const PORTS: usize>(
    connections: usize,
    end_oldest: bool,
    life: Option<Duration>,
) -> (Runtime, [SocketAddr; PORTS]) {
    let listeners = std::array::from_fn::<_, PORTS, _>(|_| Listener::bind("127.0.0.1:0").unwrap());
    let addresses = listeners.each_ref().map(|listener| listener.local_addr().unwrap());
    let router = Router::new().route("/", get(async |Extension(peer): Extension<SocketAddr>| peer.to_string()));
    let runtime = Runtime::new().unwrap();
    let entered = runtime.enter();
    let limits = Limits { connections, end_oldest, idle: Duration::from_secs(3600), life };
    runtime.spawn(serve(listeners, router, limits).unwrap());
    drop(entered);
    (runtime, addresses)
}

fn connect(address: SocketAddr) -> Client {
    let client = Client::connect(address).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    client
}

/// Sends a request; whether it is answered.
fn ask(client: &mut Client) -> bool {
    let mut answer = [0; 1024];
    let asked = client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    let bytes = asked.and_then(|()| client.read(&mut answer)).unwrap_or(0);
    answer[..bytes].ends_with(client.local_addr().unwrap().to_string().as_bytes())
}

/// Waits until the server has ended the connection.
fn is_ended(client: &mut Client) -> bool {
    client.read(&mut [0]).is_ok_and(|bytes| bytes == 0)
}

#[test]
fn when_all_places_are_taken_the_oldest_connection_ends_and_no_other() {
    let (_runtime, [address]) = start(3, true, None);
    let mut clients: [Client; 4] = std::array::from_fn(|_| {
        let mut client = connect(address);
        assert!(ask(&mut client));
        client
    });
    assert!(is_ended(&mut clients[0]) && clients[1..].iter_mut().all(ask));
}

#[test]
fn a_silent_client_is_ended_and_gives_its_place_back() {
    let (_runtime, [address]) = start(2, false, Some(Duration::from_secs(1)));
    let [mut silent, mut busy, mut waits] = std::array::from_fn(|_| connect(address));
    // A client that is not silent is ended, too.
    while ask(&mut busy) {}
    assert!(is_ended(&mut silent) && ask(&mut waits));
}

#[test]
fn one_place_is_for_all_listeners_and_none_of_them_keeps_it() {
    let (_runtime, [one, other]) = start(1, false, None);
    for address in [one, other, other, one] {
        let mut first = connect(address);
        assert!(ask(&mut first));
        let mut second = connect(one);
        drop(first);
        assert!(ask(&mut second));
    }
}
