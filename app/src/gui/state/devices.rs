//! The devices of this machine.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use counterweight_core::device::{DeviceChoice, DeviceInfo, preferred};

use super::Shell;
use crate::gui::worker::{Failure, Worker};

/// The devices of this machine, once they are known.
#[derive(Default)]
pub struct Devices {
    /// Every device, usable or not.
    pub found: Vec<DeviceInfo>,
    looking: Option<Worker<Result<Vec<DeviceInfo>, String>>>,
}

impl Devices {
    /// Looks for devices. `program` is asked, this one's own executable: a driver that crashes when
    /// it is opened takes only that process with it, and one that was opened keeps a thread busy
    /// that is not needed before there is something to train.
    pub fn look(&mut self, ctx: &egui::Context, program: Option<PathBuf>) {
        self.looking = Some(Worker::spawn("devices", ctx, move |_| {
            Ok(program.map_or(Err("its place is unknown".into()), |path| ask(&path)))
        }));
    }

    /// Takes what was found.
    pub fn poll(&mut self, shell: &mut Shell) {
        let Some(worker) = &mut self.looking else { return };
        let Some(done) = worker.poll().done else { return };
        self.looking = None;
        let found = match done {
            Ok(found) => found,
            Err(Failure::Failed(error)) => Err(error.to_string()),
            Err(Failure::Stopped) => return,
        };
        match found {
            Ok(found) => self.found = found,
            Err(reason) => {
                shell.info(format!("Devices other than the CPU are not listed: the program could not be asked for them: {reason}"))
            }
        }
    }

    /// Whether they are still being looked for.
    pub fn is_looking(&self) -> bool {
        self.looking.is_some()
    }

    /// What `auto` takes.
    pub fn automatic(&self) -> Option<&DeviceInfo> {
        preferred(&self.found)
    }

    /// The device that a choice comes to. What `auto` takes is known by now, and need not be tried
    /// out once more.
    pub fn resolve(&self, choice: DeviceChoice) -> DeviceChoice {
        let automatic = self.automatic().filter(|_| choice == DeviceChoice::Auto);
        match automatic.map(|device| device.name.parse()) {
            // A GPU that is listed can still fail when it is opened; `auto` then goes on to the
            // next.
            Some(Ok(DeviceChoice::Cpu)) => DeviceChoice::Cpu,
            _ => choice,
        }
    }

    /// The reason why a choice cannot be used, if there is one.
    pub fn problem(&self, choice: DeviceChoice) -> Option<String> {
        if choice == DeviceChoice::Auto || self.found.is_empty() {
            return None;
        }
        let name = choice.to_string();
        match self.found.iter().find(|device| device.name == name) {
            Some(device) => device.reason.clone(),
            None => Some("there is no such device on this machine".into()),
        }
    }
}

fn ask(program: &Path) -> Result<Vec<DeviceInfo>, String> {
    let mut command = Command::new(program);
    command.args(["devices", "--json"]).stdin(Stdio::null()).stderr(Stdio::null());
    #[cfg(windows)]
    {
        use std::os::windows::process::CommandExt;
        const CREATE_NO_WINDOW: u32 = 0x0800_0000;
        command.creation_flags(CREATE_NO_WINDOW);
    }
    let output = command.output().map_err(|error| format!("{}: {error}", program.display()))?;
    if !output.status.success() {
        return Err(format!("{}: {}", program.display(), output.status));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(text.trim()).map_err(|error| format!("{}: {error}", program.display()))
}
