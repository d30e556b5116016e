//! New names for a source's classes, and one name for several.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};

use crate::error::{DataError, Result};
use crate::source::composed;

/// A source's classes under their new names.
pub(super) struct Renamed {
    /// Class names in the order in which the source first has them.
    pub names: Vec<String>,
    /// For each class of the source its place among `names`.
    pub places: Vec<usize>,
}

impl Renamed {
    /// Renames `classes`, a source's class names in label order, all at once: two classes can swap
    /// names.
    ///
    /// # Errors
    /// As [`renamed_classes`].
    pub fn of(classes: &[String], rename: &BTreeMap<String, String>) -> Result<Self> {
        // A terminal may complete names as macOS's file manager writes them.
        let rename: BTreeMap<String, String> = rename
            .iter()
            .map(|(from, to)| (composed(from).into_owned(), composed(to).into_owned()))
            .collect();
        check(&rename)?;
        if rename.is_empty() {
            return Ok(Self { names: classes.to_vec(), places: (0..classes.len()).collect() });
        }
        let there: HashSet<Cow<'_, str>> = classes.iter().map(|name| composed(name)).collect();
        let unknown: Vec<String> = rename
            .keys()
            .filter(|name| !there.contains(name.as_str()))
            .map(|name| format!("`{name}`"))
            .collect();
        if !unknown.is_empty() {
            return Err(DataError::Many {
                summary: "classes to rename that the source does not have".to_string(),
                items: unknown,
            }
            .into());
        }
        let mut names: Vec<String> = Vec::new();
        let mut known: HashMap<&str, usize> = HashMap::new();
        let mut places = Vec::with_capacity(classes.len());
        for class in classes {
            let name = rename.get(composed(class).as_ref()).unwrap_or(class);
            places.push(*known.entry(name).or_insert_with(|| {
                names.push(name.clone());
                names.len() - 1
            }));
        }
        if names.len() < 2 {
            let reason = format!(
                "renaming leaves only the class `{}`; a classifier needs at least two",
                names.join("")
            );
            return Err(DataError::Build(reason).into());
        }
        Ok(Self { names, places })
    }
}

/// The class names that a build with these new names chooses from, in label order: that in which
/// the source first has them.
///
/// ```
/// use counterweight_core::dataset::renamed_classes;
/// let classes = ["cat", "lynx", "kitten"].map(String::from);
/// let rename = [("kitten".to_string(), "cat".to_string())].into();
/// assert_eq!(renamed_classes(&classes, &rename).unwrap(), ["cat", "lynx"]);
/// ```
///
/// # Errors
/// [`DataError::Many`] listing classes that the source does not have, [`DataError::Build`] for a
/// name that cannot be a class's and where fewer than two classes are left.
pub fn renamed_classes(
    classes: &[String],
    rename: &BTreeMap<String, String>,
) -> Result<Vec<String>> {
    Ok(Renamed::of(classes, rename)?.names)
}

/// Checks the new names.
///
/// # Errors
/// [`DataError::Build`] for the first that is empty or holds a slash, a backslash or a NUL, which
/// no folder's name can.
pub(super) fn check(rename: &BTreeMap<String, String>) -> Result<()> {
    for (old, new) in rename {
        let reason = match new {
            new if new.trim().is_empty() => format!("the new name of class `{old}` is empty"),
            new if new.contains(['/', '\\', '\0']) => {
                format!(
                    "class `{old}` cannot be named {new:?}: a class's name has no slash, backslash or NUL"
                )
            }
            _ => continue,
        };
        return Err(DataError::Build(reason).into());
    }
    Ok(())
}
