//! Options several subcommands take.

use anyhow::Result;
use counterweight_core::device::DeviceChoice;
use counterweight_core::error::SettingsError;
use counterweight_core::settings::Settings;

/// Which device computes.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct DeviceOption {
    /// Where to compute: auto, cpu, cuda, cuda:1, wgpu, wgpu:1
    #[arg(long, value_name = "DEVICE", default_value_t = DeviceChoice::Auto)]
    pub device: DeviceChoice,
}

/// Changes to settings.
#[derive(Clone, Debug, clap::Args)]
pub struct SetOption {
    /// Change a setting, for example --set stage1.epochs=50; may be given several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

impl SetOption {
    /// Applies the changes to the settings of a run that is trained already, of which only these sections can still be changed.
    ///
    /// # Errors
    /// As [`SetOption::apply`], and a change to another section.
    pub fn apply_to_trained(&self, settings: &mut Settings) -> Result<()> {
        let trained = settings.clone();
        self.apply(settings)?;
        let same = Settings { balance: settings.balance.clone(), evaluation: settings.evaluation.clone(), ..trained };
        if *settings != same {
            let error = SettingsError::Value {
                key: self.set.join(" "),
                reason: "the run is trained already; only balance.… and evaluation.… can still be changed".into(),
            };
            return Err(counterweight_core::Error::from(error).into());
        }
        Ok(())
    }

    /// Applies the changes in the order they were given.
    ///
    /// # Errors
    /// A change without `=`, an unknown key, a value out of range.
    pub fn apply(&self, settings: &mut Settings) -> Result<()> {
        for change in &self.set {
            let Some((key, value)) = change.split_once('=') else {
                let error = SettingsError::Value { key: change.clone(), reason: "expected KEY=VALUE".into() };
                return Err(counterweight_core::Error::from(error).into());
            };
            settings.set(key.trim(), value.trim())?;
        }
        Ok(())
    }
}
