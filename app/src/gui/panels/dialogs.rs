//! What lies over the page until it is answered: failures, questions, what this program is.

use egui::{Id, Key, Modal, RichText, TextEdit, Ui};
use egui_material_icons::icons::{ICON_DELETE, ICON_ERROR, ICON_HELP};

use super::{about, backbones, parts};
use crate::gui::command::{Command, ExportCommand, RunsCommand, TrainCommand, WindowCommand};
use crate::gui::state::{Dialog, ErrorReport, ResumeOffer, State};
use crate::gui::theme::{self, icon, space, tokens};
use crate::gui::widgets::{danger, primary};

/// Draws the dialog that is open, if one is.
pub fn ui(ui: &mut Ui, state: &mut State, commands: &mut Vec<Command>) {
    let Some(mut dialog) = state.shell.dialog.take() else { return };
    let mut closed = false;
    // Each kind remembers its own size.
    let id = Id::unique("dialog").with(std::mem::discriminant(&dialog));
    let modal = Modal::new(id).frame(theme::dialog_frame(ui)).show(ui.ctx(), |ui| {
        ui.set_width(match dialog {
            Dialog::About => 560.0,
            Dialog::Backbones => backbones::WIDTH.min(ui.ctx().content_rect().width() - 2.0 * space::PAGE),
            _ => 460.0,
        });
        match &mut dialog {
            Dialog::Error(report) => closed = error_ui(ui, report, None, commands),
            Dialog::OutOfMemory(report, resume_offer) => closed = error_ui(ui, report, Some(resume_offer), commands),
            Dialog::Quit(running) => closed = quit_ui(ui, running, commands),
            Dialog::DeleteRun(folder) => {
                let several = state.runs.sweeps.iter().any(|(sweep, _)| sweep == folder);
                title_ui(ui, ICON_DELETE.rich_text(), if several { "Delete all of these runs?" } else { "Delete this run?" });
                ui.label(RichText::new(folder.display().to_string()).monospace());
                let whose = if several { "Their" } else { "Its" };
                let text = format!(
                    "{whose} settings, checkpoints and results are deleted for good. The images of the training stay where they are."
                );
                ui.label(text);
                closed = buttons_ui(ui, ("Delete", Kind::Destroys), false, || Command::Runs(RunsCommand::Delete(folder.clone())), commands);
            }
            Dialog::ReplaceFile(path) => {
                title_ui(ui, ICON_HELP.rich_text(), "Replace this file?");
                ui.label(RichText::new(path.display().to_string()).monospace());
                ui.label("There is a file of that name already, and it is another model: of another run, or of this one before it was balanced as it is now.");
                closed = buttons_ui(ui, ("Replace", Kind::Destroys), false, || Command::Export(ExportCommand::Replace), commands);
            }
            Dialog::RenameRun(folder, name) => {
                title_ui(ui, ICON_HELP.rich_text(), "Rename the run");
                let label = ui.label("New name");
                let field = ui.add(TextEdit::singleline(name).desired_width(f32::INFINITY)).labelled_by(label.id);
                let entered = field.lost_focus() && ui.input(|input| input.key_pressed(Key::Enter));
                if ui.memory(|memory| memory.focused().is_none()) {
                    field.request_focus();
                }
                closed = buttons_ui(
                    ui,
                    ("Rename", Kind::Usual),
                    entered,
                    || Command::Runs(RunsCommand::Rename(folder.clone(), name.clone())),
                    commands,
                );
            }
            Dialog::Backbones => closed = backbones::ui(ui, state, commands),
            Dialog::About => closed = about::ui(ui),
        }
    });
    if !closed && !modal.should_close() {
        state.shell.dialog = Some(dialog);
    }
}

fn title_ui(ui: &mut Ui, icon: RichText, text: &str) {
    ui.horizontal(|ui| {
        ui.label(icon.size(22.0));
        ui.label(theme::heading(text));
    });
    ui.add_space(space::SMALL);
}

fn error_ui(
    ui: &mut Ui,
    report: &ErrorReport,
    resume_offer: Option<&ResumeOffer>,
    commands: &mut Vec<Command>,
) -> bool {
    let bad = tokens(ui.visuals()).bad;
    title_ui(ui, icon(ICON_ERROR).color(bad), &report.title);
    ui.label(parts::sentence(&report.reason));
    ui.add_space(space::MEDIUM);
    for (heading, text) in [("What was kept", &report.kept), ("What to do", &report.advice)] {
        ui.label(theme::strong(heading));
        ui.label(text);
        ui.add_space(space::SMALL);
    }
    let mut closed = false;
    parts::answers(ui, |ui| {
        match resume_offer {
            Some(resume_offer) => {
                let label = format!("Continue in {} parts", resume_offer.parts);
                closed = resume_offer_ui(ui, label, resume_offer, commands);
                closed |= ui.button("Close").clicked();
            }
            None => closed = ui.add(primary(ui, "Close")).clicked(),
        }
        if ui.button("Copy").on_hover_text("Copy what happened, to pass it on").clicked() {
            ui.ctx().copy_text(format!("{}\n{}", report.title, report.reason));
        }
    });
    closed
}

/// The button that goes on with a training that ran out of memory. Returns whether it was pressed.
pub fn resume_offer_ui(
    ui: &mut Ui,
    label: String,
    resume_offer: &ResumeOffer,
    commands: &mut Vec<Command>,
) -> bool {
    let pressed = ui.add(primary(ui, label)).clicked();
    if pressed {
        commands.push(Command::Train(TrainCommand::ContinueInParts(
            resume_offer.folder.clone(),
            resume_offer.parts,
        )));
    }
    pressed
}

fn quit_ui(ui: &mut Ui, running: &[&str], commands: &mut Vec<Command>) -> bool {
    title_ui(ui, ICON_HELP.rich_text(), "Quit while something is running?");
    ui.label(format!("Still running: {}.", running.join(", ")));
    ui.label(
        "It is asked to stop and leaves a checkpoint first, so a training can be continued later.",
    );
    buttons_ui(
        ui,
        ("Stop and quit", Kind::Usual),
        false,
        || Command::Window(WindowCommand::QuitNow),
        commands,
    )
}

/// What a button does that goes on.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Usual,
    /// Something that cannot be had back.
    Destroys,
}

/// The button that goes on, and Cancel. Returns whether the question is answered; `entered` answers
/// it, too.
fn buttons_ui(
    ui: &mut Ui,
    (label, kind): (&str, Kind),
    entered: bool,
    command: impl FnOnce() -> Command,
    commands: &mut Vec<Command>,
) -> bool {
    ui.add_space(space::MEDIUM);
    let mut closed = false;
    parts::answers(ui, |ui| {
        let button = if kind == Kind::Destroys { danger(ui, label) } else { primary(ui, label) };
        if ui.add(button).clicked() || entered {
            commands.push(command());
            closed = true;
        }
        closed |= ui.button("Cancel").clicked();
    });
    closed
}
