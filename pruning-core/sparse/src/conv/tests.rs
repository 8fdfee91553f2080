//! Convolutions against a plain sum in double precision, both ways, on every instruction set of the machine.

use crate::conv::*;
use crate::kernels::plan::tests::{number, weights};
use crate::{Csr, Dense, Format, Indices};
use proptest::prelude::*;

/// For each output, the sum and the sum of the sizes of what it adds.
fn plain(dense: &Dense<f32>, shape: &ConvShape, x: &[f32], batch: usize, bias: Option<&[f32]>) -> Vec<(f64, f64)> {
    let ([height, width], rows) = (shape.output().unwrap(), dense.rows());
    let per_group = shape.channels / shape.groups;
    let mut sums = Vec::new();
    for (sample, row, i, j) in indices(batch, rows, height, width) {
        let bias = bias.map_or(0.0, |b| f64::from(b[row]));
        let mut sum = (bias, bias.abs());
        for (col, &weight) in dense.values()[row * dense.cols()..][..dense.cols()].iter().enumerate() {
            let (kernel, [kh, kw]) = (shape.kernel[0] * shape.kernel[1], shape.kernel);
            let channel = row / (rows / shape.groups) * per_group + col / kernel;
            let y = (i * shape.stride[0] + col / kw % kh * shape.dilation[0]).checked_sub(shape.padding[0][0]);
            let z = (j * shape.stride[1] + col % kw * shape.dilation[1]).checked_sub(shape.padding[1][0]);
            let inside = y.zip(z).filter(|&(y, z)| y < shape.input[0] && z < shape.input[1]);
            if let (Some((y, z)), true) = (inside, weight.to_bits() != 0) {
                let at = ((sample * shape.channels + channel) * shape.input[0] + y) * shape.input[1] + z;
                let product = f64::from(weight) * f64::from(x[at]);
                sum = (sum.0 + product, sum.1 + product.abs());
            }
        }
        sums.push(sum);
    }
    sums
}

fn indices(a: usize, b: usize, c: usize, d: usize) -> impl Iterator<Item = (usize, usize, usize, usize)> {
    (0..a * b * c * d).map(move |i| (i / d / c / b, i / d / c % b, i / d % c, i % d))
}

/// Checks a convolution both ways and on every level, with some of the formats; `batch` samples of a plan for `most`.
fn check(dense: &Dense<f32>, shape: &ConvShape, batch: usize, most: usize, with_bias: bool, activation: Activation) {
    let mut state = 77;
    let x: Vec<f32> = (0..batch * shape.channels * shape.area()).map(|_| number(&mut state)).collect();
    let bias: Vec<f32> = (0..dense.rows()).map(|_| number(&mut state)).collect();
    let bias = with_bias.then_some(&bias[..]);
    let expected = plain(dense, shape, &x, batch, bias);
    for format in [Format::Csr16, Format::Bitmap] {
        let sparse = Sparse::from_dense(dense, format).unwrap();
        for level in Level::available() {
            for way in [Some(Way::Direct), Some(Way::Product), None] {
                let mut plan = ConvPlan::with_level(&sparse, shape, most, level, way).unwrap();
                let mut y = vec![f32::NAN; expected.len()];
                for _ in 0..2 {
                    plan.run(&x, batch, bias, activation, &mut y).unwrap();
                }
                for (i, (&y, &(sum, size))) in y.iter().zip(&expected).enumerate() {
                    let sum = if activation == Activation::Relu { sum.max(0.0) } else { sum };
                    let bound = size * (dense.cols() + 2) as f64 * f64::from(f32::EPSILON);
                    assert!(
                        (f64::from(y) - sum).abs() <= bound,
                        "{shape:?} {way:?} {format:?} {level:?} {batch} of {most}, {i}: {y}, not {sum}"
                    );
                }
            }
        }
    }
}

/// Cases for each property: fewer where an interpreter runs them.
const CASES: u32 = if cfg!(miri) { 2 } else { 96 };
/// Sizes and batches are below these.
const SIZE: usize = if cfg!(miri) { 7 } else { 20 };
const BATCH: usize = if cfg!(miri) { 2 } else { 6 };

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(CASES) })]
    #[test]
    fn convolutions_are_those_of_a_plain_sum(
        (kernel, size) in (prop::sample::select(vec![[1, 1], [3, 3], [5, 5], [1, 7], [2, 3]]), [1..SIZE, 1..SIZE]),
        (groups, per_group, rows) in (prop::sample::select(vec![1usize, 1, 2, 3]), 0usize..5, 0usize..5),
        stride in [1usize..4, 1usize..4], sides in [[0usize..4, 0usize..4], [0usize..4, 0usize..4]], dilation in [1usize..3, 1usize..3],
        batch in 0..BATCH, spare in 0usize..2, density in prop::sample::select(vec![0u64, 10, 50, 100]), seed: u64, with_bias: bool, relu: bool
    ) {
        let mut shape = ConvShape::new(groups * per_group, size, kernel).with_stride(stride).with_groups(groups);
        shape = shape.with_sides(sides).with_dilation(dilation);
        let activation = if relu { Activation::Relu } else { Activation::None };
        match shape.output() {
            Ok(_) => {
                let dense = weights(groups * rows, shape.fan_in(), density, seed);
                check(&dense, &shape, batch, batch + spare, with_bias, activation);
            }
            Err(error) => prop_assert!(matches!(error, SparseError::Kernel { .. }), "{error}"),
        }
    }

    #[test]
    fn depthwise_ones_too(
        channels in 1..SIZE, size in [3usize..12, 3usize..12], stride in 1usize..3, multiplier in 1usize..3, seed: u64
    ) {
        let shape = ConvShape::new(channels, size, [3, 3]).with_stride([stride; 2]).with_padding([1, 1]).with_groups(channels);
        check(&weights(channels * multiplier, 9, 60, seed), &shape, 2, 2, true, Activation::Relu);
    }
}

#[test]
#[cfg_attr(miri, ignore = "takes an interpreter hours")]
fn several_chunks_bands_and_tiles_add_up() {
    // 70 output channels are two chunks, 100 input channels several bands, 40 x 40 several tiles.
    for (kernel, padding, stride) in [([3, 3], [1, 1], [1, 1]), ([1, 1], [0, 0], [1, 1]), ([3, 3], [0, 2], [2, 2])] {
        let shape = ConvShape::new(100, [40, 40], kernel).with_padding(padding).with_stride(stride);
        for density in [0, 3, 50] {
            check(&weights(70, shape.fan_in(), density, 3), &shape, 2, 3, true, Activation::None);
        }
    }
}

#[test]
fn what_a_zero_weight_would_meet_adds_nothing() {
    // Channel 0 is infinite, channel 1 ones; every weight of channel 0 is zero.
    let shape = ConvShape::new(2, [5, 5], [3, 3]).with_padding([1, 1]);
    let mut values = vec![0.0; 18];
    values[9..].fill(1.0);
    let sparse = Sparse::from_dense(&Dense::new(1, 18, values).unwrap(), Format::Csr16).unwrap();
    let x: Vec<f32> = (0..50).map(|i| if i < 25 { f32::INFINITY } else { 1.0 }).collect();
    for level in Level::available() {
        for way in [Way::Direct, Way::Product] {
            let mut y = [0.0; 25];
            let mut plan = ConvPlan::with_level(&sparse, &shape, 1, level, Some(way)).unwrap();
            plan.run(&x, 1, None, Activation::None, &mut y).unwrap();
            assert_eq!((y[0], y[1], y[6]), (4.0, 6.0, 9.0), "{level:?} {way:?}");
            // A NaN in the input stays one, and reaches no further than the kernel.
            let mut x = x.clone();
            x[25] = f32::NAN;
            plan.run(&x, 1, None, Activation::Relu, &mut y).unwrap();
            let nans: Vec<_> = (0..25).filter(|&i| y[i].is_nan()).collect();
            assert_eq!(nans, [0, 1, 5, 6], "{level:?} {way:?}");
        }
    }
}

#[test]
fn what_is_no_convolution_is_refused_by_name() {
    let shape = ConvShape::new(4, [5, 6], [3, 3]);
    let error = |shape: ConvShape| shape.output().unwrap_err().to_string();
    assert_eq!(error(shape.clone().with_groups(0)), "groups: must be at least 1, not 0");
    assert_eq!(error(shape.clone().with_groups(3)), "channels: 3 does not divide 4");
    assert_eq!(error(shape.clone().with_stride([1, 0])), "horizontal stride: must be at least 1, not 0");
    assert_eq!(error(shape.clone().with_dilation([0, 1])), "vertical dilation: must be at least 1, not 0");
    assert_eq!(error(ConvShape::new(4, [5, 6], [0, 1])), "kernel height: must be at least 1, not 0");
    assert_eq!(
        error(shape.clone().with_dilation([1, 3])),
        "width: a kernel that spans 7 does not fit a padded input of 6"
    );
    assert!(matches!(ConvShape::new(1, [usize::MAX; 2], [1, 1]).output(), Err(SparseError::TooLarge { .. })));
    assert!(matches!(shape.clone().with_sides([[usize::MAX, 9], [0, 0]]).output(), Err(SparseError::TooLarge { .. })));
    assert!(matches!(shape.clone().with_dilation([usize::MAX; 2]).output(), Err(SparseError::Kernel { .. })));
    assert_eq!(shape.clone().with_groups(0).fan_in(), usize::MAX);

    let sparse = |rows, cols| Sparse::from_dense(&weights(rows, cols, 50, 1), Format::Csr16).unwrap();
    let error = |rows, cols, shape: &ConvShape, batch| {
        ConvPlan::new(&sparse(rows, cols), shape, batch).unwrap_err().to_string()
    };
    assert_eq!(error(2, 35, &shape, 1), "columns of the weights: expected 36, got 35");
    assert_eq!(error(3, 18, &shape.clone().with_groups(2), 1), "output channels: 2 does not divide 3");
    assert!(error(2, 36, &shape, usize::MAX).starts_with("inputs: "));
    let wide = ConvShape::new(4, [1 << 30, 1 << 30], [3, 3]);
    assert!(error(2, 36, &wide, 1).starts_with("inputs: "));
    let sides = shape.clone().with_padding([1 << 30, 1 << 30]);
    assert!(error(2, 36, &sides, 1).starts_with("outputs: "));
    // A stride that skips nearly all of a large padding takes no memory for it.
    let few = ConvShape::new(1, [1, 1], [1, 1]).with_sides([[1 << 18, 0], [1 << 18, 0]]).with_stride([1 << 18; 2]);
    let mut plan = ConvPlan::new(&sparse(1, 1), &few, 1).unwrap();
    assert!(plan.run(&[1.0], 1, None, Activation::None, &mut [0.0; 4]).is_ok());

    let mut plan = ConvPlan::new(&sparse(2, 36), &shape, 2).unwrap();
    assert_eq!((plan.output(), plan.batch(), plan.shape()), ([2, 3, 4], 2, &shape));
    assert!(plan.bytes() > 0);
    let mut run = |x: usize, batch, bias: Option<&[f32]>, y: usize| {
        plan.run(&vec![0.0; x], batch, bias, Activation::None, &mut vec![0.0; y]).unwrap_err().to_string()
    };
    assert_eq!(run(360, 3, None, 72), "batch: 3 is above 2");
    assert_eq!(run(119, 1, None, 24), "inputs: expected 120, got 119");
    assert_eq!(run(120, 1, None, 23), "outputs: expected 24, got 23");
    assert_eq!(run(120, 1, Some(&[1.0]), 24), "biases: expected 2, got 1");
}

/// The same bits whatever the number of threads.
#[cfg(feature = "rayon")]
#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let mut state = 1;
    for kernel in [[3, 3], [1, 1]] {
        let shape = ConvShape::new(40, [20, 21], kernel).with_padding([kernel[0] / 2; 2]);
        let sparse = Sparse::from_dense(&weights(130, shape.fan_in(), 20, 3), Format::Csr16).unwrap();
        let x: Vec<f32> = (0..3 * 40 * 420).map(|_| number(&mut state)).collect();
        for way in [Way::Direct, Way::Product] {
            let best = Level::available()[0];
            let mut plan = ConvPlan::with_level(&sparse, &shape, 3, best, Some(way)).unwrap();
            let results = [1, 2, 5].map(|threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let mut y = vec![0.0; 3 * 130 * 420];
                pool.install(|| plan.run(&x, 3, None, Activation::None, &mut y)).unwrap();
                y.iter().map(|v| v.to_bits()).collect::<Vec<_>>()
            });
            assert_eq!(results[0], results[1], "{way:?}");
            assert_eq!(results[0], results[2], "{way:?}");
        }
    }
}

/// As in a network: a sample's result does not depend on who shares its batch.
#[test]
fn a_sample_is_the_same_alone() {
    let shape = ConvShape::new(6, [9, 9], [3, 3]).with_padding([1, 1]);
    let csr = Csr::new(1, 54, vec![0, 3], Indices::U16(vec![0, 20, 53]), vec![1.0f32, -2.0, 0.5]).unwrap();
    let mut state = 5;
    let x: Vec<f32> = (0..3 * 486).map(|_| number(&mut state)).collect();
    let mut plan = ConvPlan::new(&Sparse::Csr(csr), &shape, 3).unwrap();
    let (mut all, mut alone) = (vec![0.0; 3 * 81], vec![0.0; 3 * 81]);
    plan.run(&x, 3, None, Activation::None, &mut all).unwrap();
    for i in 0..3 {
        plan.run(&x[i * 486..][..486], 1, None, Activation::None, &mut alone[i * 81..][..81]).unwrap();
    }
    assert_eq!(all, alone);
}

/// Two convolutions with as many elements but other padding: what one leaves in a workspace is no padding for the other.
#[test]
fn a_workspace_of_another_plan_is_made_anew_and_plans_are_shared_by_threads() {
    let sparse = Sparse::from_dense(&weights(3, 9, 80, 1), Format::Csr16).unwrap();
    let shape = ConvShape::new(1, [8, 8], [3, 3]);
    let shapes = [shape.clone().with_sides([[2, 0], [2, 0]]), shape.with_sides([[0, 2], [0, 2]])];
    let x: Vec<f32> = (1..=64).map(|i| i as f32).collect();
    for way in [Way::Direct, Way::Product] {
        let plan = |shape| ConvPlan::with_level(&sparse, shape, 1, Level::available()[0], Some(way)).unwrap();
        let plans = [plan(&shapes[0]), plan(&shapes[1])];
        assert_eq!(plans[0].workspace().bytes(), plans[1].workspace().bytes());
        let run = |plan: &ConvPlan, workspace: &mut Workspace| {
            let mut y = vec![0.0; 3 * 64];
            plan.run_in(workspace, &x, 1, None, Activation::None, &mut y).unwrap();
            y
        };
        let alone = [0, 1].map(|i| run(&plans[i], &mut Workspace::default()));
        assert_ne!(alone[0], alone[1]);
        std::thread::scope(|scope| {
            let work = || {
                let mut workspace = Workspace::default();
                (0..6).for_each(|i| assert_eq!(run(&plans[i % 2], &mut workspace), alone[i % 2], "{way:?}"));
            };
            (0..3).for_each(|_| drop(scope.spawn(work)));
        });
    }
}
