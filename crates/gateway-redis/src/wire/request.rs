//! What a client says: commands, each a list of words, read from bytes that come in any pieces.
//!
//! The reader keeps what it has read of an unfinished command, so no byte is looked at twice, and it keeps nothing that
//! its limits do not allow. An error is final: what follows cannot be told apart from data, and the connection ends
//! after the error has been said, as Redis does it. Every text is Redis's own, `networking.c` of 7.0.

use bytes::{Buf, Bytes, BytesMut};

use crate::wire::number;

/// Bytes of a line: a count, a length, or an inline command (Redis's `PROTO_INLINE_MAX_SIZE`).
pub const MAX_LINE_BYTES: usize = 64 * 1024;
/// Words of one command. Redis has 2^31 - 1; of so many no memory could hold the places.
pub const MAX_WORDS: i64 = 1024 * 1024;
/// Bytes of all words of one command, and what it costs to hold a word: a multiple of the largest value, so that `MSET` and
/// `HSET` of many pass, and little enough that ten thousand clients that send no end do not fill a node's memory.
pub const MAX_COMMAND_BYTES: usize = 16 * 1024 * 1024;
/// Words of a command whose sender has not authenticated, where that is asked (Redis's own).
pub const MAX_UNAUTHENTICATED_WORDS: i64 = 10;
/// Bytes of one word of such a command (Redis's own).
pub const MAX_UNAUTHENTICATED_BULK_BYTES: i64 = 16 * 1024;
/// A shorter word is copied out of the read buffer. A slice would keep the whole buffer for as long as the word lives, and
/// a key of ten bytes may live long.
const SHARE_FROM_BYTES: usize = 4 * 1024;

/// What a client may send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes of one word, Redis's `proto-max-bulk-len`.
    pub max_bulk_bytes: usize,
    /// Whether the sender is known; the limits of strangers are narrow.
    pub sender: Sender,
}

/// Whether somebody who must authenticate has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sender {
    /// It has, or need not.
    Known,
    /// Not yet.
    Stranger,
}

/// Why a client's bytes are no commands. The text is what the client is told, after `-ERR `.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProtocolError {
    /// A line without an end.
    #[error("Protocol error: too big inline request")]
    InlineTooLong,
    /// A count without an end.
    #[error("Protocol error: too big mbulk count string")]
    CountTooLong,
    /// A length without an end.
    #[error("Protocol error: too big bulk count string")]
    LengthTooLong,
    /// A count that is none or too great.
    #[error("Protocol error: invalid multibulk length")]
    InvalidCount,
    /// Too many words of a stranger.
    #[error("Protocol error: unauthenticated multibulk length")]
    StrangersCount,
    /// A word does not begin with its length.
    #[error("Protocol error: expected '$', got '{0}'")]
    ExpectedLength(char),
    /// A length that is none or too great.
    #[error("Protocol error: invalid bulk length")]
    InvalidLength,
    /// Too long a word of a stranger.
    #[error("Protocol error: unauthenticated bulk length")]
    StrangersLength,
    /// An inline command whose quotes do not close.
    #[error("Protocol error: unbalanced quotes in request")]
    UnbalancedQuotes,
    /// More than [`MAX_COMMAND_BYTES`] in one command (Redis closes without a word when `client-query-buffer-limit` is passed).
    #[error("Protocol error: the command has more than {MAX_COMMAND_BYTES} bytes")]
    CommandTooLarge,
}

/// One command: its name and what follows. Never empty.
pub type Words = Vec<Bytes>;

/// The reader of one connection.
#[derive(Debug, Default)]
pub struct Reader {
    state: State,
    /// How far the first line of the buffer has been searched for its end.
    searched: usize,
}

#[derive(Debug, Default)]
enum State {
    /// Between commands.
    #[default]
    Start,
    /// In a command whose words come with their lengths.
    Words { remaining: i64, words: Words, bytes: usize, length: Option<usize> },
}

impl Reader {
    /// Takes one command off `buffer`, if all of it is there. Call again until it gives `None`, then add to `buffer`.
    ///
    /// # Errors
    /// If the bytes are no command; the reader must not be used after that.
    pub fn next(&mut self, buffer: &mut BytesMut, limits: Limits) -> Result<Option<Words>, ProtocolError> {
        loop {
            match &mut self.state {
                State::Start => match buffer.first() {
                    None => return Ok(None),
                    Some(b'*') => {
                        let Some(line) = self.line(buffer, ProtocolError::CountTooLong)? else { return Ok(None) };
                        let remaining = count(&line[1..], limits.sender)?;
                        if remaining > 0 {
                            self.state = State::Words { remaining, words: Vec::new(), bytes: 0, length: None };
                        }
                    }
                    Some(_) => {
                        let Some(line) = self.line(buffer, ProtocolError::InlineTooLong)? else { return Ok(None) };
                        let words = split_words(&line).ok_or(ProtocolError::UnbalancedQuotes)?;
                        if !words.is_empty() {
                            return Ok(Some(words));
                        }
                    }
                },
                State::Words { .. } => return self.words(buffer, limits),
            }
        }
    }

    /// Goes on with a command whose words come with their lengths.
    fn words(&mut self, buffer: &mut BytesMut, limits: Limits) -> Result<Option<Words>, ProtocolError> {
        loop {
            let State::Words { length, .. } = &self.state else { return Ok(None) };
            let wanted = match *length {
                Some(wanted) => wanted,
                None => match self.length(buffer, limits)? {
                    Some(wanted) => wanted,
                    None => return Ok(None),
                },
            };
            let State::Words { remaining, words, bytes, length } = &mut self.state else { return Ok(None) };
            *length = Some(wanted);
            if buffer.len() < wanted + 2 {
                return Ok(None);
            }
            *bytes += wanted + size_of::<Bytes>();
            if *bytes > MAX_COMMAND_BYTES {
                return Err(ProtocolError::CommandTooLarge);
            }
            words.push(take(buffer, wanted));
            // Redis does not look at what ends a word either.
            buffer.advance(2);
            *length = None;
            *remaining -= 1;
            if *remaining == 0 {
                let words = std::mem::take(words);
                self.state = State::Start;
                return Ok(Some(words));
            }
        }
    }

    /// The length of the next word, if its line is there.
    fn length(&mut self, buffer: &mut BytesMut, limits: Limits) -> Result<Option<usize>, ProtocolError> {
        match buffer.first() {
            None => return Ok(None),
            Some(b'$') => {}
            Some(&other) => return Err(ProtocolError::ExpectedLength(printable(other))),
        }
        let Some(line) = self.line(buffer, ProtocolError::LengthTooLong)? else { return Ok(None) };
        let length = number::integer(&line[1..]).ok_or(ProtocolError::InvalidLength)?;
        match usize::try_from(length) {
            Ok(_) if limits.sender == Sender::Stranger && length > MAX_UNAUTHENTICATED_BULK_BYTES => {
                Err(ProtocolError::StrangersLength)
            }
            Ok(wanted) if wanted <= limits.max_bulk_bytes => {
                // The word may come in many pieces: one allocation for all of them.
                buffer.reserve((wanted + 2).saturating_sub(buffer.len()));
                Ok(Some(wanted))
            }
            Ok(_) | Err(_) => Err(ProtocolError::InvalidLength),
        }
    }

    /// The next line without its end, if that is there.
    fn line(&mut self, buffer: &mut BytesMut, too_long: ProtocolError) -> Result<Option<BytesMut>, ProtocolError> {
        let found = buffer[self.searched..].iter().position(|&byte| byte == b'\n');
        let Some(end) = found.map(|at| self.searched + at) else {
            self.searched = buffer.len();
            return if buffer.len() > MAX_LINE_BYTES { Err(too_long) } else { Ok(None) };
        };
        self.searched = 0;
        if end > MAX_LINE_BYTES {
            return Err(too_long);
        }
        let mut line = buffer.split_to(end);
        buffer.advance(1);
        if line.last() == Some(&b'\r') {
            line.truncate(line.len() - 1);
        }
        Ok(Some(line))
    }
}

fn count(digits: &[u8], sender: Sender) -> Result<i64, ProtocolError> {
    let count = number::integer(digits).ok_or(ProtocolError::InvalidCount)?;
    match sender {
        Sender::Stranger if count > MAX_UNAUTHENTICATED_WORDS => Err(ProtocolError::StrangersCount),
        Sender::Stranger | Sender::Known if count > MAX_WORDS => Err(ProtocolError::InvalidCount),
        Sender::Stranger | Sender::Known => Ok(count),
    }
}

fn printable(byte: u8) -> char {
    if byte.is_ascii_graphic() || byte == b' ' { char::from(byte) } else { '?' }
}

fn take(buffer: &mut BytesMut, length: usize) -> Bytes {
    if length >= SHARE_FROM_BYTES {
        return buffer.split_to(length).freeze();
    }
    let word = Bytes::copy_from_slice(&buffer[..length]);
    buffer.advance(length);
    word
}

/// The words of an inline command; `None` if a quote does not close. Inside double quotes `\n \r \t \b \a`, `\xHH` and any
/// other character after a backslash; inside single quotes `\'` only. A quote that closes ends its word.
fn split_words(line: &[u8]) -> Option<Words> {
    let mut rest = line;
    let mut words = Vec::new();
    loop {
        rest = rest.trim_ascii_start();
        if rest.is_empty() {
            return Some(words);
        }
        let mut word = BytesMut::new();
        rest = next_word(rest, &mut word)?;
        words.push(word.freeze());
    }
}

fn next_word<'a>(mut rest: &'a [u8], word: &mut BytesMut) -> Option<&'a [u8]> {
    while let Some((&byte, after)) = rest.split_first() {
        match byte {
            b'"' => return closed(double_quoted(after, word)?),
            b'\'' => return closed(single_quoted(after, word)?),
            _ if byte.is_ascii_whitespace() || byte == 0 => return Some(after),
            _ => word.extend_from_slice(&[byte]),
        }
        rest = after;
    }
    Some(rest)
}

/// What follows a closing quote must be a space or nothing.
fn closed(rest: &[u8]) -> Option<&[u8]> {
    rest.first().is_none_or(u8::is_ascii_whitespace).then_some(rest)
}

fn double_quoted<'a>(mut rest: &'a [u8], word: &mut BytesMut) -> Option<&'a [u8]> {
    loop {
        let (byte, after) = match rest {
            [b'"', after @ ..] => return Some(after),
            [b'\\', b'x', high, low, after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                (hex(*high) * 16 + hex(*low), after)
            }
            [b'\\', escaped, after @ ..] => (unescaped(*escaped), after),
            [byte, after @ ..] => (*byte, after),
            [] => return None,
        };
        word.extend_from_slice(&[byte]);
        rest = after;
    }
}

fn single_quoted<'a>(mut rest: &'a [u8], word: &mut BytesMut) -> Option<&'a [u8]> {
    loop {
        let (byte, after) = match rest {
            [b'\'', after @ ..] => return Some(after),
            [b'\\', b'\'', after @ ..] => (b'\'', after),
            [byte, after @ ..] => (*byte, after),
            [] => return None,
        };
        word.extend_from_slice(&[byte]);
        rest = after;
    }
}

const fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}

const fn unescaped(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'a' => 7,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KNOWN: Limits = Limits { max_bulk_bytes: 1024, sender: Sender::Known };
    const STRANGER: Limits = Limits { max_bulk_bytes: 1 << 20, sender: Sender::Stranger };

    fn read(bytes: &[u8], limits: Limits) -> Result<Vec<Words>, ProtocolError> {
        let (mut reader, mut buffer, mut all) = (Reader::default(), BytesMut::from(bytes), Vec::new());
        while let Some(words) = reader.next(&mut buffer, limits)? {
            all.push(words);
        }
        Ok(all)
    }

    fn words(text: &[&str]) -> Words {
        text.iter().map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
    }

    fn wire(command: &[Vec<u8>]) -> Vec<u8> {
        let mut out = format!("*{}\r\n", command.len()).into_bytes();
        for word in command {
            out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            out.extend_from_slice(word);
            out.extend_from_slice(b"\r\n");
        }
        out
    }

    #[test]
    fn commands_that_came_together_are_taken_one_by_one() {
        let all = read(b"*1\r\n$4\r\nPING\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", KNOWN).unwrap();
        assert_eq!(all, [words(&["PING"]), words(&["GET", "k"])]);
    }

    #[test]
    fn an_empty_count_or_line_is_passed_over() {
        assert_eq!(read(b"*0\r\n*-1\r\n\r\n\n  \r\nPING\r\n", KNOWN).unwrap(), [words(&["PING"])]);
    }

    #[test]
    fn an_inline_command_is_split_as_a_shell_would() {
        let all = read(b"SET k \"a b\\x41\\n\" 'it\\'s'\nGET k\r\n", KNOWN).unwrap();
        assert_eq!(all, [words(&["SET", "k", "a bA\n", "it's"]), words(&["GET", "k"])]);
    }

    #[test]
    fn each_mistake_is_told_in_rediss_words() {
        let long = vec![b'a'; MAX_LINE_BYTES + 1];
        let with = |first: u8| [&[first], &long[..]].concat();
        for (bytes, limits, error) in [
            (b"*x\r\n".to_vec(), KNOWN, ProtocolError::InvalidCount),
            (b"*1048577\r\n".to_vec(), KNOWN, ProtocolError::InvalidCount),
            (b"*99999999999999999999\r\n".to_vec(), KNOWN, ProtocolError::InvalidCount),
            (b"*11\r\n".to_vec(), STRANGER, ProtocolError::StrangersCount),
            (b"*1\r\n:1\r\n".to_vec(), KNOWN, ProtocolError::ExpectedLength(':')),
            (b"*1\r\n$-1\r\n".to_vec(), KNOWN, ProtocolError::InvalidLength),
            (b"*1\r\n$1025\r\n".to_vec(), KNOWN, ProtocolError::InvalidLength),
            (b"*1\r\n$16385\r\n".to_vec(), STRANGER, ProtocolError::StrangersLength),
            (b"a \"b\r\n".to_vec(), KNOWN, ProtocolError::UnbalancedQuotes),
            (b"a \"b\"c\r\n".to_vec(), KNOWN, ProtocolError::UnbalancedQuotes),
            (with(b'*'), KNOWN, ProtocolError::CountTooLong),
            ([b"*1\r\n".to_vec(), with(b'$')].concat(), KNOWN, ProtocolError::LengthTooLong),
            (long.clone(), KNOWN, ProtocolError::InlineTooLong),
        ] {
            assert_eq!(read(&bytes, limits), Err(error));
        }
    }

    #[test]
    fn a_command_of_too_many_bytes_ends_the_connection_before_it_is_held() {
        let limits = Limits { max_bulk_bytes: 1 << 20, sender: Sender::Known };
        let (mut reader, mut buffer) = (Reader::default(), BytesMut::from(&b"*100\r\n"[..]));
        let word = wire(&[vec![b'v'; 1 << 20]])[4..].to_vec();
        let ended = (0..100).find_map(|_| {
            buffer.extend_from_slice(&word);
            reader.next(&mut buffer, limits).err()
        });
        assert_eq!(ended, Some(ProtocolError::CommandTooLarge));
    }

    proptest! {
        #[test]
        fn the_pieces_in_which_bytes_come_do_not_matter(
            commands in proptest::collection::vec(
                proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 1..6), 1..6),
            cuts in proptest::collection::vec(1usize..9, 1..40),
        ) {
            let bytes: Vec<u8> = commands.iter().flat_map(|command| wire(command)).collect();
            let (mut reader, mut buffer, mut all) = (Reader::default(), BytesMut::new(), Vec::new());
            let (mut rest, mut cuts) = (&bytes[..], cuts.iter().cycle());
            while !rest.is_empty() {
                let (piece, after) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
                buffer.extend_from_slice(piece);
                while let Some(words) = reader.next(&mut buffer, KNOWN).unwrap() {
                    all.push(words.iter().map(|word| word.to_vec()).collect::<Vec<_>>());
                }
                rest = after;
            }
            prop_assert_eq!(all, commands);
        }

        #[test]
        fn any_bytes_give_commands_or_one_error(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            if let Ok(all) = read(&bytes, KNOWN) {
                prop_assert!(all.iter().all(|words| !words.is_empty()));
            }
        }

        #[test]
        fn bytes_that_look_like_the_protocol_give_commands_or_one_error(text in "[*$0-9\r\na\"' -]{0,200}") {
            let _ = read(text.as_bytes(), KNOWN);
        }
    }
}
