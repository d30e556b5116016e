//! What kernels for whole networks have in common.

/// A network without its classifier, its weights, with batch norm folded in, in the order in which
/// kernels read them.
pub trait PackedNetwork: Send + Sync {
    /// Features of an image.
    fn features_len(&self) -> usize;

    /// Computes the features of images. Those of an image do not depend on the number of threads.
    ///
    /// # Shapes
    /// - `images`: `[batch, side, side, 3]`, normalised
    /// - `features`: `[batch, features_len]`, overwritten
    ///
    /// # Panics
    /// If a length does not fit.
    fn features(&self, images: &[f32], side: usize, features: &mut [f32]);

    /// How many images there are.
    ///
    /// # Panics
    /// If they do not fit the features.
    fn images(&self, images: &[f32], side: usize, features: &[f32]) -> usize {
        let image = side * side * 3;
        assert!(image > 0 && images.len().is_multiple_of(image), "images have three colours");
        let batch = images.len() / image;
        assert_eq!(features.len(), batch * self.features_len());
        batch
    }
}
