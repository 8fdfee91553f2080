//! `SparseModel`: equal to the model, shared by threads, without leaks, and errors.

use burn::module::Module;
use burn::nn::conv::{Conv1d, Conv1dConfig};
use burn::nn::{Linear, LinearConfig, PaddingConfig1d};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor, Tolerance};
use pruning_burn::mask::{finish, masks};
use pruning_burn::sparse::{Options, SparseModel, SparseModelError, Verdict, Why, break_even};
use pruning_burn::store::{Compact, Loaded, StoreError, load, save};
use pruning_burn::trace::{ReplayError, Trace, Values};
use pruning_tests::models::{Cnn, Mlp, random};
use pruning_tests::shrinking::pruner;
use std::time::Duration;

fn recorded(model: &Mlp, batch: usize, device: &Device) -> Trace {
    let x = Mlp::input(batch, device);
    Trace::record(model, |m: &Mlp, s| {
        let x = s.input(&x);
        s.output(m.forward(x));
    })
    .unwrap()
}

fn pruned(device: &Device) -> Mlp {
    let mut model = Mlp::new(device, 3);
    pruner("criterion = \"magnitude\"\nsparsity = 0.8").prune(&mut model, None).unwrap();
    finish(&mut model).unwrap();
    model
}

fn close(a: Tensor<2>, b: Tensor<2>) {
    a.into_data().assert_approx_eq::<f32>(&b.into_data(), Tolerance::relative(1e-4).set_absolute(1e-5));
}

fn run(sparse: &SparseModel, x: Tensor<2>) -> Tensor<2> {
    sparse.run(Values::new().with(x)).unwrap().get(0).unwrap()
}

#[test]
fn several_batches_share_the_weights() {
    let device = Device::flex();
    let model = pruned(&device);
    let traces: Vec<Trace> = [1, 2, 8, 33].map(|batch| recorded(&model, batch, &device)).into();
    for options in [Options::every_product(), Options::by_rule(), Options::new().with_budget(Duration::from_millis(20))]
    {
        let sparse = SparseModel::compile(&traces, &model, &options).unwrap();
        for batch in [33, 1, 8, 2, 1] {
            let x = Mlp::input(batch, &device);
            close(run(&sparse, x.clone()), model.forward(x));
        }
        assert_eq!(sparse.report().passes.len(), 4);
    }
}

#[test]
fn bias_and_relu_are_part_of_the_product() {
    let device = Device::flex();
    let model = pruned(&device);
    let sparse = SparseModel::compile([&recorded(&model, 4, &device)], &model, &Options::every_product()).unwrap();
    let layers = &sparse.report().passes[0].layers;
    let shapes: Vec<_> = layers.iter().map(|l| (l.path.as_str(), l.shape, l.batch)).collect();
    assert_eq!(shapes, [("fc1.weight", [16, 12], 4), ("fc2.weight", [8, 16], 4)]);
    assert!(layers.iter().all(|l| l.sparse && l.why == Why::Asked));
    // One operation each.
    assert_eq!(sparse.operations(), [2]);
}

#[test]
fn a_model_with_masks_is_as_one_without() {
    let device = Device::flex();
    let plain = pruned(&device);
    let mut masked = Mlp::new(&device, 3);
    pruner("criterion = \"magnitude\"\nsparsity = 0.8").prune(&mut masked, None).unwrap();
    let x = Mlp::input(5, &device);
    let compile = |m: &Mlp| SparseModel::compile([&recorded(m, 5, &device)], m, &Options::every_product()).unwrap();
    let (a, b) = (compile(&plain), compile(&masked));
    assert_eq!(a.report(), b.report());
    assert_eq!(run(&a, x.clone()).into_data(), run(&b, x).into_data());
    assert!(!masks(&masked).is_empty() && masks(&plain).is_empty());
}

#[test]
fn threads_share_it_and_nothing_is_left_behind() {
    fn shared<T: Send + Sync>(_: &T) {}
    let device = Device::flex();
    let model = pruned(&device);
    let sparse = SparseModel::compile([&recorded(&model, 3, &device)], &model, &Options::every_product()).unwrap();
    shared(&sparse);
    let x = Mlp::input(3, &device);
    let expected = run(&sparse, x.clone()).into_data();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..2500 {
                    assert_eq!(run(&sparse, x.clone()).into_data(), expected);
                }
            });
        }
    });
    // As many interpreters as there were threads at once, with constants and nothing else.
    let handles = sparse.handles();
    assert!((1..=4).contains(&handles.len()), "{handles:?}");
    assert!(handles.iter().all(|&(handles, constants)| handles == constants), "{handles:?}");
}

/// Products in every form: both sides, a shared weight, a transposed one, more than two axes, a result that is used twice.
#[derive(Module, Debug)]
struct Odd {
    a: Linear,
    b: Linear,
}

impl Odd {
    fn forward(&self, x: Tensor<3>) -> (Tensor<3>, Tensor<3>) {
        let h = self.a.forward(x);
        let twice = relu(h.clone()) + h.clone();
        // Tied: the weight of `a` transposed.
        let back = twice.clone().matmul(self.a.weight.val().transpose().unsqueeze());
        // From the left, which stays dense.
        let left = self.b.weight.val().transpose().unsqueeze::<3>().matmul(twice.clone().swap_dims(1, 2));
        (self.b.forward(h) + back.clone(), left)
    }
}

#[test]
fn products_in_every_form() {
    let device = Device::flex();
    let mut model = Odd { a: LinearConfig::new(6, 10).init(&device), b: LinearConfig::new(10, 6).init(&device) };
    pruner("criterion = \"magnitude\"\nsparsity = 0.5").prune(&mut model, None).unwrap();
    for batch in [1, 2, 5] {
        let x = random([batch, 10, 6], 1, &device);
        let forward = |m: &Odd, x: Tensor<3>| {
            let (y, left) = m.forward(x);
            (y, left)
        };
        let trace = Trace::record(&model, |m, s| {
            let x = s.input(&x);
            let (y, left) = forward(m, x.clone());
            s.output(y);
            s.output(left);
            // An input and a parameter as they are.
            s.output(x);
            s.output(m.a.weight.val());
        });
        let sparse = SparseModel::compile([&trace.unwrap()], &model, &Options::every_product()).unwrap();
        let sparse_layers = sparse.report().passes[0].layers.iter().filter(|l| l.sparse).count();
        assert_eq!(sparse_layers, 3, "{}", sparse.report());
        let (y, left) = forward(&model, x.clone());
        for _ in 0..2 {
            let out = sparse.run(Values::new().with(x.clone())).unwrap();
            let tolerance = Tolerance::relative(1e-4).set_absolute(1e-5);
            let found: Tensor<3> = out.get(0).unwrap();
            found.into_data().assert_approx_eq::<f32>(&y.clone().into_data(), tolerance);
            let found: Tensor<3> = out.get(1).unwrap();
            found.into_data().assert_approx_eq::<f32>(&left.clone().into_data(), tolerance);
            assert_eq!(out.get::<3, burn::tensor::Float>(2).unwrap().into_data(), x.clone().into_data());
            assert_eq!(out.get::<2, burn::tensor::Float>(3).unwrap().into_data(), model.a.weight.val().into_data());
        }
    }
}

/// Convolutions along one axis, as of a recording of sound.
#[derive(Module, Debug)]
struct Wave {
    first: Conv1d,
    second: Conv1d,
    third: Conv1d,
}

impl Wave {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        self.third.forward(relu(self.second.forward(relu(self.first.forward(x)))))
    }
}

#[test]
fn convolutions_along_one_axis_are_products_too() {
    let device = Device::flex();
    let conv = |from, to, kernel| Conv1dConfig::new(from, to, kernel);
    let mut model = Wave {
        first: conv(3, 8, 5).with_stride(2).with_padding(PaddingConfig1d::Explicit(3, 1)).init(&device),
        second: conv(8, 12, 3).with_dilation(2).with_groups(4).with_bias(false).init(&device),
        third: conv(12, 5, 1).init(&device),
    };
    pruner("criterion = \"magnitude\"\nsparsity = 0.6").prune(&mut model, None).unwrap();
    for batch in [1, 3] {
        let x = random([batch, 3, 50], 2, &device);
        let trace = Trace::record(&model, |m: &Wave, s| {
            let x = s.input(&x);
            s.output(m.forward(x));
        })
        .unwrap();
        let sparse = SparseModel::compile([&trace], &model, &Options::every_product()).unwrap();
        let layers = &sparse.report().passes[0].layers;
        let names: Vec<_> = layers.iter().map(|l| (l.path.as_str(), l.operation.as_str(), l.sparse)).collect();
        assert_eq!(
            names,
            [("first.weight", "conv1d", true), ("second.weight", "conv1d", true), ("third.weight", "conv1d", true)]
        );
        let y: Tensor<3> = sparse.run(Values::new().with(x.clone())).unwrap().get(0).unwrap();
        let expected = model.forward(x).into_data();
        y.into_data().assert_approx_eq::<f32>(&expected, Tolerance::relative(1e-4).set_absolute(1e-5));
    }
}

#[test]
fn what_is_not_finite_is_carried_as_in_the_dense_product_where_weights_are() {
    let device = Device::flex();
    let model = Mlp::new(&device, 3);
    let sparse = SparseModel::compile([&recorded(&model, 1, &device)], &model, &Options::every_product()).unwrap();
    let mut x: Vec<f32> = vec![0.5; 12];
    x[3] = f32::NAN;
    let x = Tensor::<2>::from_data(burn::tensor::TensorData::new(x, [1, 12]), &device);
    let (sparse, dense) = (run(&sparse, x.clone()).into_data(), model.forward(x).into_data());
    let nan = |d: &burn::tensor::TensorData| d.iter::<f32>().map(f32::is_nan).collect::<Vec<_>>();
    assert_eq!(nan(&sparse), nan(&dense));
}

#[test]
fn what_no_budget_measures_is_called_uncertain() {
    let device = Device::flex();
    let model = pruned(&device);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.safetensors");
    // A pass with one product that is not pruned, and thus not tried.
    let mut partly = Mlp::new(&device, 3);
    partly.fc1 = model.fc1.clone();
    let options = Options::new().with_budget(Duration::ZERO);
    let sparse = SparseModel::compile([&recorded(&partly, 4, &device)], &partly, &options).unwrap();
    let pass = &sparse.report().passes[0];
    let certain: Vec<_> = pass.layers.iter().map(|l| (l.certain, l.why == Why::FewZeros)).collect();
    assert_eq!(certain, [(Some(false), false), (None, true)]);
    // Two runs of which nothing follows; where the sparse one was faster, it stays.
    let any = pass.layers.iter().any(|l| l.sparse);
    assert_eq!((pass.verdict, pass.rounds), (any.then_some(Verdict::Uncertain), 0));
    assert!(sparse.report().to_string().contains("not certain"), "{}", sparse.report());
    save(&sparse, &file).unwrap();
    assert_eq!(load(&file).and_then(Loaded::into_sparse_model).unwrap().report(), sparse.report());
    close(run(&sparse, Mlp::input(4, &device)), partly.forward(Mlp::input(4, &device)));
}

#[test]
fn break_even_has_a_row_for_each_shape() {
    let device = Device::flex();
    let model = Mlp::new(&device, 3);
    let found = break_even(&recorded(&model, 8, &device), &model, Duration::from_millis(1)).unwrap();
    let shapes: Vec<_> = found.rows.iter().map(|r| (r.paths[0].as_str(), r.shape, r.batch)).collect();
    assert_eq!(shapes, [("fc1.weight", [16, 12], 8), ("fc2.weight", [8, 16], 8)]);
    assert!(found.rows.iter().all(|r| r.sparsity.is_none_or(|s| (0.0..=0.99).contains(&s))), "{found}");
    assert!(found.to_string().contains("fc1.weight"), "{found}");
    let other = break_even(&recorded(&model, 8, &device), &Cnn::new(&device, 1), Duration::from_millis(1));
    assert!(matches!(other.unwrap_err(), SparseModelError::Model(_)));
}

#[test]
fn errors_say_what_does_not_fit() {
    let device = Device::flex();
    let model = pruned(&device);
    let traces: [Trace; 0] = [];
    let none = SparseModel::compile(&traces, &model, &Options::new());
    assert_eq!(none.unwrap_err(), SparseModelError::NoPass);

    let trace = recorded(&model, 2, &device);
    let cnn = Cnn::new(&device, 1);
    let other = SparseModel::compile([&trace], &cnn, &Options::new());
    assert!(matches!(other.unwrap_err(), SparseModelError::Model(ReplayError::Parameter { .. })));

    let sparse = SparseModel::compile([&trace], &model, &Options::by_rule()).unwrap();
    let wrong = sparse.run(Values::new().with(Mlp::input(3, &device))).unwrap_err();
    let text = wrong.to_string();
    assert!(matches!(wrong, SparseModelError::Inputs { .. }));
    assert!(text.contains("[3, 12]") && text.contains("[2, 12]"), "{text}");
    assert!(matches!(sparse.run(Values::new()).unwrap_err(), SparseModelError::Inputs { .. }));
    // And it still runs.
    close(run(&sparse, Mlp::input(2, &device)), model.forward(Mlp::input(2, &device)));
}

#[test]
fn files_that_are_no_sparse_model_are_refused() {
    let device = Device::flex();
    let model = pruned(&device);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.safetensors");
    let sparse = SparseModel::compile([&recorded(&model, 2, &device)], &model, &Options::every_product()).unwrap();
    save(&sparse, &file).unwrap();
    let bytes = std::fs::read(&file).unwrap();
    let other = folder.path().join("other.safetensors");
    let read = |bytes: &[u8]| {
        std::fs::write(&other, bytes).unwrap();
        load(&other).and_then(Loaded::into_sparse_model).unwrap_err()
    };
    for len in [0, 7, 100, bytes.len() / 2, bytes.len() - 1] {
        let error = read(&bytes[..len]);
        assert!(matches!(error, StoreError::Read { .. }), "{len}: {error}");
    }
    // Any byte of the arrays.
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    for at in (header..bytes.len()).step_by(97) {
        let mut altered = bytes.clone();
        altered[at] ^= 1;
        let error = read(&altered);
        assert!(matches!(error, StoreError::Checksum { .. }), "{at}: {error}");
    }
    // What the header says is part of the checksum.
    let text = String::from_utf8_lossy(&bytes[8..header]).into_owned();
    for (from, to) in [("version 1", "version 2"), ("0.22", "0.23")] {
        assert!(text.contains(from), "{text}");
        let error = read(&[&bytes[..8], text.replace(from, to).as_bytes(), &bytes[header..]].concat());
        assert!(matches!(error, StoreError::Checksum { .. }), "{error}");
    }
    pruning_burn::store::save(Compact(&model), &other).unwrap();
    let error = load(&other).and_then(Loaded::into_sparse_model).unwrap_err();
    assert!(matches!(error, StoreError::Kind { .. }), "{error}");
    assert!(matches!(
        load(folder.path().join("none")).and_then(Loaded::into_sparse_model).unwrap_err(),
        StoreError::Read { .. }
    ));
}
