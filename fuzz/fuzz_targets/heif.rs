//! HEIC and AVIF: apart from other images, since each takes a hundred times as long.
#![no_main]

use counterweight_fuzz::{decode_image, is_heif, start};
use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(init: start(), |data: &[u8]| -> Corpus {
    if !is_heif(data) {
        return Corpus::Reject;
    }
    decode_image(data);
    Corpus::Keep
});
