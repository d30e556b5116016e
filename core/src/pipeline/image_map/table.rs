//! The map as a table.

use std::path::Path;

use super::ImageMap;
use crate::error::{ModelError, Result};
use crate::files::write_table;

/// Writes a table with a line for each image: its path, split, class, group, what it is taken for
/// and how surely, and its place.
///
/// # Errors
/// A file that cannot be written.
pub fn write_map_table(map: &ImageMap, path: &Path) -> Result<()> {
    write_table(path, |table| {
        table.write_record([
            "path",
            "split",
            "class",
            "group",
            "predicted",
            "probability",
            "x",
            "y",
        ])?;
        for point in &map.points {
            table.write_record([
                point.location.to_text().as_str(),
                point.split.name(),
                &map.classes[point.label],
                map.group(point.label).name(),
                &map.classes[point.predicted],
                &format!("{:.4}", point.probability),
                &point.place[0].to_string(),
                &point.place[1].to_string(),
            ])?;
        }
        Ok(())
    })
    .map_err(|error| ModelError::file(path, error).into())
}
