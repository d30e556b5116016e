//! Messages between a program and a process that works for it: a number, a length and so many bytes.

use std::io::{self, Read, Write};

/// Longest message that is read, in bytes.
const MAX_LENGTH: u64 = 1 << 30;

/// Writes one message, whose parts follow each other.
pub fn write_frame(to: &mut impl Write, number: u64, parts: &[&[u8]]) -> io::Result<()> {
    let length = parts.iter().map(|part| part.len() as u64).sum::<u64>();
    to.write_all(&number.to_le_bytes())?;
    to.write_all(&length.to_le_bytes())?;
    parts.iter().try_for_each(|part| to.write_all(part))?;
    to.flush()
}

/// Reads the next message; `None` at the end.
pub fn read_frame(from: &mut impl Read) -> io::Result<Option<(u64, Vec<u8>)>> {
    let mut head = [0; 16];
    match from.read_exact(&mut head) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let half = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| head[at + byte]));
    let (number, length) = (half(0), half(8));
    if length > MAX_LENGTH {
        return Err(io::Error::other(format!("a message of {length} bytes")));
    }
    // As long as it really is, and not as it says: memory is taken as bytes arrive.
    let mut message = Vec::new();
    from.take(length).read_to_end(&mut message)?;
    if (message.len() as u64) < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some((number, message)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_as_they_were_sent() {
        let mut wire = Vec::new();
        write_frame(&mut wire, 7, &[b"hel", b"", b"lo"]).unwrap();
        let mut from = &wire[..];
        assert_eq!(read_frame(&mut from).unwrap(), Some((7, b"hello".to_vec())));
        assert_eq!(read_frame(&mut from).unwrap(), None);
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let mut head = 1u64.to_le_bytes().to_vec();
        head.extend(u64::MAX.to_le_bytes());
        assert!(read_frame(&mut &head[..]).is_err());
        let mut short = Vec::new();
        write_frame(&mut short, 1, &[b"hello"]).unwrap();
        assert!(read_frame(&mut &short[..18]).is_err());
        assert_eq!(read_frame(&mut &short[..9]).unwrap(), None);
    }
}
