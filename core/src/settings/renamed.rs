//! Settings that were called otherwise in earlier versions. Files and overrides with the old names
//! still work, and say so.

use toml::Table;

/// Earlier keys, dotted, with those of today. The fields of today's settings have the earlier name
/// as an alias.
const RENAMED: &[(&str, &str)] = &[("stage1.parts", "stage1.accumulation")];

/// Today's key for an earlier one, whole or its last part alone.
pub(super) fn current_key(key: &str) -> Option<&'static str> {
    let is_meant = |old: &str| old == key || old.rsplit('.').next() == Some(key);
    RENAMED.iter().find(|(old, _)| is_meant(old)).map(|(_, new)| *new)
}

/// Says in the log that a key has another name now.
pub(super) fn note(old: &str, new: &str) {
    tracing::warn!("the setting {old} is called {new} now; its earlier name still works");
}

/// Says which settings of a file have another name now.
pub(super) fn note_in_file(text: &str) {
    let Ok(table) = text.parse::<Table>() else { return };
    let has = |key: &str| {
        key.split_once('.').is_some_and(|(section, leaf)| {
            let section = table.get(section).and_then(toml::Value::as_table);
            section.is_some_and(|section| section.contains_key(leaf))
        })
    };
    for (old, new) in RENAMED.iter().filter(|(old, _)| has(old)) {
        note(old, new);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{FORMAT, Preset, Settings};

    #[test]
    fn every_earlier_name_still_sets_todays_setting() {
        for (old, new) in RENAMED {
            assert_eq!(current_key(old), Some(*new));
            let mut settings = Settings::preset(Preset::Quick);
            assert!(Settings::keys().iter().any(|key| key == new), "{new} is no setting");
            let value = settings.text(new).unwrap();
            settings.set(old, &value).unwrap();
            assert_eq!(settings, Settings::preset(Preset::Quick));
            // And in a file.
            let leaf = |key: &str| format!("\n{} = ", key.rsplit('.').next().unwrap());
            let text = settings.to_toml().replace(&leaf(new), &leaf(old));
            assert_ne!(text, settings.to_toml());
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("settings.toml");
            std::fs::write(&path, text).unwrap();
            assert_eq!(Settings::load(&path).unwrap(), settings);
        }
        assert_eq!(current_key("stage1.epochs"), None);
    }

    #[test]
    fn a_file_of_a_newer_format_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("settings.toml");
        let settings = Settings::preset(Preset::Auto);
        std::fs::write(&path, settings.to_file()).unwrap();
        assert_eq!(Settings::load(&path).unwrap(), settings);
        let [own, next] = [FORMAT, FORMAT + 1].map(|format| format!("format {format}"));
        let newer = settings.to_file().replacen(&own, &next, 1) + "\n[unheard_of]\n";
        std::fs::write(&path, newer).unwrap();
        let error = Settings::load(&path).unwrap_err().to_string();
        assert!(error.contains("newer version") && error.contains(&next), "{error}");
    }
}
