//! Heads of attention, however its projections are laid out: nothing of them is named in the recipe.

use crate::models::sequence;
use burn::module::Module;
use burn::nn::attention::{MhaInput, MultiHeadAttentionConfig};
use burn::nn::{LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::activation::{gelu, softmax};
use burn::tensor::{Device, Tensor};
use pruning_burn::Pruner;
use pruning_burn::shrink::{ShrinkPlan, Shrinker};
use pruning_burn::trace::{Scope, Trace};
use pruning_tests::models::filled;
use pruning_tests::shrinking::{Shrinks, pruner, shrinks};

const WIDTH: usize = 8;

fn linear(from: usize, to: usize, device: &Device) -> Linear {
    LinearConfig::new(from, to).init(device)
}

fn heads(x: Tensor<3>, size: usize) -> Tensor<4> {
    let [batch, length, channels] = x.dims();
    x.reshape([batch, length, channels / size, size]).swap_dims(1, 2)
}

fn attend(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>, size: usize) -> Tensor<3> {
    let scores = q.matmul(k.transpose()) / (size as f32).sqrt();
    let context = softmax(scores, 3).matmul(v).swap_dims(1, 2);
    let [batch, length, heads, size] = context.dims();
    context.reshape([batch, length, heads * size])
}

/// One projection for queries, keys and values, and heads of another size in each layer.
#[derive(Module, Debug)]
pub(crate) struct Fused {
    norm: LayerNorm,
    first: Linear,
    first_out: Linear,
    second: Linear,
    second_out: Linear,
    inner: Linear,
    outer: Linear,
}

impl Shrinks for Fused {
    fn new(device: &Device) -> Self {
        let model = Self {
            norm: LayerNormConfig::new(WIDTH).init(device),
            first: linear(WIDTH, 3 * 12, device),
            first_out: linear(12, WIDTH, device),
            second: linear(WIDTH, 3 * 8, device),
            second_out: linear(8, WIDTH, device),
            inner: linear(WIDTH, 10, device),
            outer: linear(10, WIDTH, device),
        };
        filled(model, 51)
    }

    fn forward(&self, scope: &mut Scope, device: &Device) {
        let x = scope.input(&sequence(device, WIDTH));
        // Pieces of the width, then heads of three.
        let mut pieces = self.first.forward(self.norm.forward(x.clone())).chunk(3, 2).into_iter();
        let mut piece = || heads(pieces.next().unwrap(), 3);
        let (q, k, v) = (piece(), piece(), piece());
        let x = x + self.first_out.forward(attend(q, k, v, 3));
        // All axes at once, with heads of two.
        let qkv = self.second.forward(self.norm.forward(x.clone()));
        let [batch, length, channels] = qkv.dims();
        let qkv = qkv.reshape([batch, length, 3, channels / 6, 2]).permute([2, 0, 3, 1, 4]);
        let part = |i: usize| qkv.clone().narrow(0, i, 1).squeeze_dim::<4>(0);
        let x = x + self.second_out.forward(attend(part(0), part(1), part(2), 2));
        let x = x.clone() + self.outer.forward(gelu(self.inner.forward(x)));
        scope.output(x);
    }
}

/// Four heads of queries share two of keys and values.
#[derive(Module, Debug)]
pub(crate) struct Grouped {
    norm: LayerNorm,
    q: Linear,
    k: Linear,
    v: Linear,
    out: Linear,
}

impl Shrinks for Grouped {
    fn new(device: &Device) -> Self {
        let model = Self {
            norm: LayerNormConfig::new(WIDTH).init(device),
            q: linear(WIDTH, 12, device),
            k: linear(WIDTH, 6, device),
            v: linear(WIDTH, 6, device),
            out: linear(12, WIDTH, device),
        };
        filled(model, 52)
    }

    fn forward(&self, scope: &mut Scope, device: &Device) {
        let x = scope.input(&sequence(device, WIDTH));
        let y = self.norm.forward(x.clone());
        let q = heads(self.q.forward(y.clone()), 3);
        let shared = |x: Tensor<3>| {
            let x = heads(x, 3);
            let ([batch, heads, length, size], repeats) = (x.dims(), q.dims()[1] / x.dims()[1]);
            x.unsqueeze_dim::<5>(2).repeat_dim(2, repeats).reshape([batch, heads * repeats, length, size])
        };
        let (k, v) = (shared(self.k.forward(y.clone())), shared(self.v.forward(y)));
        scope.output(x + self.out.forward(attend(q.clone(), k, v, 3)));
    }
}

fn recipe(granularity: &str, more: &str) -> Pruner {
    pruner(&format!("criterion = \"magnitude\"\nsparsity = 0.5\ngranularity = {granularity}\n{more}"))
}

fn plan<M: Shrinks>(recipe: &Pruner) -> Result<ShrinkPlan, String> {
    let device = Device::flex();
    let model = M::new(&device);
    let trace = Trace::record(&model, |m: &M, s: &mut Scope| m.forward(s, &device)).unwrap();
    Shrinker::new(recipe).plan(&model, &trace, None).map_err(|e| e.to_string())
}

#[test]
fn one_projection_for_all_loses_heads_of_any_size() {
    let recipe = recipe("\"head\"", "");
    let (parameters, macs) = shrinks::<Fused>(&recipe, 1e-5);
    assert!(parameters < 1.0 && macs < 1.0);
    let plan = plan::<Fused>(&recipe).unwrap();
    let groups: Vec<_> = plan.groups.iter().map(|g| (g.path.as_str(), g.units, g.kept, g.size)).collect();
    assert_eq!(groups, [("first.weight", 4, 2, 9), ("second.weight", 4, 2, 6)]);
}

#[test]
fn keys_and_values_with_fewer_heads_go_with_the_queries_that_share_them() {
    for granularity in ["\"head\"", "{ kind = \"head\", size = 3 }"] {
        let recipe = recipe(granularity, "");
        let (parameters, _) = shrinks::<Grouped>(&recipe, 1e-5);
        assert!(parameters < 1.0);
        let plan = plan::<Grouped>(&recipe).unwrap();
        let kept: Vec<_> = ["q", "k", "v"].map(|l| plan.shape_after(&format!("{l}.weight")).unwrap()[1]).into();
        assert_eq!(kept, [6, 3, 3]);
    }
}

#[test]
fn a_size_that_is_given_must_be_that_of_the_heads() {
    let error = plan::<Fused>(&recipe("{ kind = \"head\", size = 3 }", "")).unwrap_err();
    assert_eq!(error, "second.weight: its heads have 2 channels, and the recipe says 3");
    let one = recipe("{ kind = \"head\", size = 3 }", "[target]\ninclude = [\"first\"]");
    assert_eq!(plan::<Fused>(&one).unwrap().groups.len(), 1);
}

/// Burn's own attention behind a norm.
#[derive(Module, Debug)]
struct Fixed {
    embed: Linear,
    norm: LayerNorm,
    attention: burn::nn::attention::MultiHeadAttention,
}

impl Shrinks for Fixed {
    fn new(device: &Device) -> Self {
        let attention = MultiHeadAttentionConfig::new(WIDTH, 2).init(device);
        filled(Self { embed: linear(6, WIDTH, device), norm: LayerNormConfig::new(WIDTH).init(device), attention }, 53)
    }

    fn forward(&self, scope: &mut Scope, device: &Device) {
        let x = scope.input(&sequence(device, 6));
        let x = self.norm.forward(self.embed.forward(x));
        scope.output(x.clone() + self.attention.forward(MhaInput::self_attn(x)).context);
    }
}

#[test]
fn reasons_name_the_attention() {
    let why = "attention.query: Burn's MultiHeadAttention needs heads * size == width";
    let error = plan::<Fixed>(&recipe("\"head\"", "")).unwrap_err();
    assert!(error.starts_with(&format!("no channels can be removed: {why}")), "{error}");
    let error = plan::<Fixed>(&recipe("\"head\"", "[target]\ninclude = [\"embed\"]")).unwrap_err();
    assert_eq!(error, "no channels can be removed: the targets make no heads of an attention");
    // A norm in the way is still told where channels are asked for.
    let error = plan::<Fixed>(&recipe("\"channel\"", "[target]\ninclude = [\"embed\"]")).unwrap_err();
    assert!(error.contains("layer norm"), "{error}");
}

#[test]
fn heads_without_a_size_need_a_trace() {
    let device = Device::flex();
    let mut model = Fused::new(&device);
    let error = recipe("\"head\"", "").prune(&mut model, None).unwrap_err().to_string();
    assert!(error.contains("heads need a size"), "{error}");
}
