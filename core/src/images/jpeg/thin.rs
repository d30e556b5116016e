//! What of a JPEG is needed at an eighth of its size, where each block of 8 × 8 pixels becomes the
//! one that is its mean.
//!
//! A block is stored as its mean and then up to 63 frequencies, by a code in which each says only by
//! itself how long it is. Going through them is nearly all the time a decoder takes for a large photo
//! at an eighth, and their values are thrown away. Here they are stepped over several at a time, and
//! the file is written anew without them, in its own code: the decoder finds blocks that have a mean
//! and nothing else, and makes the same pixels of them. Blocks of colours stored at half the width
//! and height become 2 × 2 pixels each; they keep their frequencies.

use super::{Segment, Segments};

/// Bits of the code that are looked up at a time. The table for them fits into the cache nearest to
/// the processor.
const AHEAD: u32 = 13;

/// Bits that are looked up at first where one word is wanted.
const SHORT: u32 = 10;

/// The frequencies of a block, the mean included.
const BLOCK: u32 = 64;

/// The JPEG without what an eighth of its size does not need. `None` where the file is of another
/// kind, or anything in it is not in order: what is wrong is for a decoder to say.
pub(super) fn thinned(bytes: &[u8]) -> Option<Vec<u8>> {
    let plan = Plan::read(bytes)?;
    let mut left = plan.mcus;
    let mut at = plan.data;
    let mut out = Output { bytes: bytes[..at].to_vec(), held: 0, count: 0 };
    // Holds the data up to the next marker, and then zeros: a look ahead may reach beyond its end.
    let mut data = Vec::with_capacity(bytes.len() - at + 8);
    loop {
        let marker = unstuffed(bytes, at, &mut data)?;
        let length = data.len();
        data.extend([0; 8]);
        let mcus = if plan.restarts == 0 { left } else { left.min(plan.restarts) };
        let mut input = Input { bytes: &data, at: 0, held: 0, count: 0 };
        for _ in 0..mcus {
            for block in &plan.blocks {
                let (dc, ac) = (plan.dc[block.dc].as_ref()?, plan.ac[block.ac].as_ref()?);
                match block.keeps_frequencies {
                    true => pass_block::<true>(&mut input, dc, ac, &mut out)?,
                    false => pass_block::<false>(&mut input, dc, ac, &mut out)?,
                }
            }
            if input.position() > 8 * length {
                return None;
            }
        }
        // Nothing is left but the bits that fill up the last byte.
        if input.position() + 8 <= 8 * length {
            return None;
        }
        left -= mcus;
        let code = bytes[marker + 1];
        match (left, code) {
            (1.., 0xd0..=0xd7) | (0, 0xd9) => out.put_marker(code),
            _ => return None,
        }
        if left == 0 {
            return Some(out.bytes);
        }
        at = marker + 2;
    }
}

/// What the segments before the pixels say.
struct Plan {
    /// Groups of blocks that belong to the same pixels, from the first to the last.
    mcus: usize,
    /// After how many of them there is a restart marker; 0 for never.
    restarts: usize,
    /// The blocks of a group.
    blocks: Vec<BlockPlan>,
    dc: [Option<Code>; 4],
    ac: [Option<FrequencyCode>; 4],
    /// Where the data of the pixels begins.
    data: usize,
}

#[derive(Clone, Copy)]
struct BlockPlan {
    /// Place of the code for its mean.
    dc: usize,
    /// Place of the code for its frequencies.
    ac: usize,
    /// Whether it becomes more than one pixel.
    keeps_frequencies: bool,
}

/// A colour component, as the frame's header names it.
struct Component {
    name: u8,
    /// Blocks in a group from left to right.
    across: usize,
    /// Blocks in a group from top to bottom.
    down: usize,
}

impl Plan {
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut codes: [[Option<StoredCode<'_>>; 4]; 2] = Default::default();
        let mut restarts = 0;
        let mut frame = None;
        for Segment { code, content: place } in Segments::new(bytes) {
            let content = bytes.get(place.clone())?;
            match code {
                0xc4 => read_codes(content, &mut codes)?,
                // Markers without a length, which lead astray who takes what follows for one.
                0x01 | 0xd0..=0xd7 => return None,
                // One scan by Huffman's code, the first with the usual number of tables.
                0xc0 | 0xc1 if frame.is_none() => frame = Some(content),
                0xc0..=0xcf => return None,
                0xdd => restarts = usize::from(number(content, 0)?),
                0xda => return Self::of_scan(frame?, content, codes, restarts, place.end),
                _ => {}
            }
        }
        None
    }

    fn of_scan(
        frame: &[u8],
        scan: &[u8],
        codes: [[Option<StoredCode<'_>>; 4]; 2],
        restarts: usize,
        data: usize,
    ) -> Option<Self> {
        let &[8, _, _, _, _, count, ref rest @ ..] = frame else { return None };
        let (height, width) = (usize::from(number(frame, 1)?), usize::from(number(frame, 3)?));
        let (parts, []) = rest.as_chunks::<3>() else { return None };
        let (&names, chosen) = scan.split_first()?;
        if height == 0 || width == 0 || !matches!(count, 1 | 3) || names != count {
            return None;
        }
        let components: Vec<Component> = parts
            .iter()
            .map(|&[name, factors, _]| Component {
                name,
                across: usize::from(factors >> 4),
                down: usize::from(factors & 15),
            })
            .collect();
        let in_range = |component: &Component| {
            (1..=4).contains(&component.across) && (1..=4).contains(&component.down)
        };
        // The choice of codes, and three bytes that are the same in every file of this kind.
        if components.len() != usize::from(count)
            || !components.iter().all(in_range)
            || chosen.len() != 2 * components.len() + 3
            || chosen[2 * components.len()..] != [0, 63, 0]
        {
            return None;
        }
        let across = components.iter().map(|component| component.across).max()?;
        let down = components.iter().map(|component| component.down).max()?;
        let [dc_codes, ac_codes] = codes;
        let mut dc: [Option<Code>; 4] = Default::default();
        let mut ac: [Option<FrequencyCode>; 4] = Default::default();
        let mut blocks = Vec::new();
        for (component, &[name, tables]) in components.iter().zip(chosen.as_chunks::<2>().0) {
            let place = BlockPlan {
                dc: usize::from(tables >> 4),
                ac: usize::from(tables & 15),
                // Where both sides of a component are stored at half the size, the decoder makes
                // two pixels of a block's side instead of one, and doubles none afterwards.
                keeps_frequencies: across.is_multiple_of(2 * component.across)
                    && down.is_multiple_of(2 * component.down),
            };
            let stored = (*dc_codes.get(place.dc)?, *ac_codes.get(place.ac)?);
            let (Some(of_means), Some(of_frequencies)) = stored else { return None };
            if name != component.name {
                return None;
            }
            // Several components may share a code.
            if dc[place.dc].is_none() {
                dc[place.dc] = Some(Code::new(of_means)?);
            }
            if ac[place.ac].is_none() {
                ac[place.ac] = Some(FrequencyCode::new(Code::new(of_frequencies)?)?);
            }
            // A component by itself is stored a block at a time.
            let number = if components.len() == 1 { 1 } else { component.across * component.down };
            blocks.extend(std::iter::repeat_n(place, number));
        }
        let groups = |side: usize, blocks: usize| match components.len() {
            1 => side.div_ceil(8),
            _ => side.div_ceil(8 * blocks),
        };
        let mcus = groups(width, across) * groups(height, down);
        Some(Self { mcus, restarts, blocks, dc, ac, data })
    }
}

/// The number of two bytes that begins there.
fn number(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

/// A Huffman code as it stands in the file: how many words there are of each length from 1 to 16, and
/// the symbols in the order of words. A file may hold any number, of which few are used.
#[derive(Clone, Copy)]
struct StoredCode<'a> {
    lengths: &'a [u8; 16],
    symbols: &'a [u8],
}

/// Finds the codes of a segment; of the first kind for means, of the second for frequencies.
fn read_codes<'a>(
    mut content: &'a [u8],
    codes: &mut [[Option<StoredCode<'a>>; 4]; 2],
) -> Option<()> {
    while let Some((&place, rest)) = content.split_first() {
        let (lengths, rest) = rest.split_first_chunk::<16>()?;
        let total = lengths.iter().map(|&count| usize::from(count)).sum();
        let (symbols, rest) = rest.split_at_checked(total)?;
        *codes.get_mut(usize::from(place >> 4))?.get_mut(usize::from(place & 15))? =
            Some(StoredCode { lengths, symbols });
        content = rest;
    }
    Some(())
}

/// A Huffman code.
struct Code {
    /// What any [`SHORT`] bits begin with, as in `long`. Nearly all words are in this table, which
    /// lies nearer to the processor.
    short: Box<[u16; 1 << SHORT]>,
    /// What any 16 bits begin with: the length of the first word in the upper byte, and its symbol
    /// in the lower one; 0 for what is no word.
    long: Box<[u16; 1 << 16]>,
    /// The word and the length of the symbol 0: "no more frequencies", in codes for those.
    zero: Option<(u16, u32)>,
}

impl Code {
    /// `None` if there are more words than fit.
    fn new(stored: StoredCode<'_>) -> Option<Self> {
        let mut long = zeros();
        let mut zero = None;
        // The next word, followed by zeros up to 16 bits.
        let mut next = 0_usize;
        let mut symbols = stored.symbols.iter();
        for (length, &count) in (1..).zip(stored.lengths) {
            for _ in 0..count {
                let &symbol = symbols.next()?;
                let end = next + (1 << (16 - length));
                // The word of ones alone is none.
                if end >= 1 << 16 {
                    return None;
                }
                long[next..end].fill((length as u16) << 8 | u16::from(symbol));
                if symbol == 0 {
                    zero = Some(((next >> (16 - length)) as u16, length));
                }
                next = end;
            }
        }
        let mut short: Box<[u16; 1 << SHORT]> = zeros();
        for (ahead, entry) in short.iter_mut().enumerate() {
            let found = long[ahead << (16 - SHORT)];
            if u32::from(found >> 8) <= SHORT {
                *entry = found;
            }
        }
        Some(Self { short, long, zero })
    }

    /// The length of the word that these 64 bits begin with, and its symbol.
    fn first(&self, ahead: u64) -> Option<(u32, u8)> {
        let mut entry = self.short[(ahead >> (64 - SHORT)) as usize];
        if entry == 0 {
            entry = self.long[(ahead >> 48) as usize];
        }
        (entry != 0).then_some((u32::from(entry >> 8), entry as u8))
    }
}

fn zeros<const N: usize>() -> Box<[u16; N]> {
    vec![0; N].try_into().expect("as long as that")
}

/// A code for frequencies, and what can be stepped over at once.
struct FrequencyCode {
    code: Code,
    /// The [`Step`] for whatever [`AHEAD`] bits come next.
    steps: Box<[Step; 1 << AHEAD]>,
    /// The word and length that end a block.
    end: (u16, u32),
}

/// As many words with the values behind them as lie whole in what was looked at.
#[derive(Clone, Copy)]
struct Step {
    /// Bits that are stepped over.
    bits: u8,
    /// Frequencies that are stepped over, and [`Step::ENDS`] more if the block ends behind them;
    /// [`BLOCK`] if not even the first word lies whole in what was looked at.
    frequencies: u8,
}

impl Step {
    const ENDS: u32 = 2 * BLOCK;
}

impl FrequencyCode {
    fn new(code: Code) -> Option<Self> {
        let end = code.zero?;
        let step = |ahead: u64| {
            let (mut bits, mut passed) = (0, 0);
            while let Some((length, symbol)) = code.first(ahead << (64 - AHEAD) << bits) {
                let after = bits + length + u32::from(symbol & 15);
                if after > AHEAD || passed + frequencies(symbol) >= BLOCK {
                    break;
                }
                bits = after;
                passed += frequencies(symbol);
                if is_end(symbol) {
                    passed += Step::ENDS;
                    break;
                }
            }
            let frequencies = if bits == 0 { BLOCK } else { passed };
            Step { bits: bits as u8, frequencies: frequencies as u8 }
        };
        let steps: Vec<Step> = (0..1 << AHEAD).map(step).collect();
        let steps = steps.try_into().ok()?;
        Some(Self { code, steps, end })
    }
}

/// Whether a symbol says that the rest of a block is zero. Of those with a value of no bits, only
/// sixteen zeros in a row are something else.
fn is_end(symbol: u8) -> bool {
    symbol & 15 == 0 && symbol != 0xf0
}

/// Frequencies that a symbol stands for: zeros, and the one behind them that has a value.
fn frequencies(symbol: u8) -> u32 {
    if is_end(symbol) { 0 } else { u32::from(symbol >> 4) + 1 }
}

/// Passes a block on, with or without its frequencies.
fn pass_block<const KEEPS: bool>(
    input: &mut Input<'_>,
    dc: &Code,
    ac: &FrequencyCode,
    out: &mut Output,
) -> Option<()> {
    input.fill();
    let (length, symbol) = dc.first(input.held)?;
    // Means have values of up to 11 bits in eight bits a colour; decoders believe in 15.
    if symbol > 15 {
        return None;
    }
    let mean = length + u32::from(symbol);
    out.put(input.take(mean), mean);
    if !KEEPS {
        let (word, length) = ac.end;
        out.put(u64::from(word), length);
    }
    let mut next = 1;
    'fill: loop {
        input.fill();
        for _ in 0..Input::CERTAIN / AHEAD {
            let step = ac.steps[(input.held >> (64 - AHEAD)) as usize];
            let after = next + u32::from(step.frequencies);
            if after < BLOCK {
                input.pass_on::<KEEPS>(u32::from(step.bits), out);
                next = after;
            } else if (Step::ENDS..Step::ENDS + BLOCK).contains(&after) {
                input.pass_on::<KEEPS>(u32::from(step.bits), out);
                break 'fill;
            } else {
                // One at a time: a long word, or the last ones of a block. If its last frequency has
                // a value there is no word for its end; what follows then is the next block's, and
                // is not to be stepped over.
                input.fill();
                let (length, symbol) = ac.code.first(input.held)?;
                input.pass_on::<KEEPS>(length + u32::from(symbol & 15), out);
                next += frequencies(symbol);
                if is_end(symbol) || next == BLOCK {
                    break 'fill;
                }
                if next > BLOCK {
                    return None;
                }
                continue 'fill;
            }
        }
    }
    Some(())
}

/// Reads the data up to the next marker, where a byte of ones is followed by a zero that does not
/// count, and says where the marker is.
fn unstuffed(bytes: &[u8], mut at: usize, data: &mut Vec<u8>) -> Option<usize> {
    data.clear();
    loop {
        let rest = bytes.get(at..)?;
        let ones = memchr::memchr(0xff, rest)?;
        if *rest.get(ones + 1)? != 0 {
            data.extend_from_slice(&rest[..ones]);
            return Some(at + ones);
        }
        data.extend_from_slice(&rest[..=ones]);
        at += ones + 2;
    }
}

/// Bits, the first of a byte being its highest.
struct Input<'a> {
    /// Ends in eight bytes that are not read but for a look ahead.
    bytes: &'a [u8],
    /// The next byte.
    at: usize,
    /// The next bits, from the highest one on.
    held: u64,
    /// How many of them are known for certain.
    count: u32,
}

impl Input<'_> {
    /// Bits there are at least after [`Input::fill`].
    const CERTAIN: u32 = 56;

    /// Has the next bits ready; zeros behind the end.
    fn fill(&mut self) {
        let ahead = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk());
        self.held |= u64::from_be_bytes(*ahead.unwrap_or(&[0; 8])) >> self.count;
        self.at += ((63 - self.count) / 8) as usize;
        self.count |= Self::CERTAIN;
    }

    /// The next bits, of which there must be as many, and more than none.
    fn take(&mut self, bits: u32) -> u64 {
        let taken = self.held >> (64 - bits);
        self.held <<= bits;
        self.count -= bits;
        taken
    }

    /// Takes bits, and passes them on if they are kept.
    fn pass_on<const KEEPS: bool>(&mut self, bits: u32, out: &mut Output) {
        let taken = self.take(bits);
        if KEEPS {
            out.put(taken, bits);
        }
    }

    /// How many bits were taken.
    fn position(&self) -> usize {
        8 * self.at - self.count as usize
    }
}

/// The new file.
struct Output {
    bytes: Vec<u8>,
    /// The last bits, down to the lowest one.
    held: u64,
    /// How many of them are not in the file yet: fewer than 32.
    count: u32,
}

impl Output {
    /// Adds up to 32 bits.
    fn put(&mut self, value: u64, bits: u32) {
        self.held = self.held << bits | value;
        self.count += bits;
        if self.count >= 32 {
            self.count -= 32;
            let whole = ((self.held >> self.count) as u32).to_be_bytes();
            match whole.contains(&0xff) {
                false => self.bytes.extend_from_slice(&whole),
                true => whole.iter().for_each(|&byte| self.put_byte(byte)),
            }
        }
    }

    fn put_byte(&mut self, byte: u8) {
        self.bytes.push(byte);
        if byte == 0xff {
            self.bytes.push(0);
        }
    }

    /// Fills up the last byte and adds a marker.
    fn put_marker(&mut self, code: u8) {
        let missing = (8 - self.count % 8) % 8;
        self.held = self.held << missing | ((1 << missing) - 1);
        self.count += missing;
        while self.count > 0 {
            self.count -= 8;
            self.put_byte((self.held >> self.count) as u8);
        }
        self.bytes.extend([0xff, code]);
    }
}
