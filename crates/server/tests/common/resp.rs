//! A client of Redis, as small as can be: what it asks and reads is plain to see.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// What a server says: enough of RESP2 for these tests.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Said {
    Status(String),
    Error(String),
    Number(i64),
    Text(Option<String>),
    List(Vec<Self>),
}

/// A connection.
pub struct Client(BufReader<TcpStream>);

impl Client {
    pub fn connect(address: &str) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Sends a command and waits for the answer.
    pub fn ask(&mut self, words: &[&str]) -> std::io::Result<Said> {
        let mut bytes = format!("*{}\r\n", words.len());
        words.iter().for_each(|word| bytes.push_str(&format!("${}\r\n{word}\r\n", word.len())));
        self.0.get_mut().write_all(bytes.as_bytes())?;
        self.read()
    }

    fn read(&mut self) -> std::io::Result<Said> {
        let mut line = String::new();
        if self.0.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let (kind, rest) = (line.as_bytes()[0], line[1..].trim_end());
        let number = || rest.parse::<i64>().unwrap();
        Ok(match kind {
            b'+' => Said::Status(rest.to_owned()),
            b'-' => Said::Error(rest.to_owned()),
            b':' => Said::Number(number()),
            b'$' if number() < 0 => Said::Text(None),
            b'$' => {
                let mut text = vec![0; usize::try_from(number()).unwrap() + 2];
                self.0.read_exact(&mut text)?;
                text.truncate(text.len() - 2);
                Said::Text(Some(String::from_utf8(text).unwrap()))
            }
            b'*' => Said::List((0..number()).map(|_| self.read()).collect::<Result<_, _>>()?),
            other => panic!("no RESP2: {other}"),
        })
    }
}

/// Asks until the answer is as wanted.
pub fn until_said(port: &str, words: &[&str], wanted: &Said) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let said = Client::connect(port).and_then(|mut client| client.ask(words));
        if said.as_ref().is_ok_and(|said| said == wanted) {
            return;
        }
        assert!(Instant::now() < deadline, "{words:?} at {port}: {said:?} instead of {wanted:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
