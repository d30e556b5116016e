//! The boxes that ISO media files are made of (HEIC, AVIF, CR3): each a length, four letters and a
//! content, which may be boxes again.

/// A box.
pub(super) struct IsoBox<'a> {
    pub kind: [u8; 4],
    pub content: &'a [u8],
}

/// The boxes that a content is made of, up to the first that does not fit.
pub(super) fn boxes(mut bytes: &[u8]) -> Vec<IsoBox<'_>> {
    let mut found = Vec::new();
    while let Some((own, rest)) = next(bytes) {
        found.push(own);
        bytes = rest;
    }
    found
}

fn next(bytes: &[u8]) -> Option<(IsoBox<'_>, &[u8])> {
    let length = u32::from_be_bytes(bytes.get(..4)?.try_into().ok()?);
    let kind: [u8; 4] = bytes.get(4..8)?.try_into().ok()?;
    let (start, end) = match length {
        // To the end of the file.
        0 => (8, bytes.len()),
        1 => {
            let long = u64::from_be_bytes(bytes.get(8..16)?.try_into().ok()?);
            (16, usize::try_from(long).ok()?)
        }
        length => (8, length as usize),
    };
    Some((IsoBox { kind, content: bytes.get(start..end)? }, bytes.get(end..)?))
}
