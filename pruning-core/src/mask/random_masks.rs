//! Random masks as controls for the lottery ticket hypothesis: [`random_masks`].

use crate::mask::{Bits, Mask, MaskSet};

/// Draws random masks that keep as many weights of each layer as `masks` do.
///
/// They test whether it matters *which* weights are kept, and not only how many of each layer (Frankle & Carbin 2019, "The Lottery Ticket
/// Hypothesis", arXiv:1803.03635, section 2; Su et al. 2020, "Sanity-Checking Pruning Methods", arXiv:2009.11094).
///
/// Every choice of that many weights is equally likely. The mask of a layer depends only on the seed, the layer's path and its own mask.
///
/// ```
/// use pruning_core::mask::{Bits, Mask, MaskSet, random_masks};
/// let keep = Bits::from_bools(&[true, true, true, false, false, false]);
/// let masks = MaskSet::new([("fc1.weight".to_string(), Mask::new([2, 3], keep)?)])?;
/// assert_eq!(random_masks(&masks, 7).get("fc1.weight").unwrap().kept(), 3);
/// # Ok::<(), pruning_core::mask::MaskError>(())
/// ```
#[must_use]
pub fn random_masks(masks: &MaskSet, seed: u64) -> MaskSet {
    let drawn = masks.iter().filter_map(|(path, mask)| {
        // FNV-1a of the path, so that every layer has a stream of its own.
        let hash = |h: u64, byte: u8| (h ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        let mut state = path.bytes().fold(0xcbf2_9ce4_8422_2325 ^ split_mix(seed), hash);
        let (len, mut left) = (mask.len(), mask.kept());
        let mut keep = Bits::zeros(len);
        // Selection sampling (Knuth, The Art of Computer Programming 2, algorithm 3.4.2 S).
        for i in 0..len {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let below = (u128::from(split_mix(state)) * (len - i) as u128) >> 64;
            if below < left as u128 {
                keep.set(i, true);
                left -= 1;
            }
        }
        Mask::new(mask.shape(), keep).ok().map(|mask| (path.to_string(), mask))
    });
    // The paths are those of a set, each of them once.
    MaskSet::new(drawn).unwrap_or_default()
}

/// Mixes the bits of a state as SplitMix64 does (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", 2014).
fn split_mix(state: u64) -> u64 {
    let mut z = state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set() -> MaskSet {
        let mask = |kept: usize, len: usize| {
            let keep = Bits::from_bools(&(0..len).map(|i| i < kept).collect::<Vec<_>>());
            Mask::new([len], keep).unwrap()
        };
        let masks = [("a", mask(30, 100)), ("b", mask(0, 10)), ("c", mask(10, 10)), ("d", mask(30, 100))];
        MaskSet::new(masks.map(|(path, mask)| (path.to_string(), mask))).unwrap()
    }

    #[test]
    fn every_layer_keeps_as_many_as_before() {
        let set = set();
        for seed in 0..50 {
            let random = random_masks(&set, seed);
            let kept = |set: &MaskSet| set.iter().map(|(p, m)| (p.to_string(), m.kept(), m.len())).collect::<Vec<_>>();
            assert_eq!(kept(&random), kept(&set));
            assert_eq!(random, random_masks(&set, seed));
            assert_ne!(random, random_masks(&set, seed + 1));
            assert_ne!(random.get("a"), random.get("d"), "layers have streams of their own");
        }
    }

    #[test]
    fn every_weight_is_kept_as_often() {
        let set = set();
        let mut kept = [0usize; 100];
        for seed in 0..4000 {
            random_masks(&set, seed).get("a").unwrap().bits().iter_ones().for_each(|i| kept[i] += 1);
        }
        // Binomial with mean 1200 and deviation 29.
        assert!(kept.iter().all(|n| (1060..1340).contains(n)), "{kept:?}");
    }
}
