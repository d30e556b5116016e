//! What people call the columns of an image list, in the languages that most of them speak.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Columns of paths, or names, of images.
pub(super) const PATH_COLUMNS: [&str; 43] = [
    "path",
    "filepath",
    "file_path",
    "filename",
    "file_name",
    "file",
    "image",
    "images",
    "image_path",
    "imagepath",
    "image_file",
    "image_filename",
    "image_name",
    "img",
    "img_path",
    "img_name",
    "img_file",
    "relative_path",
    "rel_path",
    "photo",
    "dateiname",
    "dateipfad",
    "datei",
    "bilddatei",
    "bildname",
    "bild",
    "foto",
    "pfad",
    "nom_fichier",
    "nom_de_fichier",
    "nom_du_fichier",
    "fichier",
    "chemin",
    "nombre_archivo",
    "nombre_de_archivo",
    "archivo",
    "imagen",
    "arquivo",
    "imagem",
    "image_id",
    "img_id",
    "id",
    "name",
];

/// Columns of labels. Names before numbers: where a table has both, people want to read the names.
pub(super) const LABEL_COLUMNS: [&str; 51] = [
    "class_name",
    "classname",
    "label_name",
    "category_name",
    "label",
    "labels",
    "class",
    "category",
    "species",
    "target",
    "y",
    "class_label",
    "tag",
    "scientific_name",
    "common_name",
    "diagnosis",
    "dx",
    "breed",
    "choice",
    "klasse",
    "klassenname",
    "kategorie",
    "spezies",
    "tierart",
    "vogelart",
    "pflanzenart",
    "baumart",
    "art",
    "fehlerart",
    "fischart",
    "diagnose",
    "etikett",
    "rasse",
    "classe",
    "categorie",
    "espece",
    "etiquette",
    "diagnostic",
    "clase",
    "categoria",
    "especie",
    "etiqueta",
    "diagnostico",
    "specie",
    "etichetta",
    "class_id",
    "label_id",
    "category_id",
    "class_index",
    "target_id",
    "classid",
];

/// How the names of columns of labels end that are called after what is labelled: `bird_species`.
const LABEL_ENDINGS: [&str; 11] = [
    "species",
    "class",
    "label",
    "category",
    "klasse",
    "kategorie",
    "classe",
    "espece",
    "especie",
    "clase",
    "categoria",
];

/// Columns of splits.
pub(super) const SPLIT_COLUMNS: [&str; 9] =
    ["split", "set", "subset", "partition", "dataset", "data_set", "phase", "usage", "fold"];

/// Columns of what belongs together.
pub(super) const GROUP_COLUMNS: [&str; 19] = [
    "group",
    "group_id",
    "series",
    "series_id",
    "sequence",
    "sequence_id",
    "seq_id",
    "track",
    "track_id",
    "burst",
    "burst_id",
    "patient",
    "patient_id",
    "lesion_id",
    "subject_id",
    "individual_id",
    "serie",
    "sequenz",
    "patienten_id",
];

/// Whether a column's name, [`normalised`], ends as those of labels do.
pub(super) fn ends_as_label(name: &str) -> bool {
    LABEL_ENDINGS.iter().any(|ending| name.ends_with(ending))
}

/// A column's name as it is compared: without capitals, marks on letters, or what stands between words.
pub(super) fn normalised(name: &str) -> String {
    let letters = name.trim().nfd().filter(|c| !is_combining_mark(*c));
    letters.flat_map(char::to_lowercase).collect::<String>().replace([' ', '-', '.'], "_")
}

/// Whether this is a usual name of a column.
pub(super) fn knows(name: &str) -> bool {
    let name = normalised(name);
    let name = name.as_str();
    PATH_COLUMNS.contains(&name)
        || LABEL_COLUMNS.contains(&name)
        || SPLIT_COLUMNS.contains(&name)
        || GROUP_COLUMNS.contains(&name)
}
