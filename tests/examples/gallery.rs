//! Draws every widget of the window, with few and many classes, narrow and wide, in both themes,
//! into PNG files.
//!
//! `cargo run --release --example gallery -- FOLDER [PART OF A NAME]`

use std::borrow::Cow;
use std::path::Path;

use counterweight_app::gui::theme::{self, space};
use counterweight_app::gui::widgets::*;
use counterweight_core::eval::{CalibrationBin, Confusion, Group, GroupSizes, GroupThresholds};
use egui::{Color32, Pos2, Theme, Ui, Vec2};
use egui_kittest::Harness;

/// Made-up classes with everything that charts show of them.
struct Sample {
    names: Vec<String>,
    counts: Vec<u64>,
    groups: Vec<Group>,
    before: Vec<f64>,
    after: Vec<f64>,
    confusion: Confusion,
}

const ANIMALS: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

/// A number in 0..1 that looks random, the same every time.
fn noise(i: usize, j: usize) -> f64 {
    let mixed = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        ^ (j as u64 + 7).wrapping_mul(0xc2b2_ae3d_27d4_eb4f);
    (mixed.wrapping_mul(0xff51_afd7_ed55_8ccd) >> 40) as f64 / (1u64 << 24) as f64
}

impl Sample {
    fn new(classes: usize) -> Self {
        let share = |i: usize| i as f64 / (classes - 1) as f64;
        let counts: Vec<u64> =
            (0..classes).map(|i| (500.0 * 0.01f64.powf(share(i))) as u64).collect();
        let thresholds = GroupThresholds::default();
        let before: Vec<f64> = (0..classes)
            .map(|i| (0.85 - 0.8 * share(i) + 0.2 * (noise(i, 1) - 0.5)).clamp(0.0, 1.0))
            .collect();
        let after: Vec<f64> = (0..classes)
            .map(|i| (0.74 - 0.38 * share(i) + 0.3 * (noise(i, 2) - 0.5)).clamp(0.0, 1.0))
            .collect();
        let pairs = (0..classes).flat_map(|truth| {
            let right = after[truth];
            (0..100).map(move |sample| {
                let at = if noise(truth, sample) < right {
                    truth
                } else {
                    (noise(sample, truth).powi(2) * classes as f64) as usize
                };
                (truth as u32, at.min(classes - 1) as u32)
            })
        });
        let confusion = Confusion::from_pairs(classes, pairs).expect("pairs of classes");
        Self {
            names: (0..classes)
                .map(|i| if classes == 10 { ANIMALS[i].into() } else { format!("class {i}") })
                .collect(),
            groups: counts.iter().map(|&count| thresholds.group(count as usize)).collect(),
            confusion,
            counts,
            before,
            after,
        }
    }

    fn labels(&self) -> Vec<ClassLabel<'_>> {
        let labels = self.names.iter().zip(&self.counts).zip(&self.groups);
        labels.map(|((name, &count), &group)| ClassLabel { name, count, group }).collect()
    }
}

fn bars(ui: &mut Ui, sample: &Sample) {
    let bars: Vec<ClassBar> = sample
        .labels()
        .iter()
        .map(|class| ClassBar {
            name: class.name,
            count: class.count as f64,
            ghost: None,
            group: class.group,
            dimmed: false,
        })
        .collect();
    theme::card(ui, |ui| {
        ui.label(theme::heading("Class distribution"));
        ClassBars::new(&bars).selected(Some(3)).show(ui);
    });
    theme::card(ui, |ui| {
        ui.label(theme::heading("By logarithm, as given"));
        ClassBars::new(&bars).title("By logarithm").log(true).order(BarOrder::ByName).show(ui);
    });
    let preview: Vec<ClassBar> = bars
        .iter()
        .enumerate()
        .map(|(i, bar)| ClassBar { ghost: Some(500.0), dimmed: i % 7 == 5, ..*bar })
        .collect();
    theme::card(ui, |ui| {
        ui.label(theme::heading("Preview while building"));
        ClassBars::new(&preview)
            .title("Preview")
            .draggable(true)
            .order(BarOrder::ByName)
            .ghost_name("in the source")
            .show(ui);
    });
    let norms: Vec<NormBar> = sample
        .labels()
        .iter()
        .enumerate()
        .map(|(i, class)| {
            let before = 0.3 + 0.9 * (class.count as f32 / 500.0).sqrt() + 0.1 * noise(i, 3) as f32;
            NormBar {
                name: class.name,
                group: class.group,
                count: class.count,
                before,
                after: Some(before.min(0.62) + 0.1),
            }
        })
        .collect();
    theme::card(ui, |ui| {
        ui.label(theme::heading("Class weight norms"));
        NormBars::new(&norms).radius(Some(0.72), "MaxNorm radius η").show(ui);
    });
}

fn curves(ui: &mut Ui, sample: &Sample) {
    let epochs = sample.names.len().min(320);
    let tokens = theme::tokens(ui.visuals());
    let curve = |from: f64, to: f64, wobble: f64, seed: usize| -> Vec<[f64; 2]> {
        let value = |e: usize| {
            to + (from - to) * (-4.0 * e as f64 / epochs as f64).exp()
                + wobble * (noise(e, seed) - 0.5)
        };
        (0..epochs).map(|e| [(e + 1) as f64, value(e)]).collect()
    };
    let series = |name, color: Color32, points, dashed| Series { name, color, points, dashed };
    let (train, validation, few) =
        (curve(0.02, 0.97, 0.02, 1), curve(0.02, 0.52, 0.03, 2), curve(0.0, 0.14, 0.03, 3));
    theme::card(ui, |ui| {
        ui.label(theme::heading("Accuracy"));
        LineChart::new("accuracy", "accuracy")
            .series(series("training", tokens.train, &train, false))
            .series(series("validation", tokens.validation, &validation, false))
            .series(series("validation, few", tokens.few, &few, true))
            .y_percent(true)
            .show(ui);
    });
    let rate: Vec<[f64; 2]> = (1..=epochs)
        .map(|e| [e as f64, 0.01 * 10f64.powf(-3.0 * e as f64 / epochs as f64)])
        .collect();
    theme::card(ui, |ui| {
        ui.label(theme::heading("Learning rate"));
        LineChart::new("rate", "learning rate")
            .series(series("learning rate", tokens.accent, &rate, false))
            .y_log(true)
            .height(180.0)
            .show(ui);
    });
    let labels = sample.labels();
    let rows: Vec<u64> = (1..=epochs.min(60) as u64).collect();
    let value = |e: u64, i: usize| {
        0.4 + 0.8 * (1.0 - (-(e as f32) / 20.0).exp()) * (sample.counts[i] as f32 / 500.0).powf(0.4)
            + 0.08 * noise(i, e as usize) as f32
    };
    let values: Vec<f32> = rows
        .iter()
        .flat_map(|&e| (0..labels.len()).map(move |i| (e, i)))
        .map(|(e, i)| value(e, i))
        .collect();
    theme::card(ui, |ui| {
        ui.label(theme::heading("Norms by epoch"));
        HeatMap::new("norms", &labels, &rows, &values, 1).show(ui);
    });
    let points: Vec<ScatterPoint> = labels
        .iter()
        .enumerate()
        .map(|(i, &class)| ScatterPoint {
            class,
            accuracy: sample.after[i],
            before: Some(sample.before[i]),
        })
        .collect();
    theme::card(ui, |ui| {
        ui.label(theme::heading("Accuracy by class count"));
        Scatter::new(&points).show(ui);
    });
}

fn results(ui: &mut Ui, sample: &Sample) {
    let labels = sample.labels();
    theme::card(ui, |ui| {
        ui.label(theme::heading("Confusion"));
        ConfusionMatrix::new("confusion", &sample.confusion, &labels, 1)
            .order(MatrixOrder::ByCount)
            .size(520.0)
            .show(ui);
    });
    let bins: Vec<CalibrationBin> = (0..15)
        .map(|i| {
            let (lower, upper) = (i as f64 / 15.0, (i + 1) as f64 / 15.0);
            let samples =
                if i == 0 { 0 } else { 20 + (300.0 * (i as f64 / 14.0).powi(3)) as usize };
            CalibrationBin {
                lower,
                upper,
                samples,
                confidence: (lower + upper) / 2.0,
                accuracy: 0.8 * lower + 0.06 + 0.1 * noise(i, 5),
            }
        })
        .collect();
    theme::card(ui, |ui| {
        ui.label(theme::heading("Calibration"));
        Reliability::new(&bins, 0.0873).show(ui);
    });
}

fn rows(ui: &mut Ui, sample: &Sample, state: &mut TableState) {
    let columns = [
        Column { title: "class", numeric: false, width: 0.0 },
        Column { title: "images", numeric: true, width: 90.0 },
        Column { title: "before", numeric: true, width: 90.0 },
        Column { title: "after", numeric: true, width: 90.0 },
    ];
    let number = |row: usize, column: usize| {
        [sample.counts[row] as f64, sample.before[row], sample.after[row]][column - 1]
    };
    theme::card(ui, |ui| {
        ui.label(theme::heading("Classes"));
        let group = |row: usize| Some(sample.groups[row]);
        let table = DataTable::new("classes", &columns, sample.names.len(), 1)
            .title("Classes")
            .search("Search classes")
            .group(&group);
        table.height(260.0).show(
            ui,
            state,
            |row, column| match column {
                0 => Cow::Borrowed(sample.names[row].as_str()),
                1 => Cow::Owned(numbers::grouped(sample.counts[row])),
                _ => Cow::Owned(numbers::percent(Some(number(row, column)))),
            },
            |row, column| match column {
                0 => SortKey::Text(Cow::Borrowed(&sample.names[row])),
                _ => SortKey::Number(number(row, column)),
            },
        );
    });
    theme::card(ui, |ui| {
        group_chips(ui, &GroupSizes { many: 35, medium: 35, few: 30 });
        ui.horizontal_wrapped(|ui| {
            ui.spacing_mut().item_spacing.x = 32.0;
            metric(ui, "balanced accuracy", "53.1 %", Some(0.052));
            metric(ui, "many", "72.2 %", Some(-0.058));
            metric(ui, "few", "34.9 %", Some(0.0));
            metric(ui, "images", "10,847", None);
        });
        before_after(ui, None, "all", [Some(0.479), Some(0.531)], true);
        before_after(ui, Some(Group::Many), "many", [Some(0.78), Some(0.722)], true);
        before_after(ui, Some(Group::Few), "few", [Some(0.139), None], true);
    });
    theme::card(ui, |ui| {
        let mut decay = 5e-3;
        let row = SettingRow {
            label: "Weight decay λ",
            explanation: "Pulls every weight towards zero; it keeps the norms of large classes from running away.",
            default_text: "0.0005",
            changed: true,
            error: None,
        };
        setting_row(ui, row, |ui| ui.add(egui::Slider::new(&mut decay, 0.0..=0.01)));
        let mut epochs = 0;
        let row = SettingRow {
            label: "Epochs",
            explanation: "",
            default_text: "200",
            changed: true,
            error: Some("at least one epoch is needed"),
        };
        setting_row(ui, row, |ui| ui.add(egui::DragValue::new(&mut epochs)));
        let mut flip = true;
        let explanation = "Averages the predictions of an image and its mirror image.";
        let row = SettingRow {
            label: "Average flips",
            explanation,
            default_text: "on",
            changed: false,
            error: None,
        };
        setting_row(ui, row, |ui| ui.checkbox(&mut flip, ""));
    });
    theme::card(ui, |ui| {
        let strip = ProgressStrip {
            phase: "Computing features",
            done: 1234,
            total: Some(5000),
            unit: "images",
            left: Some(12.0),
            stopping: false,
        };
        strip.show(ui);
        ProgressStrip {
            phase: "Scanning the folder",
            total: None,
            left: None,
            stopping: true,
            ..strip
        }
        .show(ui);
    });
    theme::card(ui, |ui| {
        ui.set_height(250.0);
        empty_state(
            ui,
            egui_material_icons::icons::ICON_INBOX,
            "No runs yet",
            "Train a model and its results appear here, beside those of earlier runs.",
            |ui| {
                _ = ui.button("Train a model");
                _ = ui.button("Open a run");
            },
        );
    });
    theme::card(ui, |ui| {
        ClassBars::new(&[]).height(80.0).show(ui);
        LineChart::new("none", "loss")
            .height(80.0)
            .empty_text("Curves appear after the first epoch")
            .show(ui);
    });
}

fn draw(
    folder: &Path,
    name: &str,
    width: f32,
    theme: Theme,
    pointer: Option<Pos2>,
    page: impl FnMut(&mut Ui),
) {
    let mut page = page;
    let mut harness = Harness::builder()
        .with_size(Vec2::new(width, 1340.0))
        .with_theme(theme)
        .with_context_setup(theme::install)
        .wgpu()
        .build_ui(move |ui| {
            let background = theme::tokens(ui.visuals()).background;
            egui::Frame::new().fill(background).inner_margin(space::LARGE).show(ui, |ui| {
                ui.set_min_size(ui.available_size());
                ui.spacing_mut().item_spacing.y = space::LARGE / 2.0;
                page(ui);
            });
        });
    if let Some(pointer) = pointer {
        harness.hover_at(pointer);
    }
    harness.run_steps(4);
    let path = folder.join(format!("{name}.png"));
    match harness.render() {
        Ok(image) => {
            image.save(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        }
        Err(error) => panic!("{name}: {error}"),
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().expect("the folder for the pictures");
    let only = arguments.next().unwrap_or_default();
    let folder = Path::new(&folder);
    std::fs::create_dir_all(folder).expect("the folder can be made");
    for (theme_name, theme) in [("light", Theme::Light), ("dark", Theme::Dark)] {
        for (classes, width) in
            [(10, 500.0), (10, 900.0), (100, 500.0), (100, 900.0), (100, 1600.0), (1000, 900.0)]
        {
            let sample = Sample::new(classes);
            let name = |page: &str| format!("{page}-{classes}-{width}-{theme_name}");
            let wanted = |page: &str| name(page).contains(&only);
            let pointer = (width == 900.0).then_some(Pos2::new(330.0, 250.0));
            if wanted("bars") {
                draw(folder, &name("bars"), width, theme, pointer, |ui| bars(ui, &sample));
            }
            if wanted("curves") {
                draw(folder, &name("curves"), width, theme, pointer, |ui| curves(ui, &sample));
            }
            if wanted("results") {
                draw(folder, &name("results"), width, theme, pointer, |ui| results(ui, &sample));
            }
            if wanted("rows") {
                let mut state = TableState::sorted_by(1, true);
                state.selected = Some(2);
                draw(folder, &name("rows"), width, theme, pointer, |ui| {
                    rows(ui, &sample, &mut state)
                });
            }
        }
    }
}
