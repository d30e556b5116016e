//! A picture to keep: an image, its maps beside it, and what the colours mean.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::super::font::{self, FONT, TEXT, WEAK};
use super::{ActivationMap, ActivationScale, colour, overlay};
use crate::error::{ModelError, Result};
use crate::images::RgbPixels;

/// Longest side of a picture on a sheet, in pixels, at least: smaller ones are enlarged by a whole
/// number, so that their pixels can be seen.
const LEAST: u32 = 360;
/// Pixels around and between pictures, of a line of text, and of the bar of colours.
const MARGIN: u32 = 24;
const LINE: u32 = 26;
const BAR: u32 = 18;
/// Pixels of the bar of colours with its numbers.
const LEGEND: u32 = 150;
const SIZE: u32 = 17;
const SMALL: u32 = 14;

/// Draws an image with maps of it side by side, all in one scale of colours, as a PNG. Each map
/// stands under its title, two lines.
///
/// # Errors
/// If it cannot be drawn.
pub fn sheet(
    picture: &RgbPixels,
    title: [&str; 2],
    maps: &[(ActivationMap, [String; 2])],
) -> Result<Vec<u8>> {
    font::register();
    draw(picture, title, maps)
        .map_err(|reason| ModelError::Export(format!("the maps cannot be drawn: {reason}")).into())
}

fn draw(
    picture: &RgbPixels,
    title: [&str; 2],
    maps: &[(ActivationMap, [String; 2])],
) -> Result<Vec<u8>, String> {
    let picture = enlarged(picture);
    let (wide, high) = (picture.width.max(LEAST), picture.height);
    let count = maps.len() as u32 + 1;
    let top = MARGIN + 2 * LINE + 8;
    let width = MARGIN + count * (wide + MARGIN) + LEGEND;
    let height = (top + high + MARGIN).max(top + 8 * LINE);
    let mut pixels = vec![255; (3 * width * height) as usize];
    let scale = ActivationScale::of(maps.iter().map(|(map, _)| map));
    let place = |column: u32| MARGIN + column * (wide + MARGIN);
    // Pictures stand in the middle of their columns.
    let inset = (wide - picture.width) / 2;
    paste(&mut pixels, width, &picture, [place(0) + inset, top]);
    for (column, (map, _)) in (1..).zip(maps) {
        paste(
            &mut pixels,
            width,
            &overlay::overlay(&picture, map, scale),
            [place(column) + inset, top],
        );
    }
    let bar = [place(count), place(count) + BAR];
    for y in 0..high {
        let [red, green, blue] = colour::ramp(1.0 - (y as f32 + 0.5) / high as f32);
        for x in bar[0]..bar[1] {
            let at = 3 * ((top + y) * width + x) as usize;
            pixels[at..at + 3].copy_from_slice(&[red, green, blue]);
        }
    }
    {
        let area = BitMapBackend::with_buffer(&mut pixels, (width, height)).into_drawing_area();
        let said = |error: DrawingAreaErrorKind<_>| error.to_string();
        let write = |text: &str, size: u32, color: &RGBColor, [x, y]: [u32; 2], room: u32| {
            let text = fitting(text, room, size);
            let style = (FONT, size).into_font().color(color).pos(Pos::new(HPos::Left, VPos::Top));
            area.draw_text(&text, &style, (x as i32, y as i32)).map_err(said)
        };
        let titles = std::iter::once(title)
            .chain(maps.iter().map(|(_, [first, second])| [first.as_str(), second.as_str()]));
        for (column, [first, second]) in (0..).zip(titles) {
            write(first, SIZE, &TEXT, [place(column), MARGIN], wide)?;
            write(second, SMALL, &WEAK, [place(column), MARGIN + LINE], wide)?;
        }
        let beside = bar[1] + 8;
        let room = LEGEND - BAR - 8;
        write("says for it", SMALL, &WEAK, [beside, top], room)?;
        write(&format!("{:.1}", scale.high), SMALL, &TEXT, [beside, top + 20], room)?;
        if scale.low < 0.0 && scale.high > 0.0 {
            let y = top + (high as f32 * (1.0 - scale.share(0.0))) as u32;
            if (top + 48..top + high.saturating_sub(56)).contains(&y) {
                write("0", SMALL, &TEXT, [beside, y - 8], room)?;
            }
        }
        let low = top + high.saturating_sub(42).max(48);
        write(&format!("{:.1}", scale.low), SMALL, &TEXT, [beside, low], room)?;
        let word = if scale.low < 0.0 { "against it" } else { "least" };
        write(word, SMALL, &WEAK, [beside, low + 20], room)?;
        area.present().map_err(said)?;
    }
    let mut png = Vec::new();
    image::ImageEncoder::write_image(
        image::codecs::png::PngEncoder::new(&mut png),
        &pixels,
        width,
        height,
        image::ExtendedColorType::Rgb8,
    )
    .map_err(|error| error.to_string())?;
    Ok(png)
}

/// A picture that is small, a whole number of times as large.
fn enlarged(picture: &RgbPixels) -> RgbPixels {
    let times = LEAST.div_ceil(picture.width.max(picture.height)).max(1);
    if times == 1 {
        return picture.clone();
    }
    let (width, height) = (picture.width * times, picture.height * times);
    let row = |y: u32| {
        let start = (y / times * picture.width) as usize * 3;
        let row = &picture.data[start..start + picture.width as usize * 3];
        row.as_chunks::<3>().0.iter().flat_map(move |pixel| (0..times).flat_map(|_| *pixel))
    };
    RgbPixels { width, height, data: (0..height).flat_map(row).collect() }
}

fn paste(pixels: &mut [u8], width: u32, picture: &RgbPixels, [left, top]: [u32; 2]) {
    let length = picture.width as usize * 3;
    for (y, row) in picture.data.chunks_exact(length).enumerate() {
        let at = 3 * ((top as usize + y) * width as usize + left as usize);
        pixels[at..at + length].copy_from_slice(row);
    }
}

/// A text without what cannot be drawn, cut off where it would be wider than there is room.
fn fitting(text: &str, room: u32, size: u32) -> String {
    let width = |text: &str| (FONT, size).into_font().box_size(text).map_or(0, |(width, _)| width);
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    if width(&text) <= room {
        return text;
    }
    let letters: Vec<char> = text.chars().collect();
    let fits = |count: &usize| {
        let short: String = letters[..*count].iter().collect();
        width(&format!("{short}…")) <= room
    };
    let most = (0..letters.len().min(400)).rev().find(fits).unwrap_or(0);
    letters[..most].iter().chain(&['…']).collect()
}
