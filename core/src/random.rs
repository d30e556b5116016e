//! Random numbers that depend on nothing but a seed and a place.
//!
//! Each use draws from its own stream, named by what it is for and by counters (epoch, sample). No
//! stream depends on how much another has drawn, so work can be spread over threads, and a resumed
//! run draws what the uninterrupted one would have drawn.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// The generator for `purpose` at `counters`, under the run's `seed`.
///
/// ```
/// use counterweight_core::random::stream;
/// use rand::Rng;
/// assert_eq!(stream(1, "order", &[3]).next_u64(), stream(1, "order", &[3]).next_u64());
/// assert_ne!(stream(1, "order", &[3]).next_u64(), stream(1, "order", &[4]).next_u64());
/// ```
pub fn stream(seed: u64, purpose: &str, counters: &[u64]) -> ChaCha8Rng {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.update(&(purpose.len() as u64).to_le_bytes());
    hasher.update(purpose.as_bytes());
    for counter in counters {
        hasher.update(&counter.to_le_bytes());
    }
    ChaCha8Rng::from_seed(*hasher.finalize().as_bytes())
}
