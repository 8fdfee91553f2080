//! Units and heads that are ranked by what their reader sees, with a trace: the layers that make them add nothing that tells them apart.

use crate::models::sequence;
use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::{gelu, softmax};
use burn::tensor::{Device, Tensor, TensorData};
use pruning_burn::mask::masks;
use pruning_burn::score::{CriterionInputs, Need};
use pruning_burn::shrink::{Fields, Shrinker, apply};
use pruning_burn::trace::{Scope, Trace};
use pruning_tests::models::filled;
use pruning_tests::shrinking::{Shrinks, pruner};
use pruning_tests::values::base;

const WIDTH: usize = 8;

/// A block of a transformer without norms: heads of three, and a feed-forward part of ten units.
#[derive(Module, Debug)]
struct Block {
    q: Linear,
    k: Linear,
    v: Linear,
    out: Linear,
    inner: Linear,
    outer: Linear,
}

impl Shrinks for Block {
    fn new(device: &Device) -> Self {
        let linear = |from, to| LinearConfig::new(from, to).init(device);
        let [q, k, v] = [0; 3].map(|_| linear(WIDTH, 12));
        filled(Self { q, k, v, out: linear(12, WIDTH), inner: linear(WIDTH, 10), outer: linear(10, WIDTH) }, 71)
    }

    fn forward(&self, scope: &mut Scope, device: &Device) {
        let x = scope.input(&sequence(device, WIDTH));
        let heads = |x: Tensor<3>| {
            let [batch, length, channels] = x.dims();
            x.reshape([batch, length, channels / 3, 3]).swap_dims(1, 2)
        };
        let [q, k, v] = [&self.q, &self.k, &self.v].map(|layer| heads(layer.forward(x.clone())));
        let seen = softmax(q.matmul(k.transpose()), 3).matmul(v).swap_dims(1, 2);
        let [batch, length, heads, size] = seen.dims();
        let x = x + self.out.forward(seen.reshape([batch, length, heads * size]));
        scope.output(x.clone() + self.outer.forward(gelu(self.inner.forward(x))));
    }
}

/// Sizes of the inputs of every layer; those of one are given.
fn inputs(model: &Block, need: Need, path: &str, sizes: &[f32], device: &Device) -> CriterionInputs {
    let list = |values: Vec<f32>| Tensor::<1>::from_data(TensorData::new(values.clone(), [values.len()]), device);
    let weights = base(model).into_iter().filter(|(path, _)| path.ends_with("weight"));
    let values = weights.map(|(of, weight)| {
        // Large and uneven, so that they would show.
        let others = |n: usize| (0..n).map(|i| 50.0 + 10.0 * (i % 3) as f32).collect();
        let list = list(if of == path { sizes.to_vec() } else { others(weight.shape()[0]) });
        (of, list)
    });
    CriterionInputs::new().with_input(need, model, values).unwrap()
}

/// The input channels that a weight keeps.
fn kept(model: &Block, path: &str) -> Vec<usize> {
    let masks = masks(model);
    let mask = masks.get(path).unwrap();
    let (bits, rows) = (mask.bits(), mask.shape()[1]);
    (0..mask.shape()[0]).filter(|channel| (0..rows).any(|row| bits.get(channel * rows + row))).collect()
}

fn check(criterion: &str, need: Need, granularity: &str, path: &str, sizes: &[f32], expected: &[usize]) {
    let device = Device::flex();
    let model = Block::new(&device);
    let trace = Trace::record(&model, |m: &Block, s: &mut Scope| m.forward(s, &device)).unwrap();
    let inputs = inputs(&model, need, path, sizes, &device);
    for score in ["group", "own"] {
        let pruner = pruner(&format!(
            "criterion = {criterion}\nsparsity = 0.5\nchannel_score = \"{score}\"\n\
             granularity = {{ {granularity}, axis = \"input\" }}\n[target]\ninclude = [\"{path}\"]"
        ));
        let mut masked = model.clone();
        pruner.clone().with_trace(&trace).prune(&mut masked, &inputs).unwrap();
        assert_eq!(kept(&masked, path), expected, "{criterion} {score}");
        let plan = Shrinker::new(&pruner).plan(&model, &trace, &inputs).unwrap();
        let mut smaller = model.clone();
        let set = |_: &mut Block, _: &mut Fields| {};
        apply(&plan, &mut smaller, set, |m: &Block, s: &mut Scope| m.forward(s, &device)).unwrap();
        assert_eq!(base(&smaller)[path].shape()[0], expected.len(), "{criterion} {score}");
    }
}

#[test]
fn units_go_by_the_activations_of_their_reader() {
    let sizes = [0.5, 3.0, 0.25, 2.0, 0.0, 7.0, 1.0, 0.75, 6.0, 5.0];
    check("\"activation\"", Need::INPUT_ACTIVATION, "kind = \"channel\"", "outer.weight", &sizes, &[1, 3, 5, 8, 9]);
}

#[test]
fn heads_go_by_the_norm_of_their_activations() {
    // Norms of 5, 5.2, 6 and 4: by the sum or the largest, the second would not stay, or the fourth would.
    let sizes = [3.0, 4.0, 0.0, 3.0, 3.0, 3.0, 6.0, 0.0, 0.0, 4.0, 0.0, 0.0];
    let kept = [3, 4, 5, 6, 7, 8];
    check("\"activation\"", Need::INPUT_ACTIVATION, "kind = \"head\", size = 3", "out.weight", &sizes, &kept);
}

#[test]
fn heads_go_by_the_effect_of_a_factor_on_them() {
    let device = Device::flex().autodiff();
    let model = Block::new(&device);
    let traced = |m: &Block, s: &mut Scope| m.forward(s, &device);
    let trace = Trace::record(&model, traced).unwrap();
    // Effects of one batch cancel within the first head, and those of two batches within the second, which is no cancelling.
    let effects = [
        [5.0, -5.0, 0.0, 2.0, 2.0, 2.0, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0],
        [-5.0, 5.0, 0.0, -2.0, -2.0, -2.0, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0],
    ];
    let weights = base(&model).into_iter().filter(|(path, _)| path.ends_with("weight"));
    let values = weights.map(|(path, weight)| {
        let len = weight.shape()[0];
        let of = |batch: [f64; 12]| (0..len).map(move |i| if len == 12 { batch[i] } else { 1.0 });
        let numbers: Vec<f64> = effects.into_iter().flat_map(of).collect();
        (path, Tensor::<1>::from_data(TensorData::new(numbers.clone(), [numbers.len()]), &device))
    });
    let inputs = CriterionInputs::new().with_input(Need::COLUMN_EFFECT, &model, values).unwrap();
    let pruner = pruner(
        "criterion = { name = \"head_importance\", size = 3 }\nsparsity = 0.5\nchannel_score = \"own\"\n\
         granularity = { kind = \"head\", axis = \"input\" }\n[target]\ninclude = [\"out\"]",
    );
    let mut masked = model.clone();
    pruner.with_trace(&trace).prune(&mut masked, &inputs).unwrap();
    assert_eq!(kept(&masked, "out.weight"), [3, 4, 5, 9, 10, 11]);
}
