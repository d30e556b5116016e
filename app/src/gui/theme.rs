//! Colours, spacing and type of the whole window. Nothing else names a colour or a font size.

use std::sync::Arc;

use counterweight_core::eval::{Grade, Group};
use egui::epaint::Shadow;
use egui::{
    Color32, Context, CornerRadius, FontData, FontDefinitions, FontFamily, FontId, Frame, Margin,
    RichText, Stroke, Style, TextStyle, Theme, Ui, Vec2, Visuals,
};
use egui_material_icons::MaterialIcon;

/// Distances between things, in points.
pub mod space {
    /// Between things that belong together.
    pub const SMALL: f32 = 4.0;
    /// Between neighbours.
    pub const MEDIUM: f32 = 8.0;
    /// Between parts of a page, and inside cards.
    pub const LARGE: f32 = 16.0;
    /// Around a page.
    pub const PAGE: f32 = 24.0;
}

/// Height of the rows of tables.
pub const ROW_HEIGHT: f32 = 24.0;

/// Size of an icon that stands for a whole page.
pub const LARGE_ICON: f32 = 44.0;

/// The colours of one theme.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tokens {
    /// Behind everything.
    pub background: Color32,
    /// Cards and side panels.
    pub surface: Color32,
    /// Fields, and what lies in a card.
    pub sunken: Color32,
    /// Lines around and between things.
    pub border: Color32,
    /// Lines around what can be changed: they are to be found.
    pub outline: Color32,
    /// Text.
    pub text: Color32,
    /// Text that explains.
    pub text_weak: Color32,
    /// What is chosen or to be pressed next.
    pub accent: Color32,
    /// Text on [`Tokens::accent`].
    pub on_accent: Color32,
    /// [`Tokens::accent`] as text on a card.
    pub accent_text: Color32,
    /// A faint wash of the accent, behind what is chosen.
    pub accent_wash: Color32,
    /// Went well.
    pub good: Color32,
    /// Is not as expected.
    pub warn: Color32,
    /// Failed.
    pub bad: Color32,
    /// A faint wash of [`Tokens::good`], behind a result that is worth something.
    pub good_wash: Color32,
    /// A faint wash of [`Tokens::warn`].
    pub warn_wash: Color32,
    /// A faint wash of [`Tokens::bad`].
    pub bad_wash: Color32,
    /// The many group.
    pub many: Color32,
    /// The medium group.
    pub medium: Color32,
    /// The few group.
    pub few: Color32,
    /// Something before it was changed, beside what it became.
    pub before: Color32,
    /// Curves of the training split.
    pub train: Color32,
    /// Curves of the validation split.
    pub validation: Color32,
    /// A line that marks a limit, such as the MaxNorm radius.
    pub limit: Color32,
}

const fn rgb(hex: u32) -> Color32 {
    Color32::from_rgb((hex >> 16) as u8, (hex >> 8) as u8, hex as u8)
}

const LIGHT: Tokens = Tokens {
    background: rgb(0xf4f5f7),
    surface: rgb(0xffffff),
    sunken: rgb(0xf0f1f4),
    border: rgb(0xdcdfe4),
    outline: rgb(0xb3b9c3),
    text: rgb(0x1b1f24),
    text_weak: rgb(0x59616b),
    accent: rgb(0x4f46c8),
    on_accent: rgb(0xffffff),
    accent_text: rgb(0x4a41c0),
    accent_wash: rgb(0xebeafb),
    good: rgb(0x17743c),
    warn: rgb(0x8f5b00),
    bad: rgb(0xc02633),
    good_wash: rgb(0xe8f5ec),
    warn_wash: rgb(0xfcf4e1),
    bad_wash: rgb(0xfcebec),
    many: rgb(0x2e6fb7),
    medium: rgb(0xb98300),
    few: rgb(0xa8265c),
    before: rgb(0x8d96a3),
    train: rgb(0x59616b),
    validation: rgb(0x4f46c8),
    limit: rgb(0x17743c),
};

const DARK: Tokens = Tokens {
    background: rgb(0x121417),
    surface: rgb(0x1b1e23),
    sunken: rgb(0x24282e),
    border: rgb(0x343a42),
    outline: rgb(0x505965),
    text: rgb(0xe8eaed),
    text_weak: rgb(0xa3abb6),
    accent: rgb(0x6a62dd),
    on_accent: rgb(0xffffff),
    accent_text: rgb(0xa9a4ff),
    accent_wash: rgb(0x2a2850),
    good: rgb(0x5cc98a),
    warn: rgb(0xe9b44c),
    bad: rgb(0xff7b84),
    good_wash: rgb(0x18281f),
    warn_wash: rgb(0x2e2716),
    bad_wash: rgb(0x351c20),
    many: rgb(0x5b9fe3),
    medium: rgb(0xe6b13c),
    few: rgb(0xd9578e),
    before: rgb(0x79828e),
    train: rgb(0xa3abb6),
    validation: rgb(0xa9a4ff),
    limit: rgb(0x5cc98a),
};

/// The colours of the theme in use.
pub fn tokens(visuals: &Visuals) -> &'static Tokens {
    if visuals.dark_mode { &DARK } else { &LIGHT }
}

/// Colours of runs that are compared, which differ for every kind of colour vision.
pub fn run_colors(visuals: &Visuals) -> &'static [Color32; 6] {
    const LIGHT: [Color32; 6] =
        [rgb(0x2329e6), rgb(0xdb7d20), rgb(0x05a97d), rgb(0xad6acf), rgb(0x5d1c00), rgb(0x180b2b)];
    const DARK: [Color32; 6] =
        [rgb(0x4165ff), rgb(0xe77d46), rgb(0x1eba95), rgb(0xcd8edb), rgb(0xfafb57), rgb(0xc7ffff)];
    if visuals.dark_mode { &DARK } else { &LIGHT }
}

/// A colour for each of many classes: steps of the golden angle around the circle of hues, lighter
/// and darker in turn. Those of neighbours in a list differ; of hundreds, some are alike.
pub fn class_color(visuals: &Visuals, class: usize) -> Color32 {
    let turn = (class as f32 * 0.618_034).fract();
    let [value, saturation] = match (visuals.dark_mode, class % 3) {
        (false, 0) => [0.80, 0.78],
        (false, 1) => [0.60, 0.85],
        (false, _) => [0.42, 0.80],
        (true, 0) => [0.89, 0.67],
        (true, 1) => [0.48, 0.68],
        (true, _) => [0.98, 0.89],
    };
    egui::ecolor::Hsva::new(turn, saturation, value, 1.0).into()
}

/// The colours of a grade.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GradeColors {
    /// Of its mark.
    pub mark: Color32,
    /// Behind what is said of it.
    pub wash: Color32,
}

impl Tokens {
    /// The colours of a grade, the same on every page.
    pub fn grade(&self, grade: Grade) -> GradeColors {
        let (mark, wash) = match grade {
            Grade::Worthless => (self.bad, self.bad_wash),
            Grade::Doubtful => (self.warn, self.warn_wash),
            Grade::Usable => (self.good, self.good_wash),
        };
        GradeColors { mark, wash }
    }

    /// The colour of a group, the same in every chart.
    pub fn group(&self, group: Group) -> Color32 {
        match group {
            Group::Many => self.many,
            Group::Medium => self.medium,
            Group::Few => self.few,
        }
    }
}

/// Of the colours of text the one that is read best on `fill`.
pub fn text_on(tokens: &Tokens, fill: Color32) -> Color32 {
    let candidates = [tokens.text, tokens.on_accent, tokens.background];
    let by_contrast = |a: &Color32, b: &Color32| contrast(*a, fill).total_cmp(&contrast(*b, fill));
    candidates.into_iter().max_by(by_contrast).unwrap_or(tokens.text)
}

/// The contrast of two opaque colours, from 1 to 21 (Web Content Accessibility Guidelines 2.2).
pub fn contrast(a: Color32, b: Color32) -> f32 {
    let [a, b] = [a, b].map(|color| {
        let color = egui::Rgba::from(color);
        0.2126 * color.r() + 0.7152 * color.g() + 0.0722 * color.b() + 0.05
    });
    a.max(b) / a.min(b)
}

/// The family of headings and of what is emphasised.
pub fn semibold() -> FontFamily {
    FontFamily::Name("semibold".into())
}

/// The text style of page titles.
pub fn title_style() -> TextStyle {
    TextStyle::Name("title".into())
}

/// The title of a page.
pub fn title(text: impl Into<String>) -> RichText {
    RichText::new(text).text_style(title_style())
}

/// The heading of a card.
pub fn heading(text: impl Into<String>) -> RichText {
    RichText::new(text).text_style(TextStyle::Heading)
}

/// Text that stands out.
pub fn strong(text: impl Into<String>) -> RichText {
    RichText::new(text).family(semibold())
}

/// An icon, in the size and colour of the text around it.
pub fn icon(icon: MaterialIcon) -> RichText {
    icon.rich_text()
}

/// A card: a part of a page with a border around it, as wide as there is room.
pub fn card<R>(ui: &mut Ui, add_contents: impl FnOnce(&mut Ui) -> R) -> R {
    card_frame(ui)
        .show(ui, |ui| {
            ui.set_width(ui.available_width());
            add_contents(ui)
        })
        .inner
}

/// The frame of [`card`].
pub fn card_frame(ui: &Ui) -> Frame {
    let tokens = tokens(ui.visuals());
    Frame::new()
        .fill(tokens.surface)
        .stroke(Stroke::new(1.0, tokens.border))
        .corner_radius(CornerRadius::same(10))
        .inner_margin(Margin::same(space::LARGE as i8))
}

/// The frame of a dialog: a menu's, with the room around its text that a card has.
pub fn dialog_frame(ui: &Ui) -> Frame {
    Frame::popup(ui.style()).inner_margin(Margin::same(space::LARGE as i8))
}

/// Gives a context the fonts and both themes; it follows the system's choice between them until
/// told otherwise.
pub fn install(ctx: &Context) {
    ctx.set_fonts(fonts());
    ctx.set_style_of(Theme::Light, style(&LIGHT, Visuals::light()));
    ctx.set_style_of(Theme::Dark, style(&DARK, Visuals::dark()));
}

fn fonts() -> FontDefinitions {
    let mut fonts = FontDefinitions::default();
    let files: [(&str, &'static [u8]); 3] = [
        ("Inter", include_bytes!("../../../assets/fonts/Inter-Regular.otf")),
        ("Inter Medium", include_bytes!("../../../assets/fonts/Inter-Medium.otf")),
        ("Inter SemiBold", include_bytes!("../../../assets/fonts/Inter-SemiBold.otf")),
    ];
    for (name, bytes) in files {
        fonts.font_data.insert(name.into(), Arc::new(FontData::from_static(bytes)));
    }
    let fallbacks = fonts.families.get(&FontFamily::Proportional).cloned().unwrap_or_default();
    let with_fallbacks =
        |name: &str| [name.to_string()].into_iter().chain(fallbacks.clone()).collect::<Vec<_>>();
    fonts.families.insert(FontFamily::Proportional, with_fallbacks("Inter"));
    fonts.families.insert(FontFamily::Name("medium".into()), with_fallbacks("Inter Medium"));
    fonts.families.insert(semibold(), with_fallbacks("Inter SemiBold"));
    let icons = egui_material_icons::font_insert();
    fonts.font_data.insert(icons.name.clone(), Arc::new(icons.data));
    fonts.families.insert(
        FontFamily::Name(egui_material_icons::FONT_FAMILY.into()),
        vec![icons.name.clone()],
    );
    // Icons stand inside sentences and buttons, too.
    for family in fonts.families.values_mut() {
        if !family.contains(&icons.name) {
            family.push(icons.name.clone());
        }
    }
    fonts
}

fn style(tokens: &Tokens, mut visuals: Visuals) -> Style {
    let text_styles = [
        (TextStyle::Small, FontId::new(12.0, FontFamily::Proportional)),
        (TextStyle::Body, FontId::new(14.0, FontFamily::Proportional)),
        (TextStyle::Button, FontId::new(14.0, FontFamily::Name("medium".into()))),
        (TextStyle::Monospace, FontId::new(13.0, FontFamily::Monospace)),
        (TextStyle::Heading, FontId::new(16.0, semibold())),
        (title_style(), FontId::new(24.0, semibold())),
    ];
    let mut style = Style { text_styles: text_styles.into(), ..Style::default() };
    let spacing = &mut style.spacing;
    spacing.item_spacing = Vec2::new(space::MEDIUM, space::MEDIUM);
    spacing.button_padding = Vec2::new(12.0, 6.0);
    spacing.interact_size = Vec2::new(40.0, 30.0);
    spacing.slider_width = 180.0;
    spacing.slider_rail_height = 4.0;
    spacing.combo_width = 140.0;
    spacing.icon_width = 18.0;
    spacing.icon_width_inner = 10.0;
    spacing.tooltip_width = 360.0;
    spacing.window_margin = Margin::same(space::LARGE as i8);
    spacing.menu_margin = Margin::same(space::MEDIUM as i8);
    style.interaction.tooltip_delay = 0.3;
    style.interaction.selectable_labels = true;

    visuals.panel_fill = tokens.background;
    visuals.window_fill = tokens.surface;
    visuals.window_stroke = Stroke::new(1.0, tokens.border);
    visuals.window_corner_radius = CornerRadius::same(12);
    visuals.menu_corner_radius = CornerRadius::same(8);
    let shade = Color32::from_black_alpha(if visuals.dark_mode { 110 } else { 36 });
    visuals.window_shadow = Shadow { offset: [0, 8], blur: 28, spread: 0, color: shade };
    visuals.popup_shadow = Shadow { offset: [0, 4], blur: 14, spread: 0, color: shade };
    visuals.extreme_bg_color = tokens.sunken;
    visuals.faint_bg_color = tokens.sunken.gamma_multiply(0.6);
    visuals.code_bg_color = tokens.sunken;
    visuals.text_edit_bg_color = Some(tokens.sunken);
    visuals.weak_text_color = Some(tokens.text_weak);
    visuals.hyperlink_color = tokens.accent_text;
    visuals.warn_fg_color = tokens.warn;
    visuals.error_fg_color = tokens.bad;
    visuals.selection.bg_fill = tokens.accent_wash;
    visuals.selection.stroke = Stroke::new(1.0, tokens.accent_text);
    visuals.slider_trailing_fill = false;
    visuals.striped = false;
    visuals.indent_has_left_vline = false;

    let radius = CornerRadius::same(7);
    let widgets = &mut visuals.widgets;
    for widget in [
        &mut widgets.noninteractive,
        &mut widgets.inactive,
        &mut widgets.hovered,
        &mut widgets.active,
        &mut widgets.open,
    ] {
        widget.corner_radius = radius;
        widget.expansion = 0.0;
        widget.fg_stroke = Stroke::new(1.0, tokens.text);
        widget.bg_stroke = Stroke::new(1.0, tokens.border);
        widget.bg_fill = tokens.sunken;
        widget.weak_bg_fill = tokens.sunken;
    }
    widgets.noninteractive.bg_fill = tokens.surface;
    widgets.noninteractive.weak_bg_fill = tokens.surface;
    widgets.inactive.bg_fill = tokens.border;
    widgets.inactive.bg_stroke = Stroke::new(1.0, tokens.outline);
    widgets.hovered.bg_stroke = Stroke::new(1.0, tokens.accent);
    widgets.hovered.fg_stroke = Stroke::new(1.5, tokens.text);
    widgets.hovered.bg_fill = tokens.border;
    // What has the focus is drawn so, too; a box that is filled would look ticked, and other widths
    // of lines would move its neighbours.
    widgets.active.bg_stroke = Stroke::new(1.0, tokens.accent);
    widgets.active.fg_stroke = Stroke::new(1.5, tokens.text);
    widgets.active.bg_fill = tokens.border;
    widgets.active.weak_bg_fill = tokens.accent_wash;
    widgets.open.weak_bg_fill = tokens.accent_wash;
    style.visuals = visuals;
    style
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contrast_is_that_of_the_guidelines() {
        assert!((contrast(Color32::BLACK, Color32::WHITE) - 21.0).abs() < 0.01);
        // The grey that is commonly given as just enough on white.
        assert!((contrast(Color32::from_gray(0x76), Color32::WHITE) - 4.54).abs() < 0.01);
    }

    #[test]
    fn numbers_can_be_read_on_every_shade_of_a_matrix() {
        for tokens in [LIGHT, DARK] {
            for full in [tokens.accent, tokens.bad] {
                for share in 0..=20 {
                    let fill = tokens.sunken.lerp_to_gamma(full, share as f32 / 20.0);
                    let text = text_on(&tokens, fill);
                    assert!(contrast(text, fill) >= 4.0, "{text:?} on {fill:?}");
                }
            }
        }
    }

    #[test]
    fn text_can_be_read_on_what_it_stands_on() {
        for tokens in [LIGHT, DARK] {
            for behind in [tokens.background, tokens.surface, tokens.sunken] {
                for text in [
                    tokens.text,
                    tokens.text_weak,
                    tokens.accent_text,
                    tokens.good,
                    tokens.warn,
                    tokens.bad,
                ] {
                    assert!(
                        contrast(text, behind) >= 4.5,
                        "{text:?} on {behind:?}: {:.2}",
                        contrast(text, behind)
                    );
                }
            }
            for grade in [Grade::Worthless, Grade::Doubtful, Grade::Usable] {
                let GradeColors { mark, wash } = tokens.grade(grade);
                for text in [tokens.text, mark] {
                    assert!(
                        contrast(text, wash) >= 4.5,
                        "{text:?} on {wash:?} of {grade:?}: {:.2}",
                        contrast(text, wash)
                    );
                }
            }
            assert!(contrast(tokens.text, tokens.accent_wash) >= 4.5);
            assert!(contrast(tokens.accent_text, tokens.accent_wash) >= 4.5);
            assert!(contrast(tokens.on_accent, tokens.accent) >= 4.5);
        }
    }

    #[test]
    fn marks_in_charts_stand_out_from_the_card() {
        for tokens in [LIGHT, DARK] {
            let marks = [
                tokens.many,
                tokens.medium,
                tokens.few,
                tokens.train,
                tokens.validation,
                tokens.limit,
            ];
            for mark in marks.into_iter().chain([tokens.before]) {
                let least = if mark == tokens.before { 2.5 } else { 3.0 };
                assert!(
                    contrast(mark, tokens.surface) >= least,
                    "{mark:?}: {:.2}",
                    contrast(mark, tokens.surface)
                );
            }
        }
    }

    /// A colour in linear light as people without one kind of cone see it (Machado, Oliveira and
    /// Fernandes, 2009, severity 1).
    fn seen(color: Color32, matrix: [[f64; 3]; 3]) -> [f64; 3] {
        let linear = [color.r(), color.g(), color.b()].map(|c| (f64::from(c) / 255.0).powf(2.2));
        matrix.map(|row| row.iter().zip(linear).map(|(a, b)| a * b).sum::<f64>().clamp(0.0, 1.0))
    }

    /// CIELAB of linear RGB.
    fn lab(rgb: [f64; 3]) -> [f64; 3] {
        let [r, g, b] = rgb;
        let xyz = [
            (0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.9505,
            0.2126 * r + 0.7152 * g + 0.0722 * b,
            (0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.089,
        ];
        let [x, y, z] = xyz.map(|v| if v > 0.008856 { v.cbrt() } else { 7.787 * v + 16.0 / 116.0 });
        [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
    }

    type Matrix = [[f64; 3]; 3];

    const KINDS: [(&str, Matrix); 4] = [
        ("all cones", [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]),
        (
            "protanopia",
            [
                [0.152286, 1.052583, -0.204868],
                [0.114503, 0.786281, 0.099216],
                [-0.003882, -0.048116, 1.051998],
            ],
        ),
        (
            "deuteranopia",
            [
                [0.367322, 0.860646, -0.227968],
                [0.280085, 0.672501, 0.047413],
                [-0.011820, 0.042940, 0.968881],
            ],
        ),
        (
            "tritanopia",
            [
                [1.255528, -0.076749, -0.178779],
                [-0.078411, 0.930809, 0.147602],
                [0.004733, 0.691367, 0.303900],
            ],
        ),
    ];

    /// The distance of two colours in CIELAB.
    fn difference(one: [f64; 3], other: [f64; 3]) -> f64 {
        (0..3).map(|i| (one[i] - other[i]).powi(2)).sum::<f64>().sqrt()
    }

    #[test]
    fn the_groups_differ_for_every_kind_of_colour_vision() {
        for tokens in [LIGHT, DARK] {
            for (kind, matrix) in KINDS {
                let colors = Group::ALL.map(|group| lab(seen(tokens.group(group), matrix)));
                for (a, b) in [(0, 1), (0, 2), (1, 2)] {
                    let difference = difference(colors[a], colors[b]);
                    assert!(
                        difference > 20.0,
                        "{:?} and {:?} for {kind}: {difference:.1}",
                        Group::ALL[a],
                        Group::ALL[b]
                    );
                }
            }
        }
    }
    #[test]
    fn the_runs_differ_for_every_kind_of_colour_vision() {
        for (tokens, visuals) in [(LIGHT, Visuals::light()), (DARK, Visuals::dark())] {
            let colors = run_colors(&visuals);
            for color in colors {
                assert!(
                    contrast(*color, tokens.surface) >= 3.0,
                    "{color:?}: {:.2}",
                    contrast(*color, tokens.surface)
                );
            }
            for (kind, matrix) in KINDS {
                let seen = colors.map(|color| lab(seen(color, matrix)));
                for (a, b) in (0..6).flat_map(|a| (0..a).map(move |b| (a, b))) {
                    let difference = difference(seen[a], seen[b]);
                    assert!(
                        difference > 20.0,
                        "{:?} and {:?} for {kind}: {difference:.1}",
                        colors[a],
                        colors[b]
                    );
                }
            }
        }
    }
}
