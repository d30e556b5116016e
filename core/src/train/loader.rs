//! The images of a split as a network takes them, made where the network computes.

use burn::tensor::{Device, Int, Tensor};

use crate::augment::Augmentation;
use crate::batches::{Batch, Batches, EpochPlan, Images, Recipes};
use crate::model::Normaliser;
use crate::ops::{self, DeviceImages};

/// The images of one split with the device that a network takes them on.
///
/// On the CPU, batches are augmented as bytes and become numbers there. A GPU keeps the bytes of
/// all images if they fit: then a batch is no more than what to draw, and the device draws it.
/// Where they do not fit, or the augmentation looks at more than single pixels, the GPU is given
/// the bytes of each batch and normalises them. Whatever way is taken, the numbers are the same.
pub struct Loader {
    images: Images,
    normaliser: Normaliser,
    device: Device,
    /// On a GPU, what draws there.
    drawing: Option<DeviceImages>,
    /// The bytes of all images, `[n, 3, side, side]`, four to a number.
    resident: Option<Tensor<1, Int>>,
}

impl Loader {
    /// For images on `device`, with or without autodiff; they are brought there now if they fit.
    pub fn new(images: Images, normaliser: Normaliser, device: &Device) -> Self {
        let drawing = DeviceImages::new(normaliser.values(), images.side(), device);
        let resident = match (&drawing, images.bytes()) {
            (Some(drawing), Some(bytes)) if drawing.fits(bytes.len()) => {
                Some(drawing.upload_to_stay(bytes))
            }
            _ => None,
        };
        Self { images, normaliser, device: device.clone(), drawing, resident }
    }

    /// The images.
    pub fn images(&self) -> &Images {
        &self.images
    }

    /// What bytes are turned into numbers with.
    pub fn normaliser(&self) -> &Normaliser {
        &self.normaliser
    }

    /// Of how many batches results are read together: reading waits for a GPU, and the CPU gains
    /// nothing by keeping them.
    pub fn read_every(&self) -> usize {
        const ON_A_GPU: usize = 32;
        if ops::is_cpu(&self.device) { 1 } else { ON_A_GPU }
    }

    /// Where batches are made.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Whether the device keeps the bytes of all images.
    pub fn is_resident(&self) -> bool {
        self.resident.is_some()
    }

    /// [`Images::train_batches`] for [`Loader::input`].
    ///
    /// # Errors
    /// As there.
    pub fn train_batches(&self, augmentation: &Augmentation, plan: EpochPlan) -> Batches {
        match self.draws(augmentation) {
            true => self.images.train_recipes(augmentation, plan),
            false => self.images.train_batches(augmentation, plan),
        }
    }

    /// [`Images::augmented_view`] for [`Loader::input`].
    ///
    /// # Errors
    /// As there.
    pub fn augmented_view(
        &self,
        augmentation: &Augmentation,
        batch_size: usize,
        seed: u64,
        view: usize,
    ) -> Batches {
        match self.draws(augmentation) {
            true => self.images.view_recipes(augmentation, batch_size, seed, view),
            false => self.images.augmented_view(augmentation, batch_size, seed, view),
        }
    }

    /// [`Images::eval_batches`] for [`Loader::input`].
    ///
    /// # Errors
    /// As there.
    pub fn eval_batches(&self, batch_size: usize, mirrored: bool) -> Batches {
        match self.is_resident() {
            true => self.images.eval_recipes(batch_size, mirrored),
            false => self.images.eval_batches(batch_size, mirrored),
        }
    }

    /// The normalised images of a batch of this loader, or of one that holds bytes: a tensor
    /// `[batch, 3, side, side]` on the device. On a GPU, nothing here waits for it.
    pub fn input(&self, batch: &Batch) -> Tensor<4> {
        let side = self.images.side();
        match (&self.drawing, &self.resident) {
            (Some(drawing), Some(resident)) if !batch.recipes.is_empty() => {
                drawing.draw(resident.clone(), &batch.recipes)
            }
            (Some(drawing), _) => {
                let count = batch.images.len() / (3 * side * side).max(1);
                drawing.draw(drawing.upload(&batch.images), &Recipes::plain(count))
            }
            (None, _) => self.normaliser.tensor(&batch.images, side, &self.device),
        }
    }

    /// The most images that can be in a batch, if anything but memory limits them.
    pub fn most_at_once(&self) -> Option<usize> {
        self.drawing.as_ref().map(DeviceImages::at_once)
    }

    fn draws(&self, augmentation: &Augmentation) -> bool {
        self.is_resident() && self.images.can_be_drawn(augmentation)
    }
}

#[cfg(all(test, feature = "wgpu"))]
#[path = "loader_tests.rs"]
mod tests;
