//! The tutorial: prunes half of a small network in one shot, by magnitude and at random, layer by layer and over the whole
//! model, and shows what became of its parameters.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::Device;
use pruning_burn::Pruner;
use pruning_burn::mask::{finish, masks, undo};
use std::error::Error;

#[derive(Module, Debug)]
struct Mlp {
    fc1: Linear,
    fc2: Linear,
}

fn main() -> Result<(), Box<dyn Error>> {
    let device = Device::flex();
    device.seed(5);
    let model =
        Mlp { fc1: LinearConfig::new(4, 6).init(&device), fc2: LinearConfig::new(6, 3).with_bias(false).init(&device) };
    println!("before pruning, fc2.weight (6 inputs x 3 outputs):{}\n", model.fc2.weight.val());

    let plugins = pruning_plugins::all();
    for (criterion, allocator) in
        [("magnitude", "uniform"), ("magnitude", "global"), ("random", "uniform"), ("random", "global")]
    {
        let recipe = format!("criterion = \"{criterion}\"\nallocator = \"{allocator}\"\nsparsity = 0.5");
        let mut pruned = model.clone();
        let report = Pruner::from_toml(&recipe, &plugins)?.prune(&mut pruned, None)?;
        println!("{criterion}, {}:\n{report}", if allocator == "global" { "global" } else { "local (uniform)" });
        if (criterion, allocator) == ("magnitude", "global") {
            show(&pruned)?;
        }
        println!();
    }
    Ok(())
}

/// A masked model is a model like any other: it can be made a plain one, or dense again.
fn show(pruned: &Mlp) -> Result<(), Box<dyn Error>> {
    println!("\nfc2.weight as the layer uses it:{}", pruned.fc2.weight.val());
    println!("its mask keeps {} of {} weights", masks(pruned).get("fc2.weight").map_or(0, |m| m.kept()), 18);
    let mut plain = pruned.clone();
    finish(&mut plain)?;
    println!("finished, a plain module with zeros in its weights: {} masks", masks(&plain).len());
    let mut dense = pruned.clone();
    undo(&mut dense)?;
    println!("undone, the weights it had before:{}", dense.fc2.weight.val());
    Ok(())
}
