//! Experts whose weights are one parameter, and fields that hold sizes.

use crate::models::sequence;
use burn::module::{Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::{relu, softmax};
use burn::tensor::{Device, Tensor};
use pruning_burn::shrink::{Shrinker, size_fields};
use pruning_burn::trace::{Scope, Trace};
use pruning_tests::models::filled;
use pruning_tests::shrinking::{Shrinks, channels, pruner, shrinks};

/// Four experts, each of which sees every token.
#[derive(Module, Debug)]
pub(crate) struct Experts {
    gate: Linear,
    up: Param<Tensor<3>>,
    bias: Param<Tensor<3>>,
    down: Param<Tensor<3>>,
}

impl Shrinks for Experts {
    fn new(device: &Device) -> Self {
        let zeros = |shape: [usize; 3]| Param::from_tensor(Tensor::zeros(shape, device));
        let model = Self {
            gate: LinearConfig::new(6, 4).init(device),
            up: zeros([4, 6, 10]),
            bias: zeros([4, 1, 10]),
            down: zeros([4, 10, 6]),
        };
        filled(model, 71)
    }

    fn forward(&self, scope: &mut Scope, device: &Device) {
        let x = scope.input(&sequence(device, 6)).flatten::<2>(0, 1);
        let gates = softmax(self.gate.forward(x.clone()), 1).swap_dims(0, 1).unsqueeze_dim::<3>(2);
        let inner = relu(x.unsqueeze::<3>().matmul(self.up.val()) + self.bias.val());
        scope.output((inner.matmul(self.down.val()) * gates).sum_dim(0).squeeze_dim::<2>(0));
    }
}

#[test]
fn experts_in_one_parameter_lose_hidden_channels() {
    for sparsity in [0.2, 0.5, 0.8] {
        let recipe = channels(sparsity, "[target]\ninclude = [\"up\"]");
        let (parameters, macs) = shrinks::<Experts>(&recipe, 1e-5);
        assert!(parameters < 1.0 && macs < 1.0, "{parameters} {macs}");
    }
    let device = Device::flex();
    let model = Experts::new(&device);
    let trace = Trace::record(&model, |m: &Experts, s: &mut Scope| m.forward(s, &device)).unwrap();
    let plan = Shrinker::new(&channels(0.5, "[target]\ninclude = [\"up\"]")).plan(&model, &trace, None).unwrap();
    let shapes: Vec<_> = ["up", "bias", "down"].map(|path| plan.shape_after(path).unwrap()).into();
    assert_eq!(shapes, [[4, 6, 5], [4, 1, 5], [4, 5, 6]]);
}

/// Attention whose sizes are private fields, and a number that has nothing to do with them.
#[derive(Module, Debug)]
struct WithSizes {
    attention: Sizes,
    inner: Linear,
    outer: Linear,
    steps: usize,
    hidden: usize,
}

#[derive(Module, Debug)]
struct Sizes {
    q: Linear,
    k: Linear,
    v: Linear,
    out: Linear,
    n_heads: usize,
    head_dim: usize,
}

impl Shrinks for WithSizes {
    fn new(device: &Device) -> Self {
        let linear = |from, to| LinearConfig::new(from, to).init(device);
        let (q, k, v, out) = (linear(8, 12), linear(8, 12), linear(8, 12), linear(12, 8));
        let attention = Sizes { q, k, v, out, n_heads: 4, head_dim: 3 };
        let (inner, outer) = (linear(8, 10), linear(10, 8));
        filled(Self { attention, inner, outer, steps: 7, hidden: 10 }, 72)
    }

    fn forward(&self, scope: &mut Scope, device: &Device) {
        let x = scope.input(&sequence(device, 8));
        let Sizes { q, k, v, out, n_heads, head_dim } = &self.attention;
        let heads = |x: Tensor<3>| {
            let [batch, length, _] = x.dims();
            x.reshape([batch, length, *n_heads, *head_dim]).swap_dims(1, 2)
        };
        let scores = heads(q.forward(x.clone())).matmul(heads(k.forward(x.clone())).transpose());
        let context = softmax(scores, 3).matmul(heads(v.forward(x.clone()))).swap_dims(1, 2);
        let x = x + out.forward(context.flatten(2, 3));
        let y = relu(self.inner.forward(x.clone())) / (self.hidden as f32).sqrt() * self.steps as f32;
        scope.output(x + self.outer.forward(y));
    }
}

#[test]
fn fields_that_hold_a_removed_size_are_named() {
    let device = Device::flex();
    let model = WithSizes::new(&device);
    let trace = Trace::record(&model, |m: &WithSizes, s: &mut Scope| m.forward(s, &device)).unwrap();
    let fields = |recipe: &str| {
        let plan = Shrinker::new(&pruner(recipe)).plan(&model, &trace, None).unwrap();
        let fields = size_fields(&model, &plan);
        fields.iter().map(|f| (f.path.clone(), f.value, f.becomes)).collect::<Vec<_>>()
    };
    let of = |path: &str, value, becomes| (path.to_string(), value, becomes);
    let recipe = "criterion = \"magnitude\"\nsparsity = 0.5\ngranularity = ";
    assert_eq!(fields(&format!("{recipe}\"head\"")), [of("attention.n_heads", 4, 2)]);
    let inner = format!("{recipe}\"channel\"\n[target]\ninclude = [\"inner\"]");
    assert_eq!(fields(&inner), [of("hidden", 10, 5)]);
    // The same positions of every head.
    let parts = format!("{recipe}\"channel\"\n[target]\ninclude = [\"attention.q\", \"attention.v\"]");
    assert!(
        fields(&parts).contains(&of("attention.head_dim", 3, 1))
            || fields(&parts).contains(&of("attention.head_dim", 3, 2))
    );
}
