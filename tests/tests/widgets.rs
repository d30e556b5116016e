//! The window's widgets under the hands of a user: pointer, wheel, keyboard and screen reader.

use std::borrow::Cow;

use counterweight_app::gui::theme;
use counterweight_app::gui::widgets::*;
use counterweight_core::eval::{Confusion, Group};
use egui::{Color32, Event, Key, Modifiers, MouseWheelUnit, Pos2, Rect, Ui, Vec2, pos2, vec2};
use egui_kittest::Harness;
use egui_kittest::kittest::{NodeT as _, Queryable};

fn harness<'a, State>(
    state: State,
    ui: impl FnMut(&mut Ui, &mut State) + 'a,
) -> Harness<'a, State> {
    Harness::builder()
        .with_size(Vec2::new(700.0, 520.0))
        .with_context_setup(theme::install)
        .build_ui_state(ui, state)
}

fn click<State>(harness: &mut Harness<State>, at: Pos2) {
    harness.hover_at(at);
    harness.run();
    harness.drag_at(at);
    harness.run();
    harness.event(Event::PointerButton {
        pos: at,
        button: egui::PointerButton::Primary,
        pressed: false,
        modifiers: Modifiers::NONE,
    });
    harness.run();
}

/// A place in a rectangle, in shares of its width and height.
fn within(rect: Rect, x: f32, y: f32) -> Pos2 {
    rect.min + vec2(x, y) * rect.size()
}

const NAMES: [&str; 5] = ["ant", "bee", "cat", "dog", "eel"];
const COUNTS: [f64; 5] = [10.0, 500.0, 100.0, 50.0, 5.0];

fn class_bars() -> Vec<ClassBar<'static>> {
    let bar =
        |(name, count)| ClassBar { name, count, ghost: None, group: Group::Medium, dimmed: false };
    NAMES.into_iter().zip(COUNTS).map(bar).collect()
}

const DISTRIBUTION: &str = "Class distribution, 5 classes, imbalance factor 100";

#[test]
fn a_click_on_a_bar_names_its_class_and_arrows_go_on_from_there() {
    let mut harness = harness(None, |ui, selected: &mut Option<usize>| {
        let bars = class_bars();
        let result = ClassBars::new(&bars).selected(*selected).show(ui);
        *selected = result.clicked.or(*selected);
    });
    let rect = harness.get_by_label(DISTRIBUTION).rect();
    // Largest first: bee, cat, dog, ant, eel.
    click(&mut harness, within(rect, 0.98, 0.5));
    assert_eq!(*harness.state(), Some(4));
    harness.key_press(Key::ArrowLeft);
    harness.run();
    assert_eq!(*harness.state(), Some(0));
    harness.key_press(Key::Home);
    harness.run();
    assert_eq!(*harness.state(), Some(1));
    harness.key_press(Key::ArrowLeft);
    harness.run();
    assert_eq!(*harness.state(), Some(1), "there is nothing before the first bar");
}

#[test]
fn the_tooltip_of_a_bar_has_its_numbers() {
    let mut harness = harness((), |ui, ()| {
        let mut bars = class_bars();
        bars[1].ghost = Some(5000.0);
        ClassBars::new(&bars).unit("photographs").show(ui);
    });
    let rect = harness.get_by_label(DISTRIBUTION).rect();
    harness.hover_at(within(rect, 0.15, 0.5));
    harness.run();
    for text in ["bee", "photographs", "500", "5,000", "medium"] {
        assert!(harness.query_by_label(text).is_some(), "{text}");
    }
}

#[test]
fn dragging_the_top_of_a_bar_gives_new_counts_on_a_scale_that_holds_still() {
    #[derive(Default)]
    struct State {
        counts: Vec<f64>,
        stopped: usize,
    }
    let state = State { counts: COUNTS.to_vec(), stopped: 0 };
    let mut harness = harness(state, |ui, state: &mut State| {
        let mut bars = class_bars();
        bars.iter_mut().zip(&state.counts).for_each(|(bar, count)| bar.count = *count);
        let result = ClassBars::new(&bars).title("Preview").draggable(true).show(ui);
        if let Some((class, count)) = result.dragged {
            state.counts[class] = count;
        }
        state.stopped += usize::from(result.drag_stopped);
    });
    let rect = harness.get_by_label_contains("Preview").rect();
    let at = |y: f32| within(rect, 0.15, y);
    harness.hover_at(at(0.2));
    harness.run();
    harness.drag_at(at(0.2));
    harness.run();
    let mut before = f64::INFINITY;
    for y in [0.5, 0.7, 0.8] {
        harness.hover_at(at(y));
        harness.run();
        // The largest class stays the one that is dragged even when it is no longer the largest.
        let count = harness.state().counts[1];
        assert!(count < before, "{count} after {before}");
        before = count;
    }
    assert!(before < 200.0, "{before}");
    harness.hover_at(within(rect, 0.15, 1.2));
    harness.run();
    harness.drop_at(within(rect, 0.15, 1.2));
    harness.run();
    assert_eq!(harness.state().counts, [10.0, 0.0, 100.0, 50.0, 5.0]);
    assert_eq!(harness.state().stopped, 1);
}

#[test]
fn a_thousand_classes_are_still_found_one_by_one() {
    let names: Vec<String> = (0..1000).map(|i| format!("class {i}")).collect();
    let mut harness = harness(None, |ui, hovered: &mut Option<usize>| {
        let bar = |(i, name)| ClassBar {
            name,
            count: (1000 - i) as f64,
            ghost: None,
            group: Group::Many,
            dimmed: false,
        };
        let bars: Vec<ClassBar> = names.iter().map(String::as_str).enumerate().map(bar).collect();
        *hovered = ClassBars::new(&bars).show(ui).hovered;
    });
    let rect =
        harness.get_by_label("Class distribution, 1,000 classes, imbalance factor 1,000").rect();
    harness.hover_at(within(rect, 0.999, 0.5));
    harness.run();
    assert!(harness.state().is_some_and(|class| class >= 998), "{:?}", harness.state());
    harness.hover_at(within(rect, 0.5, 0.5));
    harness.run();
    assert!(
        harness.state().is_some_and(|class| (450..550).contains(&class)),
        "{:?}",
        harness.state()
    );
}

#[test]
fn charts_leave_the_wheel_to_the_page() {
    let mut harness = harness(0.0, |ui, offset: &mut f32| {
        let output = egui::ScrollArea::vertical().show(ui, |ui| {
            let bars = class_bars();
            let line = [[0.0, 1.0], [1.0, 2.0]];
            let series = Series { name: "loss", color: Color32::RED, points: &line, dashed: false };
            ClassBars::new(&bars).show(ui);
            LineChart::new("loss", "loss").series(series).show(ui);
            ui.add_space(2000.0);
        });
        *offset = output.state.clamped_offset().y;
    });
    let mut scrolled = 0.0;
    for chart in [DISTRIBUTION, "loss by epoch: loss, 2 points"] {
        let at = harness.get_by_label(chart).rect().center();
        harness.hover_at(at);
        harness.event(Event::MouseWheel {
            unit: MouseWheelUnit::Point,
            delta: vec2(0.0, -40.0),
            phase: egui::TouchPhase::Move,
            source: egui::MouseWheelSource::Wheel,
            modifiers: Modifiers::NONE,
        });
        harness.run_steps(8);
        assert!(*harness.state() > scrolled, "{chart}");
        scrolled = *harness.state();
    }
}

#[test]
fn a_click_in_the_legend_hides_a_curve_and_another_shows_it() {
    let train = [[1.0, 0.5], [2.0, 0.75]];
    let validation = [[1.0, 0.25], [2.0, 0.375]];
    let mut harness = harness((), |ui, ()| {
        let series = |name, points| Series { name, color: Color32::RED, points, dashed: false };
        LineChart::new("accuracy", "accuracy")
            .series(series("training", &train))
            .series(series("validation", &validation))
            .y_percent(true)
            .show(ui);
    });
    let plot = harness.get_by_label_contains("accuracy by epoch").rect();
    let shown = |harness: &mut Harness, value: &str| {
        harness.hover_at(within(plot, 0.98, 0.5));
        harness.run();
        harness.query_by_label(value).is_some()
    };
    assert!(shown(&mut harness, "75.0 %") && shown(&mut harness, "37.5 %"));
    let chip = harness
        .get_all_by_label("training")
        .find(|node| node.accesskit_node().toggled().is_some())
        .unwrap()
        .rect()
        .center();
    click(&mut harness, chip);
    assert!(!shown(&mut harness, "75.0 %") && shown(&mut harness, "37.5 %"));
    click(&mut harness, chip);
    assert!(shown(&mut harness, "75.0 %"));
}

const COLUMNS: [Column; 2] = [
    Column { title: "class", numeric: false, width: 0.0 },
    Column { title: "images", numeric: true, width: 100.0 },
];

#[derive(Default)]
struct Table {
    state: TableState,
    clicked: Option<usize>,
    opened: Option<usize>,
    asked: std::cell::Cell<usize>,
}

fn table(ui: &mut Ui, table: &mut Table, rows: usize) {
    let name = |row: usize| {
        NAMES
            .get(row)
            .map_or_else(|| Cow::Owned(format!("class {row}")), |name| Cow::Borrowed(*name))
    };
    let count = |row: usize| COUNTS.get(row).copied().unwrap_or(row as f64);
    let asked = &table.asked;
    let result = DataTable::new("classes", &COLUMNS, rows, 1)
        .title("Classes")
        .search("Search classes")
        .show(
            ui,
            &mut table.state,
            |row, column| {
                asked.set(asked.get() + 1);
                if column == 0 { name(row) } else { Cow::Owned(count(row).to_string()) }
            },
            |row, column| {
                if column == 0 { SortKey::Text(name(row)) } else { SortKey::Number(count(row)) }
            },
        );
    table.clicked = result.clicked.or(table.clicked);
    table.opened = result.opened.or(table.opened);
}

#[test]
fn a_table_is_sorted_by_its_headings() {
    let mut harness = harness(Table::default(), |ui, state: &mut Table| table(ui, state, 5));
    assert_eq!(harness.state().state.order(), [0, 1, 2, 3, 4]);
    for order in [[1, 2, 3, 0, 4], [4, 0, 3, 2, 1], [0, 1, 2, 3, 4]] {
        harness.get_by_label("Sort by images").click();
        harness.run();
        assert_eq!(harness.state().state.order(), order);
    }
}

#[test]
fn a_table_is_searched_and_the_search_cleared() {
    let mut harness = harness(Table::default(), |ui, state: &mut Table| table(ui, state, 5));
    harness.get_by_label("Search classes").click();
    harness.run();
    harness.get_by_label("Search classes").type_text("E");
    harness.run();
    assert_eq!(harness.state().state.order(), [1, 4]);
    harness.run();
    assert!(harness.query_by_label("2 of 5").is_some());
    harness.get_by_label("Search classes").type_text("xyz");
    harness.run();
    assert!(harness.query_by_label("No row matches the search").is_some());
    harness.get_by_label("Clear the search").click();
    harness.run();
    assert_eq!(harness.state().state.order().len(), 5);
}

#[test]
fn rows_are_chosen_with_pointer_and_keyboard_in_the_order_on_screen() {
    let state = Table { state: TableState::sorted_by(1, true), ..Table::default() };
    let mut harness = harness(state, |ui, state: &mut Table| table(ui, state, 5));
    let row = harness.get_by_label("cat").rect().center();
    click(&mut harness, row);
    assert_eq!(harness.state().clicked, Some(2));
    assert_eq!(harness.state().state.selected, Some(2));
    for (key, row) in [
        (Key::ArrowDown, 3),
        (Key::ArrowDown, 0),
        (Key::ArrowUp, 3),
        (Key::End, 4),
        (Key::ArrowDown, 4),
        (Key::Home, 1),
    ] {
        harness.key_press(key);
        harness.run();
        assert_eq!(harness.state().state.selected, Some(row), "{key:?}");
    }
    harness.key_press(Key::Enter);
    harness.run();
    assert_eq!(harness.state().opened, Some(1));
}

#[test]
fn a_table_of_a_hundred_thousand_rows_asks_only_for_those_in_sight() {
    let mut harness = harness(Table::default(), |ui, state: &mut Table| table(ui, state, 100_000));
    harness.run();
    harness.state().asked.set(0);
    harness.step();
    assert!((1..100).contains(&harness.state().asked.get()), "{}", harness.state().asked.get());
    let row = harness.get_by_label("cat").rect().center();
    click(&mut harness, row);
    harness.key_press(Key::End);
    harness.run();
    assert_eq!(harness.state().state.selected, Some(99_999));
    harness.run();
    assert!(harness.query_by_label("class 99999").is_some(), "the last row has come into sight");
}

fn labels() -> Vec<ClassLabel<'static>> {
    NAMES
        .into_iter()
        .zip(COUNTS)
        .map(|(name, count)| ClassLabel { name, count: count as u64, group: Group::Few })
        .collect()
}

#[test]
fn a_cell_of_the_confusion_matrix_names_its_pair() {
    let mut counts = vec![vec![0; 5]; 5];
    (0..5).for_each(|i| counts[i][i] = 80);
    counts[2][3] = 20;
    let counts = Confusion::from_dense(&counts).unwrap();
    let mut harness = harness(None, |ui, clicked: &mut Option<(usize, usize)>| {
        let labels = labels();
        let result = ConfusionMatrix::new("confusion", &counts, &labels, 1).size(400.0).show(ui);
        *clicked = result.clicked.or(*clicked);
    });
    let cells = harness.get_by_label("Confusion matrix, 5 classes, 95.2 % correct").rect();
    click(&mut harness, within(cells, 0.7, 0.5));
    assert_eq!(*harness.state(), Some((2, 3)));
    assert!(harness.query_by_label("20 of 100 (20.0 %)").is_some());

    // From near, the middle of the matrix fills the window.
    for _ in 0..4 {
        harness.get_by_label("Zoom in").click();
        harness.run();
    }
    click(&mut harness, within(cells, 0.9, 0.9));
    assert_eq!(*harness.state(), Some((2, 2)));
    harness.get_by_label("Show the whole matrix").click();
    harness.run();
    click(&mut harness, within(cells, 0.9, 0.9));
    assert_eq!(*harness.state(), Some((4, 4)));
}

#[test]
fn the_wheel_with_ctrl_looks_closer_and_dragging_looks_elsewhere() {
    let counts = Confusion::from_dense(&vec![vec![1; 5]; 5]).unwrap();
    let mut harness = harness(None, |ui, hovered: &mut Option<(usize, usize)>| {
        let labels = labels();
        *hovered =
            ConfusionMatrix::new("confusion", &counts, &labels, 1).size(400.0).show(ui).hovered;
    });
    let cells = harness.get_by_label_contains("Confusion matrix").rect();
    let corner = within(cells, 0.99, 0.99);
    harness.hover_at(corner);
    harness.run();
    harness.event(Event::MouseWheel {
        unit: MouseWheelUnit::Point,
        delta: vec2(0.0, 400.0),
        phase: egui::TouchPhase::Move,
        source: egui::MouseWheelSource::Wheel,
        modifiers: Modifiers::CTRL,
    });
    harness.run_steps(20);
    assert_eq!(*harness.state(), Some((4, 4)), "what is under the pointer stays there");
    harness.hover_at(within(cells, 0.01, 0.01));
    harness.run();
    let (row, column) = harness.state().unwrap();
    assert!(row > 0 && column > 0, "the first class is out of sight: {row}, {column}");
    harness.drag_at(within(cells, 0.01, 0.01));
    harness.run();
    harness.hover_at(within(cells, 20.0, 0.01));
    harness.run();
    harness.drop_at(within(cells, 20.0, 0.01));
    harness.run();
    harness.hover_at(within(cells, 0.01, 0.01));
    harness.run();
    assert_eq!(*harness.state(), Some((row, 0)));
}

#[test]
fn the_tooltip_of_the_heat_map_follows_a_new_revision() {
    let mut harness = harness((1, 0.25f32), |ui, (revision, value): &mut (u64, f32)| {
        let labels = labels();
        HeatMap::new("norms", &labels, &[3], &[0.5, 0.75, 0.5, 0.5, *value], *revision).show(ui);
    });
    let rect = harness.get_by_label("Class weight norms by epoch, 5 classes, epochs 3 to 3").rect();
    assert!(harness.query_by_label("eel").is_none());
    harness.hover_at(within(rect, 0.8, 0.5));
    harness.run();
    for text in ["eel", "3", "0.25"] {
        assert!(harness.query_by_label(text).is_some(), "{text}");
    }
    *harness.state_mut() = (2, 0.125);
    harness.run();
    assert!(harness.query_by_label("0.125").is_some());
}

#[test]
fn a_changed_setting_can_be_reset_and_its_control_has_its_name() {
    let mut harness = harness(7u32, |ui, value: &mut u32| {
        let row = SettingRow {
            label: "Epochs",
            explanation: "How often every image is seen.",
            default_text: "200",
            changed: *value != 200,
            error: (*value == 0).then_some("at least one epoch is needed"),
        };
        if setting_row(ui, row, |ui| ui.add(egui::DragValue::new(value))).reset {
            *value = 200;
        }
    });
    assert!(harness.query_by_role_and_label(egui::accesskit::Role::SpinButton, "Epochs").is_some());
    *harness.state_mut() = 0;
    harness.run();
    assert!(harness.query_by_label("at least one epoch is needed").is_some());
    harness.get_by_label("Reset Epochs to 200").click();
    harness.run();
    assert_eq!(*harness.state(), 200);
    harness.run();
    assert!(harness.query_by_label("Reset Epochs to 200").is_none());
    assert!(harness.query_by_label("How often every image is seen. Default: 200.").is_some());
}

#[test]
fn a_job_is_stopped_once() {
    let mut harness = harness((0, false), |ui, (stops, stopping): &mut (usize, bool)| {
        let strip = ProgressStrip {
            phase: "Scanning",
            done: 5,
            total: Some(10),
            unit: "images",
            left: None,
            stopping: *stopping,
        };
        if strip.show(ui).stop {
            (*stops, *stopping) = (*stops + 1, true);
        }
    });
    harness.get_by_label_contains("Stop").click();
    harness.run();
    harness.get_by_label("Stopping…").click();
    harness.run();
    assert_eq!(harness.state().0, 1);
}

#[test]
fn charts_without_data_say_so() {
    let harness = harness((), |ui, ()| {
        ClassBars::new(&[]).height(60.0).show(ui);
        NormBars::new(&[]).height(60.0).show(ui);
        LineChart::new("loss", "loss").height(60.0).show(ui);
        HeatMap::new("norms", &[], &[], &[], 0).height(60.0).show(ui);
        Scatter::new(&[]).height(60.0).show(ui);
        Reliability::new(&[], 0.0).height(60.0).show(ui);
        ConfusionMatrix::new("confusion", &Confusion::default(), &[], 0).size(60.0).show(ui);
    });
    for name in [
        "Class distribution",
        "Class weight norms:",
        "loss",
        "norms by epoch",
        "by class count",
        "Reliability",
        "Confusion",
    ] {
        assert!(harness.query_by_label_contains(name).is_some(), "{name}");
    }
}

#[test]
fn thousands_of_classes_are_columns_that_say_what_is_in_them() {
    let points: Vec<ScatterPoint<'static>> = (0..3000_u64)
        .map(|class| ScatterPoint {
            class: ClassLabel { name: "a", count: 2 + class / 3, group: Group::Many },
            accuracy: (class % 10) as f64 / 10.0,
            before: Some(0.3),
        })
        .collect();
    assert!(!Scatter::has_dots(points.len()) && Scatter::has_dots(1000));
    let mut harness = harness(points, |ui, points| _ = Scatter::new(points).height(240.0).show(ui));
    harness.hover_at(pos2(500.0, 100.0));
    harness.run_steps(20);
    assert!(harness.query_by_label("mean accuracy before").is_some());
    assert!(harness.query_by_label("eight in ten").is_some());
}

#[test]
fn charts_bear_numbers_that_are_none() {
    let nan = f64::NAN;
    let points = [[1.0, nan], [2.0, 0.5], [nan, nan], [3.0, f64::INFINITY]];
    let mut harness = harness((), |ui, ()| {
        let bars = [ClassBar {
            name: "a",
            count: nan,
            ghost: Some(nan),
            group: Group::Few,
            dimmed: false,
        }];
        ClassBars::new(&bars).height(100.0).log(true).show(ui);
        let norms = [NormBar {
            name: "a",
            group: Group::Few,
            count: 0,
            before: f32::NAN,
            after: Some(f32::INFINITY),
        }];
        NormBars::new(&norms).height(100.0).radius(Some(f32::NAN), "radius").show(ui);
        LineChart::new("loss", "loss")
            .height(140.0)
            .series(Series { name: "a", color: Color32::RED, points: &points, dashed: true })
            .show(ui);
        let labels = labels();
        HeatMap::new("norms", &labels, &[1], &[f32::NAN; 5], 0).height(100.0).show(ui);
        Scatter::new(&[ScatterPoint { class: labels[0], accuracy: nan, before: Some(nan) }])
            .height(140.0)
            .show(ui);
    });
    for x in [100.0, 350.0, 690.0] {
        for y in (0..520).step_by(20) {
            harness.hover_at(pos2(x, y as f32));
            harness.step();
        }
    }
}
