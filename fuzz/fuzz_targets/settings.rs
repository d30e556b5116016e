//! Settings files, and single settings as they are given on the command line. What can be read is written as it was.
#![no_main]

use counterweight_core::settings::{Preset, Settings};
use counterweight_fuzz::{file, start};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: start(), |data: &[u8]| {
    let path = file("settings.toml", data);
    if let Ok(settings) = Settings::load(&path) {
        let text = settings.to_file();
        let again = Settings::load(&file("settings.toml", text.as_bytes()));
        assert_eq!(again.expect("what was written can be read").to_file(), text);
    }
    let mut settings = Settings::preset(Preset::Auto);
    for line in String::from_utf8_lossy(data).lines().take(4) {
        if let Some((key, value)) = line.split_once('=') {
            let _ = settings.set(key.trim(), value.trim());
        }
    }
    let _ = settings.problems();
});
