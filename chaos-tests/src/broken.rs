//! Models that do not work: each fails in the way its first word says.
//!
//! - `exit`: says why and ends before it listens.
//! - `hang`: says what it does and never listens.
//! - `garbage`: listens, and answers every request with bytes that are no HTTP.

use std::{
    io::{self, Read, Write},
    net::TcpListener,
    process::ExitCode,
};

/// What `garbage` answers.
const GARBAGE: &[u8] = b"\x00\xffthis is no answer\r\n\r\n\r\n";
/// What `exit` exits with.
pub const EXIT: u8 = 3;

/// Fails as the word after the program's first says.
pub fn main() -> ExitCode {
    let how = std::env::args().nth(2).unwrap_or_default();
    // Nothing can be done about a log that is gone.
    let _ = writeln!(io::stderr(), "{how}: the weights are not what they should be");
    match how.as_str() {
        "hang" => loop {
            std::thread::park();
        },
        "garbage" => match babble() {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        _ => ExitCode::from(EXIT),
    }
}

fn babble() -> io::Result<()> {
    let port = std::env::var("PORT").ok().and_then(|port| port.parse::<u16>().ok());
    let listener = TcpListener::bind(("127.0.0.1", port.ok_or(io::ErrorKind::InvalidInput)?))?;
    for stream in listener.incoming() {
        let mut stream = stream?;
        let mut request = [0; 1_024];
        // A probe connects and says nothing; only a request is answered.
        if matches!(stream.read(&mut request), Ok(read) if read > 0) {
            let _ = stream.write_all(GARBAGE);
        }
    }
    Ok(())
}
