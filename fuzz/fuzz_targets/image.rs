//! Images of every format but HEIC and AVIF, decoded in full and as far as a small picture needs,
//! and when and by which camera they were taken.
#![no_main]

use counterweight_fuzz::{decode_image, is_heif, start};
use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(init: start(), |data: &[u8]| -> Corpus {
    if is_heif(data) {
        return Corpus::Reject;
    }
    decode_image(data);
    Corpus::Keep
});
