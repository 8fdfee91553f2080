use super::{assert_close, assert_own, read, sparse, tensor};
use crate::pruner;
use burn::module::{Module, Param};
use burn::nn::PaddingConfig2d;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use pruning_burn::nn::{Execution, SparseConv2d, SparseLayerError, SparseOptions};
use pruning_sparse::{Activation, Format, SparseError};
use pruning_tests::models::{filled, numbers};

/// A convolution of Burn with so many of its weights.
fn dense(config: Conv2dConfig, density: f64, device: &Device) -> Conv2d {
    let mut conv = filled(config.init(device), 3);
    let shape = conv.weight.dims();
    let weights = sparse(shape.iter().product(), density, shape.iter().sum::<usize>() as u64);
    conv.weight = Param::from_tensor(tensor(weights, shape, device));
    conv
}

fn input(shape: [usize; 4], device: &Device) -> Tensor<4> {
    tensor(numbers(shape.iter().product(), 21), shape, device)
}

/// The dense layer on the reference device.
fn expected(conv: &Conv2d, x: Tensor<4>, options: SparseOptions) -> Vec<f32> {
    let host = Device::flex();
    let y = conv.clone().to_device(&host).forward(x.to_device(&host));
    read(if options.activation == Activation::Relu { relu(y) } else { y })
}

pub(crate) fn convolutions_are_the_dense_ones(device: &Device) {
    assert_own(device);
    let config = Conv2dConfig::new;
    let explicit = PaddingConfig2d::Explicit;
    let relu = SparseOptions::new().with_activation(Activation::Relu);
    for (i, config) in [
        config([1, 1], [1, 1]),
        config([3, 5], [1, 1]).with_stride([2, 3]),
        config([4, 6], [3, 3]),
        config([4, 6], [3, 3]).with_padding(PaddingConfig2d::Same).with_bias(false),
        config([4, 6], [2, 4]).with_padding(PaddingConfig2d::Same),
        config([4, 6], [3, 3]).with_padding(PaddingConfig2d::Same).with_stride([2, 2]),
        config([4, 6], [3, 2]).with_padding(explicit(1, 2, 1, 2)).with_stride([2, 1]).with_dilation([1, 3]),
        config([4, 6], [3, 3]).with_padding(explicit(0, 1, 2, 3)).with_dilation([2, 2]),
        config([6, 9], [3, 3]).with_groups(3).with_padding(explicit(1, 1, 1, 1)),
        config([8, 8], [3, 3]).with_groups(8).with_padding(PaddingConfig2d::Same),
        config([8, 16], [5, 3]).with_groups(8).with_stride([2, 2]).with_padding(explicit(2, 1, 2, 1)),
        config([33, 70], [3, 3]).with_padding(explicit(1, 1, 1, 1)),
    ]
    .into_iter()
    .enumerate()
    {
        for density in [0.0, 0.1, 0.5, 1.0] {
            let conv = dense(config.clone(), density, device);
            for options in [SparseOptions::new(), relu] {
                let ours = SparseConv2d::with_options(&conv, options).unwrap();
                for (batch, height, width) in [(1, 7, 9), (3, 12, 8), (2, 7, 9), (5, 7, 9)] {
                    let x = input([batch, config.channels[0], height, width], device);
                    let y = ours.forward(x.clone());
                    let what = format!("case {i}, density {density}, {batch} of {height} x {width}, {options:?}");
                    assert_close(&read(y), &expected(&conv, x, options), &what);
                }
            }
        }
    }
}

pub(crate) fn convolutions_have_the_shapes_of_dense_ones(device: &Device) {
    for padding in [PaddingConfig2d::Same, PaddingConfig2d::Valid, PaddingConfig2d::Explicit(2, 0, 1, 3)] {
        for (kernel, stride) in [([1, 1], [1, 1]), ([2, 3], [1, 1]), ([3, 3], [2, 2]), ([4, 1], [3, 2])] {
            let config = Conv2dConfig::new([2, 3], kernel).with_stride(stride).with_padding(padding.clone());
            let conv = dense(config, 0.5, device);
            let ours = SparseConv2d::from_conv2d(&conv).unwrap();
            // More sizes than a layer keeps plans for.
            for (height, width) in [(4, 3), (5, 8), (9, 9), (6, 7), (11, 4), (4, 3)] {
                let x = input([2, 2, height, width], device);
                let y = ours.forward(x.clone());
                let host = Device::flex();
                let dims = conv.clone().to_device(&host).forward(x.clone().to_device(&host)).dims();
                assert_eq!(y.dims(), dims, "{padding:?}, {kernel:?}, {stride:?}, {height} x {width}");
                assert_close(&read(y), &expected(&conv, x, SparseOptions::new()), "values");
            }
            assert_eq!(ours.forward(Tensor::zeros([0, 2, 9, 9], device)).dims()[..2], [0, 3]);
        }
    }
}

pub(crate) fn convolutions_take_any_format_and_views(device: &Device) {
    let conv = dense(Conv2dConfig::new([4, 8], [3, 3]), 0.3, device);
    let swapped = input([2, 4, 10, 6], device).swap_dims(2, 3);
    let part = input([4, 6, 10, 10], device).slice([1..3, 1..5, 2..9, 0..10]);
    for format in [Format::Dense, Format::Coo, Format::Csr16, Format::Csr32, Format::Bitmap] {
        let options = SparseOptions::new().with_format(format);
        let ours = SparseConv2d::with_options(&conv, options).unwrap();
        for x in [swapped.clone(), part.clone()] {
            assert_close(&read(ours.forward(x.clone())), &expected(&conv, x, options), &format!("{format:?}"));
        }
    }
    let packed = Format::Packed { n: 2, m: 4, kernel: 9 };
    let options = SparseOptions::new().with_format(packed);
    let error =
        SparseConv2d::with_options(&dense(Conv2dConfig::new([4, 8], [3, 3]), 1.0, device), options).unwrap_err();
    assert!(matches!(error, SparseLayerError::Sparse(SparseError::Group { .. })), "{error}");
    let mut conv = conv;
    pruner("criterion = \"magnitude\"\ngranularity = \"2:4\"").prune(&mut conv, None).unwrap();
    let ours = SparseConv2d::with_options(&conv, options).unwrap();
    assert_eq!(ours.matrix().format(), packed);
    assert_close(&read(ours.forward(part.clone())), &expected(&conv, part, options), "2:4");
}

pub(crate) fn inputs_that_do_not_fit_a_convolution_are_errors(device: &Device) {
    let config = Conv2dConfig::new([4, 6], [3, 3]).with_dilation([2, 2]);
    let conv = dense(config, 0.5, device);
    let ours = SparseConv2d::from_conv2d(&conv).unwrap();
    let refused = |shape| match ours.try_forward(Tensor::zeros(shape, device)).unwrap_err() {
        SparseLayerError::Sparse(error) => error,
        other => panic!("{other}"),
    };
    let length = SparseError::Length { what: "channels of the input", expected: 4, actual: 3 };
    assert_eq!(refused([1, 3, 8, 8]), length);
    let kernel = SparseError::Kernel { what: "width", extent: 5, padded: 4 };
    assert_eq!(refused([1, 4, 8, 4]), kernel);
    assert!(std::panic::catch_unwind(|| ours.forward(Tensor::zeros([1, 3, 8, 8], device))).is_err());
    let with = |change: fn(&mut Conv2d)| {
        let mut conv = conv.clone();
        change(&mut conv);
        SparseConv2d::from_conv2d(&conv)
    };
    assert!(matches!(with(|c| c.stride = [0, 1]), Err(SparseLayerError::Sparse(SparseError::Zero { .. }))));
    assert!(matches!(with(|c| c.groups = 0), Err(SparseLayerError::Sparse(SparseError::Zero { .. }))));
    let groups = with(|c| c.groups = 4);
    assert!(matches!(groups, Err(SparseLayerError::Sparse(SparseError::DoesNotDivide { .. }))));
    assert!(with(|_| ()).is_ok());
}

/// A module with a convolution.
#[derive(Module, Debug)]
struct Net {
    conv: SparseConv2d,
}

pub(crate) fn convolutions_are_fields_of_modules(device: &Device) {
    fn is<T: Send + Sync>() {}
    is::<SparseConv2d>();
    let conv = dense(Conv2dConfig::new([4, 6], [3, 3]).with_padding(PaddingConfig2d::Same), 0.3, device);
    let net = Net { conv: SparseConv2d::from_conv2d(&conv).unwrap() };
    let x = || input([2, 4, 6, 5], device);
    let y = read(net.conv.forward(x()));
    assert_eq!(net.num_params(), 0);
    assert!(net.to_string().contains("ch_in: 4, ch_out: 6"), "{net}");
    let other = net.clone().load_record(net.clone().into_record()).valid();
    assert_eq!(read(other.conv.forward(x())), y);
    let autodiff = device.clone().autodiff();
    assert_eq!(net.conv.execution(&autodiff), Execution::Dense);
    let x = input([2, 4, 6, 5], &autodiff).require_grad();
    let ours = net.conv.forward(x.clone());
    assert_close(&read(ours.clone()), &y, "with gradients");
    let gradient = read(x.grad(&ours.sum().backward()).unwrap());
    let conv = dense(Conv2dConfig::new([4, 6], [3, 3]).with_padding(PaddingConfig2d::Same), 0.3, &autodiff);
    let expected = read(x.grad(&conv.forward(x.clone()).sum().backward()).unwrap());
    assert_close(&gradient, &expected, "gradient");
}

pub(crate) fn threads_share_convolutions(device: &Device) {
    let conv = dense(Conv2dConfig::new([5, 40], [3, 3]).with_padding(PaddingConfig2d::Same), 0.3, device);
    let ours = SparseConv2d::from_conv2d(&conv).unwrap();
    let shapes = [[1, 5, 8, 8], [3, 5, 8, 8], [2, 5, 6, 9], [1, 5, 4, 4], [9, 5, 8, 8], [1, 5, 7, 3], [2, 5, 3, 7]];
    let serial: Vec<_> = {
        let ours = SparseConv2d::from_conv2d(&conv).unwrap();
        shapes.iter().map(|&shape| read(ours.forward(input(shape, device)))).collect()
    };
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (ours, serial) = (&ours, &serial);
            scope.spawn(move || {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(thread + 1).build().unwrap();
                for round in 0..6 {
                    for i in 0..shapes.len() {
                        let i = (i + thread + round) % shapes.len();
                        let y = pool.install(|| read(ours.forward(input(shapes[i], device))));
                        assert_eq!(y, serial[i], "thread {thread}, {:?}", shapes[i]);
                    }
                }
            });
        }
    });
}
