//! What a layer loses as it gets sparser, and where a total is spent: [`Curve`], [`spend`].

/// Pieces into which the way from one measurement to the next is cut.
const PIECES: usize = 16;

/// What a layer adds to the value of the dense model, by its sparsity: from (0, 0) on, neither ever falls.
#[derive(Clone, Debug)]
pub(super) struct Curve {
    knots: Vec<(f64, f64)>,
    /// Sparsities that were measured, and how far each value lies below the highest one before it.
    falls: Vec<(f64, f64)>,
}

impl Curve {
    /// Of measurements by rising sparsity. Where values fall, which is noise, since fewer weights cannot be better, they and those
    /// before count as their mean: the nearest curve that rises (Ayer et al. 1955, pool adjacent violators).
    pub(super) fn new(measured: impl Iterator<Item = (f64, f64)>) -> Self {
        let (mut blocks, mut falls, mut highest) = (Vec::<(f64, Vec<f64>)>::new(), Vec::new(), 0.0f64);
        for (sparsity, added) in measured.filter(|(sparsity, _)| *sparsity > 0.0) {
            falls.push((sparsity, (highest - added).max(0.0)));
            highest = highest.max(added);
            let mut block = (added, vec![sparsity]);
            while let Some((mean, before)) = blocks.pop_if(|(mean, _)| *mean > block.0) {
                let (many, few) = (before.len() as f64, block.1.len() as f64);
                block = ((mean * many + block.0 * few) / (many + few), [before, block.1].concat());
            }
            blocks.push(block);
        }
        let level = |(mean, sparsities): (f64, Vec<f64>)| sparsities.into_iter().map(move |s| (s, mean.max(0.0)));
        let knots = [(0.0, 0.0)].into_iter().chain(blocks.into_iter().flat_map(level)).collect();
        Self { knots, falls }
    }

    /// The highest sparsity that was measured.
    pub(super) fn end(&self) -> f64 {
        self.knots.last().map_or(0.0, |(sparsity, _)| *sparsity)
    }

    /// The value at a sparsity; behind the end that of the end.
    pub(super) fn at(&self, sparsity: f64) -> f64 {
        let next = self.knots.partition_point(|(s, _)| *s < sparsity);
        match (next.checked_sub(1).and_then(|before| self.knots.get(before)), self.knots.get(next)) {
            (Some(from), Some(to)) => between(*from, *to, (sparsity - from.0) / (to.0 - from.0)),
            (None, _) => 0.0,
            (Some(last), None) => last.1,
        }
    }

    /// The greatest fall of what was measured up to a sparsity, its next neighbor included.
    pub(super) fn noise(&self, sparsity: f64) -> f64 {
        let beyond = self.falls.partition_point(|(s, _)| *s < sparsity);
        self.falls.iter().take(beyond + 1).map(|(_, fall)| *fall).fold(0.0, f64::max)
    }

    /// Corners of the highest convex curve that is nowhere above this one, along which each weight costs no less than the one before.
    fn hull(&self) -> Vec<(f64, f64)> {
        let pieces = (self.knots.iter().zip(self.knots.iter().skip(1))).flat_map(|(from, to)| {
            let part = |i| i as f64 / PIECES as f64;
            (1..=PIECES).map(move |i| (from.0 + part(i) * (to.0 - from.0), between(*from, *to, part(i))))
        });
        let mut hull = vec![(0.0, 0.0)];
        for point in pieces {
            while let [.., a, b] = hull[..]
                && slope(a, b) >= slope(b, point)
            {
                hull.pop();
            }
            hull.push(point);
        }
        hull
    }
}

/// Along a parabola: the loss grows with the square of what is taken away from the output.
fn between(from: (f64, f64), to: (f64, f64), part: f64) -> f64 {
    let (low, high) = (from.1.sqrt(), to.1.sqrt());
    (low + part * (high - low)).powi(2)
}

fn slope(from: (f64, f64), to: (f64, f64)) -> f64 {
    (to.1 - from.1) / (to.0 - from.0)
}

/// The sparsity of each layer at the least sum of all curves, where sparsities times `costs` sum up to `total`.
///
/// Pieces of all curves are taken by rising loss for each unit of cost. On convex curves that is the minimum (it is where the Lagrangian has
/// its own); pieces of one price are taken evenly, the last ones in part. At most what was measured.
pub(super) fn spend(curves: &[Curve], costs: &[f64], total: f64) -> Vec<f64> {
    struct Piece {
        layer: usize,
        length: f64,
        price: f64,
    }
    let pieces_of = |(layer, (curve, cost)): (usize, (&Curve, &f64))| {
        let hull = if *cost > 0.0 { curve.hull() } else { Vec::new() };
        let piece = |(from, to): (&(f64, f64), &(f64, f64))| Piece {
            layer,
            length: to.0 - from.0,
            price: slope(*from, *to) / cost,
        };
        hull.iter().zip(hull.iter().skip(1)).map(piece).collect::<Vec<_>>()
    };
    let mut pieces: Vec<_> = curves.iter().zip(costs).enumerate().flat_map(pieces_of).collect();
    pieces.sort_by(|a, b| a.price.total_cmp(&b.price));
    let (mut sparsities, mut left) = (vec![0.0; curves.len()], total);
    for same in pieces.chunk_by(|a, b| a.price == b.price) {
        let cost: f64 = same.iter().map(|piece| piece.length * costs[piece.layer]).sum();
        let part = (left / cost).clamp(0.0, 1.0);
        same.iter().for_each(|piece| sparsities[piece.layer] += part * piece.length);
        left -= part * cost;
        if part < 1.0 {
            break;
        }
    }
    sparsities
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(points: &[(f64, f64)]) -> Curve {
        Curve::new(points.iter().copied())
    }

    #[test]
    fn what_falls_counts_as_its_mean() {
        let noisy = curve(&[(0.2, -0.1), (0.4, 0.3), (0.6, 0.1), (0.8, 0.5)]);
        for (sparsity, value) in [(0.0, 0.0), (0.2, 0.0), (0.4, 0.2), (0.5, 0.2), (0.6, 0.2), (0.8, 0.5), (0.9, 0.5)] {
            assert!((noisy.at(sparsity) - value).abs() < 1e-12, "{sparsity}: {}", noisy.at(sparsity));
        }
        // Half of the way from 0.2 to 0.5 by their roots.
        let half: f64 = (0.2f64.sqrt() + 0.5f64.sqrt()) / 2.0;
        assert!((noisy.at(0.7) - half * half).abs() < 1e-12);
        assert_eq!([0.1, 0.2, 0.5, 0.9].map(|s| (10.0 * noisy.noise(s)).round()), [1.0, 1.0, 2.0, 2.0]);
    }

    #[test]
    fn a_total_goes_where_a_unit_of_cost_adds_least() {
        // Parabolas a s^2: the least sum has a s / cost alike in both.
        let parabola =
            |a: f64| curve(&(1..=10).map(|i| f64::from(i) / 10.0).map(|s| (s, a * s * s)).collect::<Vec<_>>());
        let found = spend(&[parabola(1.0), parabola(4.0)], &[100.0, 100.0], 100.0);
        assert!((found[0] - 0.8).abs() < 0.01 && (found[1] - 0.2).abs() < 0.01, "{found:?}");
        let found = spend(&[parabola(1.0), parabola(1.0)], &[100.0, 300.0], 200.0);
        assert!((found[0] - 0.2).abs() < 0.01 && (found[1] - 0.6).abs() < 0.01, "{found:?}");
        // What costs nothing buys nothing.
        assert_eq!(spend(&[parabola(1.0), parabola(1.0)], &[0.0, 1.0], 0.5)[0], 0.0);
    }

    #[test]
    fn level_curves_share_evenly() {
        let level = curve(&[(0.5, 0.0), (0.8, 0.0)]);
        let found = spend(&[level.clone(), curve(&[(0.4, 0.0), (0.8, 1.0)]), level], &[1.0, 1.0, 2.0], 1.4);
        let expected = [1.4 / 2.8 * 0.8, 1.4 / 2.8 * 0.4, 1.4 / 2.8 * 0.8];
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}");
    }
}
