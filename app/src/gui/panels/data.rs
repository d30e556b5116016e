//! The data page: open images, see their tail, build a dataset of them.

use std::borrow::Cow;
use std::path::PathBuf;

use counterweight_core::dataset::ScanReport;
use counterweight_core::eval::GroupSizes;
use counterweight_core::source::Location;
use egui::{Align, Button, Label, Layout, RichText, Sense, TextEdit, Ui, Vec2, WidgetInfo};
use egui_material_icons::icons::{
    ICON_ARCHIVE, ICON_CLOSE, ICON_FOLDER_OPEN, ICON_GRID_VIEW, ICON_PHOTO_LIBRARY, ICON_SCHOOL,
    ICON_WARNING,
};

use super::{builder, builder_together, data_files, mapper, parts, start};
use crate::gui::command::{Command, DataCommand, ImagesCommand, TourCommand};
use crate::gui::paths::typed_path;
use crate::gui::state::{DataState, Origin, Page, Shell, Source, State, Thumbnail};
use crate::gui::theme::{self, card, icon, space, tokens};
use crate::gui::widgets::{
    BarOrder, ClassBar, ClassBars, Column, DataTable, IconButton, SortKey, empty_state,
    group_chips, metric, numbers, primary,
};

/// Side of a small picture, in points.
const PICTURE: f32 = 72.0;
/// Width of the builder beside the charts.
const BUILDER: f32 = 360.0;
/// From this width on the builder stands beside the charts.
const WIDE: f32 = 980.0;
/// Problems that are listed; the rest is counted.
const LISTED: usize = 200;
/// Copies of one image that are named.
const PATHS: usize = 5;

/// Draws the page.
pub fn ui(ui: &mut Ui, state: &mut State, commands: &mut Vec<Command>) {
    title_ui(ui, state, commands);
    if let Some((path, progress)) = state.data.scanning() {
        card(ui, |ui| {
            ui.label(theme::heading(format!("Opening {}", path.display())));
            ui.add_space(space::MEDIUM);
            if parts::progress(ui, progress, "Looking for images") {
                commands.push(Command::Data(DataCommand::CancelScan));
            }
        });
        return;
    }
    if let Some(list) = &state.data.mapper {
        mapper::ui(ui, list, commands);
        return;
    }
    data_files::failure_ui(ui, &state.data, commands);
    let State { data, shell, tour, runs, run, train, .. } = state;
    if data.source.is_none() {
        let training = train.training.as_ref().map(|training| training.folder.as_path());
        start::ui(ui, run.as_ref(), runs, training, commands);
        open_ui(ui, data, shell, commands);
        start::recent_runs_ui(ui, runs, training, commands);
        tour_ui(ui, tour.can_resume(), commands);
        return;
    }
    if let Some(progress) = data.writing() {
        card(ui, |ui| {
            if parts::progress(ui, progress, "Writing the dataset") {
                commands.push(Command::Data(DataCommand::CancelWriting));
            }
        });
        ui.add_space(space::LARGE);
    }
    card(ui, |ui| {
        data.source.iter().for_each(|source| summary_ui(ui, source, commands));
        ui.add_space(space::SMALL);
        path_ui(ui, data, commands);
    });
    ui.add_space(space::LARGE);
    if let Some(source) = &data.source {
        data_files::twins_ui(ui, source, commands);
        if let Origin::Catalog { report, builder, .. } = &source.origin {
            data_files::names_ui(ui, &report.doubtful_names, builder, commands);
        }
    }
    if let Some(Source { origin: Origin::Catalog { report, builder, .. }, .. }) = &data.source
        && let Some(series) = report.series.as_ref()
        && builder.options().group_by.is_none()
    {
        builder_together::notice_ui(ui, series, commands);
        ui.add_space(space::LARGE);
    }
    if ui.available_width() > WIDE {
        ui.horizontal_top(|ui| {
            let width = ui.available_width() - BUILDER - space::LARGE;
            ui.vertical(|ui| {
                ui.set_width(width);
                charts_ui(ui, data, commands);
            });
            ui.add_space(space::LARGE - ui.spacing().item_spacing.x);
            ui.vertical(|ui| {
                ui.set_width(BUILDER);
                builder::ui(ui, data, commands);
            });
        });
    } else {
        // What there is comes before what can be made of it.
        charts_ui(ui, data, commands);
        ui.add_space(space::LARGE);
        builder::ui(ui, data, commands);
    }
}

fn title_ui(ui: &mut Ui, state: &mut State, commands: &mut Vec<Command>) {
    parts::title_row(ui, "Data", |ui| {
        if state.data.source.is_none() {
            return;
        }
        let ready = state.data.source.as_ref().is_some_and(|source| source.problem().is_none());
        let train = ui.add_enabled(ready, primary(ui, "Continue to training"));
        if train.on_disabled_hover_text("The dataset cannot be built as asked").clicked() {
            commands.push(Command::Go(Page::Train));
        }
        if IconButton::new(ICON_CLOSE, "Close this source").icon_only().show(ui).clicked() {
            commands.push(Command::Data(DataCommand::Close));
        }
        if ui
            .button("Open archive or list…")
            .on_hover_text("An archive, an image list, or a dataset file")
            .clicked()
        {
            commands.push(Command::Data(DataCommand::PickFile));
        }
        if ui.button("Open folder…").clicked() {
            commands.push(Command::Data(DataCommand::PickFolder));
        }
    });
}

fn open_ui(ui: &mut Ui, data: &mut DataState, shell: &Shell, commands: &mut Vec<Command>) {
    card(ui, |ui| {
        ui.add_space(space::PAGE);
        let text = "A folder with one subfolder for each class is all it takes. Drop it here, or open it with a button.";
        empty_state(ui, ICON_PHOTO_LIBRARY, "Open your images", text, |ui| {
            if IconButton::new(ICON_FOLDER_OPEN, "Open folder…").primary().show(ui).clicked() {
                commands.push(Command::Data(DataCommand::PickFolder));
            }
            if IconButton::new(ICON_ARCHIVE, "Open archive or list…").show(ui).clicked() {
                commands.push(Command::Data(DataCommand::PickFile));
            }
            if IconButton::new(ICON_GRID_VIEW, "Use the built-in sample").show(ui).clicked() {
                commands.push(Command::Data(DataCommand::OpenSample));
            }
        });
        ui.add_space(space::LARGE);
        ui.vertical_centered(|ui| {
            ui.set_max_width(ui.available_width().min(620.0));
            path_ui(ui, data, commands);
        });
        ui.add_space(space::PAGE);
    });
    ui.add_space(space::LARGE);
    if !shell.preferences.recent.is_empty() {
        card(ui, |ui| {
            ui.horizontal(|ui| {
                ui.label(theme::heading("Recent"));
                ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                    if ui
                        .add(Button::new("Forget").frame_when_inactive(false))
                        .on_hover_text("Empty this list")
                        .clicked()
                    {
                        commands.push(Command::Data(DataCommand::ForgetRecent));
                    }
                });
            });
            for path in &shell.preferences.recent {
                let name = path.display().to_string();
                if ui.add(Button::new(&name).frame_when_inactive(false).truncate()).clicked() {
                    commands.push(Command::Data(DataCommand::Open(path.clone())));
                }
            }
        });
        ui.add_space(space::LARGE);
    }
}

/// The field that a path is typed into.
fn path_ui(ui: &mut Ui, data: &mut DataState, commands: &mut Vec<Command>) {
    ui.horizontal(|ui| {
        let label = ui.label("Path");
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            let given = !data.path_text.trim().is_empty();
            let open = ui.add_enabled(given, Button::new("Open")).clicked();
            let field = TextEdit::singleline(&mut data.path_text)
                .hint_text("or type where the images are")
                .desired_width(f32::INFINITY);
            let field = ui.add(field).labelled_by(label.id);
            let entered =
                field.lost_focus() && ui.input(|input| input.key_pressed(egui::Key::Enter));
            if (open || entered) && given {
                let path = typed_path(&data.path_text);
                commands.push(Command::Data(DataCommand::Open(path)));
            }
        });
    });
}

fn tour_ui(ui: &mut Ui, can_resume: bool, commands: &mut Vec<Command>) {
    card(ui, |ui| {
        ui.horizontal(|ui| {
            let color = tokens(ui.visuals()).accent_text;
            ui.label(icon(ICON_SCHOOL).size(26.0).color(color));
            ui.add_space(space::SMALL);
            ui.vertical(|ui| {
                ui.label(theme::heading("New to this?"));
                ui.label("The guided tour shows in a few minutes why rare classes are neglected and what helps, on digits that come with the program.");
            });
        });
        ui.add_space(space::SMALL);
        let text = if can_resume { "Resume the guided tour" } else { "Start the guided tour" };
        if ui.button(text).clicked() {
            commands.push(Command::Tour(TourCommand::Start));
        }
    });
}

fn summary_ui(ui: &mut Ui, source: &Source, commands: &mut Vec<Command>) {
    ui.add(Label::new(RichText::new(source_words(source)).weak()).truncate());
    ui.add_space(space::SMALL);
    let [train, validation, test] = source.view.totals();
    let classes = source.view.classes.iter().filter(|class| class.included).count();
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing.x = space::PAGE + space::MEDIUM;
        metric(ui, "Classes", &numbers::grouped(classes as u64), None);
        metric(ui, "Training images", &numbers::grouped(train as u64), None);
        metric(ui, "Validation images", &numbers::grouped(validation as u64), None);
        metric(ui, "Test images", &numbers::grouped(test as u64), None);
        let factor = source.view.imbalance_factor.map_or_else(|| "–".into(), numbers::value);
        metric(ui, "Imbalance factor", &factor, None).on_hover_text(
            "The largest class has so many times the training images of the smallest",
        );
    });
    ui.add_space(space::SMALL);
    group_chips(ui, &group_sizes(source));
    data_files::columns_ui(ui, source, commands);
}

fn source_words(source: &Source) -> String {
    let what = match &source.origin {
        Origin::DatasetFile { .. } => "dataset file".to_string(),
        Origin::Catalog { report, .. } => {
            let sizes = report.sizes.map(|sizes| match sizes.distinct {
                1 => format!("{} × {} pixels", sizes.width.min, sizes.height.min),
                _ => format!(
                    "{}–{} × {}–{} pixels",
                    sizes.width.min, sizes.width.max, sizes.height.min, sizes.height.max
                ),
            });
            format!(
                "{} images, {}",
                numbers::grouped(report.samples as u64),
                sizes.unwrap_or_else(|| "none readable".into())
            )
        }
    };
    let name = if source.is_sample {
        "The built-in sample".into()
    } else {
        source.path.display().to_string()
    };
    format!("{name}: {what}")
}

fn group_sizes(source: &Source) -> GroupSizes {
    use counterweight_core::eval::Group;
    let number = |group| {
        source.view.classes.iter().filter(|class| class.included && class.group == group).count()
    };
    GroupSizes { many: number(Group::Many), medium: number(Group::Medium), few: number(Group::Few) }
}

fn charts_ui(ui: &mut Ui, data: &mut DataState, commands: &mut Vec<Command>) {
    distribution_ui(ui, data, commands);
    ui.add_space(space::LARGE);
    if let Some(Source { origin: Origin::Catalog { report, .. }, .. }) = &data.source {
        let report = std::sync::Arc::clone(report);
        if has_problems(&report) {
            problems_ui(ui, data, &report, commands);
            ui.add_space(space::LARGE);
        }
    }
    table_ui(ui, data);
    ui.add_space(space::LARGE);
    samples_ui(ui, data, commands);
}

fn distribution_ui(ui: &mut Ui, data: &mut DataState, commands: &mut Vec<Command>) {
    if std::mem::take(&mut data.show_classes) {
        ui.scroll_to_cursor(Some(Align::TOP));
    }
    card(ui, |ui| {
        let Some(source) = &data.source else { return };
        ui.horizontal(|ui| {
            let factor = source
                .view
                .imbalance_factor
                .map(|factor| format!(", imbalance factor {}", numbers::value(factor)));
            ui.label(theme::heading(format!("Class distribution{}", factor.unwrap_or_default())));
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                ui.checkbox(&mut data.log_scale, "Log scale");
                ui.checkbox(&mut data.by_name, "By name");
            });
        });
        let builds = matches!(source.origin, Origin::Catalog { .. });
        let bar = |class: &'_ crate::gui::state::ClassRow| {
            (class.train, class.original, class.group, class.included)
        };
        let bars: Vec<ClassBar<'_>> = source
            .view
            .classes
            .iter()
            .map(|class| {
                let (train, original, group, included) = bar(class);
                let count = if included { train } else { original } as f64;
                ClassBar {
                    name: &class.name,
                    count,
                    ghost: builds.then_some(original as f64),
                    group,
                    dimmed: !included,
                }
            })
            .collect();
        let order = if data.by_name { BarOrder::ByName } else { BarOrder::ByCount };
        let shown = ClassBars::new(&bars)
            .log(data.log_scale)
            .order(order)
            .height(250.0)
            .selected(data.selected)
            .draggable(builds)
            .unit("training images")
            .ghost_name("in the source")
            .show(ui);
        if builds {
            ui.label(
                RichText::new("Outlines are what the source has. Drag the top of a bar to give a class another number.").small().weak(),
            );
        }
        if let Some((class, count)) = shown.dragged
            && let Origin::Catalog { builder, .. } = &source.origin
            && let Some(class) = source.view.classes.get(class)
        {
            let options =
                Box::new(builder.with_count(&class.name, count.round().max(1.0) as usize));
            commands.push(Command::Data(DataCommand::SetOptions { options, drag: Some("bar") }));
        }
        if shown.drag_stopped {
            commands.push(Command::Data(DataCommand::Settle));
        }
        if let Some(class) = shown.clicked {
            data.selected = Some(class);
        }
    });
}

fn table_ui(ui: &mut Ui, data: &mut DataState) {
    card(ui, |ui| {
        ui.label(theme::heading("Classes"));
        let Some(source) = &data.source else { return };
        let columns = [
            Column { title: "Class", numeric: false, width: 0.0 },
            Column { title: "In the source", numeric: true, width: 110.0 },
            Column { title: "Train", numeric: true, width: 80.0 },
            Column { title: "Validation", numeric: true, width: 90.0 },
            Column { title: "Test", numeric: true, width: 70.0 },
            Column { title: "Group", numeric: false, width: 90.0 },
        ];
        let classes = &source.view.classes;
        let value = |row: usize, column: usize| match column {
            1 => classes[row].original,
            2 => classes[row].train,
            3 => classes[row].validation,
            _ => classes[row].test,
        };
        let group = |row: usize| Some(classes[row].group);
        data.table.selected = data.selected;
        let table = DataTable::new("classes", &columns, classes.len(), source.view.revision)
            .title("Classes")
            .height(280.0)
            .search("Search classes")
            .group(&group);
        let cell = |row: usize, column: usize| match column {
            0 => Cow::Borrowed(classes[row].name.as_str()),
            5 if !classes[row].included => Cow::Borrowed("left out"),
            5 => Cow::Borrowed(classes[row].group.name()),
            _ => Cow::Owned(numbers::grouped(value(row, column) as u64)),
        };
        let key = |row: usize, column: usize| match column {
            0 => SortKey::Text(Cow::Borrowed(classes[row].name.as_str())),
            5 => SortKey::Text(Cow::Borrowed(classes[row].group.name())),
            _ => SortKey::Number(value(row, column) as f64),
        };
        if let Some(row) = table.show(ui, &mut data.table, cell, key).clicked {
            data.selected = Some(row);
        }
    });
}

fn samples_ui(ui: &mut Ui, data: &mut DataState, commands: &mut Vec<Command>) {
    card(ui, |ui| {
        let DataState { source, thumbnails, selected, .. } = data;
        let Some(source) = source else { return };
        let Some((class, samples)) = selected.and_then(|class| {
            Some((source.view.classes.get(class)?, source.view.samples.get(class)?))
        }) else {
            ui.label(theme::heading("Images"));
            ui.label(
                RichText::new("Choose a class in the chart or the table to see its images.").weak(),
            );
            return;
        };
        let number = samples.len();
        ui.horizontal(|ui| {
            ui.label(theme::heading(format!("Images of {}", class.name)));
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                let button = ui.button("Look through and correct");
                let hint = "Shows these images on a page of their own, where they can be moved to other classes or excluded";
                if button.on_hover_text(hint).clicked() {
                    commands.push(Command::Images(ImagesCommand::ShowClass(class.name.clone())));
                }
            });
        });
        ui.label(
            RichText::new(format!(
                "{} in the source, of all splits",
                numbers::grouped(number as u64)
            ))
            .small()
            .weak(),
        );
        let step = PICTURE + space::MEDIUM;
        let columns =
            (((ui.available_width() - 12.0 + space::MEDIUM) / step).floor() as usize).max(1);
        let rows = number.div_ceil(columns);
        ui.spacing_mut().item_spacing = Vec2::splat(space::MEDIUM);
        let area = egui::ScrollArea::vertical()
            .id_salt(("images", &class.name))
            .max_height(3.0 * step)
            .auto_shrink([false, true]);
        area.show_rows(ui, PICTURE, rows, |ui, range| {
            for row in range {
                ui.horizontal(|ui| {
                    for &sample in samples.iter().skip(row * columns).take(columns) {
                        let Some(location) = source.location(sample) else { continue };
                        let picture = thumbnails.get(sample as usize, location);
                        if picture_ui(ui, &picture, location).clicked()
                            && let Location::File(path) = location
                        {
                            commands.push(Command::Data(DataCommand::ShowFile(
                                source.root().join(path),
                            )));
                        }
                    }
                });
            }
        });
    });
}

/// A small picture; pointing at it shows its path, and why it cannot be read if so.
fn picture_ui(ui: &mut Ui, picture: &Thumbnail, location: &Location) -> egui::Response {
    let tokens = tokens(ui.visuals());
    let (rect, response) = ui.allocate_exact_size(Vec2::splat(PICTURE), Sense::click());
    parts::thumbnail(ui, rect, picture);
    if response.hovered() || response.has_focus() {
        ui.painter().rect_stroke(
            rect,
            6.0,
            egui::Stroke::new(2.0, tokens.accent),
            egui::StrokeKind::Inside,
        );
    }
    response.widget_info(|| WidgetInfo::labeled(egui::Role::Image, true, location.to_text()));
    response.on_hover_ui(|ui| {
        ui.label(location.to_text());
        match picture {
            Thumbnail::Broken(reason) => {
                drop(ui.label(RichText::new(reason.as_ref()).color(tokens.bad)))
            }
            _ => drop(ui.label(RichText::new("Click to show the file").small().weak())),
        }
    })
}

fn has_problems(report: &ScanReport) -> bool {
    !report.problems.is_empty() || !report.duplicates.groups.is_empty()
}

fn problems_ui(
    ui: &mut Ui,
    data: &mut DataState,
    report: &ScanReport,
    commands: &mut Vec<Command>,
) {
    let tokens = tokens(ui.visuals());
    card(ui, |ui| {
        ui.horizontal(|ui| {
            ui.label(icon(ICON_WARNING).size(20.0).color(tokens.warn));
            ui.label(theme::heading("Problems"));
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                let text = if data.problems_open { "Hide" } else { "Show problems" };
                if ui.button(text).clicked() {
                    data.problems_open = !data.problems_open;
                }
            });
        });
        let found = &report.duplicates;
        let count = |number: usize, one: &str, many: &str| {
            (number > 0).then(|| {
                format!(
                    "{} {}",
                    numbers::grouped(number as u64),
                    if number == 1 { one } else { many }
                )
            })
        };
        let words = [
            count(
                report.problems.len(),
                "file or folder cannot be used and is left out",
                "files or folders cannot be used and are left out",
            ),
            count(found.redundant, "image is a copy of another", "images are copies of others"),
            count(
                found.across_splits,
                "image is in more than one split",
                "images are in more than one split",
            ),
            count(
                found.labels_differ,
                "image has more than one label",
                "images have more than one label",
            ),
        ];
        ui.label(words.into_iter().flatten().collect::<Vec<_>>().join(" · "));
        if !data.problems_open {
            return;
        }
        let root =
            data.source.as_ref().map(|source| source.root().to_path_buf()).unwrap_or_default();
        egui::ScrollArea::vertical()
            .id_salt("problems")
            .max_height(260.0)
            .auto_shrink([false, true])
            .show(ui, |ui| {
                for problem in report.problems.iter().take(LISTED) {
                    let show = |commands: &mut Vec<Command>| {
                        commands.push(Command::Data(DataCommand::ShowFile(PathBuf::from(
                            &problem.path,
                        ))))
                    };
                    problem_ui(ui, &problem.path, &problem.reason, tokens.bad, show, commands);
                }
                for group in found.groups.iter().take(LISTED) {
                    let what = match (group.labels_differ, group.across_splits) {
                        (true, true) => format!(
                            "one image, in several splits, labelled {}",
                            group.classes.join(" and ")
                        ),
                        (true, false) => {
                            format!("one image, labelled {}", group.classes.join(" and "))
                        }
                        (false, true) => {
                            "one image in several splits: what is tested was learned".to_string()
                        }
                        (false, false) => "one image several times".to_string(),
                    };
                    let first =
                        root.join(group.paths.first().map(String::as_str).unwrap_or_default());
                    let show = |commands: &mut Vec<Command>| {
                        commands.push(Command::Data(DataCommand::ShowFile(first)))
                    };
                    problem_ui(ui, &some_of(&group.paths), &what, tokens.warn, show, commands);
                }
                let more = report.problems.len().saturating_sub(LISTED)
                    + found.groups.len().saturating_sub(LISTED);
                if more > 0 {
                    ui.label(
                        RichText::new(format!("and {} more", numbers::grouped(more as u64))).weak(),
                    );
                }
            });
    });
}

/// The first few of the paths, and how many more there are: a thousand copies make no line that can
/// be read.
fn some_of(paths: &[String]) -> String {
    let named = paths.iter().take(PATHS).map(String::as_str).collect::<Vec<_>>().join(", ");
    match paths.len().saturating_sub(PATHS) {
        0 => named,
        more => format!("{named} and {} more", numbers::grouped(more as u64)),
    }
}

fn problem_ui(
    ui: &mut Ui,
    path: &str,
    reason: &str,
    color: egui::Color32,
    show: impl FnOnce(&mut Vec<Command>),
    commands: &mut Vec<Command>,
) {
    ui.horizontal(|ui| {
        if ui.button("Show file").clicked() {
            show(commands);
        }
        ui.vertical(|ui| {
            ui.spacing_mut().item_spacing.y = 0.0;
            ui.add(Label::new(path).truncate());
            ui.add(Label::new(RichText::new(reason).small().color(color)).truncate());
        });
    });
}
