//! The typeface of pictures that are written, and the colours of their text: those of the light
//! theme of the window.

use std::sync::OnceLock;

use plotters::style::{FontStyle, RGBColor, register_font};

/// Its name, for plotters.
pub(super) const FONT: &str = "Inter";

/// The colour of text, and of text that explains.
pub(super) const TEXT: RGBColor = RGBColor(0x1b, 0x1f, 0x24);
pub(super) const WEAK: RGBColor = RGBColor(0x59, 0x61, 0x6b);

/// Makes it known to plotters.
pub(super) fn register() {
    static FONTS: OnceLock<()> = OnceLock::new();
    FONTS.get_or_init(|| {
        // It is a font, so this cannot fail.
        let bytes = include_bytes!("../../../assets/fonts/Inter-Regular.otf");
        let _ = register_font(FONT, FontStyle::Normal, bytes);
    });
}
