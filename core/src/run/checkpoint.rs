//! Checkpoints: everything needed to go on, or to evaluate, in one file.
//!
//! A checkpoint is a safetensors file. Tensors named `model.…` are the network's weights under
//! their published names, `velocity.…` the optimiser's, `standardiser.…` what features are
//! standardised with where the classifier alone was trained; the metadata entry `counterweight` is
//! a JSON document. Random state needs no more than the seed, the epoch and the step, since every
//! random number comes from a stream named by those (see [`crate::random`]).

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};
use serde::{Deserialize, Serialize};

use crate::classifier::Standardiser;
use crate::error::{Result, RunError};
use crate::files::{self, write_atomically};
use crate::images::InputShape;
use crate::model::{NamedTensor, NetworkConfig};
use crate::words::ImageFit;

const FORMAT: u32 = 1;
const METADATA_KEY: &str = "counterweight";
const MODEL: &str = "model.";
const VELOCITY: &str = "velocity.";
const STANDARDISER: &str = "standardiser.";
/// As settings allow them.
const MOST_EPOCHS: usize = 1_000_000;
/// Far more than any dataset has.
const MOST_SAMPLES: usize = 1 << 40;
/// The mean of every feature, and its standard deviation.
const MOMENTS: [&str; 2] = ["mean", "std"];

/// How far stage 1 has come.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StageProgress {
    /// Finished epochs.
    pub epoch: usize,
    /// Finished steps of the epoch after those.
    pub step: usize,
    /// Sum of the losses of that epoch's samples so far.
    #[serde(with = "exact")]
    pub loss_sum: f64,
    /// Samples of that epoch classified correctly so far.
    pub correct: f64,
    /// Samples of that epoch seen so far.
    pub seen: usize,
    /// The best epoch on validation so far.
    pub best: Option<Best>,
}

/// The best epoch on validation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Its balanced accuracy on validation, in 0..1.
    #[serde(with = "exact")]
    pub balanced_accuracy: f64,
    /// The epoch, from 1.
    pub epoch: usize,
    /// Its mean cross-entropy on validation; unknown in checkpoints written before equals were told
    /// apart by it.
    #[serde(default, with = "exact_if_any")]
    pub loss: Option<f64>,
}

impl Best {
    /// Whether a later epoch of this score and loss takes its place. Of equal scores the lower loss
    /// wins, of equal losses the later epoch: it is trained more.
    pub fn gives_way_to(&self, balanced_accuracy: f64, loss: f64) -> bool {
        match balanced_accuracy.total_cmp(&self.balanced_accuracy) {
            Ordering::Greater => true,
            Ordering::Less => false,
            Ordering::Equal => self.loss.is_none_or(|best| loss <= best),
        }
    }
}

/// JSON readers may be off by the last bit of a decimal, and a resumed run must break ties as the
/// uninterrupted one does.
mod exact {
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The same of a number that may be missing.
mod exact_if_any {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
        value.map(|value| value.to_string()).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<f64>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| text.parse().map_err(serde::de::Error::custom)).transpose()
    }
}

/// A network's weights with all that is needed to use them or to go on training them.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// The file it was read from, for error messages.
    pub source: PathBuf,
    /// What the network is made from.
    pub config: NetworkConfig,
    /// Per-channel mean of the input's normalisation.
    pub mean: [f32; 3],
    /// Per-channel standard deviation of the input's normalisation.
    pub std: [f32; 3],
    /// How images become its square input.
    pub fit: ImageFit,
    /// Class names, in label order.
    pub classes: Vec<String>,
    /// Training samples of each class, n_k.
    pub train_counts: Vec<usize>,
    /// The run's seed.
    pub seed: u64,
    /// How far training had come.
    pub progress: StageProgress,
    /// Names of the balancers applied to the classifier; empty before balancing.
    pub balancers: Vec<String>,
    /// Weights and running statistics.
    pub weights: Vec<NamedTensor>,
    /// SGD velocities, empty where training is over.
    pub velocities: Vec<NamedTensor>,
    /// What features are standardised with before the classifier sees them, where it alone was
    /// trained. In [`Checkpoint::weights`] the classifier is the one for features as they are; see
    /// [`classifier_of`](crate::train::classifier_of).
    pub standardiser: Option<Standardiser>,
}

#[derive(Serialize, Deserialize)]
struct Metadata {
    format: u32,
    config: NetworkConfig,
    mean: [f32; 3],
    std: [f32; 3],
    // Files of before there was a choice do not say it, nor do those that choose what was usual then.
    #[serde(default, skip_serializing_if = "ImageFit::is_usual")]
    fit: ImageFit,
    classes: Vec<String>,
    train_counts: Vec<usize>,
    seed: u64,
    progress: StageProgress,
    balancers: Vec<String>,
}

impl Metadata {
    /// Whether every number is one that this program could have written: sizes of memory and loops
    /// follow from them. An error is a sentence.
    fn check(&self) -> Result<(), String> {
        let Self { config, mean, std, classes, train_counts, progress, .. } = self;
        if classes.len() != config.classes || train_counts.len() != config.classes {
            return Err("the numbers of classes disagree".into());
        }
        if classes.len() < 2 || classes.iter().collect::<HashSet<_>>().len() < classes.len() {
            return Err("its classes need names of their own, two at least".into());
        }
        let info = config.backbone.info();
        if !info.sides.contains(&config.input_size) {
            return Err(format!(
                "an input of {} pixels a side; {} takes {} to {}",
                config.input_size,
                info.name,
                info.sides.start(),
                info.sides.end()
            ));
        }
        if !mean.iter().chain(std).all(|value| value.is_finite())
            || std.iter().any(|value| *value <= 0.0)
        {
            return Err("means must be finite, and standard deviations above 0".into());
        }
        if let Some(count) = train_counts.iter().find(|count| **count > MOST_SAMPLES) {
            return Err(format!("{count} training samples in a class"));
        }
        let share = |value: f64| (0.0..=1.0 + 1e-9).contains(&value);
        let sane = progress.epoch <= MOST_EPOCHS
            && progress.step <= MOST_SAMPLES
            && progress.seen <= MOST_SAMPLES
            && progress.loss_sum.is_finite()
            && (0.0..=progress.seen as f64 + 1.0).contains(&progress.correct)
            && progress.best.is_none_or(|best| {
                best.epoch <= MOST_EPOCHS
                    && share(best.balanced_accuracy)
                    && best.loss.is_none_or(f64::is_finite)
            });
        if !sane {
            return Err("numbers of its progress that no training has".into());
        }
        Ok(())
    }
}

impl Checkpoint {
    /// The input of its network.
    pub fn input_shape(&self) -> InputShape {
        InputShape { side: self.config.input_size, fit: self.fit }
    }

    /// Writes the checkpoint so that `path` never holds half of one.
    ///
    /// # Errors
    /// [`RunError::File`] naming the file, for example when the disk is full; an older file at
    /// `path` is then untouched.
    pub fn save(&self, path: &Path) -> Result<()> {
        let metadata = Metadata {
            format: FORMAT,
            config: self.config,
            mean: self.mean,
            std: self.std,
            fit: self.fit,
            classes: self.classes.clone(),
            train_counts: self.train_counts.clone(),
            seed: self.seed,
            progress: self.progress.clone(),
            balancers: self.balancers.clone(),
        };
        let json = serde_json::to_string(&metadata).map_err(|e| RunError::file(path, e))?;
        let moments: Vec<NamedTensor> = self
            .standardiser
            .iter()
            .flat_map(|standardiser| {
                let [mean, std] = [&standardiser.mean, &standardiser.std].map(Clone::clone);
                MOMENTS.into_iter().zip([mean, std]).map(|(name, values)| NamedTensor {
                    name: name.into(),
                    shape: vec![values.len()],
                    values,
                })
            })
            .collect();
        let bytes: Vec<(String, &[usize], Vec<u8>)> =
            [(MODEL, &self.weights), (VELOCITY, &self.velocities), (STANDARDISER, &moments)]
                .into_iter()
                .flat_map(|(prefix, tensors)| tensors.iter().map(move |tensor| (prefix, tensor)))
                .map(|(prefix, t)| {
                    (
                        format!("{prefix}{}", t.name),
                        t.shape.as_slice(),
                        t.values.iter().flat_map(|v| v.to_le_bytes()).collect(),
                    )
                })
                .collect();
        let views = bytes
            .iter()
            .map(|(name, shape, bytes)| {
                Ok((name.as_str(), TensorView::new(Dtype::F32, shape.to_vec(), bytes)?))
            })
            .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
            .map_err(|e| RunError::file(path, e))?;
        let file = serialize(views, Some(HashMap::from([(METADATA_KEY.to_string(), json)])))
            .map_err(|e| RunError::file(path, e))?;
        write_atomically(path, |out| out.write_all(&file)).map_err(|e| RunError::file(path, e))?;
        Ok(())
    }

    /// Reads a checkpoint.
    ///
    /// # Errors
    /// [`RunError::File`] naming the file and what is wrong with it: missing, damaged, of a newer
    /// format, not a checkpoint.
    pub fn load(path: &Path) -> Result<Self> {
        let damaged = |reason: String| RunError::file(path, reason);
        let file = files::read(path, u64::MAX).map_err(|e| damaged(e.to_string()))?;
        let (_, header) = SafeTensors::read_metadata(&file)
            .map_err(|e| damaged(format!("not a checkpoint, or a damaged one: {e}")))?;
        let json = header.metadata().as_ref().and_then(|entries| entries.get(METADATA_KEY));
        let json = json.ok_or_else(|| {
            damaged("a safetensors file, but not a checkpoint of this program".into())
        })?;
        let metadata: Metadata =
            serde_json::from_str(json).map_err(|e| damaged(format!("damaged checkpoint: {e}")))?;
        if metadata.format != FORMAT {
            return Err(damaged(format!(
                "checkpoint format {} is newer than this program knows",
                metadata.format
            ))
            .into());
        }
        metadata.check().map_err(|reason| damaged(format!("damaged checkpoint: {reason}")))?;
        let tensors = SafeTensors::deserialize(&file)
            .map_err(|e| damaged(format!("damaged checkpoint: {e}")))?;
        let (mut weights, mut velocities, mut moments) = (Vec::new(), Vec::new(), HashMap::new());
        for (name, view) in tensors.iter() {
            if view.dtype() != Dtype::F32 {
                return Err(damaged(format!("damaged checkpoint: `{name}` is not float32")).into());
            }
            let values = view
                .data()
                .chunks_exact(4)
                .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                .collect();
            let tensor = |name: &str| NamedTensor {
                name: name.to_string(),
                shape: view.shape().to_vec(),
                values,
            };
            if let Some(name) = name.strip_prefix(MODEL) {
                weights.push(tensor(name));
            } else if let Some(name) = name.strip_prefix(VELOCITY) {
                velocities.push(tensor(name));
            } else if let Some(name) = name.strip_prefix(STANDARDISER) {
                moments.insert(name.to_string(), tensor(name).values);
            }
        }
        // The file's own index has no order.
        weights.sort_by(|a, b| a.name.cmp(&b.name));
        velocities.sort_by(|a, b| a.name.cmp(&b.name));
        let standardiser = match MOMENTS.map(|name| moments.remove(name)) {
            [None, None] => None,
            [Some(mean), Some(std)] => Some(
                Standardiser::new(mean, std)
                    .filter(|s| s.mean.len() == metadata.config.features())
                    .ok_or_else(|| {
                        damaged("damaged checkpoint: its features cannot be standardised".into())
                    })?,
            ),
            _ => {
                return Err(damaged(
                    "damaged checkpoint: a part of the standardiser is missing".into(),
                )
                .into());
            }
        };
        let Metadata {
            config,
            mean,
            std,
            fit,
            classes,
            train_counts,
            seed,
            progress,
            balancers,
            ..
        } = metadata;
        Ok(Self {
            source: path.to_path_buf(),
            config,
            mean,
            std,
            fit,
            classes,
            train_counts,
            seed,
            progress,
            balancers,
            weights,
            velocities,
            standardiser,
        })
    }

    /// The weight of that name.
    pub fn weight(&self, name: &str) -> Option<&NamedTensor> {
        self.weights.iter().find(|tensor| tensor.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Backbone, Stem};

    fn checkpoint() -> Checkpoint {
        let tensor = |name: &str| NamedTensor {
            name: name.into(),
            shape: vec![2, 1],
            values: vec![0.1, f32::MIN_POSITIVE / 2.0],
        };
        Checkpoint {
            source: PathBuf::new(),
            config: NetworkConfig {
                backbone: Backbone::ResNet20,
                stem: Stem::Small,
                input_size: 8,
                classes: 2,
            },
            mean: [0.1, 0.2, 0.3],
            std: [0.4, 0.5, 0.6],
            fit: ImageFit::Stretch,
            classes: vec!["кошка".into(), "a \"b\"".into()],
            train_counts: vec![10, 1],
            seed: u64::MAX,
            progress: StageProgress {
                epoch: 3,
                step: 2,
                loss_sum: 0.1 + 0.2,
                correct: 5.0,
                seen: 9,
                best: Some(Best { balanced_accuracy: 1.0 / 3.0, epoch: 2, loss: None }),
            },
            balancers: vec!["tau".into()],
            weights: vec![tensor("a.weight"), tensor("b")],
            velocities: vec![tensor("a.weight")],
            standardiser: Standardiser::new(vec![0.5; 64], vec![2.0; 64]),
        }
    }

    #[test]
    fn a_checkpoint_survives_its_file_bit_for_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("last.safetensors");
        checkpoint().save(&path).unwrap();
        let expected = Checkpoint { source: path.clone(), ..checkpoint() };
        assert_eq!(Checkpoint::load(&path).unwrap(), expected);
        // One that crops is written as it was before there was a choice.
        let usual = Checkpoint { fit: ImageFit::Crop, ..expected };
        usual.save(&path).unwrap();
        let file = std::fs::read(&path).unwrap();
        assert!(memchr::memmem::find(&file, b"fit").is_none());
        assert_eq!(Checkpoint::load(&path).unwrap(), usual);
    }

    #[test]
    fn of_equal_epochs_the_better_trained_one_is_kept() {
        let best = Best { balanced_accuracy: 0.5, epoch: 3, loss: Some(1.0) };
        assert!(best.gives_way_to(0.6, 9.0) && !best.gives_way_to(0.4, 0.1));
        assert!(
            best.gives_way_to(0.5, 0.9)
                && best.gives_way_to(0.5, 1.0)
                && !best.gives_way_to(0.5, 1.1)
        );
        assert!(Best { loss: None, ..best }.gives_way_to(0.5, 9.0));
    }

    #[test]
    fn numbers_that_no_training_has_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("last.safetensors");
        let said = |change: &dyn Fn(&mut Checkpoint)| {
            let mut changed = checkpoint();
            change(&mut changed);
            changed.save(&path).unwrap();
            let error = Checkpoint::load(&path).map(drop).unwrap_err().to_string();
            assert!(error.contains("last.safetensors: damaged checkpoint: "), "{error}");
            error
        };
        for side in [0, 7, 513, 100_000, 1 << 40, usize::MAX] {
            let error = said(&|c| c.config.input_size = side);
            assert!(
                error.contains(&format!("{side} pixels a side; resnet20 takes 8 to 512")),
                "{error}"
            );
        }
        assert!(said(&|c| c.std[1] = 0.0).contains("above 0"));
        assert!(said(&|c| c.std[1] = -1.0).contains("above 0"));
        assert!(said(&|c| c.train_counts[0] = usize::MAX).contains("training samples"));
        assert!(said(&|c| c.train_counts = vec![1]).contains("disagree"));
        assert!(said(&|c| c.config.classes = 1 << 40).contains("disagree"));
        assert!(said(&|c| c.classes[1] = c.classes[0].clone()).contains("names of their own"));
        let changes: [&dyn Fn(&mut StageProgress); 6] = [
            &|p| p.epoch = usize::MAX,
            &|p| p.step = usize::MAX,
            &|p| p.seen = usize::MAX,
            &|p| p.correct = 11.0,
            &|p| p.loss_sum = f64::INFINITY,
            &|p| p.best = Some(Best { balanced_accuracy: 2.0, epoch: 1, loss: None }),
        ];
        for change in changes {
            assert!(said(&|c| change(&mut c.progress)).contains("progress"));
        }
    }

    #[test]
    fn damage_is_an_error_that_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("last.safetensors");
        checkpoint().save(&path).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for length in [0, 7, 20, whole.len() / 2, whole.len() - 1] {
            std::fs::write(&path, &whole[..length]).unwrap();
            let error = Checkpoint::load(&path).unwrap_err().to_string();
            assert!(error.contains("last.safetensors"), "{error}");
        }
        let mut bytes = whole;
        for position in (0..bytes.len()).step_by(5) {
            bytes[position] ^= 0x55;
            std::fs::write(&path, &bytes).unwrap();
            drop(Checkpoint::load(&path));
            bytes[position] ^= 0x55;
        }
        assert!(
            Checkpoint::load(&folder.path().join("none")).unwrap_err().to_string().contains("none")
        );
    }
}
