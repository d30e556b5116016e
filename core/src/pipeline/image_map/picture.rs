//! The map as a picture.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::super::font::{self, FONT};
use super::{ImageMap, MapPoint};
use crate::error::{ModelError, Result};
use crate::eval::Group;
use crate::source::Split;

/// Pixels of the picture, of the square that the map is drawn in, and around it.
const SIZE: (u32, u32) = (1720, 1400);
const MAP: f32 = 1320.0;
const MARGIN: i32 = 40;
/// Classes that the legend names; of more, the largest.
const NAMED: usize = 40;
const TEXT: [u8; 3] = [0x1b, 0x1f, 0x24];
const WEAK: [u8; 3] = [0x59, 0x61, 0x6b];
const GREY: [u8; 3] = [0xc4, 0xc9, 0xd1];

/// What the colours of points say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapColours {
    /// The class of each image.
    Class,
    /// The group of its class.
    Group,
    /// Whether it is taken for another class.
    Mistake,
    /// What it is used for.
    Split,
}

impl MapColours {
    /// All of them.
    pub const ALL: [MapColours; 4] =
        [MapColours::Class, MapColours::Group, MapColours::Mistake, MapColours::Split];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            MapColours::Class => "class",
            MapColours::Group => "group",
            MapColours::Mistake => "mistake",
            MapColours::Split => "split",
        }
    }
}

/// The lines of the legend.
type Legend = Vec<(String, [u8; 3])>;
/// The colour of a point.
type Colour<'a> = Box<dyn Fn(&MapPoint) -> [u8; 3] + 'a>;

/// Draws the map as a PNG, with a legend.
///
/// # Errors
/// If it cannot be drawn.
pub fn map_picture(map: &ImageMap, colours: MapColours) -> Result<Vec<u8>> {
    font::register();
    draw(map, colours)
        .map_err(|reason| ModelError::Export(format!("the map cannot be drawn: {reason}")).into())
}

fn draw(map: &ImageMap, colours: MapColours) -> Result<Vec<u8>, String> {
    let (legend, colour) = legend(map, colours);
    let mut order: Vec<&MapPoint> = map.points.iter().collect();
    // Mistakes and rare classes on top, where they are seen.
    order.sort_by_key(|point| {
        let rare = std::cmp::Reverse(map.train_counts[point.label]);
        (colours == MapColours::Mistake && point.is_mistake(), rare)
    });
    let place = placing(map);
    let radius = match map.points.len() {
        0..2_000 => 5,
        2_000..12_000 => 4,
        _ => 3,
    };
    let mut pixels = vec![255; (3 * SIZE.0 * SIZE.1) as usize];
    {
        let area = BitMapBackend::with_buffer(&mut pixels, SIZE).into_drawing_area();
        let said = |error: DrawingAreaErrorKind<_>| error.to_string();
        let rgb = |[red, green, blue]: [u8; 3]| RGBColor(red, green, blue);
        for point in order {
            let style = rgb(colour(point)).mix(0.75).filled();
            area.draw(&Circle::new(place(point), radius, style)).map_err(said)?;
        }
        let write = |text: &str, size: u32, color: [u8; 3], at: (i32, i32)| {
            let style =
                (FONT, size).into_font().color(&rgb(color)).pos(Pos::new(HPos::Left, VPos::Top));
            area.draw_text(text, &style, at).map_err(said)
        };
        let left = SIZE.0 as i32 - 320;
        write(&format!("by {}", colours.name()), 22, TEXT, (left, MARGIN))?;
        for (line, (name, color)) in (0..).zip(&legend) {
            let top = MARGIN + 40 + 31 * line;
            area.draw(&Circle::new((left + 9, top + 6), 8, rgb(*color).filled())).map_err(said)?;
            let name: String = name.chars().filter(|c| !c.is_control()).collect();
            let short = match name.chars().count() {
                0..=30 => name,
                _ => name.chars().take(29).chain(['…']).collect(),
            };
            write(&short, 18, TEXT, (left + 28, top))?;
        }
        let more = match colours {
            MapColours::Class if map.classes.len() > NAMED => {
                format!("and {} smaller classes in grey", map.classes.len() - NAMED)
            }
            _ => String::new(),
        };
        if !more.is_empty() {
            write(&more, 17, WEAK, (left, MARGIN + 44 + 31 * legend.len() as i32))?;
        }
        area.present().map_err(said)?;
    }
    let mut png = Vec::new();
    image::ImageEncoder::write_image(
        image::codecs::png::PngEncoder::new(&mut png),
        &pixels,
        SIZE.0,
        SIZE.1,
        image::ExtendedColorType::Rgb8,
    )
    .map_err(|error| error.to_string())?;
    Ok(png)
}

/// From the plane to the picture, both axes in one scale.
fn placing(map: &ImageMap) -> impl Fn(&MapPoint) -> (i32, i32) {
    let bounds = [0, 1].map(|axis| {
        let values = map.points.iter().map(move |point| point.place[axis]);
        values.fold([f32::INFINITY, f32::NEG_INFINITY], |[low, high], value| {
            [low.min(value), high.max(value)]
        })
    });
    let longest = bounds.iter().fold(1e-6_f32, |most, [low, high]| most.max(high - low));
    move |point: &MapPoint| {
        let [x, y] = [0, 1].map(|axis| {
            let [low, high] = bounds[axis];
            let share = (point.place[axis] - (low + high) / 2.0) / longest + 0.5;
            MARGIN + (share * MAP) as i32
        });
        (x, y)
    }
}

fn legend(map: &ImageMap, colours: MapColours) -> (Legend, Colour<'_>) {
    match colours {
        MapColours::Class => {
            let mut order: Vec<usize> = (0..map.classes.len()).collect();
            order.sort_by_key(|&class| std::cmp::Reverse(map.train_counts[class]));
            order.truncate(NAMED);
            let mut of = vec![GREY; map.classes.len()];
            let legend = order
                .iter()
                .enumerate()
                .map(|(at, &class)| {
                    of[class] = hue(at);
                    (map.classes[class].clone(), of[class])
                })
                .collect();
            (legend, Box::new(move |point| of[point.label]))
        }
        MapColours::Group => {
            let colour = |group: Group| match group {
                Group::Many => [0x2e, 0x6f, 0xb7],
                Group::Medium => [0xb9, 0x83, 0x00],
                Group::Few => [0xa8, 0x26, 0x5c],
            };
            let legend =
                Group::ALL.into_iter().map(|group| (group.name().into(), colour(group))).collect();
            (legend, Box::new(move |point| colour(map.group(point.label))))
        }
        MapColours::Mistake => {
            let colours = [GREY, [0xc0, 0x26, 0x33]];
            let legend = ["right", "taken for another class"].map(String::from);
            let legend = legend.into_iter().zip(colours).collect();
            (legend, Box::new(move |point| colours[usize::from(point.is_mistake())]))
        }
        MapColours::Split => {
            let colour = |split: Split| match split {
                Split::Train => [0x9a, 0xa3, 0xb0],
                Split::Validation => [0x4f, 0x46, 0xc8],
                Split::Test => [0xdb, 0x7d, 0x20],
            };
            let there = |split: &Split| map.points.iter().any(|point| point.split == *split);
            let legend = Split::ALL.into_iter().filter(there);
            let legend = legend.map(|split| (split.name().into(), colour(split))).collect();
            (legend, Box::new(move |point| colour(point.split)))
        }
    }
}

/// A colour for each of many things: steps of the golden angle around the circle of hues, in three
/// lightnesses.
fn hue(index: usize) -> [u8; 3] {
    let turn = (index as f32 * 0.618_034).fract() * 6.0;
    let value = [0.85, 0.62, 0.42][index % 3];
    let saturation = [0.75, 0.85, 0.8][index % 3];
    let channel = |own: f32| {
        let apart = (turn - own).abs();
        let apart = apart.min(6.0 - apart);
        let full = (2.0 - apart).clamp(0.0, 1.0);
        (255.0 * value * (1.0 - saturation * (1.0 - full))).round() as u8
    };
    [channel(0.0), channel(2.0), channel(4.0)]
}
