//! The two pictures of a model card: how many images each class has, and the norms of its weights
//! before and after balancing.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::super::font::{self, FONT, TEXT, WEAK};
use crate::eval::{Group, GroupThresholds};

/// Pixels of a picture.
const SIZE: (u32, u32) = (960, 420);
/// How many times as fine the picture of pixels is.
const FINE: u32 = 2;
/// Bars that are drawn apart; more are drawn side by side.
const APART: usize = 120;
/// Classes whose names are written under their bars, and characters of a name that are.
const NAMED: usize = 16;
const LETTERS: usize = 11;
/// Pixels beside the chart, for the legend.
const LEGEND: u32 = 180;
const GRID: RGBColor = RGBColor(0xdc, 0xdf, 0xe4);
const BEFORE: RGBColor = RGBColor(0x8d, 0x96, 0xa3);

/// What is drawn of every class.
pub(super) struct Drawn<'a> {
    /// Class names, in label order.
    pub classes: &'a [String],
    /// Training images.
    pub counts: &'a [usize],
    /// Norms of the class weights before balancing, if it was balanced.
    pub norms_before: Option<&'a [f32]>,
    /// Norms of the class weights of the model.
    pub norms: &'a [f32],
    pub thresholds: GroupThresholds,
}

/// A picture in both forms.
pub(super) struct Picture {
    /// Its name, without what names end in.
    pub name: &'static str,
    pub svg: String,
    pub png: Vec<u8>,
}

/// Draws both pictures.
///
/// # Errors
/// A sentence, if one cannot be drawn.
pub(super) fn draw(drawn: &Drawn<'_>) -> Result<[Picture; 2], String> {
    font::register();
    Ok([
        picture("class-distribution", &|area| distribution(drawn, area))?,
        picture("class-weight-norms", &|area| norms(drawn, area))?,
    ])
}

/// One drawing, whatever it is drawn on.
trait Canvas {
    fn bars(&self, plan: &Plan) -> Result<(), String>;
}

/// What a drawing says and shows.
struct Plan {
    title: String,
    y_label: &'static str,
    /// Heights in the order of the axis, with the colour of each, drawn one behind the other.
    series: Vec<(String, Vec<(f64, RGBColor)>)>,
    is_logarithmic: bool,
    legend: Vec<(String, RGBColor)>,
    /// What stands under the bars, where there is room for it.
    names: Vec<String>,
}

struct Area<'a, B: DrawingBackend>(&'a DrawingArea<B, Shift>, u32);

fn picture(
    name: &'static str,
    paint: &dyn Fn(&dyn Canvas) -> Result<(), String>,
) -> Result<Picture, String> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        paint(&Area(&area, 1))?;
        area.present().map_err(|error| error.to_string())?;
    }
    let (width, height) = (SIZE.0 * FINE, SIZE.1 * FINE);
    let mut pixels = vec![255; (3 * width * height) as usize];
    {
        let backend = BitMapBackend::with_buffer(&mut pixels, (width, height));
        let area = backend.into_drawing_area();
        paint(&Area(&area, FINE))?;
        area.present().map_err(|error| error.to_string())?;
    }
    let mut png = Vec::new();
    let encoder = image::codecs::png::PngEncoder::new(&mut png);
    image::ImageEncoder::write_image(
        encoder,
        &pixels,
        width,
        height,
        image::ExtendedColorType::Rgb8,
    )
    .map_err(|error| error.to_string())?;
    Ok(Picture { name, svg, png })
}

fn colour(group: Group) -> RGBColor {
    match group {
        Group::Many => RGBColor(0x2e, 0x6f, 0xb7),
        Group::Medium => RGBColor(0xb9, 0x83, 0x00),
        Group::Few => RGBColor(0xa8, 0x26, 0x5c),
    }
}

/// Places of classes, that with the most training images first.
fn order(counts: &[usize]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..counts.len()).collect();
    order.sort_by_key(|&class| std::cmp::Reverse(counts[class]));
    order
}

fn legend(drawn: &Drawn<'_>) -> Vec<(String, RGBColor)> {
    let groups = Group::ALL.into_iter().filter_map(|group| {
        let is_in = |count: &&usize| drawn.thresholds.group(**count) == group;
        match drawn.counts.iter().filter(is_in).count() {
            0 => None,
            1 => Some((format!("{group} (1 class)"), colour(group))),
            classes => Some((format!("{group} ({classes} classes)"), colour(group))),
        }
    });
    groups.collect()
}

/// The names of the classes in the order of the axis, short enough to stand beside each other; none if
/// there are too many.
fn names(drawn: &Drawn<'_>) -> Vec<String> {
    if drawn.classes.len() > NAMED {
        return Vec::new();
    }
    let short = |class: usize| {
        let name: String = drawn.classes[class].chars().filter(|c| !c.is_control()).collect();
        match name.chars().count() {
            count if count > LETTERS => name.chars().take(LETTERS - 1).chain(['…']).collect(),
            _ => name,
        }
    };
    order(drawn.counts).into_iter().map(short).collect()
}

fn distribution(drawn: &Drawn<'_>, canvas: &dyn Canvas) -> Result<(), String> {
    let bars = order(drawn.counts)
        .into_iter()
        .map(|class| drawn.counts[class])
        .map(|count| (count as f64, colour(drawn.thresholds.group(count))));
    canvas.bars(&Plan {
        title: format!("Training images of {} classes", drawn.counts.len()),
        y_label: "images (logarithmic)",
        series: vec![(String::new(), bars.collect())],
        is_logarithmic: true,
        legend: legend(drawn),
        names: names(drawn),
    })
}

fn norms(drawn: &Drawn<'_>, canvas: &dyn Canvas) -> Result<(), String> {
    let order = order(drawn.counts);
    let of = |norms: &[f32], paint: &dyn Fn(usize) -> RGBColor| -> Vec<(f64, RGBColor)> {
        order.iter().map(|&class| (f64::from(norms[class]), paint(class))).collect()
    };
    let by_group = |class: usize| colour(drawn.thresholds.group(drawn.counts[class]));
    let mut plan = Plan {
        title: "Norms of the class weights, from the class with the most images to that with the fewest".into(),
        y_label: "norm",
        series: vec![("norm".into(), of(drawn.norms, &by_group))],
        is_logarithmic: false,
        legend: legend(drawn),
        names: names(drawn),
    };
    if let Some(before) = drawn.norms_before {
        plan.series.insert(0, ("before".into(), of(before, &|_| BEFORE)));
        plan.legend.insert(0, ("before balancing".into(), BEFORE));
    }
    canvas.bars(&plan)
}

impl<B: DrawingBackend> Canvas for Area<'_, B> {
    fn bars(&self, plan: &Plan) -> Result<(), String> {
        let Self(area, fine) = *self;
        let said = |error: DrawingAreaErrorKind<B::ErrorType>| error.to_string();
        let size = |pixels: u32| (pixels * fine) as i32;
        area.fill(&WHITE).map_err(said)?;
        let classes = plan.series.first().map_or(0, |(_, bars)| bars.len());
        let all = plan.series.iter().flat_map(|(_, bars)| bars).map(|(height, _)| *height);
        let highest = all.fold(0.0, f64::max).max(1e-9);
        let mut builder = ChartBuilder::on(area);
        builder
            .margin(size(16))
            .margin_right(size(LEGEND))
            .caption(&plan.title, (FONT, size(18)).into_font().color(&TEXT))
            .x_label_area_size(size(40))
            .y_label_area_size(size(64));
        let x = 0.0..classes.max(1) as f64;
        let width = if classes > APART { 1.0 } else { 0.8 };
        // Series beside each other share the place of a class.
        let count = plan.series.len().max(1) as f64;
        let bar = |series: usize, class: usize, low: f64, (height, colour): (f64, RGBColor)| {
            let left = class as f64 + (1.0 - width) / 2.0 + width * series as f64 / count;
            Rectangle::new([(left, low), (left + width / count, height)], colour.filled())
        };
        macro_rules! paint {
            ($chart:expr, $low:expr, $y_format:expr) => {{
                let mut chart = $chart;
                chart
                    .configure_mesh()
                    .disable_x_mesh()
                    .light_line_style(TRANSPARENT)
                    .bold_line_style(GRID)
                    .axis_style(GRID)
                    .x_labels(if plan.names.is_empty() { 10 } else { 0 })
                    .x_label_formatter(&|x: &f64| format!("{x:.0}"))
                    .y_label_formatter($y_format)
                    .x_desc("classes, by their number of training images")
                    .y_desc(plan.y_label)
                    .label_style((FONT, size(13)).into_font().color(&WEAK))
                    .draw()
                    .map_err(said)?;
                for (index, (_, bars)) in plan.series.iter().enumerate() {
                    let drawn = bars
                        .iter()
                        .enumerate()
                        .map(|(class, painted)| bar(index, class, $low, *painted));
                    chart.draw_series(drawn).map_err(said)?;
                }
                for (class, name) in plan.names.iter().enumerate() {
                    let (middle, below) = chart.backend_coord(&(class as f64 + 0.5, $low));
                    let style = TextStyle::from((FONT, size(12)).into_font().color(&WEAK))
                        .pos(Pos::new(HPos::Center, VPos::Top));
                    area.draw_text(name, &style, (middle, below + size(5))).map_err(said)?;
                }
            }};
        }
        if plan.is_logarithmic {
            let y = (0.8..highest * 1.2).log_scale();
            let chart = builder.build_cartesian_2d(x, y).map_err(said)?;
            paint!(chart, 0.8, &|y: &f64| format!("{y:.0}"));
        } else {
            let chart = builder.build_cartesian_2d(x, 0.0..highest * 1.1).map_err(said)?;
            paint!(chart, 0.0, &|y: &f64| format!("{y:.2}"));
        }
        // The legend, in the upper right corner.
        let (whole, _) = area.dim_in_pixel();
        for (line, (name, colour)) in plan.legend.iter().enumerate() {
            let (left, top) = (whole as i32 - size(LEGEND - 16), size(52) + line as i32 * size(20));
            let square = [(left, top), (left + size(11), top + size(11))];
            area.draw(&Rectangle::new(square, colour.filled())).map_err(said)?;
            let style = (FONT, size(13)).into_font().color(&TEXT);
            area.draw_text(name, &style, (left + size(18), top - size(2))).map_err(said)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_pictures_are_drawn_for_two_classes_and_for_thousands() {
        for classes in [2, 8142] {
            let counts: Vec<usize> = (0..classes).map(|class| 2000 / (class + 1)).collect();
            let norms: Vec<f32> = counts.iter().map(|&count| 0.3 + count as f32 / 2000.0).collect();
            let names: Vec<String> = counts.iter().map(|count| format!("of {count}")).collect();
            let drawn = Drawn {
                classes: &names,
                counts: &counts,
                norms_before: Some(&norms),
                norms: &vec![0.5; classes],
                thresholds: GroupThresholds::default(),
            };
            for picture in draw(&drawn).unwrap() {
                assert!(picture.svg.starts_with("<svg") && picture.svg.contains("classes"));
                let pixels = image::load_from_memory(&picture.png).unwrap();
                assert_eq!((pixels.width(), pixels.height()), (SIZE.0 * FINE, SIZE.1 * FINE));
                let blue = pixels.to_rgb8().pixels().filter(|p| p.0 == [0x2e, 0x6f, 0xb7]).count();
                assert!(blue > 100, "{}: {blue}", picture.name);
            }
        }
    }
}
