//! What an exported file says of how images become its square input, and what is read of that.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::words::ImageFit;

/// The key of a file's metadata that says how an image becomes an input, as JSON.
const PREPROCESS: &str = "preprocess";
/// Its entry with the name of the fit.
pub(crate) const FIT: &str = "fit";
/// Its entry that says the same in words; of files of before there was a choice, the only one.
pub(crate) const CROP: &str = "crop";

/// What `crop` says.
pub(crate) fn in_words(fit: ImageFit) -> &'static str {
    match fit {
        ImageFit::Crop => {
            "largest centred square; an odd margin is cut by half a pixel on both sides"
        }
        ImageFit::Stretch => "none: all of the image is resized to the size, whatever its shape",
    }
}

/// What a file's metadata says; the largest centred square where it says nothing.
pub(crate) fn of(metadata: &BTreeMap<String, String>) -> ImageFit {
    let said = || {
        let preprocess: Value = serde_json::from_str(metadata.get(PREPROCESS)?).ok()?;
        serde_json::from_value(preprocess.get(FIT)?.clone()).ok()
    };
    said().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_says_nothing_means_the_centre() {
        let says = |text: &str| of(&BTreeMap::from([(PREPROCESS.into(), text.into())]));
        assert_eq!(of(&BTreeMap::new()), ImageFit::Crop);
        assert_eq!(says(r#"{"fit": "stretch"}"#), ImageFit::Stretch);
        for other in [r#"{"fit": "crop"}"#, r#"{"fit": 7}"#, r#"{"fit": "pad"}"#, "{", "[]"] {
            assert_eq!(says(other), ImageFit::Crop, "{other}");
        }
    }
}
