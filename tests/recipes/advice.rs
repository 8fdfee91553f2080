//! What an error advises works: each is followed here.

use burn::module::Param;
use burn::nn::{Embedding, EmbeddingConfig, Linear, LinearConfig};
use burn::tensor::{Device, Int, Tensor, TensorData};
use pruning_burn::mask::{MaskSet, attach, finish, undo};
use pruning_burn::score::{CriterionInputs, Need};
use pruning_burn::trace::{Scope, Trace};
use pruning_burn::{PruneError, Pruner};
use pruning_tests::models::{Cnn, Mlp};

fn pruner(recipe: &str) -> Pruner {
    Pruner::from_toml(&format!("criterion = \"magnitude\"\n{recipe}"), &pruning_plugins::all()).unwrap()
}

fn cnn() -> Cnn {
    Cnn::new(&Device::flex(), 1)
}

fn says(recipe: &str) -> String {
    pruner(recipe).prune(&mut cnn(), None).unwrap_err().to_string()
}

fn works(recipe: &str) {
    pruner(recipe).prune(&mut cnn(), None).unwrap();
}

#[test]
fn targets_and_overrides() {
    assert!(says("sparsity = 0.5\n[target]\nexclude = [\"*\"]").contains("name the parameters in target.include"));
    works("sparsity = 0.5\n[target]\ninclude = [\"norm.gamma\"]");

    let half = "sparsity = 0.5\n[[override]]\ntarget = \"norm\"\nsparsity = 0.2\n";
    assert!(says(half).contains("which target.include must name"), "{}", says(half));
    works(&format!("{half}[target]\ninclude = [\"*\", \"norm.gamma\"]"));

    let named = says("sparsity = 0.5\n[target]\ninclude = [\"norm.running_mean\"]");
    assert!(named.contains("do not name it, or exclude it"), "{named}");
    works("sparsity = 0.5\n[target]\ninclude = [\"*\", \"norm.running_mean\"]\nexclude = [\"norm.running_*\"]");
    // A wildcard names nothing.
    assert!(says("sparsity = 0.5\n[target]\ninclude = [\"norm.*\"]").contains("as in \"norm.gamma\""));
    works("sparsity = 0.5\n[target]\ninclude = [\"norm.gamma\"]");

    let twice = "sparsity = 0.5\n[[override]]\ntarget = \"conv1\"\nsparsity = 0.2\n";
    assert!(says(&format!("{twice}{}", &twice[15..])).contains("keep one of them"));
    works(twice);
    assert!(
        says("sparsity = 0.5\ngranularity = { kind = \"head\", size = 3 }").contains("the size is that of one head")
    );
    works("sparsity = 0.5\ngranularity = { kind = \"head\", size = 4 }");
    let pattern = "granularity = \"2:4\"\n";
    let advice = "exclude the layer, choose another granularity, or leave all such layers dense with skip_unfit = true";
    assert!(says(pattern).contains(advice), "{}", says(pattern));
    works(&format!("{pattern}[target]\nexclude = [\"conv1\"]"));
    works(&format!("{pattern}skip_unfit = true"));
}

#[test]
fn budgets() {
    let most = "sparsity = 0.999\nallocator = \"global\"";
    assert!(says(most).contains("change the sparsity, the floor or the cap, or set allow_empty"), "{}", says(most));
    works(&format!("{most}\nallow_empty = true"));
    works("sparsity = 0.9\nallocator = \"global\"");
    let many = "count = 2000";
    assert!(says(many).contains("lower the count"), "{}", says(many));
    works("count = 800");
}

#[test]
fn weights_that_are_not_finite() {
    let mut model = cnn();
    let weight = model.conv1.weight.val();
    let shape = weight.shape();
    let mut numbers: Vec<f32> = weight.into_data().iter().collect();
    numbers[3] = f32::NAN;
    model.conv1.weight = Param::from_tensor(Tensor::from_data(TensorData::new(numbers, shape), &Device::flex()));
    let error = pruner("sparsity = 0.5").prune(&mut model, None).unwrap_err().to_string();
    assert!(error.contains("or exclude the layer"), "{error}");
    pruner("sparsity = 0.5\n[target]\nexclude = [\"conv1\"]").prune(&mut model, None).unwrap();
}

#[test]
fn a_session_that_is_begun_anew() {
    let mut model = Mlp::new(&Device::flex(), 1);
    let recipe = pruner("sparsity = 0.5\n[target]\nexclude = [\"fc2.*\"]");
    let mut session = recipe.start(&mut model).unwrap();
    let mut other = model.clone();
    undo(&mut other).unwrap();
    let error = session.step(&mut other, None).unwrap_err();
    assert!(matches!(error, PruneError::NotAttached { .. }), "{error}");
    assert!(recipe.start(&mut model).unwrap_err().to_string().contains("finish or undo first"));
    finish(&mut model).unwrap();
    recipe.start(&mut model).unwrap();
}

#[test]
fn masks_and_inputs() {
    let error = attach(&mut cnn(), &MaskSet::default()).unwrap_err();
    assert_eq!(error, PruneError::NoMask);

    let model = Mlp::new(&Device::flex(), 1);
    let loss = |m: &Mlp, x: &Tensor<2>| m.forward(x.clone()).square().mean();
    let collect = |m: &Mlp| {
        let x = Mlp::input(4, &m.fc1.weight.device());
        CriterionInputs::new().with_gradients(m, Need::GRADIENT, &[x], loss)
    };
    let error = collect(&model).unwrap_err().to_string();
    assert!(error.contains("build the model with `device.autodiff()`, or call `train()` on it"), "{error}");
    let device = Device::flex().autodiff();
    collect(&Mlp::new(&device, 1)).unwrap();
    collect(&burn::module::Module::train(model)).unwrap();
}

#[derive(burn::module::Module, Debug)]
struct Words {
    table: Embedding,
    out: Linear,
}

#[test]
fn budgets_of_multiply_accumulates() {
    let device = Device::flex();
    let words = Words { table: EmbeddingConfig::new(6, 8).init(&device), out: LinearConfig::new(8, 3).init(&device) };
    let macs = "sparsity = 0.5\nallocator = { name = \"budget\", of = \"macs\" }\n";
    let both = pruner(&format!("{macs}[target]\ninclude = [\"*\", \"table.weight\"]"));
    let trace = Trace::record(&words, |m: &Words, s: &mut Scope| {
        let ids = s.input(&Tensor::<2, Int>::from_ints([[0, 3, 5]], &device));
        s.output(m.out.forward(m.table.forward(ids)));
    })
    .unwrap();
    let error = pruner(macs).prune(&mut words.clone(), None).unwrap_err().to_string();
    assert!(
        error.starts_with("out.weight: its multiply-accumulates are not known")
            && error.contains("`Pruner::with_trace`"),
        "{error}"
    );
    pruner(macs).with_trace(&trace).prune(&mut words.clone(), None).unwrap();
    // Rows of a table are looked up, and multiplied with nothing.
    let error = both.with_trace(&trace).prune(&mut words.clone(), None).unwrap_err().to_string();
    assert!(error.contains("exclude a layer that no product of the trace uses"), "{error}");
}
