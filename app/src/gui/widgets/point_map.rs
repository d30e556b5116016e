//! Many points in a plane, which can be moved, enlarged, pointed at and encircled.

use std::sync::Arc;

use egui::{
    Color32, ColorImage, Context, CursorIcon, Id, IdSalt, Mesh, Pos2, Rect, Response, Role, Sense,
    Shape, Stroke, StrokeKind, TextureHandle, TextureOptions, Ui, Vec2, WidgetInfo, pos2, vec2,
};

use super::super::theme;

/// How far from a point the pointer may be, in points.
const REACH: f32 = 10.0;
/// Room around the points, as a share of the side.
const MARGIN: f32 = 0.04;
/// How much the view can be enlarged.
const MOST: f32 = 60.0;
/// How far the pointer goes before a line is drawn on, in points.
const STEP: f32 = 3.0;
/// Side of the picture of a point, in pixels.
const DISC: usize = 32;

/// What dragging does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MapTool {
    /// It moves the view.
    #[default]
    Move,
    /// It draws a line around points.
    Select,
}

/// What of the plane is seen, and the line that is being drawn.
#[derive(Clone, Debug, Default)]
pub struct PointMapState {
    /// What dragging does.
    pub tool: MapTool,
    /// How much larger than whole.
    zoom: f32,
    /// How far the middle of the view is from the middle of all, in shares of the side of all.
    moved: Vec2,
    line: Vec<Pos2>,
}

impl PointMapState {
    /// Shows all points.
    pub fn fit(&mut self) {
        (self.zoom, self.moved) = (0.0, Vec2::ZERO);
    }

    /// Enlarges by this factor about the middle of the view.
    pub fn enlarge(&mut self, factor: f32) {
        self.zoom = (self.zoom() * factor).clamp(1.0, MOST);
    }

    /// How much larger than whole.
    pub fn zoom(&self) -> f32 {
        self.zoom.max(1.0)
    }
}

/// Points in a plane.
pub struct PointMap<'a> {
    id: IdSalt,
    title: &'a str,
    places: &'a [[f32; 2]],
    colors: &'a [Color32],
    order: &'a [u32],
    revision: u64,
    height: f32,
}

/// What was done on the map. Points are places in the slice that was shown.
pub struct PointMapResponse {
    /// Of the whole map.
    pub response: Response,
    /// The point under the pointer.
    pub hovered: Option<usize>,
    /// The points that a line was just drawn around.
    pub encircled: Option<Vec<usize>>,
}

impl<'a> PointMap<'a> {
    /// Points at `places` in these colours, those last in `order` on top. They are laid out anew
    /// only when `revision` or the view is another than last time.
    pub fn new(
        id: impl egui::AsIdSalt,
        places: &'a [[f32; 2]],
        colors: &'a [Color32],
        order: &'a [u32],
        revision: u64,
    ) -> Self {
        let id = IdSalt::new(id);
        Self { id, title: "Map", places, colors, order, revision, height: 520.0 }
    }

    /// What it shows.
    pub fn title(mut self, title: &'a str) -> Self {
        self.title = title;
        self
    }

    /// Height of the map, in points.
    pub fn height(mut self, height: f32) -> Self {
        self.height = height;
        self
    }

    /// Draws the map; dragging and zooming change `state`.
    pub fn show(self, ui: &mut Ui, state: &mut PointMapState) -> PointMapResponse {
        let tokens = theme::tokens(ui.visuals());
        let size = vec2(ui.available_width(), self.height);
        let (rect, response) = ui.allocate_exact_size(size, Sense::click_and_drag());
        response.widget_info(|| WidgetInfo::labeled(Role::Image, ui.is_enabled(), self.title));
        let all = Bounds::of(self.places);
        zoom(ui, &response, rect, state);
        let encircled = drag(&response, rect, state).map(|line| {
            let view = View::new(rect, all, state);
            let inside = |&point: &usize| is_inside(&line, view.on_screen(self.places[point]));
            (0..self.places.len()).filter(inside).collect()
        });
        let view = View::new(rect, all, state);
        let painter = ui.painter().with_clip_rect(rect.intersect(ui.clip_rect()));
        painter.rect_filled(rect, 8.0, tokens.sunken);
        if ui.is_rect_visible(rect) {
            let id = ui.make_persistent_id(self.id);
            painter.add(Shape::Mesh(self.mesh(ui.ctx(), id, &view)));
        }
        painter.rect_stroke(rect, 8.0, Stroke::new(1.0, tokens.border), StrokeKind::Inside);
        if state.line.len() > 1 {
            let mut line = state.line.clone();
            line.push(state.line[0]);
            painter.add(Shape::line(line, Stroke::new(1.5, tokens.accent)));
        }
        let pointer = response.hover_pos().filter(|_| !response.dragged());
        let hovered = pointer.and_then(|pointer| self.nearest(&view, pointer));
        if let Some(point) = hovered {
            let at = view.on_screen(self.places[point]);
            painter.circle(
                at,
                view.radius + 3.0,
                self.colors[point],
                Stroke::new(2.0, tokens.text),
            );
        }
        if response.hovered() {
            ui.ctx().set_cursor_icon(match (state.tool, response.dragged()) {
                (MapTool::Select, _) => CursorIcon::Crosshair,
                (MapTool::Move, true) => CursorIcon::Grabbing,
                (MapTool::Move, false) => CursorIcon::Grab,
            });
        }
        PointMapResponse { response, hovered, encircled }
    }

    fn nearest(&self, view: &View, pointer: Pos2) -> Option<usize> {
        let reach = REACH.max(view.radius);
        let mut best = None;
        let mut closest = reach * reach;
        // Of points that lie on one another, the one on top.
        for &point in self.order {
            let far = view.on_screen(self.places[point as usize]).distance_sq(pointer);
            if far <= closest {
                (best, closest) = (Some(point as usize), far);
            }
        }
        best
    }

    /// One mesh of all points in sight.
    fn mesh(&self, ctx: &Context, id: Id, view: &View) -> Arc<Mesh> {
        type Kept = (u64, [u32; 8], Arc<Mesh>);
        let key = view.key();
        let known: Option<Kept> = ctx.data(|data| data.get_temp(id));
        if let Some((revision, of, mesh)) = known
            && (revision, of) == (self.revision, key)
        {
            return mesh;
        }
        let disc = disc(ctx);
        let mut mesh = Mesh::with_texture(disc.id());
        mesh.reserve_vertices(4 * self.order.len());
        mesh.reserve_triangles(2 * self.order.len());
        let room = view.rect.expand(view.radius);
        let whole = Rect::from_min_max(Pos2::ZERO, pos2(1.0, 1.0));
        for &point in self.order {
            let at = view.on_screen(self.places[point as usize]);
            if room.contains(at) {
                let square = Rect::from_center_size(at, Vec2::splat(2.0 * view.radius));
                mesh.add_rect_with_uv(square, whole, self.colors[point as usize]);
            }
        }
        let mesh = Arc::new(mesh);
        let kept: Kept = (self.revision, key, Arc::clone(&mesh));
        ctx.data_mut(|data| data.insert_temp(id, kept));
        mesh
    }
}

/// Where all points lie.
#[derive(Clone, Copy)]
struct Bounds {
    middle: [f32; 2],
    longest: f32,
}

impl Bounds {
    fn of(places: &[[f32; 2]]) -> Self {
        let range = |axis: usize| {
            let values = places.iter().map(move |place| place[axis]);
            values.fold([f32::INFINITY, f32::NEG_INFINITY], |[low, high], value| {
                [low.min(value), high.max(value)]
            })
        };
        let ranges = [range(0), range(1)];
        if places.is_empty() {
            return Self { middle: [0.0; 2], longest: 1.0 };
        }
        let longest = ranges.iter().fold(1e-6_f32, |most, [low, high]| most.max(high - low));
        Self { middle: ranges.map(|[low, high]| (low + high) / 2.0), longest }
    }
}

/// From the plane to the screen.
struct View {
    rect: Rect,
    middle: [f32; 2],
    /// Points on the screen for one of the plane.
    scale: f32,
    moved: Vec2,
    radius: f32,
}

impl View {
    fn new(rect: Rect, all: Bounds, state: &PointMapState) -> Self {
        let side = rect.width().min(rect.height()) * (1.0 - 2.0 * MARGIN);
        let scale = side * state.zoom() / all.longest;
        let moved = state.moved * side * state.zoom();
        let radius = 2.6 * state.zoom().sqrt().min(3.0);
        Self { rect, middle: all.middle, scale, moved, radius }
    }

    fn on_screen(&self, place: [f32; 2]) -> Pos2 {
        let [x, y] = [0, 1].map(|axis| (place[axis] - self.middle[axis]) * self.scale);
        self.rect.center() + vec2(x, y) - self.moved
    }

    fn key(&self) -> [u32; 8] {
        let Self { rect, middle, scale, moved, radius } = self;
        let key = [rect.left(), rect.top(), rect.right(), *scale, moved.x, moved.y, *radius];
        let [a, b, c, d, e, f, g] = key.map(f32::to_bits);
        [a, b, c, d, e, f, g, middle[0].to_bits() ^ rect.bottom().to_bits().rotate_left(7)]
    }
}

/// Enlarges about the pointer: by pinching, or the wheel with Ctrl held, so that the wheel alone
/// still scrolls the page.
fn zoom(ui: &Ui, response: &Response, rect: Rect, state: &mut PointMapState) {
    let Some(pointer) = response.hover_pos() else { return };
    let factor = ui.input(|input| input.zoom_delta());
    if factor == 1.0 {
        return;
    }
    let before = state.zoom();
    state.enlarge(factor);
    // What is under the pointer stays there.
    let side = rect.width().min(rect.height()) * (1.0 - 2.0 * MARGIN);
    let from_middle = (pointer - rect.center()) / side;
    state.moved += from_middle / before - from_middle / state.zoom();
    bound(state);
}

/// Moves the view or draws a line; gives the line back when it is done.
fn drag(response: &Response, rect: Rect, state: &mut PointMapState) -> Option<Vec<Pos2>> {
    let side = rect.width().min(rect.height()) * (1.0 - 2.0 * MARGIN);
    match state.tool {
        MapTool::Move => {
            if response.dragged() {
                state.moved -= response.drag_delta() / (side * state.zoom());
                bound(state);
            }
            state.line.clear();
            None
        }
        MapTool::Select => {
            if let Some(at) = response.interact_pointer_pos().filter(|_| response.dragged()) {
                let at = rect.clamp(at);
                if state.line.last().is_none_or(|last| last.distance(at) >= STEP) {
                    state.line.push(at);
                }
            }
            let done = response.drag_stopped().then(|| std::mem::take(&mut state.line));
            done.filter(|line| line.len() > 2)
        }
    }
}

/// Never so far that nothing is seen.
fn bound(state: &mut PointMapState) {
    let most = 0.5 + MARGIN;
    state.moved = state.moved.clamp(Vec2::splat(-most), Vec2::splat(most));
}

/// Whether a point lies inside a closed line: a ray from it crosses the line an odd number of times.
fn is_inside(line: &[Pos2], point: Pos2) -> bool {
    let ends = line.iter().zip(line.iter().skip(1).chain(line.first()));
    let crossings = ends.filter(|(a, b)| {
        (a.y > point.y) != (b.y > point.y)
            && point.x < (b.x - a.x) * (point.y - a.y) / (b.y - a.y) + a.x
    });
    crossings.count() % 2 == 1
}

/// A white disc with soft edges, which points are coloured copies of.
fn disc(ctx: &Context) -> TextureHandle {
    let id = Id::unique("disc of a point map");
    if let Some(disc) = ctx.data(|data| data.get_temp::<TextureHandle>(id)) {
        return disc;
    }
    let middle = DISC as f32 / 2.0;
    let pixels = (0..DISC * DISC)
        .map(|at| {
            let (x, y) = ((at % DISC) as f32 + 0.5 - middle, (at / DISC) as f32 + 0.5 - middle);
            // Two pixels of the texture are half a pixel on the screen.
            let inside = ((middle - 1.0 - (x * x + y * y).sqrt()) / 3.0).clamp(0.0, 1.0);
            Color32::from_white_alpha((255.0 * inside).round() as u8)
        })
        .collect();
    let image = ColorImage::new([DISC, DISC], pixels);
    let disc = ctx.load_texture("disc", image, TextureOptions::LINEAR);
    ctx.data_mut(|data| data.insert_temp(id, disc.clone()));
    disc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encircled_is_inside() {
        let line =
            [pos2(0.0, 0.0), pos2(10.0, 0.0), pos2(10.0, 10.0), pos2(5.0, 4.0), pos2(0.0, 10.0)];
        assert!(is_inside(&line, pos2(5.0, 2.0)) && is_inside(&line, pos2(1.0, 7.0)));
        assert!(!is_inside(&line, pos2(5.0, 8.0)) && !is_inside(&line, pos2(-1.0, 5.0)));
        assert!(!is_inside(&[], pos2(0.0, 0.0)));
    }

    #[test]
    fn all_points_are_in_sight_until_the_view_is_enlarged() {
        let rect = Rect::from_min_size(pos2(100.0, 50.0), vec2(400.0, 300.0));
        let places = [[-3.0, 2.0], [9.0, 2.5], [1.0, -1.0]];
        let mut state = PointMapState::default();
        let view = View::new(rect, Bounds::of(&places), &state);
        assert!(places.iter().all(|place| rect.contains(view.on_screen(*place))));
        state.enlarge(1000.0);
        assert_eq!(state.zoom(), MOST);
        let view = View::new(rect, Bounds::of(&places), &state);
        assert!(places.iter().filter(|place| rect.contains(view.on_screen(**place))).count() < 3);
        state.fit();
        assert_eq!(state.zoom(), 1.0);
        // One point, and none, have a view as well.
        for places in [&places[..1], &[]] {
            assert!(View::new(rect, Bounds::of(places), &state).scale.is_finite());
        }
    }
}
