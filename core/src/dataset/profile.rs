//! Long-tail profiles: how many training samples the class at each rank is asked for.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{DataError, Result};
use crate::files;

/// How the numbers of training samples fall from the head of the class order to its tail.
///
/// With C classes, ranks i = 0..C−1 and n_max samples asked of the head. Every class is asked for
/// at least one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Profile {
    /// n_i = ⌊n_max · μ^{i/(C−1)}⌋ with μ = 1/factor: the long-tailed CIFAR of Cui et al.,
    /// *Class-Balanced Loss Based on Effective Number of Samples*, CVPR 2019.
    Exponential {
        /// Imbalance factor, at least 1.
        factor: f64,
    },
    /// The first ⌊C/2⌋ classes n_max, the others ⌊n_max/factor⌋: Buda, Maki, Mazurowski, *A
    /// systematic study of the class imbalance problem*, Neural Networks 2018.
    Step {
        /// Imbalance factor, at least 1.
        factor: f64,
    },
    /// The quantiles of a Pareto distribution (type II) in the middle of C equal parts, moved and
    /// scaled so that the head has n_max and the tail n_max/factor: with q_i = (C/(i+½))^{1/α}, n_i
    /// = ⌊n_min + (n_max − n_min)·(q_i − q_{C−1})/(q_0 − q_{C−1})⌋ where n_min = n_max/factor.
    /// ImageNet-LT (Liu et al., CVPR 2019) was drawn from a Pareto distribution with α = 6, 1,280
    /// to 5 images a class.
    Pareto {
        /// Imbalance factor, at least 1.
        factor: f64,
        /// Shape α, above 0; the smaller, the steeper the head.
        alpha: f64,
    },
    /// What each class has.
    #[default]
    AsIs,
    /// A number for each named class; a class that is not named keeps what it has.
    Custom {
        /// Training samples by class name.
        counts: BTreeMap<String, usize>,
    },
}

impl Profile {
    /// The imbalance factor where none is given: the hardest of the paper's three.
    pub const DEFAULT_FACTOR: f64 = 100.0;

    /// The Pareto shape α of ImageNet-LT.
    pub const DEFAULT_ALPHA: f64 = 6.0;

    /// What the class at `rank` of `classes` is asked for when the head is asked for `largest`: at
    /// least one, and `None` where the profile does not go by rank (as-is and custom).
    ///
    /// ```
    /// use counterweight_core::dataset::Profile;
    /// let profile = Profile::Exponential { factor: 100.0 };
    /// let images: usize = (0..100).filter_map(|rank| profile.size(rank, 100, 500)).sum();
    /// assert_eq!(images, 10_847); // CIFAR-100-LT
    /// ```
    pub fn size(&self, rank: usize, classes: usize, largest: usize) -> Option<usize> {
        // A single class is the head.
        let last = classes.saturating_sub(1).max(1) as f64;
        let n_max = largest as f64;
        let size = match self {
            // In the order of operations of the code that made CIFAR-LT, since another rounds
            // differently.
            Profile::Exponential { factor } => n_max * (1.0 / factor).powf(rank as f64 / last),
            Profile::Step { factor } if rank >= (classes / 2).max(1) => n_max / factor,
            Profile::Step { .. } => n_max,
            Profile::Pareto { factor, alpha } => {
                // q_i/q_0, which stays in 0..=1 however small α is.
                let quantile = |rank: f64| (0.5 / (rank + 0.5)).powf(1.0 / alpha);
                let tail = quantile(last);
                let n_min = n_max / factor;
                let share =
                    if rank == 0 { 1.0 } else { (quantile(rank as f64) - tail) / (1.0 - tail) };
                // The ends are exact in real numbers; the sliver keeps them so after rounding.
                n_min + (n_max - n_min) * share + 1e-9
            }
            Profile::AsIs | Profile::Custom { .. } => return None,
        };
        // A cast saturates, so a size that is no number at all becomes the one sample every class
        // keeps.
        Some((size as usize).clamp(1, largest.max(1)))
    }

    /// Checks the parameters.
    ///
    /// # Errors
    /// [`DataError::Build`] for a factor below 1, a shape α not above 0 or a custom count of 0.
    pub fn validate(&self) -> Result<()> {
        let wrong = |reason: String| Err(DataError::Build(reason).into());
        match self {
            Profile::Exponential { factor }
            | Profile::Step { factor }
            | Profile::Pareto { factor, .. }
                if !(factor.is_finite() && *factor >= 1.0) =>
            {
                wrong(format!("the imbalance factor must be at least 1, not {factor}"))
            }
            Profile::Pareto { alpha, .. } if !(alpha.is_finite() && *alpha > 0.0) => {
                wrong(format!("the shape of the Pareto profile must be above 0, not {alpha}"))
            }
            Profile::Custom { counts } => match counts.iter().find(|(_, count)| **count == 0) {
                Some((class, _)) => wrong(format!(
                    "class `{class}` is asked for no images; leave it out of the classes instead"
                )),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// Reads a custom profile from a CSV file of two columns, class and count. The class is a name
    /// or, where no class has that name, its index in `classes`, from 0. A first row whose second
    /// column is no number is a heading.
    ///
    /// # Errors
    /// [`DataError::File`] if the file cannot be read or holds no count, [`DataError::Many`] with
    /// every wrong line.
    pub fn read_custom(path: &Path, classes: &[String]) -> Result<Self> {
        let bytes = files::read(path, files::LARGEST_TEXT).map_err(|e| DataError::file(path, e))?;
        let text =
            std::str::from_utf8(&bytes).map_err(|_| DataError::file(path, "is not UTF-8 text"))?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let indices: HashMap<&str, usize> =
            classes.iter().enumerate().map(|(i, name)| (name.as_str(), i)).collect();
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .trim(csv::Trim::All)
            .from_reader(text.as_bytes());
        let mut counts = BTreeMap::new();
        let mut wrong = Vec::new();
        for (row, record) in reader.records().enumerate() {
            let record = record.map_err(|e| DataError::file(path, e))?;
            let line = record.position().map_or(row as u64 + 1, csv::Position::line);
            let (Some(class), Some(count)) = (record.get(0), record.get(1)) else {
                wrong.push(format!("line {line}: expected a class and a count"));
                continue;
            };
            let Ok(count) = count.parse::<usize>() else {
                if row > 0 {
                    wrong.push(format!("line {line}: `{count}` is no count"));
                }
                continue;
            };
            let index = indices
                .get(class)
                .copied()
                .or_else(|| class.parse().ok().filter(|i| *i < classes.len()));
            match index {
                None => wrong.push(format!("line {line}: the source has no class `{class}`")),
                Some(_) if count == 0 => {
                    wrong.push(format!("line {line}: class `{class}` needs at least one image"))
                }
                Some(index) => {
                    if counts.insert(classes[index].clone(), count).is_some() {
                        wrong.push(format!("line {line}: class `{}` comes twice", classes[index]));
                    }
                }
            }
        }
        if !wrong.is_empty() {
            return Err(DataError::Many {
                summary: format!("{}: lines that cannot be used", path.display()),
                items: wrong,
            }
            .into());
        }
        if counts.is_empty() {
            return Err(DataError::file(path, "holds no class counts").into());
        }
        Ok(Profile::Custom { counts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(profile: &Profile, classes: usize, largest: usize) -> Vec<usize> {
        (0..classes).map(|rank| profile.size(rank, classes, largest).unwrap()).collect()
    }

    #[test]
    fn the_exponential_profile_gives_the_published_cifar_100_lt() {
        for (factor, images) in [(100.0, 10_847), (50.0, 12_608), (10.0, 19_573)] {
            let sizes = sizes(&Profile::Exponential { factor }, 100, 500);
            assert_eq!(sizes.iter().sum::<usize>(), images, "factor {factor}");
            assert_eq!((sizes[0], sizes[99]), (500, (500.0 / factor) as usize));
        }
    }

    #[test]
    fn the_exponential_profile_gives_the_published_cifar_10_lt() {
        let sizes = sizes(&Profile::Exponential { factor: 100.0 }, 10, 5000);
        assert_eq!(sizes, [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]);
    }

    #[test]
    fn the_step_profile_has_two_sizes() {
        assert_eq!(sizes(&Profile::Step { factor: 10.0 }, 5, 100), [100, 100, 10, 10, 10]);
        assert_eq!(sizes(&Profile::Step { factor: 1000.0 }, 2, 100), [100, 1]);
    }

    #[test]
    fn the_pareto_profile_falls_from_end_to_end_and_resembles_imagenet_lt() {
        let sizes = sizes(&Profile::Pareto { factor: 256.0, alpha: 6.0 }, 1000, 1280);
        assert_eq!((sizes[0], sizes[999]), (1280, 5));
        assert!(sizes.windows(2).all(|pair| pair[0] >= pair[1]));
        // ImageNet-LT holds 115,846 images; a draw and its quantiles agree in size, not in each
        // class.
        let images: usize = sizes.iter().sum();
        assert!((90_000..130_000).contains(&images), "{images}");
    }

    #[test]
    fn no_profile_asks_for_nothing_or_for_more_than_the_head() {
        for factor in [1.0, 1.5, 49.0, 1e300] {
            for profile in [
                Profile::Exponential { factor },
                Profile::Step { factor },
                Profile::Pareto { factor, alpha: 6.0 },
                Profile::Pareto { factor, alpha: 1e-3 },
            ] {
                for classes in [1, 2, 3, 100] {
                    for largest in [1, 7, 500] {
                        let sizes = sizes(&profile, classes, largest);
                        assert!(
                            sizes.iter().all(|n| (1..=largest).contains(n)),
                            "{profile:?} {classes} {largest}: {sizes:?}"
                        );
                        assert_eq!(sizes[0], largest, "{profile:?} {classes} {largest}");
                    }
                }
            }
        }
    }

    #[test]
    fn custom_counts_take_names_before_indices_and_every_wrong_line_is_listed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("counts.csv");
        let classes: Vec<String> = ["cat", "0", "Тигр, амурский"].map(String::from).to_vec();
        std::fs::write(&path, "class,count\ncat,5\n0,7\n\"Тигр, амурский\",1\n").unwrap();
        let Profile::Custom { counts } = Profile::read_custom(&path, &classes).unwrap() else {
            panic!()
        };
        assert_eq!(
            counts,
            BTreeMap::from([("cat".into(), 5), ("0".into(), 7), ("Тигр, амурский".into(), 1)])
        );
        std::fs::write(&path, "2,4\n").unwrap();
        let Profile::Custom { counts } = Profile::read_custom(&path, &classes).unwrap() else {
            panic!()
        };
        assert_eq!(counts, BTreeMap::from([("Тигр, амурский".into(), 4)]));

        std::fs::write(&path, "cat,5\ndog,3\n2,many\n0,0\ncat,6\nalone\n").unwrap();
        let error = Profile::read_custom(&path, &classes).unwrap_err().to_string();
        for part in ["line 2", "`dog`", "line 3", "`many`", "line 4", "line 5", "twice", "line 6"] {
            assert!(error.contains(part), "{part} in {error}");
        }
        std::fs::write(&path, [0xff, 0xfe, 0x00]).unwrap();
        assert!(Profile::read_custom(&path, &classes).unwrap_err().to_string().contains("UTF-8"));
        std::fs::write(&path, "").unwrap();
        assert!(Profile::read_custom(&path, &classes).is_err());
    }
}
