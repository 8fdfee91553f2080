//! What every reconstruction must do.

use crate::conformance::{Check, Failure, FirstAnswers, Subject, plugin_checks};
use crate::mask::Bits;
use crate::reconstruct::{LayerProblem, Reconstructed, Reconstruction, ReconstructionError, reconstruct};
use std::sync::Arc;

/// A layer, and what to say of it.
#[derive(Clone)]
struct Made {
    about: String,
    rows: usize,
    cols: usize,
    weight: Vec<f64>,
    keep: Bits,
    alive: Option<Bits>,
    pattern: Option<(usize, usize)>,
    gram: Vec<f64>,
    mean: Vec<f64>,
    bias: Option<Vec<f64>>,
}

type Solved = Result<Reconstructed, ReconstructionError>;

impl Made {
    fn run(&self, plugin: &dyn Reconstruction) -> Solved {
        let layer = LayerProblem::new("layer.weight", self.rows, self.cols, &self.weight, &self.keep, &self.gram)
            .with_alive(self.alive.as_ref())
            .with_pattern(self.pattern)
            .with_mean(Some(&self.mean))
            .with_bias(self.bias.as_deref());
        reconstruct(plugin, &layer)
    }

    /// Returns the mean squared error of the output with other weights and biases.
    fn error(&self, weight: &[f64], bias: Option<&[f64]>) -> f64 {
        let row = |row: usize| {
            let own = row * self.cols..(row + 1) * self.cols;
            let lost: Vec<f64> =
                self.weight[own.clone()].iter().zip(&weight[own]).map(|(old, new)| old - new).collect();
            let constant = self.bias.as_deref().zip(bias).map_or(0.0, |(old, new)| old[row] - new[row]);
            let line = |i: usize| lost.iter().zip(&self.gram[i * self.cols..]).map(|(l, g)| l * g).sum::<f64>();
            let square: f64 = lost.iter().enumerate().map(|(i, l)| l * line(i)).sum();
            let mean: f64 = lost.iter().zip(&self.mean).map(|(l, m)| l * m).sum();
            square + constant * (2.0 * mean + constant)
        };
        (0..self.rows).map(row).sum()
    }

    /// Returns the same layer with inputs of another scale.
    fn scaled(&self, by: f64) -> Self {
        let gram = self.gram.iter().map(|g| g * by * by).collect();
        Self { gram, mean: self.mean.iter().map(|m| m * by).collect(), ..self.clone() }
    }

    /// Returns the same layer with its rows in reverse order.
    fn reversed(&self) -> Self {
        let bits = |bits: &Bits| Bits::from_bools(&turned(&bits.to_bools(), self.cols));
        Self {
            weight: turned(&self.weight, self.cols),
            keep: bits(&self.keep),
            alive: self.alive.as_ref().map(bits),
            bias: self.bias.as_ref().map(|bias| turned(bias, 1)),
            ..self.clone()
        }
    }
}

fn turned<T: Copy>(values: &[T], cols: usize) -> Vec<T> {
    values.chunks(cols).rev().flatten().copied().collect()
}

fn masked(weight: &[f64], keep: &Bits) -> Vec<f64> {
    weight.iter().enumerate().map(|(i, w)| if keep.get(i) { *w } else { 0.0 }).collect()
}

/// Random numbers from 0 to 1.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Inputs of `samples` rows: columns that share a cause, of very different size, with means that are not zero.
fn inputs(samples: usize, cols: usize, dead: bool, random: &mut Random) -> Vec<Vec<f64>> {
    let cause: Vec<f64> = (0..cols).map(|_| 2.0 * random.next() - 1.0).collect();
    let size: Vec<f64> = (0..cols).map(|_| 10f64.powf(2.0 * random.next() - 1.0)).collect();
    let sample = |random: &mut Random| {
        let common = 4.0 * random.next() - 2.0;
        let column = |c: usize, random: &mut Random| {
            let value = size[c] * (common * cause[c] + random.next() - 0.3);
            if dead && c % 3 == 1 { 0.0 } else { value }
        };
        (0..cols).map(|c| column(c, random)).collect()
    };
    (0..samples).map(|_| sample(random)).collect()
}

/// Layers of odd sizes, with inputs and masks of every kind.
fn layers() -> Vec<Made> {
    let shapes = [(1, 1), (3, 5), (13, 7), (6, 16), (9, 33), (5, 140)];
    let samples = [
        ("many inputs", 150, false),
        ("fewer inputs than columns", 4, false),
        ("dead inputs", 150, true),
        ("no inputs", 0, true),
    ];
    let masks =
        ["half kept", "all kept", "none kept", "a row gone", "a column gone", "some pruned before", "a pattern"];
    let mut made = Vec::new();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for (rows, cols) in shapes {
        for (seen, samples, dead) in samples {
            let inputs = inputs(samples, cols, dead, &mut random);
            let count = samples.max(1) as f64;
            let entry = |i: usize| inputs.iter().map(|x| x[i / cols] * x[i % cols]).sum::<f64>() / count;
            let gram: Vec<f64> = (0..cols * cols).map(entry).collect();
            let mean: Vec<f64> = (0..cols).map(|c| inputs.iter().map(|x| x[c]).sum::<f64>() / count).collect();
            for (m, mask) in masks.into_iter().enumerate().filter(|(_, mask)| *mask != "a pattern" || cols % 4 == 0) {
                let half: Vec<bool> = (0..rows * cols).map(|_| random.next() < 0.5).collect();
                let alive: Vec<bool> = (0..rows * cols).map(|_| random.next() < 0.8).collect();
                let before = mask == "some pruned before";
                let keep = |i: usize| match mask {
                    "half kept" => half[i],
                    "all kept" => true,
                    "none kept" => false,
                    "a row gone" => i / cols != rows / 2,
                    "a column gone" => i % cols != cols / 2,
                    "a pattern" => i % 4 < 2,
                    _ => half[i] && alive[i],
                };
                // What was pruned before is zero.
                let weight = |i: usize| if before && !alive[i] { 0.0 } else { 2.0 * random.next() - 1.0 };
                let weight = (0..rows * cols).map(weight).collect();
                let bias = (m % 2 == 0).then(|| (0..rows).map(|_| random.next() - 0.5).collect());
                made.push(Made {
                    about: format!(
                        "{rows} x {cols}, {seen}, {mask}{}",
                        if bias.is_some() { ", with bias" } else { "" }
                    ),
                    rows,
                    cols,
                    weight,
                    keep: Bits::from_bools(&(0..rows * cols).map(keep).collect::<Vec<_>>()),
                    alive: before.then(|| Bits::from_bools(&alive)),
                    pattern: (mask == "a pattern").then_some((2, 4)),
                    gram: gram.clone(),
                    mean: mean.clone(),
                    bias,
                });
            }
        }
    }
    made
}

/// Whether two results are the same but for rounding.
fn near(one: &Reconstructed, two: &Reconstructed) -> bool {
    one.keep == two.keep && close(&one.weight, &two.weight)
}

fn close(one: &[f64], two: &[f64]) -> bool {
    let largest = one.iter().chain(two).fold(0.0, |m: f64, v| m.max(v.abs()));
    one.len() == two.len() && one.iter().zip(two).all(|(a, b)| (a - b).abs() <= 1e-9 * largest)
}

/// A result as text, short enough for a failure.
fn shown(result: &Solved) -> String {
    match result {
        Ok(new) => format!("weights {:.6?}..., biases {:.6?}", &new.weight[..new.weight.len().min(8)], new.bias),
        Err(error) => error.to_string(),
    }
}

/// Runs `case` on every layer that the reconstruction solves.
fn solved(
    check: &Check<dyn Reconstruction>,
    subject: &Subject<'_>,
    mut case: impl FnMut(&dyn Reconstruction, &Made, Reconstructed) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let plugin = subject.build(check)?;
    layers().iter().try_for_each(|layer| layer.run(&*plugin).map_or(Ok(()), |new| case(&*plugin, layer, new)))
}

/// Creates the checks for reconstructions.
#[must_use]
pub fn reconstruction_checks() -> Vec<Check<dyn Reconstruction>> {
    type This = Check<dyn Reconstruction>;
    let mut checks = plugin_checks::<dyn Reconstruction>();
    let answers = Arc::new(FirstAnswers::<Solved>::default());
    let memory = answers.clone();
    checks.push(Check::new("the_contract_holds", move |check: &This, subject: &Subject<'_>| {
        let plugin = subject.build(check)?;
        layers().iter().try_for_each(|layer| {
            let found = layer.run(&*plugin);
            let _ = memory.first(subject, &layer.about, &found);
            match found {
                Ok(_) | Err(ReconstructionError::Unsuited { .. } | ReconstructionError::NotPositiveDefinite { .. }) => {
                    Ok(())
                }
                Err(error) => {
                    let expected = "new weights that keep the contract, Unsuited, or NotPositiveDefinite";
                    Err(check.failure(subject, &*layer.about, expected, error.to_string()))
                }
            }
        })
    }));
    checks.push(Check::new("most_layers_are_solved", |check: &This, subject: &Subject<'_>| {
        // One that finds every layer unsuited would pass all else.
        let (mut count, all) = (0, layers().len());
        solved(check, subject, |_, _, _| {
            count += 1;
            Ok(())
        })?;
        let failure =
            || check.failure(subject, "all layers", format!("new weights for half of {all}"), count.to_string());
        if 2 * count >= all { Ok(()) } else { Err(failure()) }
    }));
    checks.push(Check::new("same_inputs_same_weights", move |check: &This, subject: &Subject<'_>| {
        let (one, two) = (subject.build(check)?, subject.build(check)?);
        let layers = layers();
        // Twice in order, and once backwards by another one: what is kept from call to call shows in one of them.
        let twice = layers.iter().chain(&layers).map(|layer| (layer, &one));
        for (layer, plugin) in twice.chain(layers.iter().rev().map(|layer| (layer, &two))) {
            let found = layer.run(&**plugin);
            let first = answers.first(subject, &layer.about, &found);
            if found != first {
                return Err(check.failure(subject, &*layer.about, shown(&first), shown(&found)));
            }
        }
        Ok(())
    }));
    checks.push(Check::new("nothing_removed_nothing_changed", |check: &This, subject: &Subject<'_>| {
        solved(check, subject, |_, layer, new| {
            let whole = layer.keep.count_ones() == layer.keep.len() && layer.pattern.is_none();
            let old = Reconstructed { weight: layer.weight.clone(), bias: layer.bias.clone(), ..new.clone() };
            let same =
                near(&old, &new) && new.bias.as_deref().is_none_or(|b| close(b, old.bias.as_deref().unwrap_or(&[])));
            if !whole || same {
                return Ok(());
            }
            Err(check.failure(subject, &*layer.about, shown(&Ok(old)), shown(&Ok(new))))
        })
    }));
    checks.push(Check::new("outputs_are_nearer_than_with_the_mask_alone", |check: &This, subject: &Subject<'_>| {
        // Of all layers together: one that sweeps over the columns can be unlucky with a small one.
        let (mut masks, mut errors) = (0.0, 0.0);
        solved(check, subject, |_, layer, new| {
            let size = layer.error(&vec![0.0; layer.weight.len()], None);
            if size > 0.0 {
                let keep = new.keep.as_ref().unwrap_or(&layer.keep);
                masks += layer.error(&masked(&layer.weight, keep), None) / size;
                errors += layer.error(&new.weight, new.bias.as_deref()) / size;
            }
            Ok(())
        })?;
        let case = "squared errors of outputs relative to their size, summed over all layers";
        let expected = format!("at most {masks:.6}, that of the masks without new weights");
        let rounding = 1e-9 * masks;
        if errors <= masks + rounding {
            Ok(())
        } else {
            Err(check.failure(subject, case, expected, format!("{errors:.6}")))
        }
    }));
    checks.push(Check::new("the_scale_of_inputs_does_not_matter", |check: &This, subject: &Subject<'_>| {
        // Powers of two: the numbers have the same digits.
        solved(check, subject, |plugin, layer, new| {
            [2f64.powi(-20), 2f64.powi(20)].into_iter().try_for_each(|scale| {
                let found = layer.scaled(scale).run(plugin);
                let same = found.as_ref().is_ok_and(|found| near(&new, found));
                let case = format!("{}, inputs times {scale}", layer.about);
                let expected = shown(&Ok(Reconstructed { bias: None, ..new.clone() }));
                if same { Ok(()) } else { Err(check.failure(subject, case, expected, shown(&found))) }
            })
        })
    }));
    checks.push(Check::new("the_order_of_rows_does_not_matter", |check: &This, subject: &Subject<'_>| {
        solved(check, subject, |plugin, layer, new| {
            // Of equal costs in two rows, the lower row stays: a choice may depend on the order.
            if plugin.chooses() {
                return Ok(());
            }
            let found = layer.reversed().run(plugin);
            let back = found.clone().map(|found| Reconstructed::new(turned(&found.weight, layer.cols)));
            if back.as_ref().is_ok_and(|back| near(&new, back)) {
                return Ok(());
            }
            let case = format!("{}, rows in reverse order", layer.about);
            Err(check.failure(subject, case, shown(&Ok(new)), shown(&back)))
        })
    }));
    checks
}
