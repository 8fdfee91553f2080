use super::{assert_close, assert_own, read, sparse, tensor};
use crate::pruner;
use burn::module::{Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::relu;
use burn::tensor::{DType, Device, Float, FloatDType, Tensor};
use pruning_burn::mask::{finish, masks};
use pruning_burn::nn::{Execution, SparseLayerError, SparseLinear, SparseOptions};
use pruning_burn::trace::{Scope, Trace, Values};
use pruning_sparse::{Activation, Dense, Format, Sparse, SparseError};
use pruning_tests::devices::replay;
use pruning_tests::models::{filled, numbers, random};

/// A layer of Burn with so many of its weights.
fn dense(inputs: usize, outputs: usize, density: f64, bias: bool, device: &Device) -> Linear {
    let mut linear = filled(LinearConfig::new(inputs, outputs).with_bias(bias).init(device), 3);
    let weights = sparse(inputs * outputs, density, (inputs * 131 + outputs) as u64);
    linear.weight = Param::from_tensor(tensor(weights, [inputs, outputs], device));
    linear
}

fn options() -> [SparseOptions; 2] {
    [SparseOptions::new(), SparseOptions::new().with_activation(Activation::Relu)]
}

pub(crate) fn linear_layers_are_the_dense_ones(device: &Device) {
    assert_own(device);
    for (inputs, outputs) in [(1, 1), (3, 2), (7, 5), (17, 33), (64, 40), (257, 130), (31, 301)] {
        for (density, bias) in [(0.0, true), (0.02, false), (0.1, true), (0.5, false), (1.0, true)] {
            let linear = dense(inputs, outputs, density, bias, device);
            for options in options() {
                let ours = SparseLinear::with_options(&linear, options).unwrap();
                for batch in [1, 2, 3, 4, 7, 8, 9, 16, 17, 40] {
                    let x = tensor(numbers(batch * inputs, batch as u64), [batch, inputs], device);
                    let expected = linear.forward(x.clone());
                    let expected = if options.activation == Activation::Relu { relu(expected) } else { expected };
                    let what = format!("{inputs} to {outputs}, density {density}, batch {batch}, {options:?}");
                    assert_close(&read(ours.forward(x)), &read(expected), &what);
                }
            }
        }
    }
}

pub(crate) fn every_batch_and_rank_has_its_outputs(device: &Device) {
    let linear = dense(19, 23, 0.2, true, device);
    let ours = SparseLinear::from_linear(&linear).unwrap();
    let all = numbers(600 * 19, 11);
    let expected = read(linear.forward(tensor(all.clone(), [600, 19], device)));
    // Larger batches go in pieces, which must not leave one out.
    for batch in (1..=40).chain([255, 256, 257, 513, 600]) {
        let x = tensor(all[..batch * 19].to_vec(), [batch, 19], device);
        assert_close(&read(ours.forward(x)), &expected[..batch * 23], &format!("batch {batch}"));
    }
    let y = ours.forward(tensor(all[..19].to_vec(), [19], device));
    assert_eq!(y.dims(), [23]);
    assert_close(&read(y), &expected[..23], "rank 1");
    let y = ours.forward(tensor(all[..6 * 19].to_vec(), [2, 3, 19], device));
    assert_eq!(y.dims(), [2, 3, 23]);
    assert_close(&read(y), &expected[..6 * 23], "rank 3");
    let y = ours.forward(tensor(all[..12 * 19].to_vec(), [3, 2, 2, 19], device));
    assert_eq!(y.dims(), [3, 2, 2, 23]);
    assert_close(&read(y), &expected[..12 * 23], "rank 4");
    let y = ours.forward(Tensor::<3>::zeros([2, 0, 19], device));
    assert_eq!(y.dims(), [2, 0, 23]);
}

/// Views of tensors that are not in the order of memory, or not all of it; and operations before and after.
pub(crate) fn inputs_may_be_views_of_tensors(device: &Device) {
    let linear = dense(19, 23, 0.2, true, device);
    let ours = SparseLinear::from_linear(&linear).unwrap();
    for batch in [1, 5, 33] {
        let columns = tensor(numbers(19 * batch, 5), [19, batch], device);
        let expected = read(linear.forward(columns.clone().transpose()));
        assert_close(&read(ours.forward(columns.transpose())), &expected, "transposed");
        let wide = tensor(numbers((batch + 2) * 40, 6), [batch + 2, 40], device);
        let part = wide.slice([1..batch + 1, 3..22]);
        let expected = read(linear.forward(part.clone()));
        assert_close(&read(ours.forward(part)), &expected, "sliced");
        let x = tensor(numbers(batch * 19, 7), [batch, 19], device);
        let expected = read((linear.forward(x.clone() * 2.0 + 1.0) - 0.5).abs());
        let y = (ours.forward(x.clone() * 2.0 + 1.0) - 0.5).abs();
        assert_close(&read(y), &expected, "between other operations");
        // The input is as it was.
        assert_eq!(read(x), numbers(batch * 19, 7));
    }
}

pub(crate) fn only_weights_meet_what_is_not_finite(device: &Device) {
    let (inputs, outputs) = (40, 70);
    let linear = dense(inputs, outputs, 0.1, true, device);
    let weights = read(linear.weight.val());
    for batch in [1, 2, 5, 20, 37] {
        let ours = SparseLinear::from_linear(&linear).unwrap();
        let mut x = numbers(batch * inputs, 9);
        let expected = read(linear.forward(tensor(x.clone(), [batch, inputs], device)));
        let sample = batch - 1;
        (x[sample * inputs + 4], x[sample * inputs + 29]) = (f32::NAN, f32::INFINITY);
        let y = read(ours.forward(tensor(x, [batch, inputs], device)));
        for (i, (&found, expected)) in y.iter().zip(expected).enumerate() {
            let row = i % outputs;
            let [with_nan, with_infinity] = [4, 29].map(|col| weights[col * outputs + row]);
            let what = format!("batch {batch}, sample {}, row {row}: {found}", i / outputs);
            if i / outputs < sample || (with_nan == 0.0 && with_infinity == 0.0) {
                assert!((found - expected).abs() < 1e-4, "{what} for {expected}");
            } else if with_nan != 0.0 {
                assert!(found.is_nan(), "{what}");
            } else {
                assert_eq!(found, f32::INFINITY * with_infinity, "{what}");
            }
        }
    }
}

pub(crate) fn formats_are_the_same_layer(device: &Device) {
    let linear = dense(32, 24, 0.3, true, device);
    let x = |batch| tensor(numbers(batch * 32, 2), [batch, 32], device);
    let formats = [Format::Dense, Format::Coo, Format::Csr16, Format::Csr32, Format::Bitmap];
    for format in formats.into_iter().chain([Format::Blocks { height: 4, width: 4 }]) {
        let ours = SparseLinear::with_options(&linear, SparseOptions::new().with_format(format)).unwrap();
        assert_eq!(ours.matrix().format(), format);
        for batch in [1, 6, 32] {
            assert_close(&read(ours.forward(x(batch))), &read(linear.forward(x(batch))), &format!("{format:?}"));
        }
    }
    let packed = SparseOptions::new().with_format(Format::Packed { n: 2, m: 4, kernel: 1 });
    let error = SparseLinear::with_options(&linear, packed).unwrap_err();
    assert!(matches!(error, SparseLayerError::Sparse(SparseError::Group { .. })), "{error}");
    let mut linear = linear;
    pruner("criterion = \"magnitude\"\ngranularity = \"2:4\"").prune(&mut linear, None).unwrap();
    let ours = SparseLinear::with_options(&linear, packed).unwrap();
    assert_close(&read(ours.forward(x(6))), &read(linear.forward(x(6))), "2:4");
}

pub(crate) fn masked_and_finished_layers_keep_the_same_weights(device: &Device) {
    for device in [device.clone(), device.clone().autodiff()] {
        let mut linear = dense(40, 30, 1.0, true, &device);
        pruner("criterion = \"magnitude\"\nsparsity = 0.9").prune(&mut linear, None).unwrap();
        let kept = masks(&linear).get("weight").unwrap().kept();
        let masked = SparseLinear::from_linear(&linear).unwrap();
        finish(&mut linear).unwrap();
        let finished = SparseLinear::from_linear(&linear).unwrap();
        // Masks leave minus zeros, which are none of the weights.
        assert_eq!((masked.nonzeros(), finished.nonzeros()), (kept, kept));
        assert_eq!(masked.matrix(), finished.matrix());
        assert_eq!(masked.bias(), finished.bias());
        let again =
            SparseLinear::from_matrix(masked.matrix().clone(), masked.bias().map(<[f32]>::to_vec), masked.options());
        let x = || tensor(numbers(5 * 40, 8), [5, 40], &device);
        assert_eq!(read(again.unwrap().forward(x())), read(masked.forward(x())));
    }
}

pub(crate) fn inputs_that_do_not_fit_are_errors(device: &Device) {
    let ours = SparseLinear::from_linear(&dense(6, 4, 0.5, true, device)).unwrap();
    let length = |what, expected, actual| SparseLayerError::Sparse(SparseError::Length { what, expected, actual });
    for width in [1, 5, 7, 12] {
        let x = Tensor::<2>::zeros([3, width], device);
        assert_eq!(ours.try_forward(x.clone()).unwrap_err(), length("columns of the input", 6, width));
        let panic = std::panic::catch_unwind(|| ours.forward(x)).unwrap_err();
        assert!(panic.downcast_ref::<String>().unwrap().contains("columns of the input"));
    }
    if device.supports_dtype(FloatDType::F64) {
        let x = Tensor::<2>::zeros([3, 6], device).cast(DType::F64);
        let error = SparseLayerError::Type { what: "inputs", dtype: DType::F64 };
        assert_eq!(ours.try_forward(x).unwrap_err(), error);
        let mut linear = dense(6, 4, 0.5, true, device);
        linear.weight = linear.weight.map(|weight| weight.cast(DType::F64));
        let error = SparseLayerError::Type { what: "weights", dtype: DType::F64 };
        assert_eq!(SparseLinear::from_linear(&linear).unwrap_err(), error);
    }
    let matrix = Sparse::from_dense(&Dense::new(4, 6, sparse(24, 0.5, 1)).unwrap(), Format::Csr16).unwrap();
    let error = SparseLinear::from_matrix(matrix, Some(vec![0.0; 3]), SparseOptions::new()).unwrap_err();
    assert_eq!(error, length("biases", 4, 3));
    let none = Sparse::from_dense(&Dense::new(0, 6, Vec::new()).unwrap(), Format::Csr16).unwrap();
    assert!(SparseLinear::from_matrix(none, None, SparseOptions::new()).is_err());
}

pub(crate) fn half_precision_comes_back_as_it_went_in(device: &Device) {
    for dtype in [FloatDType::F16, FloatDType::BF16] {
        if !device.supports_dtype(dtype) {
            continue;
        }
        let mut linear = dense(16, 8, 0.3, true, device);
        linear.weight = linear.weight.map(|weight| weight.cast(dtype));
        linear.bias = linear.bias.map(|bias| bias.map(|bias| bias.cast(dtype)));
        let ours = SparseLinear::from_linear(&linear).unwrap();
        let x = tensor(numbers(3 * 16, 4), [3, 16], device).cast(dtype);
        let y = ours.forward(x.clone());
        assert_eq!(y.dtype(), DType::from(dtype));
        let difference = (y.cast(DType::F32) - linear.forward(x).cast(DType::F32)).abs().max().into_scalar::<f32>();
        assert!(difference < 0.05, "{dtype:?}: {difference}");
    }
}

/// A module with a dense and a sparse layer.
#[derive(Module, Debug)]
struct Net {
    first: Linear,
    second: SparseLinear,
    more: Vec<Option<SparseLinear>>,
}

impl Net {
    fn new(device: &Device) -> Self {
        let sparse = |linear| SparseLinear::from_linear(&linear).unwrap();
        Self {
            first: dense(6, 12, 1.0, true, device),
            second: sparse(dense(12, 20, 0.3, true, device)),
            more: vec![None, Some(sparse(dense(20, 5, 0.3, false, device)))],
        }
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let x = self.second.forward(relu(self.first.forward(x)));
        self.more.iter().flatten().fold(x, |x, layer| layer.forward(x))
    }
}

pub(crate) fn sparse_layers_are_fields_of_modules(device: &Device) {
    fn is<T: Send + Sync>() {}
    is::<SparseLinear>();
    let net = Net::new(device);
    let x = || tensor(numbers(4 * 6, 3), [4, 6], device);
    let y = read(net.forward(x()));
    assert_eq!(net.num_params(), 6 * 12 + 12);
    assert!(net.to_string().contains("d_input: 12, d_output: 20, nonzeros: "), "{net}");
    for (what, other) in [
        ("clone", net.clone()),
        ("fork", net.clone().fork(device)),
        ("valid", net.valid()),
        ("mapped", filled(net.clone(), 1).load_record(net.clone().into_record())),
    ] {
        assert_eq!(read(other.forward(x())), y, "{what}");
    }
    let host = Device::flex();
    let moved = net.clone().to_device(&host).forward(x().to_device(&host));
    assert_close(&read(moved), &y, "another device");
    assert_eq!(read(net.forward(x())), y, "and the first one again");
}

pub(crate) fn gradients_reach_the_inputs(device: &Device) {
    let device = device.clone().autodiff();
    let linear = dense(9, 7, 0.4, true, &device);
    let ours = SparseLinear::with_options(&linear, SparseOptions::new().with_activation(Activation::Relu)).unwrap();
    assert_eq!(ours.execution(&device), Execution::Dense);
    let x = tensor(numbers(3 * 9, 1), [3, 9], &device).require_grad();
    let gradient = |y: Tensor<2>| read(x.grad(&y.powi_scalar(2).sum().backward()).unwrap());
    let expected = gradient(relu(linear.forward(x.clone())));
    assert_close(&gradient(ours.forward(x.clone())), &expected, "gradient");
}

pub(crate) fn sparse_layers_are_traced_as_dense_ones(device: &Device) {
    let net = Net::new(device);
    let x = random([4, 6], 1, device);
    let forward = |net: &Net, scope: &mut Scope| {
        let x = scope.input(&x);
        scope.output(net.forward(x));
    };
    let expected = read(net.forward(x.clone()));
    // Twice: what is kept for the next call must not be what a trace recorded.
    for _ in 0..2 {
        let trace = Trace::record(&net, forward).unwrap();
        let outputs = replay(&trace, &net, Values::new().with(x.clone()));
        assert_close(&read(outputs.get::<2, Float>(0).unwrap()), &expected, "replayed");
    }
}

pub(crate) fn threads_share_layers(device: &Device) {
    let linear = dense(64, 300, 0.2, true, device);
    let ours = SparseLinear::from_linear(&linear).unwrap();
    let x = |batch: usize| tensor(numbers(batch * 64, batch as u64), [batch, 64], device);
    let batches = [1, 2, 3, 5, 8, 13, 16, 21, 40, 300];
    let serial: Vec<_> = {
        let ours = SparseLinear::from_linear(&linear).unwrap();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        batches.iter().map(|&batch| pool.install(|| read(ours.forward(x(batch))))).collect()
    };
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (ours, serial, x) = (&ours, &serial, &x);
            scope.spawn(move || {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(thread + 1).build().unwrap();
                for round in 0..6 {
                    for i in 0..batches.len() {
                        let i = (i + thread + round) % batches.len();
                        let y = pool.install(|| read(ours.forward(x(batches[i]))));
                        assert_eq!(y, serial[i], "thread {thread}, batch {}", batches[i]);
                    }
                }
            });
        }
    });
}
