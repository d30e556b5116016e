//! Where the checkpoint looked in the images that it gets wrong: what speaks for the true class on
//! the left, and for the predicted one on the right.

use counterweight_core::pipeline::SamplePrediction;
use egui::{CornerRadius, Image, Rect, TextureHandle, Ui, vec2};

use super::parts;
use crate::gui::state::{Overlay, Overlays, Thumbnail};
use crate::gui::theme::{space, tokens};
use crate::gui::widgets::colour_bar;

/// Side of a picture, in points.
const SIDE: f32 = 120.0;
/// Width of both pictures of an image.
pub(super) const WIDTH: f32 = 2.0 * SIDE + space::SMALL;

/// The switch, and what the colours mean while it is on.
pub(super) fn switch_ui(ui: &mut Ui, overlays: &mut Overlays) {
    ui.horizontal_wrapped(|ui| {
        let hint = "Shows which places of each image speak for a class, and which against it";
        if parts::chip(ui, overlays.on, "Where it looked").on_hover_text(hint).clicked() {
            overlays.on = !overlays.on;
        }
        if overlays.on && overlays.failure.is_none() {
            ui.add_space(space::MEDIUM);
            colour_bar(ui, "least for the class", "most for the class");
        }
    });
    if !overlays.on {
        return;
    }
    match &overlays.failure {
        Some(reason) => parts::trouble(ui, reason),
        None => parts::weak(
            ui,
            "On the left the places that speak for the true class, on the right for the one it is taken for, in one scale of colours. \
             Where parts are pale, they are cut off before the network sees the image.",
        ),
    }
}

/// Both maps of an image, or the image until they are there. `first` is where the left one stands.
pub(super) fn pair_ui(
    ui: &mut Ui,
    first: Rect,
    overlay: &Overlay,
    thumbnail: &Thumbnail,
    sample: &SamplePrediction,
) {
    let second = first.translate(vec2(SIDE + space::SMALL, 0.0));
    match overlay {
        Overlay::Ready(maps) => {
            // What is right has one map; the image stands beside it.
            match sample.label == sample.predicted {
                true => parts::thumbnail(ui, first, thumbnail),
                false => map_ui(ui, first, &maps[0]),
            }
            map_ui(ui, second, &maps[1]);
        }
        Overlay::Loading => {
            parts::thumbnail(ui, first, thumbnail);
            parts::thumbnail(ui, second, &Thumbnail::Loading);
        }
        Overlay::Broken(reason) => {
            parts::thumbnail(ui, first, thumbnail);
            parts::thumbnail(ui, second, &Thumbnail::Broken(reason.clone()));
        }
    }
}

fn map_ui(ui: &Ui, frame: Rect, map: &TextureHandle) {
    ui.painter().rect_filled(frame, CornerRadius::same(6), tokens(ui.visuals()).sunken);
    let size = map.size_vec2();
    let size = size * (frame.width() / size.max_elem().max(1.0));
    Image::new(map)
        .corner_radius(CornerRadius::same(6))
        .paint_at(ui, Rect::from_center_size(frame.center(), size));
}
