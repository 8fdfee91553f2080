//! A program that only links the crate: its recipe names the plugins, and nothing else does.

use acme_pruning as _;
use burn::nn::LinearConfig;
use burn::tensor::Device;
use pruning_burn::Pruner;
use pruning_burn::plugin::Plugins;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let recipe = r#"
        criterion = { name = "acme.centered", share = 0.5 }
        allocator = "acme.square_root"
        sparsity = 0.75
        schedule = { kind = "gradual", end = 4, curve = "acme.cosine" }
    "#;
    let mut model =
        vec![LinearConfig::new(64, 32).init(&Device::flex()), LinearConfig::new(32, 8).init(&Device::flex())];
    let mut session = Pruner::from_toml(recipe, &Plugins::linked())?.start(&mut model)?;
    while !session.is_done() {
        if let Some(report) = session.step(&mut model, None)? {
            println!("{report}\n");
        }
    }
    Ok(())
}
