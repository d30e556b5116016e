//! The colours of activation maps.

/// Dark to bright, evenly to the eye, the same to every kind of colour vision, and still in order
/// where it is printed in grey: sixteen stops of viridis (Smith and van der Walt, 2015).
const RAMP: [[u8; 3]; 16] = [
    [0x44, 0x01, 0x54],
    [0x48, 0x1a, 0x6c],
    [0x47, 0x2f, 0x7d],
    [0x41, 0x44, 0x87],
    [0x39, 0x56, 0x8c],
    [0x31, 0x68, 0x8e],
    [0x2a, 0x78, 0x8e],
    [0x23, 0x88, 0x8e],
    [0x1f, 0x98, 0x8b],
    [0x22, 0xa8, 0x84],
    [0x35, 0xb7, 0x79],
    [0x54, 0xc5, 0x68],
    [0x7a, 0xd1, 0x51],
    [0xa5, 0xdb, 0x36],
    [0xd2, 0xe2, 0x1b],
    [0xfd, 0xe7, 0x25],
];

/// The colour of a share of the range, in 0..1.
pub fn ramp(share: f32) -> [u8; 3] {
    let at = share.clamp(0.0, 1.0) * (RAMP.len() - 1) as f32;
    // What is no number is at the dark end.
    let below = (at as usize).min(RAMP.len() - 2);
    let part = if at.is_nan() { 0.0 } else { at - below as f32 };
    std::array::from_fn(|channel| {
        let [from, to] = [RAMP[below], RAMP[below + 1]].map(|stop| f32::from(stop[channel]));
        (from + (to - from) * part).round() as u8
    })
}
