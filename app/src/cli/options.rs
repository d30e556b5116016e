//! Options several subcommands take.

use std::collections::BTreeMap;

use anyhow::Result;
use counterweight_core::dataset::{BuildOptions, GroupBy};
use counterweight_core::device::{self, DeviceChoice};
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
    /// Change a setting: --set stage1.epochs=50 before training, --set balance.tau=1.5 or --set
    /// evaluation.few_below=10 after it; may be given several times. Balancers that are named
    /// (balance.balancers=none, or l2,tau) are taken, and nothing else is looked for
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

impl SetOption {
    /// Applies the changes to the settings of a run that is trained already, of which only
    /// `evaluation` and, where it `balances`, `balance` can still be changed.
    ///
    /// # Errors
    /// As [`SetOption::apply`], and a change to another section.
    pub fn apply_to_trained(&self, settings: &mut Settings, balances: bool) -> Result<()> {
        let trained = settings.clone();
        self.apply(settings)?;
        let balance = if balances { settings.balance.clone() } else { trained.balance.clone() };
        let changeable = Settings { balance, evaluation: settings.evaluation.clone(), ..trained };
        if *settings != changeable {
            let error = SettingsError::Value {
                key: self.set.join(" "),
                reason: match balances {
                    true => "the run is trained already; only balance.… and evaluation.… can still be changed".into(),
                    false => "only evaluation.… can be changed here".into(),
                },
            };
            return Err(counterweight_core::Error::from(error).into());
        }
        Ok(())
    }

    /// Applies the changes together.
    ///
    /// # Errors
    /// A change without `=`, an unknown key, a value out of range.
    pub fn apply(&self, settings: &mut Settings) -> Result<()> {
        let wrong = |key: &str, reason: &str| {
            let error = SettingsError::Value { key: key.to_string(), reason: reason.into() };
            counterweight_core::Error::from(error)
        };
        let mut changes = Vec::new();
        for change in &self.set {
            let (key, value) =
                change.split_once('=').ok_or_else(|| wrong(change, "expected KEY=VALUE"))?;
            if key.trim() == "preset" {
                return Err(
                    wrong("preset", "a preset is where settings start from; use --preset").into()
                );
            }
            changes.push((key.trim(), value.trim()));
        }
        let names = |key: &str| changes.iter().any(|(named, _)| *named == key);
        let decided = names("balance.balancers") && !names("balance.tune_candidates");
        settings.set_all(changes)?;
        // What is named is taken; tuning would look for something else.
        if decided {
            settings.balance.tune_candidates = 0;
        }
        Ok(())
    }
}

/// What everything random follows from.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct SeedOption {
    /// Number that everything random in training follows from; the same as --set seed=N. Which
    /// images are held out follows from `build --seed`
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..=i64::MAX.unsigned_abs()))]
    seed: Option<u64>,
}

impl SeedOption {
    /// Applies it to settings.
    pub fn apply(self, settings: &mut Settings) {
        if let Some(seed) = self.seed {
            settings.seed = seed;
        }
    }
}

/// Which images are held out together.
#[derive(Clone, Debug, clap::Args)]
pub struct GroupByOption {
    /// Hold images that belong together out together: those in one subfolder (subfolder), in one
    /// folder above that of the class, which the last folder alone names then (folder-above), with one
    /// name up to the last number (name) or one part of it (name:REGEX with the part in
    /// parentheses), of one camera within 60 seconds (time, time:SECONDS), that are nearly the same
    /// picture (look-alikes), or of one group of an image list (list) [default: each by itself]
    #[arg(long, value_name = "WAY")]
    pub group_by: Option<GroupBy>,
}

impl GroupByOption {
    /// What a dataset is built with.
    pub fn options(&self) -> BuildOptions {
        building(self.group_by.as_ref())
    }
}

/// What a dataset is built with where images that belong together are held out together.
pub fn building(by: Option<&GroupBy>) -> BuildOptions {
    BuildOptions { group_by: by.cloned(), ..BuildOptions::default() }
}

/// Other names for classes.
#[derive(Clone, Debug, clap::Args)]
pub struct RenameOption {
    /// Give a class another name; may be given several times, and classes of one name become one.
    /// The other options go by the new names
    #[arg(long, value_name = "OLD=NEW", value_parser = renaming)]
    rename: Vec<(String, String)>,
}

impl RenameOption {
    /// The new names by the old ones.
    ///
    /// # Errors
    /// A class with two new names.
    pub fn names(&self) -> Result<BTreeMap<String, String>> {
        let mut rename = BTreeMap::new();
        for (old, new) in &self.rename {
            if let Some(other) =
                rename.insert(old.clone(), new.clone()).filter(|other| other != new)
            {
                let reason = format!("class `{old}` is given two names, `{other}` and `{new}`");
                return Err(counterweight_core::Error::from(SettingsError::Value {
                    key: "--rename".to_string(),
                    reason: reason.into(),
                })
                .into());
            }
        }
        Ok(rename)
    }
}

fn renaming(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((old, new)) if !old.is_empty() && !new.trim().is_empty() => {
            Ok((old.to_string(), new.trim().to_string()))
        }
        _ => Err("expected the class's name and its new name, such as kitten=cat".to_string()),
    }
}

/// How a dataset is built of a source that nobody has built one of.
#[derive(Clone, Debug, clap::Args)]
pub struct BuildingOption {
    #[command(flatten)]
    group: GroupByOption,
    #[command(flatten)]
    rename: RenameOption,
}

impl BuildingOption {
    /// What a dataset is built with.
    ///
    /// # Errors
    /// As [`RenameOption::names`].
    pub fn options(&self) -> Result<BuildOptions> {
        Ok(BuildOptions { rename: self.rename.names()?, ..self.group.options() })
    }
}

#[derive(Debug, clap::Args)]
pub struct ThreadOption {
    /// Threads to work with; all cores if not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    threads: Option<u32>,
}

impl ThreadOption {
    /// Sets the number of threads.
    ///
    /// # Errors
    /// If it was set before.
    pub fn apply(&self) -> Result<()> {
        Ok(self.threads.map_or(Ok(()), |threads| device::use_threads(threads as usize))?)
    }
}

#[cfg(test)]
mod tests {
    use counterweight_core::settings::Preset;

    use super::*;

    #[test]
    fn balancers_that_are_named_are_taken() {
        let set = |changes: &[&str]| {
            let mut settings = Settings::preset(Preset::Auto);
            let changes = changes.iter().map(ToString::to_string).collect();
            SetOption { set: changes }.apply(&mut settings).unwrap();
            (settings.balance.balancers.len(), settings.balance.tune_candidates)
        };
        let usual = Settings::preset(Preset::Auto).balance.tune_candidates;
        assert!(usual > 0);
        assert_eq!(set(&["balance.balancers=none"]), (0, 0));
        assert_eq!(set(&["balance.balancers=l2,tau"]), (2, 0));
        assert_eq!(set(&["balance.balancers=l2", "balance.tune_candidates=40"]), (1, 40));
        assert_eq!(set(&["balance.tau=1.5"]).1, usual);
    }
}
