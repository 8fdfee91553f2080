//! Physical removal: what is left computes what the masked model computed.

use burn::backend::Flex;
use burn::module::Module;
use burn::tensor::{Device, Distribution, Tensor};
use pruning_burn::shrink::{self, Factor, Fields, Shrinker, verify};
use pruning_burn::trace::{Rules, Scope, Trace, Values};
use pruning_burn::{Plugins, Pruner};
use pruning_tests::models::{Cnn, Mlp};

fn pruner(recipe: &str) -> Pruner {
    Pruner::from_toml(recipe, &pruning_plugins::all()).unwrap()
}

#[test]
fn a_small_network_shrinks() {
    let device = Device::flex();
    let mut model = Cnn::new(&device, 3);
    let x = Tensor::<4>::random([2, 3, 8, 8], Distribution::Default, &device);
    let forward = |m: &Cnn, s: &mut Scope| {
        let x = s.input(&x);
        s.output(m.forward(x));
    };
    let trace = Trace::record(&model, forward).unwrap();
    println!("{}", trace.groups(Factor::Inner, &Rules::new()).unwrap());
    let plan = Shrinker::new(&pruner("criterion = \"magnitude\"\ngranularity = \"channel\"\nsparsity = 0.5"))
        .plan(&model, &trace)
        .unwrap();
    println!("{plan}");
    let mut masked = model.clone();
    shrink::mask(&plan, &mut masked).unwrap();
    shrink::apply(&plan, &mut model, |_: &mut Cnn, _: &mut Fields| {}, forward).unwrap();
    let difference = verify(&masked, &model, forward).unwrap();
    assert!(difference.max_rel < 1e-5, "{difference:?}");
    let _ = (Values::new(), Plugins::linked(), std::any::type_name::<Flex>(), Mlp::new(&device, 1).num_params());
}
