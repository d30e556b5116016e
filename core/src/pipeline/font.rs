//! The typeface of pictures that are written.

use std::sync::OnceLock;

use plotters::style::{FontStyle, register_font};

/// Its name, for plotters.
pub(super) const FONT: &str = "Inter";

/// Makes it known to plotters.
pub(super) fn register() {
    static FONTS: OnceLock<()> = OnceLock::new();
    FONTS.get_or_init(|| {
        // It is a font, so this cannot fail.
        let bytes = include_bytes!("../../../assets/fonts/Inter-Regular.otf");
        let _ = register_font(FONT, FontStyle::Normal, bytes);
    });
}
