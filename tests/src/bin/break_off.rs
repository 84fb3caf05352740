//! A detector that dies in the middle of a message, or falls silent: sends the contents of two files to its peer, and
//! nothing more.
//!
//! ```text
//! break_off listen ADDRESS FIRST BYTES SECOND     sends to every client
//! break_off connect ADDRESS FIRST BYTES SECOND    sends to the server
//! ```
//!
//! Between the files it waits until it has received BYTES bytes. It keeps its connections until it is killed.

use std::{
    env, fs,
    io::{self, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    thread,
};

fn main() -> io::Result<()> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let wrong = || io::Error::from(io::ErrorKind::InvalidInput);
    let [how, address, first, bytes, second] = arguments.as_slice() else { return Err(wrong()) };
    let mut heard = vec![0; bytes.parse().map_err(|_| wrong())?];
    let (first, second) = (fs::read(first)?, fs::read(second)?);
    let mut say = |mut stream: TcpStream| {
        stream.write_all(&first)?;
        stream.read_exact(&mut heard)?;
        stream.write_all(&second)?;
        io::Result::Ok(stream)
    };
    let mut all = Vec::new();
    if how == "listen" {
        // A peer that has disconnected needs no more.
        TcpListener::bind(address)?.incoming().flatten().for_each(|stream| all.extend(say(stream)));
    } else {
        all.push(say(TcpStream::connect(address)?)?);
    }
    loop {
        thread::park();
    }
}
