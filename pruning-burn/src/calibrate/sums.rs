//! The sums of a calibration: [`Sums`], and what is added to them for each form of operand.

use crate::calibrate::products::Operand;
use crate::calibrate::window::Window;
use crate::host;
use crate::score::{Need, Needs};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use std::collections::BTreeMap;

/// The columns whose products with the rest are computed at once: a Gram matrix is symmetric, so the products to the left are left out.
const BLOCK: usize = 384;
/// The rows of unrolled windows that are multiplied at once.
const ROWS: usize = 2048;

pub(super) const SQUARES: &str = "squares";
pub(super) const SUMS: &str = "sums";
pub(super) const SIZES: &str = "sizes";
pub(super) const GRAM: &str = "gram";
pub(super) const ZEROS: &str = "zeros";
pub(super) const RANKS: &str = "ranks";

/// Sums over rows and examples. All of them can be added to those of other batches.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Sums {
    /// The number of rows: tokens, or windows.
    pub(super) rows: f64,
    /// The number of examples.
    pub(super) examples: f64,
    pub(super) arrays: BTreeMap<String, Vec<f64>>,
}

impl Sums {
    fn array(&mut self, name: &str, len: usize) -> &mut [f64] {
        self.arrays.entry(name.to_string()).or_insert_with(|| vec![0.0; len])
    }

    /// Adds the sums of other batches. Arrays of one name have the same length.
    pub(super) fn add(&mut self, other: &Self) {
        self.rows += other.rows;
        self.examples += other.examples;
        for (name, theirs) in &other.arrays {
            let ours = self.array(name, theirs.len());
            ours.iter_mut().zip(theirs).for_each(|(ours, theirs)| *ours += theirs);
        }
    }

    pub(super) fn is_finite(&self) -> bool {
        self.arrays.values().flatten().all(|value| value.is_finite())
    }

    /// Adds rows `[.., cols]`; only those that count. `examples` is the number of examples that the rows belong to.
    pub(super) fn add_rows(&mut self, x: Tensor<2>, counts: Option<&[bool]>, examples: usize, needs: &Needs) {
        let [rows, cols] = x.dims();
        let counted = |row: usize| counts.is_none_or(|counts| counts[row]);
        let number = (0..rows).filter(|&row| counted(row)).count();
        self.rows += number as f64;
        let columns = [(Need::INPUT_NORM, SQUARES), (Need::INPUT_MEAN, SUMS), (Need::INPUT_ACTIVATION, SIZES)];
        if columns.iter().any(|(need, _)| needs.contains(*need)) {
            let numbers = host::numbers(x.clone().reshape([rows * cols]));
            let numbers = || numbers.as_slice().chunks_exact(cols.max(1)).enumerate().filter(|(row, _)| counted(*row));
            if needs.contains(Need::INPUT_NORM) {
                let squares = self.array(SQUARES, cols);
                numbers().for_each(|(_, row)| add_each(squares, row, |x| x * x));
            }
            if needs.contains(Need::INPUT_MEAN) {
                let sums = self.array(SUMS, cols);
                numbers().for_each(|(_, row)| add_each(sums, row, |x| x));
            }
            if needs.contains(Need::INPUT_ACTIVATION) {
                let each = rows / examples.max(1);
                let mut numbers = numbers().peekable();
                while let Some(&(row, _)) = numbers.peek() {
                    let (example, mut sizes, mut seen) = (row / each.max(1), vec![0.0; cols], 0.0);
                    while let Some((_, row)) = numbers.next_if(|(row, _)| row / each.max(1) == example) {
                        add_each(&mut sizes, row, f64::abs);
                        seen += 1.0;
                    }
                    self.examples += 1.0;
                    let total = self.array(SIZES, cols);
                    total.iter_mut().zip(sizes).for_each(|(total, size)| *total += (size / seen) * (size / seen));
                }
            }
        }
        if needs.contains(Need::INPUT_GRAM) {
            let x = match counts.filter(|_| number < rows) {
                None => x,
                Some(_) => {
                    let kept: Vec<i64> = (0..rows).filter(|&row| counted(row)).map(|row| row as i64).collect();
                    let kept = Tensor::<1, Int>::from_data(TensorData::new(kept, [number]), &x.device());
                    x.select(0, kept)
                }
            };
            add_gram(self.array(GRAM, cols * cols), x);
        }
    }

    /// Adds the windows of images, group by group.
    pub(super) fn add_windows(&mut self, x: Tensor<2>, window: &Window, counts: Option<&[bool]>, needs: &Needs) {
        let [images, _] = x.dims();
        let device = x.device();
        let (cols, positions) = (window.cols(), window.positions());
        let numbers = host::numbers(x.reshape([images * window.len()]));
        let numbers = numbers.as_slice();
        let counted = |image: usize, at: usize| counts.is_none_or(|counts| counts[image * positions + at]);
        let own = cols / window.groups.max(1);
        let wants_gram = needs.contains(Need::INPUT_GRAM);
        let mut unrolled = Unrolled::new(window.groups, own);
        for (image, values) in numbers.chunks_exact(window.len().max(1)).enumerate() {
            let number = (0..positions).filter(|&at| counted(image, at)).count();
            self.rows += number as f64;
            let (mut squares, mut sums, mut sizes) = (vec![0.0; cols], vec![0.0; cols], vec![0.0; cols]);
            if wants_gram {
                unrolled.start_image(positions);
            }
            window.each(values, |col, at, value| {
                if counted(image, at) {
                    let value = f64::from(value);
                    squares[col] += value * value;
                    sums[col] += value;
                    sizes[col] += value.abs();
                    if wants_gram {
                        unrolled.set(at, col, value as f32);
                    }
                }
            });
            let seen = number.max(1) as f64;
            sizes.iter_mut().for_each(|size| *size = (*size / seen) * (*size / seen));
            self.examples += 1.0;
            for (need, name, values) in [
                (Need::INPUT_NORM, SQUARES, squares),
                (Need::INPUT_MEAN, SUMS, sums),
                (Need::INPUT_ACTIVATION, SIZES, sizes),
            ] {
                if needs.contains(need) {
                    self.array(name, cols).iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
                }
            }
            let last = (image + 1) * window.len() >= numbers.len();
            if wants_gram && (last || unrolled.rows >= ROWS) {
                unrolled.add_to(self.array(GRAM, window.groups * own * own), &device);
            }
        }
    }

    /// Adds channels `[images, channels, area]` of a transposed convolution, each of which meets a whole kernel.
    pub(super) fn add_channels(&mut self, x: Tensor<3>, kernel: usize, needs: &Needs) {
        let [images, channels, area] = x.dims();
        let numbers = host::numbers(x.reshape([images * channels * area]));
        self.rows += (images * area) as f64;
        self.examples += images as f64;
        for (place, map) in numbers.as_slice().chunks_exact(area.max(1)).enumerate() {
            let total = |of: fn(f64) -> f64| map.iter().map(|&x| of(f64::from(x))).sum::<f64>();
            let size = total(f64::abs) / area as f64;
            let all = [
                (Need::INPUT_NORM, SQUARES, total(|x| x * x)),
                (Need::INPUT_MEAN, SUMS, total(|x| x)),
                (Need::INPUT_ACTIVATION, SIZES, size * size),
            ];
            let first = (place % channels) * kernel;
            for (_, name, value) in all.into_iter().filter(|(need, ..)| needs.contains(*need)) {
                self.array(name, channels * kernel)[first..first + kernel].iter_mut().for_each(|sum| *sum += value);
            }
        }
    }

    /// Adds rows that are one at an index and zero elsewhere.
    pub(super) fn add_indices(&mut self, indices: &[i64], classes: usize, counts: Option<&[bool]>, needs: &Needs) {
        let counted = indices.iter().enumerate().filter(|(row, _)| counts.is_none_or(|counts| counts[*row]));
        let counted: Vec<usize> =
            counted.filter_map(|(_, &i)| usize::try_from(i).ok().filter(|&i| i < classes)).collect();
        self.rows += counted.len() as f64;
        self.examples += counted.len() as f64;
        for (need, name) in [(Need::INPUT_NORM, SQUARES), (Need::INPUT_MEAN, SUMS), (Need::INPUT_ACTIVATION, SIZES)] {
            if needs.contains(need) {
                let array = self.array(name, classes);
                counted.iter().for_each(|&index| array[index] += 1.0);
            }
        }
    }

    /// Adds what units put out: `[outer, units, inner]`, and whether it counts for each `outer` and `inner`.
    pub(super) fn add_outputs(
        &mut self,
        x: Tensor<3>,
        counts: Option<&[bool]>,
        map: Option<[usize; 2]>,
        needs: &Needs,
    ) {
        let [outer, units, inner] = x.dims();
        let numbers = host::numbers(x.reshape([outer * units * inner]));
        let counted = |outer: usize, at: usize| counts.is_none_or(|counts| counts[outer * inner + at]);
        self.rows += (0..outer * inner).filter(|&i| counts.is_none_or(|counts| counts[i])).count() as f64;
        self.examples += outer as f64;
        for (place, values) in numbers.as_slice().chunks_exact(inner.max(1)).enumerate() {
            if needs.contains(Need::OUTPUT_ZEROS) {
                let zeros =
                    values.iter().enumerate().filter(|(at, x)| **x == 0.0 && counted(place / units, *at)).count();
                // What is not finite is no zero, and must not pass for a unit without zeros.
                let broken = if values.iter().all(|x| x.is_finite()) { 0.0 } else { f64::NAN };
                self.array(ZEROS, units)[place % units] += zeros as f64 + broken;
            }
            if let Some([height, width]) = map.filter(|_| needs.contains(Need::OUTPUT_RANK)) {
                self.array(RANKS, units)[place % units] += rank(values, height, width);
            }
        }
    }
}

fn add_each(sums: &mut [f64], row: &[f32], of: impl Fn(f64) -> f64) {
    sums.iter_mut().zip(row).for_each(|(sum, &x)| *sum += of(f64::from(x)));
}

/// Windows as rows, for each group.
struct Unrolled {
    cols: usize,
    /// The rows of all images, and of those before the last.
    rows: usize,
    before: usize,
    values: Vec<Vec<f32>>,
}

impl Unrolled {
    fn new(groups: usize, cols: usize) -> Self {
        Self { cols, rows: 0, before: 0, values: vec![Vec::new(); groups] }
    }

    fn start_image(&mut self, positions: usize) {
        self.before = self.rows;
        self.rows += positions;
        self.values.iter_mut().for_each(|values| values.resize(self.rows * self.cols, 0.0));
    }

    fn set(&mut self, at: usize, col: usize, value: f32) {
        self.values[col / self.cols][(self.before + at) * self.cols + col % self.cols] = value;
    }

    fn add_to(&mut self, gram: &mut [f64], device: &Device) {
        let cols = self.cols;
        for (values, gram) in self.values.iter_mut().zip(gram.chunks_exact_mut((cols * cols).max(1))) {
            let x = TensorData::new(std::mem::take(values), [self.rows, cols]);
            add_gram(gram, Tensor::from_data(x, (device, DType::F32)));
        }
        self.rows = 0;
    }
}

/// Adds `X^T X` to the blocks on and above the diagonal.
///
/// With the means `c` of the columns, `X^T X = D^T D + t^T c + c^T t + n c^T c` for `D = X - c` and the sums `t` of its columns. The device
/// multiplies `D`, and the rest is added in double precision. So single precision does not lose what varies beside a large mean.
fn add_gram(gram: &mut [f64], x: Tensor<2>) {
    let [rows, cols] = x.dims();
    if rows == 0 {
        return;
    }
    let x = if x.dtype() == DType::F64 { x } else { x.cast(DType::F32) };
    let mean = x.clone().mean_dim(0);
    let x = x - mean.clone();
    let mean: Vec<f64> = mean.into_data().iter::<f64>().collect();
    let mut total = vec![0.0; cols];
    if x.dtype() == DType::F64 {
        total = x.clone().sum_dim(0).into_data().iter::<f64>().collect();
    } else {
        let deviations = host::numbers(x.clone().reshape([rows * cols]));
        deviations.as_slice().chunks_exact(cols.max(1)).for_each(|row| add_each(&mut total, row, |x| x));
    }
    for start in (0..cols).step_by(BLOCK) {
        let end = (start + BLOCK).min(cols);
        let left = x.clone().slice([0..rows, start..end]).transpose();
        let product = left.matmul(x.clone().slice([0..rows, start..cols])).into_data();
        let mut values = product.iter::<f64>();
        for row in start..end {
            let (ours, ours_total) = (mean[row], total[row]);
            let sums = gram[row * cols + start..(row + 1) * cols].iter_mut().zip(&mut values);
            let shifts = mean[start..].iter().zip(&total[start..]);
            sums.zip(shifts).for_each(|((sum, value), (mean, total))| {
                *sum += value + ours_total * mean + ours * (total + rows as f64 * mean);
            });
        }
    }
}

/// Fills in what [`add_gram`] leaves out, for each of some square matrices.
pub(super) fn mirror(grams: &mut [f64], cols: usize) {
    for gram in grams.chunks_exact_mut((cols * cols).max(1)) {
        for row in 0..cols {
            for col in 0..row / BLOCK * BLOCK {
                gram[row * cols + col] = gram[col * cols + row];
            }
        }
    }
}

/// Returns the number of singular values that are not zero up to rounding, as `torch.linalg.matrix_rank` counts them.
fn rank(values: &[f32], height: usize, width: usize) -> f64 {
    if !values.iter().all(|value| value.is_finite()) {
        return f64::NAN;
    }
    let map = faer::Mat::from_fn(height, width, |row, col| f64::from(values[row * width + col]));
    let Ok(singular) = map.singular_values() else { return f64::NAN };
    let largest = singular.iter().copied().fold(0.0, f64::max);
    let least = largest * height.max(width) as f64 * f64::from(f32::EPSILON);
    singular.iter().filter(|&&value| value > least).count() as f64
}

/// Reads an operand as the rows that it stands for.
pub(super) fn rows_of(operand: &Operand, shape: &[usize]) -> Vec<usize> {
    match operand {
        Operand::Rows { transposed: false } => shape[..shape.len() - 1].to_vec(),
        Operand::Rows { transposed: true } => [&shape[..shape.len() - 2], &shape[shape.len() - 1..]].concat(),
        Operand::Windows(window) => [&shape[..1], window.out()].concat(),
        Operand::Channels { .. } => [&shape[..1], &shape[2..]].concat(),
        Operand::Indices { .. } => shape.to_vec(),
    }
}
