use crate::{pruner, try_pruner};
use burn::module::Module;
use burn::tensor::Device;
use pruning_burn::mask::{Bits, Mask, MaskSet, attach, finish, masks, report, undo, update};
use pruning_burn::plugin::Plugins;
use pruning_tests::models::{Cnn, Mlp, Zoo};
use pruning_tests::values::{base, effective, same_bits, weights};

const CRITERIA: [&str; 4] = [
    r#""magnitude""#,
    r#"{ name = "magnitude", p = 2 }"#,
    r#"{ name = "magnitude", p = inf }"#,
    r#"{ name = "random", seed = 3 }"#,
];
const GRANULARITIES: [&str; 5] = [
    r#""element""#,
    r#""2:4""#,
    r#"{ kind = "block", rows = 2, cols = 4 }"#,
    r#""channel""#,
    r#"{ kind = "channel", axis = "input" }"#,
];
const ALLOCATORS: [&str; 3] = [r#""uniform""#, r#""global""#, r#"{ name = "global", floor = 0.1, cap = 0.9 }"#];

/// Every criterion with every granularity and allocator.
fn recipes() -> Vec<String> {
    let mut recipes = Vec::new();
    for criterion in CRITERIA {
        for granularity in GRANULARITIES {
            for allocator in ALLOCATORS {
                recipes.push(match granularity.contains(':') {
                    false => format!(
                        "criterion = {criterion}\ngranularity = {granularity}\nallocator = {allocator}\nsparsity = 0.6"
                    ),
                    true => format!("criterion = {criterion}\ngranularity = {granularity}"),
                });
            }
        }
    }
    recipes.sort();
    recipes.dedup();
    recipes
}

pub(crate) fn the_same_on_every_device(device: &Device) {
    for recipe in recipes() {
        let pruner = pruner(&recipe);
        let (mut here, mut there) = (Mlp::new(device, 4), Mlp::new(&Device::flex(), 4));
        pruner.prune(&mut here, None).unwrap();
        pruner.prune(&mut there, None).unwrap();
        assert_eq!(masks(&here), masks(&there), "{recipe}");
        assert!(masks(&here).sparsity() > 0.3, "{recipe}");
        // And again on top of what is pruned.
        if !recipe.contains(':') {
            let more = crate::pruner(&recipe.replace("0.6", "0.8"));
            more.prune(&mut here, None).unwrap();
            more.prune(&mut there, None).unwrap();
            assert_eq!(masks(&here), masks(&there), "{recipe}, pruned further");
        }
    }
}

pub(crate) fn exact_counts_whatever_the_sizes(device: &Device) {
    for sparsity in [0.0, 0.01, 0.37, 0.5, 0.77, 0.95, 0.99] {
        for allocator in ["uniform", "global"] {
            let mut model = Cnn::new(device, 9);
            let recipe = format!("criterion = \"magnitude\"\nallocator = \"{allocator}\"\nsparsity = {sparsity}");
            let report = pruner(&recipe).prune(&mut model, None).unwrap();
            let removed = |n: usize| (sparsity * n as f64).round_ties_even() as usize;
            let all: usize = report.layers.iter().map(|l| l.weights).sum();
            let expected = match allocator {
                "global" => all - removed(all),
                _ => report.layers.iter().map(|l| (l.weights - removed(l.weights)).max(1)).sum(),
            };
            assert_eq!(report.kept(), expected, "{recipe}");
            // What the report says is what is on the model.
            let set = masks(&model);
            for layer in &report.layers {
                assert_eq!(set.get(&layer.path).unwrap().kept(), layer.kept, "{recipe}: {}", layer.path);
                let zeros = weights(&model, &layer.path).iter().filter(|w| **w == 0.0).count();
                assert_eq!(zeros, layer.weights - layer.kept, "{recipe}: {}", layer.path);
            }
        }
    }
}

fn every_other(model: &Mlp) -> MaskSet {
    let shapes = base(model);
    let mask = |path: &str| {
        let data = &shapes[path];
        let bits = Bits::from_bools(&(0..data.num_elements()).map(|i| i % 2 == 0).collect::<Vec<_>>());
        (path.to_string(), Mask::new(data.shape().to_vec(), bits).unwrap())
    };
    MaskSet::new([mask("fc1.weight"), mask("fc1.bias")]).unwrap()
}

pub(crate) fn own_masks_attach_update_and_come_back(device: &Device) {
    let mut model = Mlp::new(device, 2);
    let dense = weights(&model, "fc1.weight");
    let set = every_other(&model);
    let report = attach(&mut model, &set).unwrap();
    assert_eq!((report.kept(), report.weights()), (96 + 8, 192 + 16));
    assert_eq!(masks(&model), set);
    let masked = weights(&model, "fc1.weight");
    assert!((0..192).all(|i| masked[i] == if i % 2 == 0 { dense[i] } else { 0.0 }));

    let error = attach(&mut model, &set).unwrap_err().to_string();
    assert!(error.starts_with("fc1.weight: a mask is attached already"), "{error}");

    // An update may bring weights back, with the value they have in the base.
    let open = MaskSet::new([("fc1.weight".to_string(), Mask::dense([12, 16]).unwrap())]).unwrap();
    update(&mut model, &open).unwrap();
    assert_eq!(weights(&model, "fc1.weight"), dense);
    assert_eq!(pruning_burn::mask::report(&model).unwrap().kept(), 192 + 8);
    let error = update(&mut Mlp::new(device, 2), &open).unwrap_err().to_string();
    assert!(error.starts_with("fc1.weight: no mask is attached"), "{error}");
}

/// Prunes every layer by channels, and looks for whole rows or columns of zeros.
fn cut(device: &Device, axis: &str, unit: impl Fn(&str, &[usize], usize) -> usize) {
    let mut model = Zoo::new(device, 8);
    let named = "include = [\"*.weight\", \"*.gamma\"]";
    let recipe = format!(
        "criterion = \"magnitude\"\nsparsity = 0.5\ngranularity = {{ kind = \"channel\", axis = \"{axis}\" }}\n\
         [target]\n{named}"
    );
    let report = pruner(&recipe).prune(&mut model, None).unwrap();
    assert_eq!(report.layers.len(), 7 + 1 + 3 + 4 + 8 + 2 + 1, "{report}");
    let set = masks(&model);
    for layer in &report.layers {
        assert_eq!(
            layer.kept_units,
            layer.units - (layer.units as f64 / 2.0).round_ties_even() as usize,
            "{}",
            layer.path
        );
        let mask = set.get(&layer.path).unwrap();
        let mut kept = vec![None; layer.units];
        for i in 0..mask.len() {
            let unit = &mut kept[unit(&layer.kind, &layer.shape, i)];
            assert!(unit.is_none_or(|k| k == mask.bits().get(i)), "{}: a unit is kept in part", layer.path);
            *unit = Some(mask.bits().get(i));
        }
        assert_eq!(kept.iter().filter(|k| **k == Some(true)).count(), layer.kept_units, "{}", layer.path);
    }
    let outputs = model.outputs(device);
    finish(&mut model).unwrap();
    let close = outputs.iter().zip(model.outputs(device)).all(|(a, b)| (a - b).abs() < 1e-4);
    assert!(close && outputs.len() > 100, "a masked model computes what the finished one computes");
}

pub(crate) fn every_layer_type_is_cut_by_output_channel(device: &Device) {
    cut(device, "output", |kind, shape, i| {
        let tail = |from: usize| shape[from..].iter().product::<usize>();
        match kind {
            // [in, out, ...]: the second dimension.
            "Linear" | "Embedding" | "ConvTranspose1d" | "ConvTranspose2d" | "ConvTranspose3d" => {
                i / tail(2) % shape[1]
            }
            _ => i / tail(1),
        }
    });
}

pub(crate) fn every_layer_type_is_cut_by_input_channel(device: &Device) {
    cut(device, "input", |kind, shape, i| {
        let tail = |from: usize| shape[from..].iter().product::<usize>();
        match kind {
            "Linear" | "Embedding" | "ConvTranspose1d" | "ConvTranspose2d" | "ConvTranspose3d" => i / tail(1),
            _ if shape.len() > 1 => i / tail(2) % shape[1],
            // A vector has one input.
            _ => 0,
        }
    });
}

pub(crate) fn random_masks_depend_on_seed_and_path_alone(device: &Device) {
    let run = |recipe: &str, seed| {
        let mut model = Mlp::new(device, seed);
        pruner(recipe).prune(&mut model, None).unwrap();
        masks(&model)
    };
    let both = "criterion = { name = \"random\", seed = 5 }\nsparsity = 0.5";
    let other = "criterion = { name = \"random\", seed = 6 }\nsparsity = 0.5";
    let one = format!("{both}\n[target]\ninclude = [\"fc2\"]");
    assert_eq!(run(both, 1), run(both, 2), "weights do not matter");
    assert_ne!(run(both, 1), run(other, 1), "the seed does");
    assert_eq!(run(both, 1).get("fc2.weight"), run(&one, 1).get("fc2.weight"), "other layers do not");
}

pub(crate) fn finish_leaves_plain_zeros(device: &Device) {
    let mut model = Mlp::new(&device.clone().autodiff(), 6);
    let pruner = pruner("criterion = \"magnitude\"\nsparsity = 0.75");
    pruner.prune(&mut model, None).unwrap();
    let masked = effective(&model);
    let kept = finish(&mut model).unwrap().kept();
    assert!(masks(&model).is_empty());
    for (path, data) in base(&model) {
        let equal = data.iter::<f32>().zip(masked[&path].iter::<f32>()).all(|(a, b)| a == b);
        assert!(equal, "{path}");
        // Plain zeros: a product with a mask would leave minus zero, which is not all zero bits.
        assert!(data.iter::<f32>().all(|v| v != 0.0 || v.to_bits() == 0), "{path}");
    }
    assert_eq!(weights(&model, "fc1.weight").iter().filter(|w| **w != 0.0).count() + 32, kept);
    for error in [finish(&mut model).unwrap_err(), undo(&mut model).unwrap_err(), report(&model).unwrap_err()] {
        assert!(error.to_string().contains("no mask is attached"), "{error}");
    }
}

pub(crate) fn undo_restores_every_bit(device: &Device) {
    for recipe in recipes() {
        let mut model = Cnn::new(device, 3);
        let dense = base(&model);
        let pruner = try_pruner(&recipe).unwrap();
        // 2:4 does not divide 3 input channels.
        if pruner.prune(&mut model, None).is_err() {
            assert!(recipe.contains(':'), "{recipe}");
            continue;
        }
        assert!(!same_bits(&dense, &effective(&model)), "{recipe}");
        undo(&mut model).unwrap();
        assert!(same_bits(&dense, &effective(&model)), "{recipe}");
        assert!(masks(&model).is_empty());
        assert_eq!(model.num_params(), Cnn::new(device, 3).num_params());
    }
    assert_eq!(Plugins::linked().check(), Ok(()));
}
