//! Messages between a program and the process that runs its model: a number, a length and so many
//! bytes.

use std::io::{self, Read, Write};

use super::super::Outputs;

/// Longest message that is read, in bytes.
const MAX_LENGTH: u64 = 1 << 30;
/// What an answer about images begins with.
const FAILED: u8 = 0;
const PROBABILITIES: u8 = 1;
const LOGITS_TOO: u8 = 2;

/// Writes one message.
pub fn write_frame(to: &mut impl Write, number: u64, message: &[u8]) -> io::Result<()> {
    write_head(to, number, message.len())?;
    to.write_all(message)?;
    to.flush()
}

fn write_head(to: &mut impl Write, number: u64, length: usize) -> io::Result<()> {
    to.write_all(&number.to_le_bytes())?;
    to.write_all(&(length as u64).to_le_bytes())
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

/// Asks about images, which are all of one size.
pub fn write_images(to: &mut impl Write, number: u64, images: &[Vec<u8>]) -> io::Result<()> {
    write_head(to, number, 4 + images.iter().map(Vec::len).sum::<usize>())?;
    to.write_all(&(images.len() as u32).to_le_bytes())?;
    images.iter().try_for_each(|image| to.write_all(image))?;
    to.flush()
}

/// The images that are asked about.
pub fn read_images(message: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (count, bytes) = message.split_first_chunk()?;
    let count = u32::from_le_bytes(*count) as usize;
    let length = bytes.len().checked_div(count)?;
    if length == 0 || length * count != bytes.len() {
        return None;
    }
    Some(bytes.chunks(length).map(<[u8]>::to_vec).collect())
}

/// An answer about images.
pub fn outputs_message(outputs: &Result<Outputs, String>) -> Vec<u8> {
    let outputs = match outputs {
        Err(reason) => return [&[FAILED], reason.as_bytes()].concat(),
        Ok(outputs) => outputs,
    };
    let mut message = vec![if outputs.logits.is_some() { LOGITS_TOO } else { PROBABILITIES }];
    for rows in [Some(&outputs.probabilities), outputs.logits.as_ref()].into_iter().flatten() {
        message.extend(rows.iter().flatten().flat_map(|value| value.to_le_bytes()));
    }
    message
}

/// What an answer says about so many images.
///
/// # Errors
/// The sentence in it, or one that says it is not an answer to that.
pub fn read_outputs(message: &[u8], images: usize, classes: usize) -> Result<Outputs, String> {
    let not_one = || "the process that runs it gave an answer that is none".to_string();
    let (kind, rest) = message.split_first().ok_or_else(not_one)?;
    if *kind == FAILED {
        return Err(String::from_utf8_lossy(rest).into_owned());
    }
    let (values, more) = rest.as_chunks::<4>();
    let tables = if *kind == LOGITS_TOO { 2 } else { 1 };
    if !more.is_empty() || classes == 0 || values.len() != tables * images * classes {
        return Err(not_one());
    }
    let mut rows = values
        .chunks(classes)
        .map(|row| row.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect::<Vec<f32>>());
    let probabilities = rows.by_ref().take(images).collect();
    let logits = (tables == 2).then(|| rows.collect());
    Ok(Outputs { logits, probabilities })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_as_they_were_sent() {
        let mut wire = Vec::new();
        write_frame(&mut wire, 7, b"hello").unwrap();
        write_images(&mut wire, 8, &[vec![1, 2, 3], vec![4, 5, 6]]).unwrap();
        let mut from = &wire[..];
        assert_eq!(read_frame(&mut from).unwrap(), Some((7, b"hello".to_vec())));
        let (number, message) = read_frame(&mut from).unwrap().unwrap();
        assert_eq!(number, 8);
        assert_eq!(read_images(&message).unwrap(), [vec![1, 2, 3], vec![4, 5, 6]]);
        assert_eq!(read_frame(&mut from).unwrap(), None);

        let rows = |from: f32| vec![vec![from, 0.25], vec![-from, f32::MIN_POSITIVE]];
        for logits in [None, Some(rows(2.0))] {
            let outputs = Outputs { logits, probabilities: rows(1.0) };
            let message = outputs_message(&Ok(outputs.clone()));
            assert_eq!(read_outputs(&message, 2, 2), Ok(outputs));
        }
        let failed = outputs_message(&Err("no".into()));
        assert_eq!(read_outputs(&failed, 2, 2), Err("no".into()));
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let mut head = 1u64.to_le_bytes().to_vec();
        head.extend(u64::MAX.to_le_bytes());
        assert!(read_frame(&mut &head[..]).is_err());
        let mut short = Vec::new();
        write_frame(&mut short, 1, b"hello").unwrap();
        assert!(read_frame(&mut &short[..18]).is_err());
        assert_eq!(read_frame(&mut &short[..9]).unwrap(), None);
        for message in [&[][..], &[1, 0, 0, 0], &[2, 0, 0, 0, 9], &[0, 0, 0, 0, 9]] {
            assert_eq!(read_images(message), None);
        }
        for message in [&[][..], &[1, 0, 0], &[1, 0, 0, 0, 0], &[2, 0, 0, 0, 0]] {
            assert!(read_outputs(message, 1, 2).is_err());
        }
    }
}
