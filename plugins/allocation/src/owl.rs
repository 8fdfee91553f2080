use crate::groups;
use pruning_core::budget::{AllocationError, Allocator, LayerUnits, Share, in_proportion};
use pruning_core::plugin::Plugin;
use pruning_core::recipe::Pattern;
use serde::{Deserialize, Serialize};

/// Density grows with the share of outliers among the scores of a layer (outlier weighed layerwise sparsity).
///
/// A score is an outlier if it is above `m` times the mean score of its block. With `d` for the share of outliers of a block, its layers
/// keep the density `t + 2 lambda (d - min d) / (max d - min d)`, between 0 and 1, for the one `t` that gives the asked total. Blocks with
/// the same share of outliers have the same density. The scores of units that are pruned already do not count.
///
/// # Shapes
/// One count for each layer.
///
/// # Config
/// - `m`: how many times the mean an outlier is, above 0; default `5.0`.
/// - `lambda`: half of the difference between the highest and the lowest density, in [0, 0.5]; default `0.08`.
/// - `by`: patterns of paths, one for each block of layers whose scores are taken together; default empty. A layer is in the block of the
///   first pattern that matches it, and a layer that no pattern matches is a block by itself.
///
/// ```
/// # use pruning_core::plugin::Plugins;
/// use pruning_core::budget::{Allocator, Amount, LayerUnits, Rounding, Scores, Sparsity, allocate};
/// use pruning_core::score::{MatrixLayout, Order};
/// # let mut plugins = Plugins::empty();
/// # pruning_allocation::register(&mut plugins);
/// let even = Scores::new(&[2.0; 10], Order::Value)?;
/// let outlier = Scores::new(&[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 90.0], Order::Value)?;
/// let layers = [("layers.0.fc", &even), ("layers.1.fc", &outlier)]
///     .map(|(path, scores)| LayerUnits::new(path, MatrixLayout::row_major(1, 10), scores));
/// let config = serde_json::json!({ "lambda": 0.1, "by": ["layers.0", "layers.1"] });
/// let owl = plugins.build::<dyn Allocator>("owl", config)?;
/// // Densities of 0.4 and 0.6 about the mean of 0.5.
/// let amount = Amount::OfTotal(Sparsity::new(0.5)?);
/// assert_eq!(allocate(&*owl, &layers, amount, Rounding::HalfEven)?, [4, 6]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Compatible implementations
/// The authors' code, where `by` names its transformer blocks and all blocks have the same size. It divides by zero where all shares are
/// the same, and centers densities at the mean over blocks, which misses the asked total where sizes differ.
///
/// # Errors
/// A pattern matches no layer.
///
/// # References
/// Lu Yin, You Wu, Zhenyu Zhang, Cheng-Yu Hsieh, Yaqing Wang, Yiling Jia, Gen Li, Ajay Jaiswal, Mykola Pechenizkiy, Yi Liang, Michael Bendersky,
/// Zhangyang Wang, Shiwei Liu, "Outlier Weighed Layerwise Sparsity (OWL): A Missing Secret Sauce for Pruning LLMs to High Sparsity", 2024,
/// arXiv:2310.05175, section 3.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Owl {
    /// How many times the mean score an outlier is.
    pub m: f64,
    /// Half of the difference between the highest and the lowest density.
    pub lambda: f64,
    /// The patterns of the blocks, one for each.
    pub by: Vec<Pattern>,
}

impl Default for Owl {
    fn default() -> Self {
        Self { m: 5.0, lambda: 0.08, by: Vec::new() }
    }
}

impl Plugin for Owl {
    const NAME: &'static str = "owl";
    const SUMMARY: &'static str =
        "Density grows with the share of outliers among the scores of a layer (outlier weighed layerwise sparsity).";
    const REFERENCES: &'static [&'static str] = &["Yin et al. 2024, arXiv:2310.05175"];

    fn validate(&self) -> Result<(), String> {
        if !(self.m > 0.0 && self.m.is_finite()) {
            return Err(format!("m = {} must be above 0: an outlier is so many times the mean", self.m));
        }
        if !(0.0..=0.5).contains(&self.lambda) {
            return Err(format!("lambda = {} must be in [0, 0.5]: densities differ by twice as much", self.lambda));
        }
        Ok(())
    }
}

impl Owl {
    /// The density of each layer above that of the layers with the fewest outliers.
    fn above(&self, layers: &[LayerUnits<'_>]) -> Result<Vec<f64>, AllocationError> {
        let groups = groups::of(&self.by, layers)?;
        let block = |i: usize| groups[i].unwrap_or(self.by.len() + i);
        let share = |i: usize| {
            let scores = || {
                let members = (0..layers.len()).filter(move |&other| block(other) == block(i));
                members.flat_map(|other| layers[other].scores.alive_scores()).map(f64::from)
            };
            let (sum, count) = scores().fold((0.0, 0.0), |(sum, count), score| (sum + score, count + 1.0));
            let outliers = scores().filter(|score| *score > self.m * sum / count).count();
            // Of nothing left, there is no share.
            if count > 0.0 { outliers as f64 / count } else { 0.0 }
        };
        // One pass over the scores of a block, whose layers all have its share.
        let mut shares = vec![None; layers.len()];
        for i in 0..layers.len() {
            if shares[i].is_none() {
                let found = share(i);
                (i..layers.len())
                    .filter(|&other| block(other) == block(i))
                    .for_each(|other| shares[other] = Some(found));
            }
        }
        let shares: Vec<f64> = shares.into_iter().flatten().collect();
        let (low, high) = shares.iter().fold((f64::MAX, f64::MIN), |(low, high), &d| (low.min(d), high.max(d)));
        let above = |share: f64| if high > low { 2.0 * self.lambda * (share - low) / (high - low) } else { 0.0 };
        Ok(shares.into_iter().map(above).collect())
    }
}

impl Allocator for Owl {
    fn allocate(&self, layers: &[LayerUnits<'_>], keep: usize) -> Result<Vec<usize>, AllocationError> {
        let above = self.above(layers)?;
        let kept = |t: f64| {
            let count = move |(l, above): (&LayerUnits<'_>, &f64)| {
                ((t + above) * l.units() as f64).clamp(l.least as f64, l.alive().max(l.least) as f64)
            };
            layers.iter().zip(&above).map(count)
        };
        let (mut low, mut high) = (-1.0, 1.0);
        // Halving to the last bit: what stays never falls as the density grows.
        for _ in 0..100 {
            let middle: f64 = 0.5 * (low + high);
            if kept(middle).sum::<f64>() < keep as f64 { low = middle } else { high = middle }
        }
        // They add up already, and are whole after this.
        in_proportion(&kept(high).zip(layers).map(|(kept, l)| Share::new(kept, l)).collect::<Vec<_>>(), keep)
    }
}

pruning_core::register_allocator!(Owl);
