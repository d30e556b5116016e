//! `key=value` overrides on top of settings.

use serde::Serialize;
use toml::{Table, Value};

use super::{Settings, renamed};
use crate::error::{Result, SettingsError};

fn table(settings: &Settings) -> Table {
    Table::try_from(settings).expect("settings hold only plain values")
}

/// Every key of the settings, dotted. A key whose value is itself a table of numbers (a fixed
/// normalisation) counts as one.
pub(super) fn keys(settings: &Settings) -> Vec<String> {
    let mut keys = Vec::new();
    for (section, value) in table(settings) {
        match value {
            Value::Table(inner) => keys.extend(inner.keys().map(|key| format!("{section}.{key}"))),
            _ => keys.push(section),
        }
    }
    keys
}

/// The value of a key as text that [`apply`] reads back; lists have commas between their values.
pub(super) fn text(settings: &Settings, key: &str) -> Option<String> {
    let root = table(settings);
    let value = match key.split_once('.') {
        Some((section, leaf)) => root.get(section)?.as_table()?.get(leaf)?,
        None => root.get(key)?,
    };
    let plain = |value: &Value| match value {
        Value::String(text) => text.clone(),
        // What is a number of 32 bits is written with the digits that tell it from other such
        // numbers: 0.4, and not what is nearest to it in 64 bits.
        Value::Float(number) if f64::from(*number as f32) == *number => {
            Value::Float((*number as f32).to_string().parse().unwrap_or(*number)).to_string()
        }
        value => value.to_string(),
    };
    Some(match value {
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(", "),
        value => plain(value),
    })
}

/// `settings` with one key changed, not yet validated.
pub(super) fn apply(settings: &Settings, key: &str, value: &str) -> Result<Settings> {
    let known = keys(settings);
    let full = resolve(key, &known)?;
    let root = table(settings);
    let with = |value: Value| -> Result<Settings, toml::de::Error> {
        let mut changed = root.clone();
        let slot = match full.split_once('.') {
            Some((section, leaf)) => changed
                .get_mut(section)
                .and_then(Value::as_table_mut)
                .and_then(|inner| inner.get_mut(leaf)),
            None => changed.get_mut(&full),
        };
        *slot.expect("the key was found in this very table") = value;
        Value::Table(changed).try_into()
    };
    // A word such as `true` or `50` may be meant as text, and a single word as a list of one, or of
    // none.
    let mut meanings =
        vec![parse(value), Value::String(value.to_string()), Value::Array(list(value))];
    if matches!(value.trim(), "none" | "") {
        meanings.push(Value::Array(Vec::new()));
    }
    let mut wrong = Vec::with_capacity(meanings.len());
    for meaning in meanings {
        match with(meaning) {
            Ok(changed) => return Ok(changed),
            Err(error) => wrong.push(error.message().to_string()),
        }
    }
    let fits = |text: &str| with(parse(text)).is_ok();
    let reason = format!("`{value}` does not fit: {}", wanted(&wrong, fits));
    Err(SettingsError::Value { key: full, reason: reason.into() }.into())
}

/// What a setting takes: the names it knows, or the kind of its values; otherwise the first of the
/// errors.
fn wanted(wrong: &[String], fits: impl Fn(&str) -> bool) -> String {
    const EXPECTED: &str = ", expected ";
    let names = wrong.iter().filter(|error| error.starts_with("unknown variant"));
    if let Some(names) = names.filter_map(|error| error.split_once(EXPECTED)).next() {
        return format!("expected {}", names.1);
    }
    let kind = match () {
        () if fits("0.5") => "a number",
        () if fits("1") => "a whole number, not negative",
        () if fits("true") => "true or false",
        () => return wrong.first().cloned().unwrap_or_default(),
    };
    if fits("auto") { format!("expected {kind}, or auto") } else { format!("expected {kind}") }
}

fn list(value: &str) -> Vec<Value> {
    value.split(',').map(|part| parse(part.trim())).collect()
}

/// A TOML value where the text is one, otherwise the text itself.
fn parse(value: &str) -> Value {
    #[derive(Serialize, serde::Deserialize)]
    struct Holder {
        value: Value,
    }
    match toml::from_str::<Holder>(&format!("value = {value}")) {
        Ok(holder) => holder.value,
        Err(_) => Value::String(value.to_string()),
    }
}

fn resolve(key: &str, known: &[String]) -> Result<String> {
    if known.iter().any(|k| k == key) {
        return Ok(key.to_string());
    }
    let same_leaf: Vec<&String> =
        known.iter().filter(|k| k.rsplit('.').next() == Some(key)).collect();
    match same_leaf.as_slice() {
        [one] => return Ok((*one).clone()),
        [] => {
            if let Some(current) = renamed::current_key(key) {
                renamed::note(key, current);
                return Ok(current.to_string());
            }
        }
        several => {
            let names: Vec<&str> = several.iter().map(|k| k.as_str()).collect();
            let reason = format!("which one? {}", names.join(", "));
            return Err(SettingsError::Value { key: key.to_string(), reason: reason.into() }.into());
        }
    }
    let distance = |k: &str| {
        let leaf = k.rsplit('.').next().unwrap_or(k);
        strsim::normalized_damerau_levenshtein(k, key)
            .max(strsim::normalized_damerau_levenshtein(leaf, key))
    };
    let nearest = known
        .iter()
        .max_by(|a, b| distance(a).total_cmp(&distance(b)))
        .filter(|k| distance(k) > 0.3)
        .cloned();
    Err(SettingsError::UnknownKey { key: key.to_string(), nearest }.into())
}

#[cfg(test)]
mod tests {
    use crate::settings::{
        Auto, Balancer, ClassifierLoss, ImageFit, Normalisation, Preset, Settings,
    };

    #[test]
    fn a_list_can_be_left_empty() {
        let settings = Settings::preset(Preset::Quick);
        for empty in ["none", "", "[]"] {
            let changed = settings.with("balance.balancers", empty).unwrap();
            assert!(changed.balance.balancers.is_empty(), "{empty}");
        }
        assert!(settings.with("stage1.epochs", "none").is_err());
    }

    #[test]
    fn every_preset_is_valid_and_survives_its_file() {
        let folder = tempfile::tempdir().unwrap();
        for preset in Preset::ALL {
            let settings = Settings::preset(preset);
            settings.validate().unwrap();
            let path = folder.path().join("settings.toml");
            std::fs::write(&path, settings.to_toml()).unwrap();
            assert_eq!(Settings::load(&path).unwrap(), settings);
        }
    }

    #[test]
    fn a_file_without_parts_computes_batches_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("settings.toml");
        let text = Settings::preset(Preset::Quick).to_toml();
        assert!(text.contains("accumulation = 1\n"), "{text}");
        std::fs::write(&path, text.replace("accumulation = 1\n", "")).unwrap();
        assert_eq!(Settings::load(&path).unwrap(), Settings::preset(Preset::Quick));
    }

    #[test]
    fn a_file_of_before_images_could_be_stretched_crops_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("settings.toml");
        let text = Settings::preset(Preset::Auto).to_toml();
        assert!(text.contains("fit = \"auto\"\n"), "{text}");
        std::fs::write(&path, text.replace("fit = \"auto\"\n", "")).unwrap();
        let model = Settings::load(&path).unwrap().model;
        assert_eq!(model.fit, Auto::Value(ImageFit::Crop));
    }

    #[test]
    fn values_of_every_kind_can_be_set() {
        let mut s = Settings::preset(Preset::Quick);
        s.set("seed", "7").unwrap();
        s.set("stage1.learning_rate", "1").unwrap();
        s.set("backbone", "resnet32").unwrap();
        s.set("input_size", "48").unwrap();
        s.set("balancers", "tau").unwrap();
        assert_eq!(s.balance.balancers, [Balancer::Tau]);
        s.set("balancers", "l2,logit-adjustment").unwrap();
        s.set("balance.loss", "balanced-softmax").unwrap();
        s.set("max_norm_radius", "0.5").unwrap();
        s.set("max_norm_radius", "auto").unwrap();
        s.set("normalisation", "{ mean = [0.5, 0.5, 0.5], std = [0.2, 0.2, 0.2] }").unwrap();
        assert_eq!(s.seed, 7);
        assert_eq!(s.stage1.learning_rate(), 1.0);
        assert_eq!(s.model.input_size, Auto::Value(48));
        assert_eq!(s.balance.balancers, [Balancer::L2, Balancer::LogitAdjustment]);
        assert_eq!(s.balance.loss, ClassifierLoss::BalancedSoftmax);
        assert_eq!(s.balance.max_norm_radius, Auto::AUTO);
        assert!(matches!(s.model.normalisation, Normalisation::Fixed { .. }));
    }

    #[test]
    fn wrong_keys_and_values_are_explained() {
        let mut s = Settings::preset(Preset::Quick);
        let before = s.clone();
        let text = |r: crate::Result<()>| r.unwrap_err().to_string();
        assert!(text(s.set("learning_rat", "1")).contains("did you mean"));
        assert!(text(s.set("epochs", "1")).contains("balance.epochs, stage1.epochs"));
        assert!(text(s.set("stage1.epochs", "many")).contains("stage1.epochs"));
        assert!(text(s.set("stage1.epochs", "0")).contains("at least 1"));
        assert!(text(s.set("stage1.learning_rate", "nan")).contains("above 0"));
        assert!(text(s.set("input_size", "4")).contains("8..=512"));
        let names = text(s.set("balancers", "taau"));
        assert!(names.contains("expected one of `stage2`") && names.contains("`tau`"), "{names}");
        for (key, value, kind) in [
            ("stage1.epochs", "1e20", "a whole number, not negative, or auto"),
            ("stage1.epochs", "-3", "a whole number, not negative, or auto"),
            ("balance.tau", "much", "a number"),
            ("augmentation.flip", "perhaps", "true or false"),
        ] {
            let found = text(s.set(key, value));
            assert!(found.contains(&format!("`{value}` does not fit: expected {kind}")), "{found}");
        }
        assert_eq!(s, before);
    }
}
