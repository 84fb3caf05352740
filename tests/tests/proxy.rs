//! The proxy must cause the requested faults, or tests that use it test nothing.

#![forbid(unsafe_code)]

use std::{
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    time::{Duration, Instant},
};

use framegate_tests::{process::wait_for, proxy::Proxy};

const LIMIT: Duration = Duration::from_secs(10);

/// A connection through a proxy; both ends.
fn connect() -> (Proxy, TcpListener, TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let proxy = Proxy::to(listener.local_addr().expect("it is bound").port());
    let client = TcpStream::connect(("127.0.0.1", proxy.port())).expect("the proxy listens");
    let (server, _) = listener.accept().expect("the proxy connects");
    for side in [&client, &server] {
        side.set_read_timeout(Some(LIMIT)).expect("a socket has time-outs");
    }
    (proxy, listener, client, server)
}

fn pass(from: &mut TcpStream, to: &mut TcpStream) -> Duration {
    let start = Instant::now();
    from.write_all(b"hello").expect("there is room");
    let mut buffer = [0; 5];
    to.read_exact(&mut buffer).expect("it comes through");
    assert_eq!(&buffer, b"hello");
    start.elapsed()
}

#[test]
fn bytes_and_ends_come_through_in_both_directions() {
    let (proxy, _listener, mut client, mut server) = connect();
    pass(&mut client, &mut server);
    pass(&mut server, &mut client);
    let mass = vec![7; 8 << 20];
    let sent = mass.clone();
    let sending = std::thread::spawn(move || client.write_all(&sent));
    let mut received = Vec::new();
    server.read_to_end(&mut received).expect("it ends");
    sending.join().expect("no panic").expect("all is sent");
    assert!(received == mass);
    drop(server);
    wait_for("the connection to be over", LIMIT, || (proxy.connections() == 0).then_some(()));
}

#[test]
fn a_delay_counts_each_way() {
    let (proxy, _listener, mut client, mut server) = connect();
    proxy.delay(Duration::from_millis(60));
    assert!(pass(&mut client, &mut server) >= Duration::from_millis(60));
    assert!(pass(&mut server, &mut client) >= Duration::from_millis(60));
}

#[test]
fn what_is_held_passes_neither_bytes_nor_the_news_of_an_end_until_it_is_released() {
    let (proxy, listener, mut client, mut server) = connect();
    proxy.hold();
    client.write_all(b"hello").expect("there is room");
    drop(client);
    // New connections are served. 100 exchanges also give the held bytes time to arrive.
    let mut other = TcpStream::connect(("127.0.0.1", proxy.port())).expect("the proxy listens");
    let (mut other_server, _) = listener.accept().expect("the proxy connects");
    for _ in 0..100 {
        pass(&mut other, &mut other_server);
        pass(&mut other_server, &mut other);
    }
    server.set_nonblocking(true).expect("a socket can be told not to wait");
    let silence = server.read(&mut [0; 5]).expect_err("nothing has come");
    assert_eq!(silence.kind(), ErrorKind::WouldBlock);
    server.set_nonblocking(false).expect("a socket can be told to wait");
    proxy.release();
    let mut rest = Vec::new();
    server.read_to_end(&mut rest).expect("bytes and end come after all");
    assert_eq!(rest, b"hello");
}

#[test]
fn a_cut_is_a_reset_for_both_sides() {
    let (proxy, _listener, mut client, mut server) = connect();
    proxy.cut();
    for side in [&mut client, &mut server] {
        assert_eq!(side.read(&mut [0]).expect_err("it is reset").kind(), ErrorKind::ConnectionReset);
    }
}

#[test]
fn a_slow_network_holds_back_whoever_sends() {
    let (proxy, _listener, mut client, _server) = connect();
    proxy.rate(Some(1000));
    // A time-out, because nothing reports that no more bytes will pass. Without the rate limit everything would pass in
    // less time.
    client.set_write_timeout(Some(Duration::from_millis(200))).expect("a socket has time-outs");
    let all = client.write_all(&vec![0; 64 << 20]).expect_err("64 MiB do not fit into what is under way");
    assert_eq!(all.kind(), ErrorKind::WouldBlock);
}
